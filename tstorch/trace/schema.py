"""What a trace holds: one measured program, complete enough to report on without a GPU or the model.

A trace is a header and some kinds of records (`RECORDS`), each a plain JSON object. Readers ignore keys and kinds that
they do not know, and refuse a newer major version of the schema. `docs/trace.md` describes each record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tstorch.diagnostics import DiagnosticError

SCHEMA = "tstorch-trace/1"

Record = dict[str, Any]


class TraceError(DiagnosticError):
    """A trace that cannot be read, or does not belong to the program at hand."""


@dataclass
class Trace:
    """One measured program. Times are microseconds unless a key says `_ms` or `_ns`; sizes are bytes."""

    header: Record
    nodes: list[Record] = field(default_factory=list)
    kernels: list[Record] = field(default_factory=list)
    dispatches: list[Record] = field(default_factory=list)
    buffers: list[Record] = field(default_factory=list)
    tensors: list[Record] = field(default_factory=list)
    timeline: list[Record] = field(default_factory=list)
    stages: list[Record] = field(default_factory=list)
    runs: list[Record] = field(default_factory=list)
    remarks: list[Record] = field(default_factory=list)
    allocations: list[Record] = field(default_factory=list)
    estimates: list[Record] = field(default_factory=list)
    measured: Record = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the artifact that was measured."""
        return self.header["fingerprint"]

    def to_dataframe(self) -> Any:
        """A pandas.DataFrame, one row a dispatch; pandas is an optional extra. Raises DiagnosticError without it."""
        from tstorch.trace.frame import to_dataframe

        return to_dataframe(self)


# The kinds of records in the order in which a file holds them: the name in the file, and the field they fill.
RECORDS = {
    "node": "nodes",
    "kernel": "kernels",
    "dispatch": "dispatches",
    "buffer": "buffers",
    "tensor": "tensors",
    "live": "timeline",
    "stage": "stages",
    "run": "runs",
    "remark": "remarks",
    "alloc": "allocations",
    "estimate": "estimates",
}

# What a record of each kind cannot do without; the rest is optional, or unknown to this version.
REQUIRED = {
    "header": frozenset({"fingerprint", "model", "target", "adapter"}),
    "node": frozenset({"id", "where"}),
    "dispatch": frozenset({"id", "entry", "kernel", "grid", "bytes", "flops", "nodes", "shares"}),
    "tensor": frozenset({"name", "bytes"}),
    "live": frozenset({"dispatch", "live_bytes", "tensors"}),
    "stage": frozenset({"name", "ms"}),
    "remark": frozenset({"id", "kind", "reason", "nodes"}),
    "measured": frozenset({"latency_ms", "parts_us", "timing", "submitted", "memory"}),
}
