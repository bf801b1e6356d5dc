"""Measures one entry of a loaded artifact: three kinds of run, interleaved, between readings of the sentinel.

The result is the object that docs/profile.md describes. Times are in microseconds but where a name says
otherwise.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any, Protocol

import numpy as np

from tstorch.runtime.idle import PAUSE_SECONDS, measure_idle
from tstorch.runtime.steady import MemoryWatch
from tstorch.runtime.timing import agreement, drift, quiet, quieter_half, scale_parts, subtract_probe, summary
from tstorch.runtime.wire import Kind

SCHEMA = "tstorch-profile/1"
PARTS = ("handoff", "upload", "encode", "submit", "launch", "gpu", "sync", "readback", "unattributed", "whole")
ALLOWED_DRIFT = 0.02
_ATTEMPTS = 3
_LEAST_RUNS = 3
_BLOCK_SECONDS = 1.0
_WARM_SECONDS = {"cpu": 0.05, "integrated": 0.5, "discrete": 0.5}
_WARM_AGAIN_SECONDS = 0.1
_WATCHED_RUNS, _WATCHED_SECONDS, _BETWEEN_READINGS = 100, 1.0, 10  # of memory, as far as the time goes

Progress = Callable[[str, int, int], None]


class Measurable(Protocol):
    """What a profile needs of a worker (tstorch.runtime.client.Worker)."""

    def adapter_info(self) -> dict[str, Any]:
        """Class of the adapter, among others."""
        ...

    def measure(self, inputs: Mapping[str, np.ndarray], entry: str = ..., outputs: Any = ..., kind: Kind = ...) -> Any:
        """One run."""
        ...

    def measure_stepwise(self, inputs: Mapping[str, np.ndarray], entry: str = ...) -> list[tuple[int, int]]:
        """One run, a dispatch at a time."""
        ...

    def instrument(self, name: str, **options: Any) -> float:
        """One reading, in nanoseconds."""
        ...

    def tiny(self) -> tuple[float, float]:
        """What timing adds to a kernel that does nothing, and what such a kernel takes untimed, in nanoseconds."""
        ...

    def facts(self, *, events: bool = ...) -> dict[str, Any]:
        """Clock, memory, counters."""
        ...


@dataclass
class Samples:
    """Raw samples of one measurement, in nanoseconds, in the order taken."""

    plain: list[int] = field(default_factory=list)
    light: list[dict[str, float]] = field(default_factory=list)
    detailed: list[list[float]] = field(default_factory=list)
    launch: list[float] = field(default_factory=list)
    drifts: list[float] = field(default_factory=list)
    invalid: int = 0
    ids: list[int] = field(default_factory=list)  # the dispatches of one run, in order: a loop's come again
    looks: tuple[dict[str, Any], ...] = ()  # the synchronisations of one run
    gaps: list[list[float]] = field(default_factory=list)  # of each light run, between its spans of the GPU

    def extend(self, block: "Samples") -> None:
        """Adds what another block measured."""
        for name in ("plain", "light", "detailed", "launch", "drifts", "gaps"):
            getattr(self, name).extend(getattr(block, name))
        self.invalid += block.invalid
        self.ids, self.looks = block.ids or self.ids, block.looks or self.looks


def profile(
    worker: Measurable,
    inputs: Mapping[str, np.ndarray],
    *,
    entry: str = "run",
    iterations: int | None = None,
    warmup: int = 2,
    seconds: float = 10.0,
    idle: float | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Profiles `entry`: `iterations` runs of each kind, or as many as fit into `seconds`, at least 3 (JSON-able).

    A single run is measured after a pause of `idle` seconds: by default as long as the adapter needs to go idle; 0
    leaves it out. Raises RunError from the runs.
    """
    profiler = _Profiler(worker, dict(inputs), entry, progress or (lambda *_: None))
    return profiler.profile(iterations, warmup, seconds, idle)


@dataclass(frozen=True)
class Clocking:
    """How dispatches are timed: by the GPU's clock or by the host's, on cores shared with all else or not; and what the
    GPU's clock costs a kernel that does nothing (`tiny`) and that kernel itself (`floor`), in nanoseconds."""

    clocked: bool
    shared_cores: bool = False
    tiny: float = 0.0
    floor: float = 0.0


