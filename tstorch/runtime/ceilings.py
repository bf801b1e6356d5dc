"""What an adapter can do at most, measured by short kernels: copies by working set, arithmetic, launches, chains.

Each is the shortest of several tries, kept for adapter and driver. A try can only be too long: what else the machine
did adds to it. So a later measurement is merged with what is kept, and the faster of the two stays.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tstorch.runtime.instruments import Probe, scratch, words
from tstorch.runtime.recorder import Recorder

SETS = tuple(1 << power for power in range(14, 29, 2))
"""Working sets of the copies in bytes, what is read and what is written together: 16 KiB to 256 MiB."""
_LARGEST = {"cpu": 64 << 20, "integrated": 256 << 20, "discrete": 256 << 20}
_COPY_BLOCK = 256 * 16  # bytes that one workgroup copies
_CHAIN_BYTES = 8 << 20  # small copies are repeated until a try moves as much
_LONGEST_CHAIN = 64
_FMA_ROUNDS = {"cpu": 1, "integrated": 50, "discrete": 1000}
_FMA_GROUPS = 1056
_ROUNDS_ALONE = 64  # so that one workgroup's work is long beside a launch
_FLOPS_PER_ROUND = 2 * 256
_STEPS = 4096
_LEAST_TRIES, _MOST_TRIES = 4, 15
_SECONDS = 0.06  # for the tries of one figure
_BUSY = 0.5  # load for each CPU from which on an adapter of class cpu is not measured for good


def measure_ceilings(recorder: Recorder, cache: Path | None = None, *, again: bool = False) -> dict[str, Any]:
    """The ceilings of this adapter and driver, as docs/profile.md has them.

    Read from the file `cache` where it holds them, and measured where it does not, where `again` asks for it, or where
    the machine was busy when they were measured. What was known and what is measured are merged into the cache.
    """
    cache = cache or user_cache() / "ceilings.json"
    info = recorder.device.info
    key = f"{info.name}|{info.backend}|{info.driver}"
    known = _read(cache)
    old = known.get(key, {})
    if "copy" in old and not old.get("busy") and not again:
        return {**old, "cached": True}
    found = better(old, _measure(recorder))
    _write(cache, {**known, key: found})
    return {**found, "cached": False}


def better(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The faster of two measurements of one adapter, figure by figure; busy only if both were."""
    if "copy" not in old:
        return dict(new)
    times = {row["bytes"]: row["us"] for row in old["copy"]}
    copy = [{"bytes": row["bytes"], "us": min(row["us"], times.get(row["bytes"], row["us"]))} for row in new["copy"]]
    alone = max(old["alone_gflop_s"], new["alone_gflop_s"])
    whole = max(old["fma_gflop_s"], new["fma_gflop_s"])
    launch, step = (min(old[name], new[name]) for name in ("launch_us", "step_us"))
    return _table(copy, whole, alone, launch, step, busy=old.get("busy", False) and new["busy"])


def user_cache() -> Path:
    """Where this system keeps what programs can make again."""
    if sys.platform == "win32":
        return Path.home() / "AppData" / "Local" / "tstorch"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "tstorch"
    return Path.home() / ".cache" / "tstorch"


def _measure(recorder: Recorder) -> dict[str, Any]:
    busy = _is_busy(recorder.device.info.device_class)
    whole, alone = (_fma_rate(recorder, groups) for groups in (_FMA_GROUPS, 1))
    return _table(_copies(recorder), whole, alone, _launch(recorder), _step(recorder), busy=busy)


def _table(
    copy: list[dict[str, Any]], whole: float, alone: float, launch: float, step: float, *, busy: bool
) -> dict[str, Any]:
    whole = max(whole, alone)
    launch = min(launch, copy[0]["us"])  # the least of copies is a launch and something more
    rows = [{"bytes": row["bytes"], "us": row["us"], "gb_s": _bandwidth(row, launch)} for row in copy]
    return {
        "copy": rows,
        "copy_gb_s": rows[-1]["gb_s"],
        "fma_gflop_s": whole,
        "alone_gflop_s": alone,
        # One workgroup keeps one unit busy; the whole device does as many times its work as it has units.
        "units": max(1, round(whole / alone)),
        "launch_us": launch,
        "step_us": step,
        "busy": busy,
    }


