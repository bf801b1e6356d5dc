"""Where the host waits for bytes of the device: each synchronisation with its tensors, bytes, cost and cause."""

from __future__ import annotations

from tstorch.trace.schema import Record, Trace

OUTPUTS = "the caller gets the outputs"
SUBMISSION = "another submission, without a look"


def device_waits(trace: Trace) -> list[Record]:
    """`{part, tensors, bytes, cause, us}` of each time that data comes to the host in one run, in order.

    `part` is the part of a run in which it lies. What decides how a program goes on is part of `sync`, the outputs are
    the `readback`. `bytes` and `us` are None where they are not known.
    """
    found = trace.measured.get("synchronisations") or {}
    looks = found.get("each", ())
    rows = [{"part": "sync", **{key: look.get(key) for key in ("tensors", "bytes", "cause", "us")}} for look in looks]
    if other := found.get("other_us"):
        rows.append({"part": "sync", "tensors": [], "bytes": 0, "cause": SUBMISSION, "us": other})
    if outputs := trace.header.get("outputs"):
        sizes = [output["bytes"] for output in outputs]
        whole = None if None in sizes else sum(sizes)
        us = trace.measured["parts_us"].get("readback")
        names = [output["name"] for output in outputs]
        rows.append({"part": "readback", "tensors": names, "bytes": whole, "cause": OUTPUTS, "us": us})
    return rows