@dataclass
class _Profiler:
    worker: Measurable
    inputs: dict[str, np.ndarray]
    entry: str
    progress: Progress
    rounds: int = 0
    watch: MemoryWatch = field(default_factory=MemoryWatch)

    def profile(self, iterations: int | None, warmup: int, seconds: float, pause: float | None) -> dict[str, Any]:
        first = self.plain()
        for _ in range(warmup):
            self.plain()
        self.facts = self.worker.facts()
        self.clocked = self.facts["clock"]["quality"] in ("device", "quantised")
        device_class = self.worker.adapter_info()["class"]
        self.round()  # each kind's own first encoding and compilation
        pause = PAUSE_SECONDS[device_class] if pause is None else pause
        idle = measure_idle(pause, self.light_once, lambda: self.worker.instrument("sentinel"))
        best = self.worker.instrument("warm", seconds=_WARM_SECONDS[device_class])
        tiny, floor = self.worker.tiny() if self.clocked else (0.0, 0.0)
        samples, stable = self.collect(iterations, seconds, best, guarded=device_class != "cpu")
        clocking = Clocking(self.clocked, device_class == "cpu", tiny, floor)
        result = summarise(samples, self.facts, self.entry, clocking)
        idle_ms = None if idle is None else idle["parts_us"]["whole"] / 1e3
        result["timing"] |= {"idle_run_ms": idle_ms, "stable": stable, "sentinel_us": best / 1e3}
        self.run_on(samples)
        facts = self.worker.facts(events=True)
        result |= {key: facts[key] for key in ("memory", "allocations", "submitted", "loop_cap", "fingerprint")}
        result |= {"idle": idle, "steady": self.watch.to_json()}
        result["first_run_ms"], result["warmup_runs"] = first / 1e6, warmup
        return result

    def collect(self, iterations: int | None, seconds: float, best: float, guarded: bool) -> tuple[Samples, bool]:
        """Blocks of rounds, each between two readings of the sentinel; a block that drifts is measured again."""
        samples, stable = Samples(), True
        self.watch.note(self.worker.facts())
        begin = time.perf_counter()
        while self.goes_on(len(samples.plain), iterations, time.perf_counter() - begin, seconds):
            wanted = None if iterations is None else iterations - len(samples.plain)
            block = self.steady_block(best, wanted, seconds - (time.perf_counter() - begin), guarded)
            stable = stable and (not guarded or block.drifts[0] <= ALLOWED_DRIFT)
            samples.extend(block)
            self.watch.note(self.worker.facts())
            self.progress("profile", len(samples.plain), iterations or 0)
        return samples, stable

    def run_on(self, samples: Samples) -> None:
        """Runs until there were a hundred since measuring began, as far as a second goes, for memory's sake alone."""
        end, done = time.perf_counter() + _WATCHED_SECONDS - median(samples.plain) / 1e9, self.rounds * 3
        while done < _WATCHED_RUNS and time.perf_counter() < end:
            self.plain()
            done += 1
            if done % _BETWEEN_READINGS == 0:
                self.watch.note(self.worker.facts())
        self.watch.note(self.worker.facts())

    def steady_block(self, best: float, wanted: int | None, left: float, guarded: bool) -> Samples:
        """A block whose sentinel did not drift, or the last of three attempts."""
        for _ in range(_ATTEMPTS - 1):
            block = self.block(best, wanted, left)
            if not guarded or block.drifts[0] <= ALLOWED_DRIFT:
                return block
            self.worker.instrument("warm", seconds=_WARM_AGAIN_SECONDS)
        return self.block(best, wanted, left)

    @staticmethod
    def goes_on(done: int, iterations: int | None, spent: float, seconds: float) -> bool:
        """Whether another block is wanted."""
        return done < iterations if iterations is not None else done < _LEAST_RUNS or spent < seconds

    def block(self, best: float, wanted: int | None, left: float) -> Samples:
        """Rounds for about a second."""
        samples = Samples()
        before = self.worker.instrument("sentinel")
        end = time.perf_counter() + min(_BLOCK_SECONDS, max(left, 0.0))
        while True:
            samples.extend(self.round())
            done = len(samples.plain)
            if done == wanted or (time.perf_counter() >= end and (wanted is not None or done >= 1)):
                break
        samples.drifts.append(drift(best, before, self.worker.instrument("sentinel")))
        return samples

    def round(self) -> Samples:
        """One run of each kind, and a reading of the launch beside the light one; every other round back to front, so
        that no kind always comes first after another."""
        samples = Samples()
        kinds = (self.plain_run, self.light_run, self.detailed_run)
        self.rounds += 1
        for take in kinds if self.rounds % 2 else reversed(kinds):
            take(samples)
        return samples

    def plain_run(self, samples: Samples) -> None:
        samples.plain.append(self.plain())

    def light_run(self, samples: Samples) -> None:
        light = self.worker.measure(self.inputs, self.entry, kind="light")
        samples.looks = light.looks
        samples.launch.append(self.worker.instrument("launch"))
        if parts := light_parts(light, self.clocked):
            samples.light.append(parts)
            samples.gaps.append((light.timed or {}).get("gaps", []))
        else:
            samples.invalid += 1

    def light_once(self) -> dict[str, float] | None:
        """The parts of one light run."""
        return light_parts(self.worker.measure(self.inputs, self.entry, kind="light"), self.clocked)

    def detailed_run(self, samples: Samples) -> None:
        if (parts := self.dispatches()) is not None:
            samples.ids = [ident for ident, _ in parts]
            samples.detailed.append([length for _, length in parts])
        else:
            samples.invalid += 1

    def plain(self) -> int:
        return self.worker.measure(self.inputs, self.entry).whole_ns

    def dispatches(self) -> list[tuple[int, float]] | None:
        """Each dispatch of one detailed run, with its raw nanoseconds; None where its ticks are impossible."""
        if not self.clocked:
            return [(ident, float(wall)) for ident, wall in self.worker.measure_stepwise(self.inputs, self.entry)]
        timed = self.worker.measure(self.inputs, self.entry, kind="detailed").timed
        return [(ident, length) for ident, length in timed["dispatches"]] if timed and timed["valid"] else None


