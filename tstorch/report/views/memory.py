"""Memory in the order of the program: what is live at each dispatch, the peak and every tensor alive there."""

from __future__ import annotations

from tstorch.report.build import build_report
from tstorch.report.units import bytes_text, share_text
from tstorch.report.views.base import View, bar, columns
from tstorch.trace.schema import Record, Trace


def view(trace: Trace) -> View:
    """Categories and buffers as requested, then the timeline; needs no times, so a plan alone would do."""
    report = build_report(trace)
    memory, peak = report["memory"], report["live_at_peak"]
    categories = [[bytes_text(size), name] for name, size in sorted(memory.get("requested_by", {}).items()) if size]
    data = {
        "memory": memory,
        "buffers": [buffer | {"fragmentation": _unused(trace, buffer)} for buffer in trace.buffers],
        "peak": peak,
        "timeline": trace.timeline,
        "tensors": trace.tensors,
    }
    buffers = [
        [bytes_text(row["bytes"]), share_text(row["fragmentation"]), row["category"], row["name"]]
        for row in data["buffers"]
    ]
    lines = [f"requested {bytes_text(memory['requested'])}, by category"]
    lines += columns(["bytes", "category"], categories)
    lines += ["", "buffers, and how much of an arena no tensor uses at its fullest"]
    lines += columns(["bytes", "unused", "category", "buffer"], buffers, left=2)
    return View(data, [*lines, "", *_peak(report), "", *_timeline(trace, peak)])


def _unused(trace: Trace, buffer: Record) -> float | None:
    """The part of an arena that is covered by no tensor at the dispatch where most of it is; None for other buffers."""
    tensors = [tensor for tensor in trace.tensors if tensor.get("buffer") == buffer["id"] and "first" in tensor]
    if not tensors or not buffer["bytes"]:
        return None
    moments = {tensor["first"] for tensor in tensors}
    fullest = max(sum(t["bytes"] for t in tensors if t["first"] <= moment <= t["last"]) for moment in moments)
    return max(0.0, 1.0 - fullest / buffer["bytes"])


def _peak(report: Record) -> list[str]:
    memory, peak = report["memory"], report["live_at_peak"]
    bound = f"lower bound {bytes_text(memory['lower_bound'])}, arenas {bytes_text(memory['arena_peak'])}"
    if memory["lower_bound"]:
        bound += f" (x {memory['arena_peak'] / memory['lower_bound']:.2f})"
    first = f"peak at dispatch {peak['dispatch']}: {bytes_text(peak['live_bytes'])} live; {bound}"
    return [first, *columns(["bytes", "tensor"], [[bytes_text(t["bytes"]), t["name"]] for t in peak["tensors"]])]


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
