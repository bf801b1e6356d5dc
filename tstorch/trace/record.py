"""From what compiler and runner say of one program to its trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, TypeVar

from tstorch import __version__
from tstorch.artifact.format import Artifact
from tstorch.artifact.limits import used_features
from tstorch.trace.schema import Record, Trace, TraceError

TraceKind = TypeVar("TraceKind", bound=Trace)

Milliseconds = Mapping[str, float]

# What the runner allocates to move data and to measure, beside the program's own buffers.
STAGING = ("staging", "readback", "timestamps", "instrument")


def cold_stages(
    *,
    session: Milliseconds,
    startup: Milliseconds,
    load: Milliseconds,
    busy: Milliseconds,
    first_run: float,
    wall: float,
    specialise: float = 0.0,
) -> list[Record]:
    """The stages of a cold start in the report's words, and last what no instrument saw: they sum to `wall`.

    `session` is its own (import, passes, codegen, and `device`: how long it waited for the worker, which starts
    meanwhile), `startup` the worker's, `load` and `busy` the runner's stages of loading on the critical path and in
    themselves. `specialise` is what of the first run went to compiling segments whose shapes it told. All in
    milliseconds.
    """
    on_path = {
        "import": session.get("import", 0.0),
        "device": session.get("device", 0.0) + _sum(load, "device", "self_test"),
        "passes": session.get("passes", 0.0),
        "codegen": session.get("codegen", 0.0) + _sum(load, "read"),
        "pipelines": _sum(load, "prepare", "pipelines", "bind"),
        "upload": _sum(load, "upload"),
        "init": _sum(load, "init"),
        **({"specialise": specialise} if specialise else {}),
        "first_run": first_run - specialise,
    }
    own = on_path | {
        "device": startup["total"] + _sum(busy, "device", "self_test"),
        "pipelines": _sum(busy, "prepare", "pipelines", "bind"),
        "upload": _sum(busy, "upload"),
    }
    rows = [{"name": name, "ms": ms, "busy_ms": own[name]} for name, ms in on_path.items()]
    return [*rows, {"name": "unattributed", "ms": wall - sum(on_path.values())}]


def record_trace(
    artifact: Artifact,
    *,
    adapter: Mapping[str, Any],
    inputs: Sequence[Record],
    stages: Sequence[Record],
    profile: Mapping[str, Any],
    environment: Record | None = None,
    kind: type[TraceKind] = Trace,
) -> TraceKind:
    """The trace of one measured entry: the artifact's tables, joined with the runner's `profile` by dispatch id."""
    manifest = artifact.manifest
    if profile["fingerprint"] != manifest["fingerprint"]:
        raise TraceError("the profile is not of this artifact: their fingerprints differ; measure it again")
    return kind(
        header=_header(manifest, adapter, inputs, profile)
        | {"outputs": _outputs(artifact), "environment": environment},
        nodes=artifact.nodes,
        kernels=[_kernel(name, kernel.map, kernel.wgsl) for name, kernel in sorted(artifact.kernels.items())],
        dispatches=_dispatches(artifact, profile),
        buffers=artifact.program["buffers"],
        tensors=artifact.memory["tensors"],
        timeline=artifact.memory["timeline"],
        stages=list(stages),
        runs=list(_runs(profile["samples"], profile.get("idle"))),
        allocations=list(profile.get("allocations", ())),
        remarks=artifact.remarks,
        measured=_measured(artifact, profile),
    )


def _header(
    manifest: Mapping[str, Any], adapter: Mapping[str, Any], inputs: Sequence[Record], profile: Mapping[str, Any]
) -> Record:
    facts = {key: manifest.get(key) for key in ("fingerprint", "model", "dims", "target", "rules", "pipeline")}
    named = {key: adapter[key] for key in ("name", "backend", "driver", "class")}
    return {
        "tstorch": __version__,
        **facts,
        "adapter": named | {"loop_cap": profile["loop_cap"]},
        "entry": profile["entry"],
        "inputs": list(inputs),
        "clocks": {"host": "perf_counter_ns", "gpu_period_ns": profile["timing"]["period_ns"]},
    }


def _outputs(artifact: Artifact) -> list[Record]:
    """Name and bytes of each output; a size that only a run tells is None."""
    sizes = {value["name"]: value["bytes"] for value in artifact.program["outputs"]}
    return [{"name": value["name"], "bytes": sizes.get(value["name"])} for value in artifact.interface["outputs"]]


def _kernel(name: str, line_map: Mapping[str, Any], shader: str) -> Record:
    facts = {key: line_map.get(key) for key in ("kind", "workgroup", "iterations", "ops")}
    return {
        "name": name,
        **facts,
        "digest": sha256(shader.encode()).hexdigest()[:16],
        "features": used_features(shader),
    }


def _dispatches(artifact: Artifact, profile: Mapping[str, Any]) -> list[Record]:
    """The artifact's table with grids, bindings and what was measured; dispatches of other entries have no time."""
    commands = [command for entry in artifact.program["entries"].values() for command in entry]
    planned = {
        command["id"]: {"grid": command["grid"], "bindings": command["bindings"]}
        for command in commands
        if command["op"] == "dispatch"
    }
    measured = {row["id"]: {key: value for key, value in row.items() if key != "id"} for row in profile["dispatches"]}
    decided = "control" in artifact.program and bool(measured)
    unmeasured = {"runs": 0} if decided else {}
    return [row | planned[row["id"]] | measured.get(row["id"], unmeasured) for row in artifact.dispatches]


