"""A small measured program made by hand: every figure is round, so that what a report says can be checked by eye."""

from __future__ import annotations

from tstorch.trace.schema import Record, Trace


def _share(node: str, share: float) -> Record:
    return {"id": node, "role": "forward", "share": share}


def _dispatch(number: int, kernel: str, label: str, us: float | None, shares: list[Record], **more: object) -> Record:
    nodes = [[{"id": share["id"], "role": share["role"]}] for share in shares]
    return {
        "id": number,
        "entry": "run",
        "kernel": kernel,
        "label": label,
        "grid": [49, 2, 1],
        "bytes": 400_000,
        "flops": 100_000_000,
        "nodes": nodes,
        "shares": shares,
        "us": us,
    } | more


def small_trace() -> Trace:
    """Two convolutions with batch norm and relu fused in, a pool, and nodes that went elsewhere."""
    return Trace(
        header={
            "tstorch": "0.1.0",
            "fingerprint": "f" * 64,
            "model": {"path": "small.onnx", "sha256": "a" * 64},
            "dims": {"batch": 1},
            "target": {"id": "webgpu-default-cpu", "class": "cpu", "units": 1, "limits": {}, "features": []},
            "rules": ["epilogue.rules"],
            "pipeline": ["convert-onnx-to-prim", "form-dispatch-regions"],
            "adapter": {
                "name": "llvmpipe",
                "backend": "Vulkan",
                "driver": "Mesa 25.0.7",
                "class": "cpu",
                "loop_cap": None,
            },
            "inputs": [{"name": "image", "dtype": "float32", "shape": [1, 3, 8, 8], "law": "normal"}],
        },
        nodes=[
            _node("conv1", "Conv", "layer1.conv"),
            _node("bn1", "BatchNormalization", "layer1.bn"),
            _node("relu1", "Relu", "layer1.relu"),
            _node("conv2", "Conv", "layer2.conv"),
            _node("bn2", "BatchNormalization", "layer2.bn"),
            _node("relu2", "Relu", "layer2.relu"),
            _node("pool", "GlobalAveragePool", ""),
            _node("shape", "Shape", "", where="elided", reason="folded to a constant"),
        ],
        kernels=[{"name": "k0", "kind": "contraction", "workgroup": [8, 8, 1]}],
        dispatches=[
            _dispatch(0, "prep", "prep", 50.0, [_share("bn1", 1.0)], entry="init"),
            _dispatch(1, "k0", "conv_relu", 600.0, [_share("conv1", 0.9), _share("bn1", 0.05), _share("relu1", 0.05)]),
            _dispatch(2, "k0", "conv_relu", 300.0, [_share("conv2", 0.9), _share("bn2", 0.05), _share("relu2", 0.05)]),
            _dispatch(3, "k1", "mean", 100.0, [_share("pool", 1.0)], flops=1_000_000, bytes=800_000),
        ],
        buffers=[{"id": 0, "name": "arena0", "bytes": 802816, "category": "activation"}],
        tensors=[
            {
                "name": "conv1_out",
                "buffer": 0,
                "offset": 0,
                "bytes": 600,
                "first": 1,
                "last": 2,
                "category": "activation",
            },
            {
                "name": "conv2_out",
                "buffer": 0,
                "offset": 600,
                "bytes": 400,
                "first": 2,
                "last": 3,
                "category": "activation",
            },
        ],
        timeline=[
            {"dispatch": 1, "live_bytes": 600, "tensors": ["conv1_out"]},
            {"dispatch": 2, "live_bytes": 1000, "tensors": ["conv2_out", "conv1_out"]},
        ],
        stages=[
            {"name": "import", "ms": 10.0, "busy_ms": 10.0},
            {"name": "passes", "ms": 20.0, "busy_ms": 20.0},
            {"name": "pipelines", "ms": 30.0, "busy_ms": 55.0},
            {"name": "unattributed", "ms": -1.0},
        ],
        runs=[{"kind": "plain", "run": 0, "whole": 1500.0}],
        remarks=[
            _missed("TST-F002", "its producer has other users", ["relu2"]),
            _missed("TST-F001", "both are contractions", ["conv1", "conv2"]),
            _missed("TST-S004", "not a fusion at all", ["pool"]),
        ],
        measured=measured(),
    )


def _node(name: str, op_type: str, module: str, where: str = "run", reason: str = "") -> Record:
    return {"id": name, "op_type": op_type, "module": module, "source": "", "where": where, "reason": reason}


def _missed(remark: str, reason: str, nodes: list[str]) -> Record:
    return {
        "id": remark,
        "kind": "missed",
        "reason": reason,
        "nodes": nodes,
        "suggest": "",
        "pass": "form-dispatch-regions",
    }


