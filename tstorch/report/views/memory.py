"""Memory in the order of the program, with the peak and every tensor alive there; and as it was measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tstorch.report.build import live_at_peak
from tstorch.report.units import bytes_text, ms_text, share_text
from tstorch.report.views.base import View, bar, columns
from tstorch.trace.schema import Record, Trace

MOMENTS = 12


def view(trace: Trace) -> View:
    """The plan, which needs no run; then what was allocated, where the trace is of one."""
    peak, memory = live_at_peak(trace), trace.measured.get("memory")
    peak["tensors"] = [tensor | _owner(trace, tensor["name"]) for tensor in peak["tensors"]]
    buffers: list[Record] = [buffer | {"fragmentation": _unused(trace, buffer)} for buffer in trace.buffers]
    data = {
        "memory": memory,
        "planned": _planned(trace.buffers),
        "buffers": buffers,
        "peak": peak,
        "timeline": trace.timeline,
        "tensors": trace.tensors,
        "allocations": trace.allocations,
    }
    rows = [
        [bytes_text(row["bytes"]), share_text(row["fragmentation"]), row["category"], row["name"]] for row in buffers
    ]
    lines = ["planned buffers, and how much of an arena no tensor uses at its fullest"]
    lines += columns(["bytes", "unused", "category", "buffer"], rows, left=2)
    lines += ["", *_peak(trace, peak), "", *_timeline(trace, peak)]
    measured = ["", *_counts(memory, buffers), "", *_over_time(trace), *_steady(memory)] if memory else []
    return View(data, [*lines, *measured])


def _planned(buffers: Iterable[Record]) -> dict[str, int]:
    """Bytes of the program's buffers that stay after loading, by category."""
    sums: dict[str, int] = {}
    for buffer in buffers:
        if buffer.get("lifetime") != "init":
            sums[buffer["category"]] = sums.get(buffer["category"], 0) + buffer["bytes"]
    return sums


def _unused(trace: Trace, buffer: Record) -> float | None:
    """The part of an arena that is covered by no tensor at the dispatch where most of it is; None for other buffers."""
    tensors = [tensor for tensor in trace.tensors if tensor.get("buffer") == buffer["id"] and "first" in tensor]
    if not tensors or not buffer["bytes"]:
        return None
    moments = {tensor["first"] for tensor in tensors}
    fullest = max(sum(t["bytes"] for t in tensors if t["first"] <= moment <= t["last"]) for moment in moments)
    return max(0.0, 1.0 - fullest / buffer["bytes"])


def _owner(trace: Trace, tensor: str) -> Record:
    """The node that a tensor is named after, and its module; both empty for inputs and outputs of the graph."""
    name = tensor.partition("#")[0]
    node = next((node for node in trace.nodes if node["id"] == name), None)
    return {"node": node["id"], "module": node.get("module", "")} if node else {"node": "", "module": ""}


def _peak(trace: Trace, peak: Record) -> list[str]:
    memory = trace.measured.get("memory") or trace.header.get("memory") or {}
    first = f"peak at dispatch {peak['dispatch']}: {bytes_text(peak['live_bytes'])} live"
    if memory.get("lower_bound"):
        times = memory["arena_peak"] / memory["lower_bound"]
        first += f"; lower bound {bytes_text(memory['lower_bound'])}, arenas {bytes_text(memory['arena_peak'])}"
        first += f" (x {times:.2f})"
    rows = [[bytes_text(t["bytes"]), t["name"], t["module"]] for t in peak["tensors"]]
    modules: dict[str, int] = {}
    for tensor in peak["tensors"]:
        scope = tensor["module"] or "(no module)"
        modules[scope] = modules.get(scope, 0) + (tensor["bytes"] or 0)
    ranked = sorted(modules.items(), key=lambda item: -item[1])
    by_module = [[bytes_text(size), share_text(size, peak["live_bytes"]), name] for name, size in ranked]
    table = columns(["bytes", "tensor, by its node", "module"], rows, left=2)
    return [first, *table, *columns(["bytes", "share", "module, at the peak"], by_module)]


