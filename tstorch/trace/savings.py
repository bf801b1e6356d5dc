"""What fusing saves, as an estimate: what the compiler counted, at the ceilings that were measured.

Bytes that are not moved cost what a copy with that working set costs, a dispatch that is not launched what an empty
one does. What fusing saves in truth is measured by taking the fusion apart (tstorch-run --no-fuse).
"""

from __future__ import annotations

from collections.abc import Mapping

from tstorch.trace.bounds import Ceilings
from tstorch.trace.join import node_shares, timed_dispatches
from tstorch.trace.schema import Record, Trace

FUSED = "TST-F010"


def saved_us(ceilings: Ceilings | None, metric: Mapping[str, int]) -> float | None:
    """Microseconds that the `bytes` and `dispatches` of a remark are worth; None without them or ceilings."""
    if ceilings is None or "dispatches" not in metric:
        return None
    nbytes = metric.get("bytes", 0)
    return (ceilings.memory_us(nbytes) if nbytes else 0.0) + metric["dispatches"] * ceilings.launch_us


def fusion_metrics(trace: Trace) -> dict[int, Mapping[str, int]]:
    """Dispatch id to what fusing its nodes saves, as the compiler counted it, for each dispatch that serves several."""
    by_node: dict[str, list[Record]] = {}
    for remark in trace.remarks:
        if remark["id"] == FUSED and remark.get("metric"):
            for node in remark["nodes"]:
                by_node.setdefault(node, []).append(remark)
    found: dict[int, Mapping[str, int]] = {}
    for dispatch in timed_dispatches(trace):
        nodes = node_shares(dispatch)
        remarks = [r for node in nodes for r in by_node.get(node, ()) if all(each in nodes for each in r["nodes"])]
        if remarks:
            found[dispatch["id"]] = max(remarks, key=lambda remark: len(remark["nodes"]))["metric"]
    return found


def estimates(trace: Trace) -> list[Record]:
    """One row a fused dispatch, the largest saving first: `{dispatch, nodes, bytes, dispatches, us}`."""
    ceilings, metrics = Ceilings.of(trace.measured), fusion_metrics(trace)
    rows = [
        {
            "dispatch": dispatch["id"],
            "nodes": list(node_shares(dispatch)),
            "bytes": metrics[dispatch["id"]].get("bytes", 0),
            "dispatches": metrics[dispatch["id"]]["dispatches"],
            "us": saved_us(ceilings, metrics[dispatch["id"]]),
        }
        for dispatch in timed_dispatches(trace)
        if dispatch["id"] in metrics
    ]
    return sorted(rows, key=lambda row: -(row["us"] or 0.0))
