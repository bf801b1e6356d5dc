"""A single run on an idle device beside the steady ones, and where its time went."""

from __future__ import annotations

from tstorch.report.units import ms_text, time_text
from tstorch.trace.schema import Record, Trace

HOST = ("handoff", "upload", "encode", "submit", "sync", "readback")


def idle_run(trace: Trace) -> Record | None:
    """The run after a pause against the mean light run, in microseconds; None where none was made.

    `whole` and `steady` are the two, and their difference is the sum of `clock` (what the slower clock makes of the
    steady GPU time), `caches` (what else the GPU took more), `host` (the host's own parts) and `waking` (waiting that
    no part explains: threads and devices that wake up).
    """
    idle, steady = trace.measured.get("idle"), trace.measured["parts_us"]
    if not idle or not steady.get("whole"):
        return None
    parts = idle["parts_us"]
    gpu = parts["gpu"] - steady["gpu"]
    slower = max(idle["clock"] or 0.0, 0.0) * steady["gpu"]
    clock = min(slower, gpu) if gpu > 0 else 0.0
    host = sum(parts[name] - steady[name] for name in HOST)
    whole = parts["whole"] - steady["whole"]
    return {
        "pause_s": idle["pause_s"],
        "whole": parts["whole"],
        "steady": steady["whole"],
        "clock": clock,
        "caches": gpu - clock,
        "host": host,
        "waking": whole - gpu - host,
        "clock_drift": idle["clock"],
    }


def idle_lines(trace: Trace) -> list[str]:
    """One line on the run after a pause, and one on the first run of all."""
    lines = []
    if found := idle_run(trace):
        words = {"clock": "lower clock", "caches": "caches to fill", "host": "host", "waking": "waking up"}
        parts = ", ".join(f"{word} {_signed(found[name])}" for name, word in words.items())
        lines.append(
            f"a single run after {found['pause_s']:g} s of idling takes {time_text(found['whole'])}, "
            f"{found['whole'] / found['steady']:.2f} x the steady one ({time_text(found['steady'])}): {parts}"
        )
    first = next((stage["ms"] for stage in trace.stages if stage["name"] == "first_run"), None)
    if first:
        lines.append(f"the first run after loading took {ms_text(first)}: memory touched for the first time")
    return lines


def _signed(us: float) -> str:
    return f"{'+' if us >= 0 else '-'}{time_text(abs(us))}"