def _bandwidth(row: Mapping[str, Any], launch: float) -> float:
    """GB/s of a copy without its launch, which counts for half of it at most: the rest of a difference is noise."""
    return row["bytes"] / max(row["us"] - launch, row["us"] / 2) / 1e3


def _is_busy(device_class: str) -> bool:
    """Whether others use the cores that this adapter computes on; of a GPU of its own nothing tells."""
    if device_class != "cpu" or not hasattr(os, "getloadavg"):
        return False
    return os.getloadavg()[0] > _BUSY * (os.cpu_count() or 1)


def _copies(recorder: Recorder) -> list[dict[str, Any]]:
    """Microseconds of a copy with each working set, as one of a chain."""
    device = recorder.device
    most = min(_LARGEST[device.info.device_class], 2 * device.limits["max_storage_buffer_binding_size"])
    sets = [size for size in SETS if size <= most]
    buffers = [scratch(device, sets[-1] // 2) for _ in range(2)]
    probe = Probe(recorder, "copy", buffers, (1, 1, 1))
    rows = []
    for size in sets:
        chain = max(1, min(_LONGEST_CHAIN, _CHAIN_BYTES // size))
        part = probe.part([size // 2, size // 2], (size // 2 // _COPY_BLOCK, 1, 1), chain)
        rows.append({"bytes": size, "us": _best(part) / chain / 1e3})
    for buffer in buffers:
        device.free(buffer)
    return rows


def _fma_rate(recorder: Recorder, groups: int) -> float:
    """GFLOP/s of fused operations in so many workgroups."""
    rounds = max(_FMA_ROUNDS[recorder.device.info.device_class], _ROUNDS_ALONE if groups == 1 else 1)
    return groups * 256 * rounds * _FLOPS_PER_ROUND / _of_rounds(recorder, "fma", rounds, groups)


def _step(recorder: Recorder) -> float:
    """Microseconds of one iteration of a loop that waits for what the one before has loaded."""
    return _of_rounds(recorder, "chain", _STEPS, 1) / _STEPS / 1e3


def _of_rounds(recorder: Recorder, name: str, rounds: int, groups: int) -> float:
    """Nanoseconds of a kernel that is told how many rounds to do."""
    device = recorder.device
    buffers = [words(device, [rounds]), scratch(device, 16 * 1024)]
    best = _best(Probe(recorder, name, buffers, (groups, 1, 1)))
    for buffer in buffers:
        device.free(buffer)
    return best


def _launch(recorder: Recorder) -> float:
    """Microseconds of a dispatch that does nothing, as one of a chain."""
    buffer = scratch(recorder.device, 256)
    best = _best(Probe(recorder, "tiny", [buffer], (1, 1, 1), chain=_LONGEST_CHAIN))
    recorder.device.free(buffer)
    return best / _LONGEST_CHAIN / 1e3


def _best(probe: Probe) -> float:
    """The shortest of several runs, in nanoseconds, after one that pays for compilation and first touch."""
    probe.nanoseconds()
    end = time.perf_counter() + _SECONDS
    tries: list[float] = []
    while len(tries) < _LEAST_TRIES or (len(tries) < _MOST_TRIES and time.perf_counter() < end):
        tries.append(probe.nanoseconds())
    return max(min(tries), 1.0)


def _read(cache: Path) -> dict[str, Any]:
    """What the cache holds; one that is missing or damaged holds nothing and is made again."""
    try:
        found = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(cache: Path, known: dict[str, Any]) -> None:
    """Keeps what was measured; a folder that cannot be written costs a measurement the next time, nothing else."""
    partial = cache.with_name(f".{cache.name}.{os.getpid()}.partial")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(known, sort_keys=True, indent=1), encoding="utf-8")
        os.replace(partial, cache)
    except OSError:
        return
