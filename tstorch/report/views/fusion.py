"""What was fused and what that saves; every refusal with what it costs, by reason, and what a user could change."""

from __future__ import annotations

from tstorch.report.fusion import fusion_section, refusals
from tstorch.report.names import few
from tstorch.report.units import bytes_text, time_text
from tstorch.report.views.base import View, columns
from tstorch.trace.schema import Record, Trace

DONE = 10
KINDS = 8
EXAMPLES = 2
ESTIMATE = (
    "what is saved is an estimate: bytes not moved and dispatches not launched, at the measured ceilings "
    "(tstorch-run --no-fuse NODE measures it)"
)


def view(trace: Trace) -> View:
    """Both sides of the fusion passes, on one screen; all of it as data."""
    section = fusion_section(trace)
    done, groups = section["done"], refusals(section["missed"])
    lines = ["fused", *_done(done[:DONE]), *_more(done, DONE, "kinds")]
    lines += ["", "declined, by what it costs", *_declined(groups[:KINDS]), *_more(groups, KINDS, "reasons")]
    data = section | {"refusals": groups, "estimates": trace.estimates, "unfused": trace.measured.get("unfused")}
    return View(data, [*lines, "", ESTIMATE])


def _done(done: list[Record]) -> list[str]:
    rows = [
        [
            time_text(row["us"]),
            str(row["occurrences"]),
            _worth(row),
            bytes_text(row["saved_bytes"]),
            str(row["saved_dispatches"]),
            f"{row['label']}: {few(row['nodes'][0], 3)}",
        ]
        for row in done
    ]
    return columns(["time", "x", "saves", "bytes", "disp.", "kind, and the nodes of the first"], rows)


def _declined(groups: list[Record]) -> list[str]:
    """A line a reason, with all that it costs, and its costliest cases."""
    rows = []
    for group in groups:
        cases = group["rows"]
        rows.append(
            [_worth(group), str(len(cases)), group["id"], cases[0]["suggest"] or "nothing that a user can change"]
        )
        rows += [[_worth(case), "", "", f"  {case['reason']}: {few(case['nodes'], 2)}"] for case in cases[:EXAMPLES]]
    return columns(["would save", "x", "remark", "what would change it; where, and why"], rows)


def _worth(row: Record) -> str:
    return "unknown" if row["saved_us"] is None else time_text(row["saved_us"])


def _more(rows: list[Record], limit: int, what: str) -> list[str]:
    return [f"and {len(rows) - limit} more {what} (--json)"] if len(rows) > limit else []
