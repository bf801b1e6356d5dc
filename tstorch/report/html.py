"""The report as one page that needs nothing else: no network, no other file. Charts are drawn by Apache ECharts.

The page is `page/page.html` with its style and scripts put in; what it shows is one JSON object, the report's own
figures and what the charts need beside them.
"""

from __future__ import annotations

import json
import re
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from tstorch.diagnostics import write_text_atomically
from tstorch.report import headline
from tstorch.report.views import modules, summary
from tstorch.trace.join import alive, timed_dispatches
from tstorch.trace.schema import Record, Trace
from tstorch.trace.statistics import Spread

SCRIPTS = ("units.js", "tables.js", "charts.js", "main.js")


def write_html(trace: Trace, path: str | Path) -> None:
    """Writes the page to `path`, whole or not at all. Raises `DiagnosticError` where the file cannot be written."""
    write_text_atomically(Path(path), html_page(trace))


def html_page(trace: Trace) -> str:
    """The page as text."""
    parts = {
        "title": escape(f"{trace.header['model']['path']}: TSTorch"),
        "style": _page("page.css"),
        "data": _json(page_data(trace)),
        "echarts": _page("echarts/echarts.min.js"),
        "script": "\n".join(_page(name) for name in SCRIPTS),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _page("page.html"))


def page_data(trace: Trace) -> Record:
    """What the page shows: the report, and beside it every run, the work of each dispatch, modules and live tensors."""
    report = summary.view(trace).data
    return {
        "report": report,
        "words": _words(report),
        "runs_ms": list(Spread.of(trace).times),
        "work": [[row["bytes"], row["flops"]] for row in timed_dispatches(trace)],
        "modules": modules.view(trace).data,
        "tensors": [{"name": row["name"], "bytes": row["bytes"]} for row in trace.tensors],
        "moments": [
            {**moment, "tensors": tensors} for moment, tensors in zip(trace.timeline, alive(trace), strict=True)
        ],
    }


def _words(report: Record) -> Record:
    """What the terminal says in words, so that the page says the same."""
    return {
        "timing": headline.timing_text(report["timing"]),
        "here": headline.here_text(report),
        "classes": [headline.evidence_text(fit) for fit in report["classes"]],
    }


def _json(data: Any) -> str:
    """JSON that no name in it can end: a script ends at the first `</`."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _page(name: str) -> str:
    return (files("tstorch.report") / "page" / name).read_text(encoding="utf-8")
