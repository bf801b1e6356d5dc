"""Whether the model runs on this machine, and what speaks against it. About other machines nothing is claimed."""

from __future__ import annotations

from tstorch.trace.schema import Record, Trace


def verdict(trace: Trace) -> Record:
    """`{status, reasons}`: a measured program RUNS here, unless its answer was checked and is wrong.

    Each reason has rule, node, value, limit and change (what would help), as `tstorch-fit` will print them.
    """
    reasons = _wrong_outputs(trace)
    return {"status": "WONT-RUN" if reasons else "RUNS", "reasons": reasons}


def _wrong_outputs(trace: Trace) -> list[Record]:
    check = trace.measured.get("check") or {}
    return [
        {
            "rule": f"output within tolerance of {row['reference']}",
            "node": row["output"],
            "value": row["error"],
            "limit": check["tolerance"],
            "change": "report it with the model and this trace: the answer is wrong",
        }
        for row in check.get("outputs", ())
        if not row["ok"]
    ]