def measured() -> Record:
    """What the runner measured of `small_trace`: 1,000 us of dispatches in runs of 1,500."""
    return {
        "latency_ms": {"median": 1.5, "p90": 1.6, "mad": 0.02, "runs": 30},
        "parts_us": {
            "handoff": 100.0,
            "upload": 50.0,
            "encode": 40.0,
            "submit": 30.0,
            "launch": 100.0,
            "gpu": 1000.0,
            "sync": 0.0,
            "readback": 179.6,
            "unattributed": 0.4,
            "whole": 1500.0,
        },
        "timing": {
            "quality": "device",
            "period_ns": 1.0,
            "probe_us": 2.0,
            "raw_sum_us": 1006.0,
            "agreement": 99.0,
            "sentinel_drift": 0.01,
            "idle_run_ms": 3.0,
            "stable": True,
            "residual_us": 0.0,
        },
        "ceilings": {"copy_gb_s": 10.0, "fma_gflop_s": 500.0},
        "submitted": {"runs": 90, "model": 270, "other": 12},
        "memory": {
            "weights": 4096,
            "activations": 1024,
            "staging": 512,
            "arena_peak": 1024,
            "lower_bound": 1000,
            "requested": 5632,
            "peak": 8192,
            "reserved": None,
            "reserved_source": "unknown",
        },
    }


def wide_trace(count: int = 200) -> Trace:
    """A trace with every line that a report can have, and many dispatches, kernels, refusals and live tensors."""
    trace = small_trace()
    trace.header["adapter"]["loop_cap"] = 65535
    trace.measured["timing"]["residual_us"] = 5.0
    trace.measured["memory"] |= {"reserved": 2**26, "reserved_source": "the driver's blocks"}
    trace.nodes += [_reshaped(node, number) for number in range(5) for node in trace.nodes[:2]]
    for number in range(5):
        members = [{"id": f"conv1_{number}", "role": "forward", "share": 0.5}]
        members += [{"id": f"bn1_{number}", "role": "forward", "share": 0.5}]
        trace.dispatches.append(trace.dispatches[1] | {"id": 500 + number, "shares": members})
    for number in range(10, 10 + count):
        trace.dispatches.append(trace.dispatches[1] | {"id": number, "kernel": f"k{number}", "us": 1.0 + number})
        trace.remarks.append(trace.remarks[0] | {"id": f"TST-F{number}", "reason": f"reason {number}"})
        trace.tensors.append(trace.tensors[0] | {"name": f"tensor{number}"})
        trace.timeline[1]["tensors"].append(f"tensor{number}")
    return trace


def _reshaped(node: Record, number: int) -> Record:
    return node | {"id": f"{node['id']}_{number}", "op_type": f"{node['op_type']}{number}"}


def long_trace(count: int) -> Trace:
    """A trace of many dispatches, each with a tensor that lives for a few of them, and so many nodes."""
    trace = small_trace()
    node, kernel, dispatch = trace.nodes[0], trace.kernels[0], trace.dispatches[1]
    trace.nodes, trace.kernels, trace.dispatches, trace.tensors, trace.timeline = [], [], [], [], []
    for number in range(count):
        name = f"layer.{number % 40}/node{number}"
        trace.nodes.append(node | {"id": name, "module": f"layer.{number % 40}.inner{number % 7}"})
        shares = [_share(name, 1.0)]
        kernel_name = f"k{number % 30}"
        us = 1.5 + number % 17
        trace.dispatches.append(dispatch | {"id": number, "kernel": kernel_name, "us": us, "shares": shares})
        tensor = {"name": f"t{number}", "buffer": 0, "offset": 0, "bytes": 4096 + number, "category": "activation"}
        trace.tensors.append(tensor | {"first": number, "last": min(number + 3, count - 1)})
    for number in range(count):
        alive = trace.tensors[max(0, number - 3) : number + 1]
        live = sum(tensor["bytes"] for tensor in alive)
        names = [tensor["name"] for tensor in alive]
        trace.timeline.append({"dispatch": number, "live_bytes": live, "tensors": names})
    trace.kernels = [kernel | {"name": f"k{number}"} for number in range(30)]
    gpu = sum(row["us"] for row in trace.dispatches)
    parts = trace.measured["parts_us"]
    parts["whole"] += gpu - parts["gpu"]
    parts["gpu"] = gpu
    return trace


def untimed() -> Trace:
    """The same from an adapter that gives no times of single dispatches."""
    trace = small_trace()
    for dispatch in trace.dispatches:
        dispatch["us"] = None
    trace.measured["timing"] |= {"quality": "untimed", "probe_us": None, "agreement": None}
    trace.measured["parts_us"] |= {"gpu": None}
    return trace