def light_parts(run: Any, clocked: bool) -> dict[str, float] | None:
    """A light run's own nanoseconds by part (all but launch); `wait` is raw. None where its ticks cannot be true."""
    timed: Mapping[str, Any] | None = run.timed if clocked else {"valid": True}
    if not timed or not timed["valid"]:
        return None
    spans = run.spans
    return {
        "handoff": float(run.handoff_ns),
        "upload": spans["upload"] + timed.get("upload", 0.0),
        "encode": float(spans["encode"]),
        "submit": float(spans["submit"]),
        "gpu": timed.get("gpu", 0.0),
        "sync": timed.get("sync", spans.get("sync", 0.0)),
        "readback": spans["readback"] + timed.get("readback", 0.0),
        "wait": float(spans["wait"]),
        "whole": float(run.whole_ns),
    }


def summarise(samples: Samples, facts: Mapping[str, Any], entry: str, clocking: Clocking) -> dict[str, Any]:
    """The statistics of raw samples: means that add up, medians and spread beside them."""
    parts = mean_parts(samples, clocking)
    raw = [fmean(column) for column in zip(*samples.detailed, strict=True)] if samples.detailed else []
    timing, corrected = _split(samples, parts, clocking)
    columns = list(zip(*samples.detailed, strict=True)) if samples.light else []  # no whole, nothing to share out
    ids = samples.ids or facts["dispatches"].get(entry, [])
    return {
        "schema": SCHEMA,
        "entry": entry,
        "latency_ms": {k: v if k == "runs" else v / 1e6 for k, v in summary(samples.plain).items()},
        "parts_us": {part: parts[part] / 1e3 for part in PARTS},
        "parts_median_us": medians(samples, parts),
        "timing": {
            "quality": _quality(samples, facts["clock"]["quality"], clocking.clocked),
            "clock": facts["clock"]["quality"],
            "quantum_ns": facts["clock"]["quantum_ns"],
            "period_ns": facts["clock"]["period_ns"],
            **timing,
            "raw_sum_us": sum(raw) / 1e3,
            "sentinel_drift": max(samples.drifts, default=0.0),
            "invalid_runs": samples.invalid,
        },
        "dispatches": _dispatches(ids if columns else [], corrected, raw if columns else (), columns),
        "synchronisations": synchronised(samples, clocking),
        "residual_us": (parts["gpu"] - sum(corrected)) / 1e3,
        "samples": {
            "plain_ns": samples.plain,
            "light_ns": samples.light,
            "launch_ns": samples.launch,
            "detailed_ns": samples.detailed,
            "sentinel_drift": samples.drifts,
        },
    }


def synchronised(samples: Samples, clocking: Clocking) -> dict[str, Any]:
    """The looks of one run, each with the mean microseconds of its gap, over the runs that the parts are means of."""
    gaps = samples.gaps
    if clocking.shared_cores:
        gaps = quieter_half(gaps, [run["whole"] for run in samples.light])
    means = [fmean(column) / 1e3 for column in zip(*gaps, strict=True)] if len({len(run) for run in gaps}) == 1 else []
    each: list[dict[str, Any]] = [
        {key: look[key] for key in ("tensors", "bytes", "cause")}
        | {"us": means[look["gap"]] if look["gap"] < len(means) else None}
        for look in samples.looks
    ]
    other = sum(means) - sum(float(look["us"] or 0.0) for look in each)
    return {"count": len(each), "bytes": sum(look["bytes"] for look in each), "each": each, "other_us": other}


