"""What was fused from which nodes, and what was refused and why, each with what was measured."""

from __future__ import annotations

from collections import defaultdict

from tstorch.trace.join import node_shares, node_us, timed_dispatches, total_us
from tstorch.trace.schema import Record, Trace

# Remarks of fusion passes and fusion rules carry ids of this family.
FUSION_REMARKS = "TST-F"


def fusion_section(trace: Trace) -> Record:
    """`done`: one row a kind of fusion, slowest first. `missed`: one row a refusal, by the time of its nodes."""
    return {"done": _done(trace), "missed": _missed(trace)}


def _done(trace: Trace) -> list[Record]:
    """Dispatches that serve several nodes, grouped by what kinds of node they join."""
    kinds = {node["id"]: kind_text(node.get("op_type") or node["id"]) for node in trace.nodes}
    groups: defaultdict[str, list[Record]] = defaultdict(list)
    for dispatch in timed_dispatches(trace):
        members = list(node_shares(dispatch))
        if len(members) > 1:
            groups[" + ".join(_runs([kinds.get(node, node) for node in members]))].append(dispatch)
    rows = [_done_row(label, dispatches) for label, dispatches in groups.items()]
    return sorted(rows, key=lambda row: (-(row["us"] or 0), -row["occurrences"], row["label"]))


def _done_row(label: str, dispatches: list[Record]) -> Record:
    return {
        "label": label,
        "as": list(dict.fromkeys(dispatch["label"] for dispatch in dispatches if dispatch.get("label"))),
        "occurrences": len(dispatches),
        "dispatches": [dispatch["id"] for dispatch in dispatches],
        "nodes": [list(node_shares(dispatch)) for dispatch in dispatches],
        "us": total_us(dispatches),
    }


def _missed(trace: Trace) -> list[Record]:
    """Refused fusions; `us` is the measured time of the nodes that stayed apart: what makes a refusal matter."""
    times = node_us(trace)
    rows = [
        {
            "id": remark["id"],
            "reason": remark["reason"],
            "nodes": remark["nodes"],
            "us": _sum(times.get(node) for node in remark["nodes"]),
            "suggest": remark.get("suggest", ""),
            "pass": remark.get("pass", ""),
        }
        for remark in trace.remarks
        if remark["kind"] == "missed" and remark["id"].startswith(FUSION_REMARKS)
    ]
    return sorted(rows, key=lambda row: (-(row["us"] or 0), row["id"], row["nodes"]))


def kind_text(op_type: str) -> str:
    """An ONNX op type as people say it: `BatchNormalization` is `batchnorm`."""
    return op_type.replace("Normalization", "Norm").lower()


def _runs(kinds: list[str]) -> list[str]:
    """`a a a b` as `3 x a, b`: a chain of like ops reads as one."""
    runs: list[tuple[str, int]] = []
    for kind in kinds:
        if runs and runs[-1][0] == kind:
            runs[-1] = (kind, runs[-1][1] + 1)
        else:
            runs.append((kind, 1))
    return [kind if count == 1 else f"{count} x {kind}" for kind, count in runs]


def _sum(times) -> float | None:
    known = [time for time in times if time is not None]
    return sum(known) if known else None
