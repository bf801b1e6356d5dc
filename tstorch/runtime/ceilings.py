"""The two ceilings of an adapter, measured once by short kernels: bytes copied and arithmetic done in a second."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from tstorch.runtime.instruments import Probe, scratch, words
from tstorch.runtime.recorder import Recorder

_COPY_BYTES = {"cpu": 16 << 20, "integrated": 64 << 20, "discrete": 128 << 20}
_FMA_ROUNDS = {"cpu": 1, "integrated": 50, "discrete": 1000}
_COPY_BLOCK = 256 * 16  # bytes that one workgroup copies
_FMA_GROUPS = 1056
_ROUNDS_ALONE = 64  # so that one workgroup's work is long beside a launch
_FLOPS_PER_ROUND = 2 * 256
_REPEATS = 15


def measure_ceilings(recorder: Recorder, cache: Path | None = None) -> dict[str, Any]:
    """Copy bandwidth in GB/s (read and write both count), fma throughput in GFLOP/s and units of adapter and driver.

    Read from the file `cache` where it holds them, and added to it where not.
    """
    cache = cache or user_cache() / "ceilings.json"
    info = recorder.device.info
    key = f"{info.name}|{info.backend}|{info.driver}"
    known = _read(cache)
    if "units" in known.get(key, {}):
        return {**known[key], "cached": True}
    whole = _fma_rate(recorder, _FMA_GROUPS)
    # One workgroup keeps one unit busy; the whole device does as many times its work as it has units.
    units = max(1, round(whole / _fma_rate(recorder, 1)))
    found = {"copy_gb_s": _copy_rate(recorder), "fma_gflop_s": whole, "units": units}
    _write(cache, {**known, key: found})
    return {**found, "cached": False}


def user_cache() -> Path:
    """Where this system keeps what programs can make again."""
    if sys.platform == "win32":
        return Path.home() / "AppData" / "Local" / "tstorch"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "tstorch"
    return Path.home() / ".cache" / "tstorch"


def _copy_rate(recorder: Recorder) -> float:
    device = recorder.device
    size = min(_COPY_BYTES[device.info.device_class], device.limits["max_storage_buffer_binding_size"])
    size -= size % _COPY_BLOCK
    buffers = [scratch(device, size), scratch(device, size)]
    best = _best(Probe(recorder, "copy", buffers, (size // _COPY_BLOCK, 1, 1)))
    for buffer in buffers:
        device.free(buffer)
    return 2 * size / best


def _fma_rate(recorder: Recorder, groups: int) -> float:
    device = recorder.device
    rounds = max(_FMA_ROUNDS[device.info.device_class], _ROUNDS_ALONE if groups == 1 else 1)
    buffers = [words(device, [rounds]), scratch(device, 16 * 1024)]
    best = _best(Probe(recorder, "fma", buffers, (groups, 1, 1)))
    for buffer in buffers:
        device.free(buffer)
    return groups * 256 * rounds * _FLOPS_PER_ROUND / best


def _best(probe: Probe) -> float:
    """The shortest of several runs, in nanoseconds, after one that pays for compilation and first touch."""
    probe.nanoseconds()
    return max(min(probe.nanoseconds() for _ in range(_REPEATS)), 1.0)


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
