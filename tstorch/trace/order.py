"""Which dispatches may overlap the one before, and which buffer makes the others wait.

WebGPU orders dispatches of a pass by the buffers that they bind: two that share one, at least one of them writing, run
one after the other. Where their views do not overlap, nothing but the sharing makes them wait.
"""

from __future__ import annotations

from itertools import pairwise

from tstorch.trace.join import timed_dispatches
from tstorch.trace.schema import Record, Trace


def serialised_by(trace: Trace) -> list[Record]:
    """One row a dispatch of a run: `{dispatch, cause, buffer}`.

    `cause` is `first`; `free` (it may overlap the one before); `needs` (it reads or overwrites what that one wrote, or
    overwrites what it read); `shares` (they bind one buffer, at different places). Traces before bindings were recorded
    give no rows.
    """
    names = {buffer["id"]: buffer["name"] for buffer in trace.buffers}
    dispatches = timed_dispatches(trace)
    if not dispatches or any("bindings" not in dispatch for dispatch in dispatches):
        return []
    rows: list[Record] = [{"dispatch": dispatches[0]["id"], "cause": "first", "buffer": None}]
    for before, after in pairwise(dispatches):
        cause, buffer = _between(before["bindings"], after["bindings"])
        rows.append({"dispatch": after["id"], "cause": cause, "buffer": None if buffer is None else names.get(buffer)})
    return rows


def _between(before: list[Record], after: list[Record]) -> tuple[str, int | None]:
    shared: int | None = None
    for old in before:
        for new in after:
            if old["buffer"] != new["buffer"] or {old["access"], new["access"]} == {"read"}:
                continue
            if _overlap(old, new):
                return "needs", old["buffer"]
            shared = old["buffer"]
    return ("free", None) if shared is None else ("shares", shared)


def _overlap(a: Record, b: Record) -> bool:
    return a["offset"] < b["offset"] + b["bytes"] and b["offset"] < a["offset"] + a["bytes"]
