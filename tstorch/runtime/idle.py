"""A single run on an idle device: what a user feels who runs once, by its parts."""

import time
from collections.abc import Callable, Mapping
from statistics import median_low
from typing import Any

PAUSE_SECONDS = {"cpu": 0.2, "integrated": 2.0, "discrete": 2.0}
_SEVERAL = 3
_CHEAP_SECONDS = 1.0

Parts = Mapping[str, float]


def measure_idle(pause: float, run: Callable[[], Parts | None], sentinel: Callable[[], float]) -> dict[str, Any] | None:
    """Runs after pauses of so many seconds, and the sentinel after one: microseconds; None without a pause or a clock.

    `run` gives the parts of a light run and its `whole`, `sentinel` the time of the sentinel, both in nanoseconds.
    Several runs are made where they and their pauses are short.
    """
    if not pause:
        return None
    begin, runs = time.perf_counter(), []
    while not runs or (len(runs) < _SEVERAL and time.perf_counter() - begin < _CHEAP_SECONDS):
        time.sleep(pause)
        if (parts := run()) is None:
            return None
        runs.append({name: ns / 1e3 for name, ns in parts.items()})
    time.sleep(pause)
    clock = sentinel() / 1e3
    typical = median_low(run["whole"] for run in runs)
    parts = next(run for run in runs if run["whole"] == typical)
    return {"pause_s": pause, "sentinel_us": clock, "parts_us": parts, "runs": runs}
