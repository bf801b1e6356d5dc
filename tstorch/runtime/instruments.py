"""What is run beside the model, to know how far its times hold: sentinel, launch, tiny kernels, self-tests."""

import time
from collections.abc import Sequence
from copy import copy
from importlib.resources import files
from statistics import median

import numpy as np

from tstorch.diagnostics import RunError
from tstorch.runtime.device import Buffer, Device, Dispatch
from tstorch.runtime.plan import Copy, Pair, Pass, Plan, Stamp
from tstorch.runtime.recorder import Recorder, Timed, Watch
from tstorch.runtime.timing import Quality, judge_clock, quiet
from tstorch.runtime.transfer import Slot, Staging

LOOPS_TO_COUNT = 70_000  # more than the 65,535 after which Mesa before 23 ends an invocation's loops
_TINY_CHAIN = 32
_TINY_REPEATS = 16
_CLOCK_TESTS = 5


class Probe:
    """One small kernel with its buffers, timed as a gpu span: once, or `chain` times one after the other."""

    def __init__(
        self, recorder: Recorder, name: str, buffers: list[Buffer], grid: tuple[int, int, int], chain: int = 1
    ) -> None:
        self._recorder, self._name, self._buffers = recorder, name, buffers
        self._accesses = ["read"] * (len(buffers) - 1) + ["read_write"]
        recorder.device.prepare_layout(self._accesses)
        self._pipeline = recorder.device.pipeline(name, shader_text(name), "main", self._accesses)
        self._bind([buffer.bytes for buffer in buffers], grid, chain)

    def _bind(self, sizes: Sequence[int], grid: tuple[int, int, int], chain: int) -> None:
        views = [(buffer, 0, size) for buffer, size in zip(self._buffers, sizes, strict=True)]
        group = self._recorder.device.bind_group(self._name, self._accesses, views)
        self.dispatch = Dispatch(0, self._pipeline, group, grid)
        self.plan = Plan((Pass((self.dispatch,) * chain, 0, 1),), (Pair("gpu"),))

    def part(self, sizes: Sequence[int], grid: tuple[int, int, int], chain: int) -> "Probe":
        """The same kernel on the first bytes of its buffers."""
        found = copy(self)
        found._bind(sizes, grid, chain)
        return found

    def nanoseconds(self) -> float:
        """Of all its dispatches: the GPU's time, or, where it has no clock, the wall time of submission and wait."""
        watch = Watch()
        timed = self._recorder.run(self.plan, watch)
        return timed.nanoseconds("gpu")[0] if timed and timed.valid else float(watch.spans["wait"])


