"""The cold start, stage by stage: time on the critical path, which adds up, beside each stage's own."""

from __future__ import annotations

from tstorch.report.build import build_report
from tstorch.report.units import ms_text, share_text
from tstorch.report.views.base import View, bar, columns
from tstorch.trace.schema import Trace


def view(trace: Trace) -> View:
    """From the start of loading to the first result."""
    report = build_report(trace)
    cold, busy = report["cold_ms"], report["cold_busy_ms"]
    total = cold["total"]
    stages = [
        {"stage": name, "ms": ms, "busy_ms": busy.get(name), "share": ms / total if total else None}
        for name, ms in cold.items()
        if name != "total"
    ]
    rows = [
        [
            ms_text(row["ms"]),
            share_text(row["share"]),
            ms_text(row["busy_ms"]) if row["busy_ms"] is not None else "-",
            f"{row['stage'].replace('_', ' '):<13} {bar(row['ms'], total)}".rstrip(),
        ]
        for row in stages
    ]
    note = "what a stage worked beyond its time on the path went on beside other stages"
    lines = columns(["on the path", "share", "worked", "stage"], [*rows, [ms_text(total), "", "", "total"]])
    return View({"total_ms": total, "stages": stages}, [*lines, note])
