"""What every view is made of: data for programs, lines for people, and columns that line up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

BAR = 30


@dataclass(frozen=True)
class View:
    """One answer about a trace: `data` is what `--json` prints, `lines` what a terminal shows, each a whole line."""

    data: Any
    lines: list[str]


def columns(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> list[str]:
    """Lines of a table: the last `left` columns start where they start, all others end below each other."""
    table = [list(header), *(list(row) for row in rows)]
    ends = len(header) - left
    widths = [max(len(row[at]) for row in table) for at in range(len(header))]
    return ["  ".join(_cell(row[at], widths[at], at < ends) for at in range(len(header))).rstrip() for row in table]


def bar(part: float | None, whole: float | None, width: int = BAR) -> str:
    """A bar as long as the part of the whole; empty where either is not known."""
    if not part or not whole or part < 0:
        return ""
    return "#" * max(1, round(width * min(part / whole, 1.0)))


def _cell(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)