class Instruments:
    """The instruments of one device. Each is made when first used; all their dispatches count as `other`."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder, self._device = recorder, recorder.device
        self._sentinel: Probe | None = None
        self._tiny: Probe | None = None
        self._transfers: tuple[Staging, Buffer] | None = None
        self._launch = _empty_light_run(self._device.has_encoder_timestamps)
        self.best_sentinel_ns = float("inf")

    def sentinel_ns(self) -> float:
        """Runs the sentinel once; nanoseconds."""
        if self._sentinel is None:
            on_cpu = self._device.info.device_class == "cpu"
            buffers = [words(self._device, [50 if on_cpu else 20_000]), scratch(self._device, 4096)]
            self._sentinel = Probe(self._recorder, "sentinel", buffers, (1056, 1, 1))
        found = self._sentinel.nanoseconds()
        self.best_sentinel_ns = min(self.best_sentinel_ns, found)
        return found

    def warm(self, seconds: float) -> float:
        """Spins the sentinel until the clock is up; gives its best time in nanoseconds."""
        end = time.perf_counter() + seconds
        self.sentinel_ns()
        while time.perf_counter() < end:
            self.sentinel_ns()
        return self.best_sentinel_ns

    def launch(self) -> tuple[int, float]:
        """A light run of nothing, with a word mapped each way as inputs and outputs are: nanoseconds that the host
        waited, and those that its timestamps account for."""
        staging, readback = self._empty_transfers()
        staging.open()
        staging.close()
        watch = Watch()
        timed = self._recorder.run(self._launch, watch, [readback], staging.reopen)
        self._device.mapped(readback)
        self._device.unmap(readback)
        accounted = sum(sum(timed.nanoseconds(pair.what)) for pair in timed.pairs) if timed and timed.valid else 0.0
        return watch.spans["wait"], accounted

    def _empty_transfers(self) -> tuple[Staging, Buffer]:
        if self._transfers is None:
            staging, readback = (self._device.buffer("launch", 4, category) for category in ("staging", "readback"))
            self._transfers = Staging(self._device, {"launch": Slot(staging, 0, 4)}), readback
        return self._transfers

    def tiny_ns(self) -> tuple[float, float]:
        """What timing adds to each dispatch after a run's first, by a chain of kernels that do nothing, and what one of
        them takes in a chain without it; nanoseconds."""
        tiny = self._tiny_probe()
        chain = (tiny.dispatch,) * _TINY_CHAIN
        whole = Plan((Pass(chain, 0, 1),), (Pair("gpu"),))
        apart = Plan(
            tuple(Pass((one,), 2 * i, 2 * i + 1) for i, one in enumerate(chain)),
            tuple(Pair("dispatch", i) for i in range(_TINY_CHAIN)),
        )
        wholes, sums = [], []
        for _ in range(_TINY_REPEATS):
            light, detailed = self._recorder.run(whole, Watch()), self._recorder.run(apart, Watch())
            if light and detailed and light.valid and detailed.valid:
                wholes.append(light.nanoseconds("gpu")[0])
                sums.append(sum(detailed.nanoseconds("dispatch")))
        typical = quiet if self._device.info.device_class == "cpu" else median
        whole_ns, sum_ns = (typical(found) if found else 0.0 for found in (wholes, sums))
        return max(0.0, sum_ns - whole_ns) / (_TINY_CHAIN - 1), whole_ns / _TINY_CHAIN

    def judge_clock(self) -> Quality:
        """The self-test of the timestamps: several short timed runs of a kernel that takes long enough to be seen."""
        if not self._device.has_timestamps:
            return judge_clock([], 0.0)
        self.sentinel_ns()
        assert self._sentinel is not None
        runs = [self._recorder.run(self._sentinel.plan, Watch()) for _ in range(_CLOCK_TESTS)]
        return judge_clock([run.ticks for run in runs if isinstance(run, Timed)], self._device.period_ns)

    def loop_cap(self, iterations: int = 0) -> int | None:
        """After how many iterations the driver silently ends an invocation's loops; None: not before `iterations`."""
        rounds = max(LOOPS_TO_COUNT, iterations)
        counted = scratch(self._device, 4)
        given = words(self._device, [rounds, 0])
        probe = Probe(self._recorder, "count_loops", [given, counted], (1, 1, 1))
        back = self._device.buffer("counted", 4, "readback")
        plan = Plan((*probe.plan.steps, Copy(counted, 0, back, 0, 4)), probe.plan.pairs)
        self._recorder.run(plan, Watch(), [back])
        count = int(np.frombuffer(self._device.mapped(back), np.uint32)[0])
        self._device.unmap(back)
        for buffer in (counted, given, back):
            self._device.free(buffer)
        return None if count == rounds else count

    def _tiny_probe(self) -> Probe:
        if self._tiny is None:
            self._tiny = Probe(self._recorder, "tiny", [scratch(self._device, 256)], (1, 1, 1))
        return self._tiny


def _empty_light_run(time_transfers: bool) -> Plan:
    """The timestamps of a light run around no work at all."""
    if not time_transfers:
        return Plan((Pass((), 0, 1),), (Pair("gpu"),))
    steps = (Stamp(0), Stamp(1), Pass((), 2, 3), Stamp(4), Stamp(5))
    return Plan(steps, (Pair("upload"), Pair("gpu"), Pair("readback")))


def shader_text(name: str) -> str:
    """The WGSL of one of our own kernels."""
    return files("tstorch.runtime").joinpath("shaders", f"{name}.wgsl").read_text(encoding="utf-8")


def scratch(device: Device, nbytes: int) -> Buffer:
    """Memory of an instrument."""
    return device.buffer("instrument", nbytes, "instrument")


def words(device: Device, values: list[int]) -> Buffer:
    """A small buffer that holds `values`."""
    buffer = scratch(device, 4 * len(values))
    device.write(buffer, 0, np.array(values, np.uint32))
    device.flush()
    return buffer


def check_iterations(maps: dict[str, int], cap: int | None) -> None:
    """Raises RunError when a kernel loops longer than the driver lets it: the result would be wrong, without an error.

    `maps` gives each kernel's `iterations`.
    """
    if cap is None:
        return
    if long := {name: count for name, count in maps.items() if count > cap}:
        name, count = max(long.items(), key=lambda item: item[1])
        raise RunError(
            f"kernel '{name}' runs {count} loop iterations in one invocation ({len(long)} kernels in all), but this "
            f"driver ends every invocation after {cap} without saying so; compile for class cpu, or update the driver "
            "(Mesa 23 or newer)"
        )
