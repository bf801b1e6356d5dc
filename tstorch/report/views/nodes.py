"""Every node of the model, the slowest first: its time, the node it was fused into, or where else it went."""

from __future__ import annotations

from tstorch.report.build import build_report
from tstorch.report.names import node_names
from tstorch.report.units import share_text, time_text
from tstorch.report.views.base import View, columns
from tstorch.trace.join import fused_into, gpu_us
from tstorch.trace.schema import Record, Trace


def view(trace: Trace) -> View:
    """All nodes; a time is an estimate where its dispatch serves others too."""
    report, into, whole = build_report(trace), fused_into(trace), gpu_us(trace)
    names = node_names(report)
    data = [row | {"fused_into": into.get(row["id"])} for row in report["nodes"]]
    data.sort(key=lambda row: -(row["us"] or 0.0))
    rows = [
        [_time(row), share_text(row["us"], whole), row["op_type"], names[row["id"]] + _fate(row, names)] for row in data
    ]
    summary = _summary(data, whole)
    return View({"gpu_us": whole, "nodes": data}, [*columns(["time", "of gpu", "op", "node"], rows), *summary])


def _time(row: Record) -> str:
    return time_text(row["us"]) if row["where"] == "run" else row["where"]


def _fate(row: Record, names: dict[str, str]) -> str:
    if row["fused_into"] is not None:
        return f" -> fused into {names.get(row['fused_into'], row['fused_into'])}"
    return f": {row['reason']}" if row["reason"] else ""


def _summary(data: list[Record], whole: float | None) -> list[str]:
    """How many nodes went where; together they are the model's nodes."""
    counts: dict[str, int] = {}
    for row in data:
        counts[row["where"]] = counts.get(row["where"], 0) + 1
    where = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    named = sum(row["us"] or 0.0 for row in data)
    return [f"{len(data)} nodes: {where}; {share_text(named, whole)} of the gpu time is theirs"]