def _dispatches(
    ids: Sequence[int], corrected: Sequence[float], raw: Sequence[float], columns: Sequence[Sequence[float]]
) -> list[dict[str, Any]]:
    """A row for each dispatch: what it takes in one run, in which a loop may run it several times."""
    places: dict[int, list[int]] = {}
    for at, ident in enumerate(ids):
        places.setdefault(ident, []).append(at)
    rows = []
    for ident, own in places.items():
        column = [sum(times) for times in zip(*(columns[at] for at in own), strict=True)]
        us, mean = sum(corrected[at] for at in own) / 1e3, sum(raw[at] for at in own) / 1e3
        again = {"runs": len(own)} if len(own) > 1 else {}
        rows.append({"id": ident, "us": us, "raw_us": mean, **again} | _spread(column))
    return rows


def _split(
    samples: Samples, parts: Mapping[str, float], clocking: Clocking
) -> tuple[dict[str, float | None], list[float]]:
    """The mean GPU time of the light runs over the dispatches (nanoseconds), with the law's figures and its evidence.

    docs/profile.md has the law: a constant on a GPU with cores of its own, a factor on shared ones.
    """
    typical = quiet if clocking.shared_cores else fmean
    raw = [typical(column) for column in zip(*samples.detailed, strict=True)] if samples.light else []
    if not clocking.clocked:  # each was submitted alone: the launch is in every one of them
        raw = [max(wall - typical(samples.launch), 0.0) for wall in raw]
    constant, factor = max(clocking.tiny, 0.0), 1.0
    if clocking.shared_cores:
        factor, corrected = scale_parts(raw, parts["gpu"], constant, clocking.floor)
    else:
        constant, corrected = subtract_probe(raw, parts["gpu"])
    return {
        "probe_us": constant / 1e3,
        "scale": factor,
        "tiny_probe_us": clocking.tiny / 1e3,
        "agreement": _agreement(samples, clocking) if clocking.clocked else None,
    }, corrected


def _agreement(samples: Samples, clocking: Clocking) -> float | None:
    """Of typical runs: one that was interrupted says nothing about the clock."""
    if not (samples.detailed and samples.light):
        return None
    typical = quiet if clocking.shared_cores else median
    raw = typical([sum(run) for run in samples.detailed])
    return agreement(raw, typical([run["gpu"] for run in samples.light]), len(samples.detailed[0]), clocking.tiny)


def mean_parts(samples: Samples, clocking: Clocking) -> dict[str, float]:
    """The mean of each part over the light runs, in nanoseconds; `unattributed` is what none of them measured.

    On shared cores, over the quieter half of the light runs and of the launches: what interrupts one of them is in no
    instrument of the other.
    """
    light, launch = samples.light, samples.launch
    if clocking.shared_cores:
        light, launch = quieter_half(light, [run["whole"] for run in light]), quieter_half(launch, launch)
    parts = {name: fmean(run[name] for run in light) for name in (light or [{}])[0]}
    if not parts:
        return dict.fromkeys(PARTS, 0.0)
    parts["launch"] = fmean(launch)
    if not clocking.clocked:  # the best a host can say of the GPU: what it waited for, less what it waits for nothing
        parts["gpu"] = max(parts["wait"] - parts["launch"], 0.0)
    measured = [part for part in PARTS if part not in ("unattributed", "whole")]
    parts["unattributed"] = parts["whole"] - sum(parts[part] for part in measured)
    return parts


def medians(samples: Samples, parts: Mapping[str, float]) -> dict[str, float]:
    """The median of each part that light runs measure, in microseconds."""
    runs: Sequence[Mapping[str, float]] = samples.light
    found = {name: summary([run[name] for run in runs])["median"] / 1e3 for name in PARTS if runs and name in runs[0]}
    return {**found, "launch": summary(samples.launch)["median"] / 1e3} if found else {}


def _quality(samples: Samples, clock: str, clocked: bool) -> str:
    """How the times came about: by the GPU's clock, whatever its quality, or by the host's."""
    if not clocked:
        return "host"
    return clock if samples.light and samples.detailed else "invalid"


def _spread(column: Sequence[float]) -> dict[str, float]:
    found = summary(column)
    return {"median_us": found["median"] / 1e3, "mad_us": found["mad"] / 1e3}
