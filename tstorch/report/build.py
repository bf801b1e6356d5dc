"""The report as one JSON object (`tstorch-report/1`), computed from a trace alone; `docs/report.md` has each key."""

from __future__ import annotations

from typing import Any

from tstorch.report.fusion import fusion_section
from tstorch.report.verdict import verdict
from tstorch.trace.bounds import Ceilings, limit_of
from tstorch.trace.join import alive, by_kernel, leader, node_shares, node_us, timed_dispatches, total_us
from tstorch.trace.schema import Record, Trace

SCHEMA = "tstorch-report/1"

# The parts of a light run, in the order in which they happen (DESIGN 6): they and nothing else add up to `whole`.
PARTS = ("handoff", "upload", "encode", "submit", "launch", "gpu", "sync", "readback", "unattributed")
ON_TYPES = "TST-T"
COLD_STAGES = (
    "import", "device", "passes", "codegen", "pipelines", "upload", "init", "specialise", "first_run", "unattributed",
)  # fmt: skip


def build_report(trace: Trace) -> Record:
    """The whole report on one measured program."""
    header, measured = trace.header, trace.measured
    return {
        "schema": SCHEMA,
        "fingerprint": trace.fingerprint,
        "model": header["model"],
        "dims": header.get("dims", {}),
        "inputs": header.get("inputs", []),
        "target": header["target"],
        "adapter": header["adapter"],
        "verdict": verdict(trace),
        "classes": measured.get("classes", []),
        "check": measured.get("check"),
        "notes": _notes(trace),
        "latency_ms": measured["latency_ms"],
        "cold_ms": {stage["name"]: stage["ms"] for stage in trace.stages} | {"total": _cold_total(trace)},
        "cold_busy_ms": {stage["name"]: stage["busy_ms"] for stage in trace.stages if "busy_ms" in stage},
        "parts_us": measured["parts_us"],
        "timing": measured["timing"],
        "ceilings": measured.get("ceilings"),
        "dispatches": sum(row.get("runs", 1) for row in timed_dispatches(trace)),
        "submitted": measured["submitted"],
        "synchronisations": measured.get("synchronisations"),
        "specialised": measured.get("specialised", []),
        "dispatch_table": [_dispatch_row(dispatch) for dispatch in timed_dispatches(trace)],
        "kernels": _kernel_rows(trace),
        "nodes": _node_rows(trace),
        "fusion": fusion_section(trace),
        "memory": measured["memory"],
        "live_at_peak": live_at_peak(trace),
    }


def _notes(trace: Trace) -> list[str]:
    """What was found out about the numbers that the model computes with, each once."""
    found = (remark for remark in trace.remarks if remark["kind"] == "analysis" and remark["id"].startswith(ON_TYPES))
    return list(dict.fromkeys(remark["reason"] for remark in found))


def _cold_total(trace: Trace) -> float:
    return sum(stage["ms"] for stage in trace.stages)


def _dispatch_row(dispatch: Record) -> Record:
    return {
        "id": dispatch["id"],
        "kernel": dispatch["kernel"],
        "label": dispatch.get("label", ""),
        "us": dispatch.get("us"),
        "grid": dispatch["grid"],
        "leader": leader(dispatch),
        "nodes": dispatch["shares"],
    }


def _kernel_rows(trace: Trace) -> list[Record]:
    """One row a kernel, slowest first; untimed kernels by what they move."""
    ceilings = Ceilings.of(trace.measured)
    facts = {kernel["name"]: kernel for kernel in trace.kernels}
    rows = [_kernel_row(facts.get(name, {"name": name}), each, ceilings) for name, each in by_kernel(trace).items()]
    return sorted(rows, key=lambda row: (-(row["us"] or 0), -row["bytes"], row["name"]))


def _kernel_row(kernel: Record, dispatches: list[Record], ceilings: Ceilings | None) -> Record:
    us = total_us(dispatches)
    limit = limit_of(ceilings, dispatches, kernel, us)
    return {
        "name": kernel["name"],
        "label": dispatches[0].get("label", ""),
        "us": us,
        "dispatches": sum(row.get("runs", 1) for row in dispatches),
        "nodes": list(dict.fromkeys(node for dispatch in dispatches for node in node_shares(dispatch))),
        "bytes": sum(row.get("runs", 1) * row["bytes"] for row in dispatches),
        "flops": sum(row.get("runs", 1) * row["flops"] for row in dispatches),
        "bound": limit.bound,
        "roof_us": limit.roof_us,
        "share_of_ceiling": limit.share,
        "saves_us": limit.saves_us,
    }


def _node_rows(trace: Trace) -> list[Record]:
    """Every node of the model in the model's order: its time (an estimate where fused), or where else it went."""
    times = node_us(trace)
    return [
        {
            "id": node["id"],
            "op_type": node.get("op_type", ""),
            "module": node.get("module", ""),
            "source": node.get("source", ""),
            "us": times.get(node["id"]),
            "where": node["where"],
            "reason": node.get("reason", ""),
        }
        for node in trace.nodes
    ]


def live_at_peak(trace: Trace) -> dict[str, Any]:
    """The dispatch at which most bytes of activations are live, and the tensors that are."""
    if not trace.timeline:
        return {"dispatch": None, "live_bytes": 0, "tensors": []}
    at, peak = max(enumerate(trace.timeline), key=lambda each: each[1]["live_bytes"])
    tensors = [{"name": trace.tensors[n]["name"], "bytes": trace.tensors[n]["bytes"]} for n in alive(trace)[at]]
    tensors.sort(key=lambda tensor: -tensor["bytes"])
    return {"dispatch": peak["dispatch"], "live_bytes": peak["live_bytes"], "tensors": tensors}
