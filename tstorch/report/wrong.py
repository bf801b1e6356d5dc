"""Where a wrong answer comes from, in a few lines: what `--check` found when it looked for the first wrong node."""

from __future__ import annotations

from tstorch.report.names import few
from tstorch.report.units import bytes_text
from tstorch.trace.schema import Record

INPUTS = 3


def first_wrong(first: Record) -> list[str]:
    """The evidence: how wrong, what it reads, what it is fused with, and how much was looked at."""
    lines = [
        f"'{first['tensor']}' of '{first['node']}' ({first['op_type']}): {_error(first)} against {first['reference']}"
    ]
    reads = [f"'{row['tensor']}' {_error(row)}" for row in first["inputs"]]
    lines.append(f"it reads {few(reads, INPUTS)}" if reads else "it reads no tensor of another node")
    fused = first["fused"]
    if first["kernel"]:
        lines.append(f"kernel {first['kernel']}" + (f", which fuses {few(fused, 6)}" if len(fused) > 1 else ""))
    if first["gone"]:
        lines.append(f"no dispatch serves the node: {first['gone']}")
    if first["hidden"]:
        lines.append(f"right once {few(first['hidden'])} is given out: the fault is in the kernel that fuses it away")
    bound = bytes_text(first["most_bytes"])
    return [*lines, f"{first['compared']} results compared in {first['rounds']} rounds, at most {bound} at once"]


def _error(row: Record) -> str:
    return "not comparable" if row["error"] is None else f"error {row['error']:.1e}"