def _timeline(trace: Trace, peak: Record) -> list[str]:
    labels = {dispatch["id"]: dispatch.get("label") or dispatch["kernel"] for dispatch in trace.dispatches}
    rows = [
        [
            str(row["dispatch"]),
            bytes_text(row["live_bytes"]),
            labels.get(row["dispatch"], ""),
            bar(row["live_bytes"], peak["live_bytes"]) + (" peak" if row["dispatch"] == peak["dispatch"] else ""),
        ]
        for row in trace.timeline
    ]
    return ["live activations at each dispatch", *columns(["dispatch", "live", "what", ""], rows, left=2)]


def _counts(memory: Record, buffers: list[Record]) -> Iterator[str]:
    """The plan's bytes beside what was asked for and what the driver says."""
    planned = sum(_planned(buffers).values())
    staging = memory["requested"] - planned
    yield (
        f"planned {bytes_text(planned)}, requested {bytes_text(memory['requested'])}: "
        f"{bytes_text(abs(staging))} {'more, for staging and instruments' if staging >= 0 else 'less'}"
    )
    if memory.get("requested_by"):
        parts = [f"{name} {bytes_text(size)}" for name, size in sorted(memory["requested_by"].items()) if size]
        yield f"requested by category: {', '.join(parts)}"
    if memory.get("buffers") is not None:
        yield f"buffers: {memory['buffers']} by our count, {memory['counted_buffers']} by wgpu's"
    yield f"reserved by the driver: {bytes_text(memory['reserved'])} ({memory['reserved_source']})"


def _over_time(trace: Trace) -> list[str]:
    """Buffers as they were made and given back, those of one category in a row as one line."""
    runs: list[Record] = []
    for event in trace.allocations:
        word = "made" if event["bytes"] > 0 else "given back"
        if runs and (runs[-1]["word"], runs[-1]["category"]) == (word, event["category"]):
            runs[-1] |= {"count": runs[-1]["count"] + 1, "size": runs[-1]["size"] + abs(event["bytes"])}
            runs[-1] |= {"live_bytes": event["live_bytes"]}
        else:
            runs.append(event | {"word": word, "count": 1, "size": abs(event["bytes"])})
    if not runs:
        return []
    most = max(row["live_bytes"] for row in runs)
    kept = sorted(sorted(range(len(runs)), key=lambda at: -runs[at]["size"])[:MOMENTS])
    rows = [
        [
            ms_text(row["ms"]) if row["ms"] else "0",
            bytes_text(row["live_bytes"]),
            f"{bytes_text(row['size'])} {row['word']} ({row['category']}, {row['count']} x)",
            bar(row["live_bytes"], most),
        ]
        for row in (runs[at] for at in kept)
    ]
    more = [f"and {len(runs) - MOMENTS} smaller changes (--json)"] if len(runs) > MOMENTS else []
    return [*columns(["since opening", "live", "as measured", ""], rows, left=2), *more]


def _steady(memory: Record) -> Iterator[str]:
    """What runs allocate, and what of it stays."""
    if (steady := memory.get("steady")) is None:
        return
    made = ", ".join(f"{row['count']} x {name} ({bytes_text(row['bytes'])})" for name, row in steady["made"].items())
    yield f"allocated during {steady['runs']} steady runs: {made or 'nothing'}"
    resident = steady["resident_slope"]
    yield (
        f"live bytes grow by {_signed(steady['slope'])} a run"
        + ("" if resident is None else f"; the worker's memory by {_signed(resident)}")
        + f", over {steady['runs']} runs"
    )


def _signed(nbytes: float) -> str:
    return f"{'-' if nbytes <= -0.5 else ''}{bytes_text(round(abs(nbytes)))}"
