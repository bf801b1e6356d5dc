"""The report as text: an answer of at most 12 lines, then the evidence; at most 40 lines in all unless asked for more.

Every line is built as one line, so what is promised here about their number holds at any width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.text import Text

from tstorch.report import evidence, headline
from tstorch.trace.schema import Record

HEADLINE_LINES = 12
REPORT_LINES = 40


def headline_lines(report: Record) -> list[Text]:
    """The answer: at most `HEADLINE_LINES` lines."""
    return list(_styled(headline.rows(report)))[:HEADLINE_LINES]


def report_lines(report: Record, *, full: bool = False) -> list[Text]:
    """The lines of the report, without line breaks; at most `REPORT_LINES` of them unless `full`."""
    lines = [*headline_lines(report), Text()]
    lines += _styled(evidence.rows(report, full=full))
    return lines if full else lines[:REPORT_LINES]


def print_report(report: Record, console: Console, *, full: bool = False) -> None:
    """Writes the report to `console`, every line whole: what a narrow terminal wraps, it does not hide."""
    for line in report_lines(report, full=full):
        console.print(line, soft_wrap=True)


def _styled(rows: Iterable[tuple[str, str]]) -> Iterator[Text]:
    for label, text in rows:
        yield Text.assemble((f"{label:<28}", "bold"), text)
