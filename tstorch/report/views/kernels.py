"""Every kernel, the slowest first: what bounds it, how near it comes to that, and what closing the gap would save."""

from __future__ import annotations

from tstorch.report.build import build_report
from tstorch.report.names import few, node_names
from tstorch.report.units import bytes_text, count_text, share_text, time_text
from tstorch.report.views.base import View, columns
from tstorch.trace.order import serialised_by
from tstorch.trace.schema import Record, Trace

HEADER = ["time", "of gpu", "x", "bytes", "work", "bound", "of it", "could save", "kernel"]


def view(trace: Trace) -> View:
    """One row a kernel, then which dispatches wait for which, and through what buffer."""
    report = build_report(trace)
    names, whole = node_names(report), _sum(report["kernels"])
    data = report["kernels"]
    rows = [
        [
            time_text(row["us"]),
            share_text(row["us"], whole),
            str(row["dispatches"]),
            bytes_text(row["bytes"]),
            count_text(row["flops"], "FLOP"),
            row["bound"] or "-",
            share_text(row["share_of_ceiling"]),
            time_text(row["saves_us"]) if row["saves_us"] is not None else "-",
            f"{row['name']}, {row['label']}: {few([names.get(node) or node for node in row['nodes']], 2)}",
        ]
        for row in data
    ]
    order = serialised_by(trace)
    return View({"kernels": data, "order": order}, [*columns(HEADER, rows), "", *_order(order)])


def _sum(kernels: list[Record]) -> float | None:
    times = [kernel["us"] for kernel in kernels]
    return None if not times or None in times else sum(times)


def _order(rows: list[Record]) -> list[str]:
    """How many dispatches may overlap the one before, and what makes the others wait, by cause and buffer."""
    causes: dict[tuple[str, str], int] = {}
    for row in rows:
        key = (row["cause"], row["buffer"] or "")
        causes[key] = causes.get(key, 0) + 1
    words = {
        "free": "may overlap the one before",
        "needs": "need what the one before wrote, through",
        "shares": "wait only because a buffer is shared, not for its data:",
        "first": "is the first",
    }
    ranked = sorted(causes.items(), key=lambda item: -item[1])
    return [f"{count:>5} {words[cause]} {buffer}".rstrip() for (cause, buffer), count in ranked]
