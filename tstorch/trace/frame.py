"""A trace as a table for pandas: one row a dispatch, which is the unit that was measured."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tstorch.diagnostics import DiagnosticError
from tstorch.trace.join import leader, node_shares
from tstorch.trace.schema import Trace

COLUMNS = ("entry", "kernel", "label", "us", "median_us", "mad_us", "runs", "bytes", "flops", "leader", "nodes")
"""The columns behind the index `id`; times are microseconds, NaN where not measured."""


def to_dataframe(trace: Trace) -> Any:
    """A pandas.DataFrame, one row a dispatch, those of `init` too. Raises DiagnosticError without pandas."""
    try:
        pandas = import_module("pandas")
    except ImportError as error:
        raise DiagnosticError(
            "a data frame needs pandas, which is not installed: pip install 'tstorch[pandas]'"
        ) from error
    rows = [_row(dispatch) for dispatch in trace.dispatches]
    frame = pandas.DataFrame(rows, columns=["id", *COLUMNS]).set_index("id")
    return frame.astype(dict.fromkeys(("us", "median_us", "mad_us"), float))


def _row(dispatch: dict[str, Any]) -> dict[str, Any]:
    whole = {"id": dispatch["id"], "runs": dispatch.get("runs", 1), "leader": leader(dispatch)}
    nodes = {"nodes": ", ".join(node_shares(dispatch))}
    return {name: dispatch.get(name) for name in COLUMNS} | whole | nodes
