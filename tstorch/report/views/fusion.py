"""What was fused, from which nodes, and every refusal, ranked by the time of the nodes that stayed apart."""

from __future__ import annotations

from tstorch.report.fusion import fusion_section
from tstorch.report.names import few
from tstorch.report.units import time_text
from tstorch.report.views.base import View, columns
from tstorch.trace.schema import Trace


def view(trace: Trace) -> View:
    """Both sides of the fusion passes."""
    section = fusion_section(trace)
    done = [
        [time_text(row["us"]), str(row["occurrences"]), f"{row['label']}: {few(row['nodes'][0], 4)}"]
        for row in section["done"]
    ]
    missed = [
        [
            time_text(row["us"]) if row["us"] is not None else "untimed",
            row["id"],
            f"{row['reason']}: {few(row['nodes'], 3)}" + (f"; {row['suggest']}" if row["suggest"] else ""),
        ]
        for row in section["missed"]
    ]
    lines = ["fused", *columns(["time", "x", "kind, and the nodes of the first"], done), ""]
    return View(section, [*lines, "declined", *columns(["time", "remark", "why, and at which nodes"], missed)])
