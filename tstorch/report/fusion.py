"""What was fused from which nodes, and what was refused and why, each with what was measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from tstorch.trace.bounds import Ceilings
from tstorch.trace.join import node_shares, node_us, timed_dispatches, total_us
from tstorch.trace.savings import fusion_metrics, saved_us
from tstorch.trace.schema import Record, Trace

# Remarks of fusion passes and fusion rules carry ids of this family.
FUSION_REMARKS = "TST-F"
SPLITS = ("TST-F02", "TST-F03", "TST-F04")
"""How the ids of remarks begin that are about making several dispatches of one."""


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
    ceilings, metrics = Ceilings.of(trace.measured), fusion_metrics(trace)
    rows = [_done_row(label, dispatches) for label, dispatches in groups.items()]
    for row in rows:
        row |= _saved(ceilings, [metrics[id] for id in row["dispatches"] if id in metrics])
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


def _saved(ceilings: Ceilings | None, metrics: list[Mapping[str, int]]) -> Record:
    """What is not moved and not launched, and the microseconds that it is worth at the ceilings, as an estimate."""
    times = [saved_us(ceilings, metric) for metric in metrics]
    return {
        "saved_bytes": sum(metric.get("bytes", 0) for metric in metrics),
        "saved_dispatches": sum(metric.get("dispatches", 0) for metric in metrics),
        "saved_us": _sum(times),
    }


def _missed(trace: Trace) -> list[Record]:
    """Refused fusions, by what each would have saved; `us` is the measured time of the nodes that stayed apart."""
    times, ceilings = node_us(trace), Ceilings.of(trace.measured)
    rows = [
        {
            "id": remark["id"],
            "reason": remark["reason"],
            "nodes": remark["nodes"],
            "us": _sum(times.get(node) for node in remark["nodes"]),
            "suggest": remark.get("suggest", ""),
            "pass": remark.get("pass", ""),
            **_saved(ceilings, [remark["metric"]] if remark.get("metric") else []),
        }
        for remark in trace.remarks
        if remark["kind"] == "missed" and remark["id"].startswith(FUSION_REMARKS) and remark["id"][:7] not in SPLITS
    ]
    return sorted(rows, key=lambda row: (-(row["saved_us"] or 0), -(row["us"] or 0), row["id"], row["nodes"]))


def refusals(missed: list[Record]) -> list[Record]:
    """Refusals of one id as one row, the costliest first: `{id, rows, saved_us}`; its own rows stand in their order."""
    groups: dict[str, list[Record]] = {}
    for row in missed:
        groups.setdefault(row["id"], []).append(row)
    found = [{"id": id, "rows": rows, "saved_us": _sum(row["saved_us"] for row in rows)} for id, rows in groups.items()]
    return sorted(found, key=lambda group: (-(group["saved_us"] or 0), -(group["rows"][0]["us"] or 0)))


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