def _runs(samples: Mapping[str, Any], idle: Mapping[str, Any] | None) -> Iterator[Record]:
    """Every run that was counted, with what was taken of it, in microseconds; and those after a pause."""
    for number, whole in enumerate(samples["plain_ns"]):
        yield {"kind": "plain", "run": number, "whole": whole / 1e3}
    for number, parts in enumerate(samples["light_ns"]):
        yield {"kind": "light", "run": number, **{name: ns / 1e3 for name, ns in parts.items()}}
    for number, wall in enumerate(samples["launch_ns"]):
        yield {"kind": "launch", "run": number, "whole": wall / 1e3}
    for number, column in enumerate(samples["detailed_ns"]):
        yield {"kind": "detailed", "run": number, "raw_us": [ns / 1e3 for ns in column]}
    for number, parts in enumerate(idle["runs"] if idle else ()):
        yield {"kind": "idle", "run": number, **parts}


def _measured(artifact: Artifact, profile: Mapping[str, Any]) -> Record:
    timing = profile["timing"] | {"residual_us": profile["residual_us"]}
    parts = profile["parts_us"]
    if not profile["samples"]["light_ns"]:  # each light run's clock was impossible: zeros would pass for times
        parts = dict.fromkeys(parts)
    return {
        "latency_ms": profile["latency_ms"],
        "parts_us": parts,
        "parts_median_us": profile["parts_median_us"],
        "timing": timing,
        "ceilings": profile.get("ceilings"),
        "submitted": profile["submitted"],
        "memory": _memory(artifact.memory, profile["memory"]) | {"steady": profile.get("steady")},
        "warmup_runs": profile["warmup_runs"],
        "idle": _idle(profile),
        **_synchronised(profile, parts),
    }


def _idle(profile: Mapping[str, Any]) -> Record | None:
    """The typical run after a pause, and how much slower the sentinel ran then than at its best."""
    if (idle := profile.get("idle")) is None:
        return None
    best = profile["timing"].get("sentinel_us")
    clock = idle["sentinel_us"] / best - 1 if best else None
    return {"pause_s": idle["pause_s"], "parts_us": idle["parts_us"], "clock": clock}


def _synchronised(profile: Mapping[str, Any], parts: Mapping[str, Any]) -> Record:
    """What a program's run stops for: how often the host looks at bytes of the GPU, and how long that takes."""
    found = profile.get("synchronisations")
    return {"synchronisations": {**found, "us": parts["sync"]}} if found and found["count"] else {}


def _memory(plan: Mapping[str, Any], seen: Mapping[str, Any]) -> Record:
    """What the compiler planned and what the runner requested, in bytes; nothing is in two categories."""
    by = seen["requested_by"]
    staging = sum(by.get(category, 0) for category in STAGING)
    return {
        "weights": by.get("weight", 0),
        "activations": sum(size for category, size in by.items() if category not in ("weight", *STAGING)),
        "staging": staging,
        "arena_peak": plan["arena_peak"],
        "lower_bound": plan["lower_bound"],
        "requested": seen["requested"],
        "peak": seen["peak"],
        "requested_by": dict(by),
        "buffers": seen.get("buffers"),
        "counted_buffers": seen.get("counted_buffers"),
        "reserved": seen["reserved"],
        "reserved_source": seen["reserved_source"],
    }


def _sum(stages: Milliseconds, *names: str) -> float:
    return sum(stages.get(name, 0.0) for name in names)
