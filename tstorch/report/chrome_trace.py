"""A measured program as Chrome trace JSON, which Perfetto and Chrome's tracing page open.

Shown is the mean run: its parts end to end on the host's track, its dispatches end to end on the GPU's, and on a third
track the stages of the cold start. Every event has ph, ts, dur, pid and tid, and no two slices of a track overlap.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from tstorch.diagnostics import write_text_atomically
from tstorch.trace.join import node_shares, timed_dispatches
from tstorch.trace.schema import Record, Trace

PROCESS = 1
HOST, GPU, COLD = 1, 2, 3
TRACKS = {HOST: "one run: host", GPU: "one run: GPU", COLD: "cold start"}


def write_chrome_trace(trace: Trace, path: str | Path) -> None:
    """Writes the events to `path`, whole or not at all. Raises `DiagnosticError` where the file cannot be written."""
    write_text_atomically(Path(path), json.dumps(chrome_trace(trace), indent=1, allow_nan=False) + "\n")


def chrome_trace(trace: Trace) -> Record:
    """The object that the file holds; times are microseconds, as the format wants them."""
    parts = {name: us for name, us in trace.measured["parts_us"].items() if name != "whole"}
    host = list(_end_to_end(HOST, ((name, us, {}) for name, us in parts.items())))
    gpu_begin = next((event["ts"] for event in host if event["name"] == "gpu"), 0.0)
    gpu = _end_to_end(GPU, (_dispatch(dispatch) for dispatch in timed_dispatches(trace)), gpu_begin)
    cold = _end_to_end(COLD, ((stage["name"], 1e3 * stage["ms"], {}) for stage in trace.stages))
    return {
        "traceEvents": [*_names(), *host, *gpu, *cold],
        "displayTimeUnit": "ms",
        "otherData": {
            "fingerprint": trace.fingerprint,
            "model": trace.header["model"]["path"],
            "adapter": trace.header["adapter"]["name"],
            "timing": trace.measured["timing"]["quality"],
        },
    }


def _dispatch(dispatch: Record) -> tuple[str, float | None, Record]:
    detail = {key: dispatch[key] for key in ("id", "kernel", "grid", "bytes", "flops")}
    return dispatch.get("label") or dispatch["kernel"], dispatch.get("us"), detail | {"nodes": node_shares(dispatch)}


def _end_to_end(track: int, slices: Iterable[tuple[str, float | None, Record]], begin: float = 0.0) -> Iterator[Record]:
    """Complete events one after another; what took no time, was not timed or is negative has no place on a timeline."""
    for name, us, detail in slices:
        if us is not None and us > 0:
            yield {"ph": "X", "name": name, "ts": begin, "dur": us, "pid": PROCESS, "tid": track, "args": detail}
            begin += us


def _names() -> Iterator[Record]:
    for track, name in TRACKS.items():
        common = {"ph": "M", "ts": 0, "dur": 0, "pid": PROCESS, "tid": track}
        yield common | {"name": "thread_name", "args": {"name": name}}
