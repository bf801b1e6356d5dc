"""Runs plans: encodes, submits, waits, and takes the time of each on host and GPU."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from tstorch.diagnostics import RunError
from tstorch.runtime.device import MAX_QUERIES, Buffer, Device, Encoder, Handle
from tstorch.runtime.faults import Faults
from tstorch.runtime.plan import Copy, Fill, Pair, Pass, Plan, Stamp
from tstorch.runtime.timing import durations_ns, is_valid

APART = ("gpu", "readback")
"""The spans of a program's run, which are submitted one by one."""


@dataclass
class Submitted:
    """All dispatches of this process: the model's runs and their dispatches, and what all else added."""

    runs: int = 0
    model: int = 0
    other: int = 0

    def to_json(self) -> dict[str, int]:
        """By name."""
        return {"runs": self.runs, "model": self.model, "other": self.other}


@dataclass
class Watch:
    """Nanoseconds that the host spent in each named part of one run."""

    spans: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def span(self, part: str) -> Iterator[None]:
        """Adds the time of the block to `part`."""
        begin = time.perf_counter_ns()
        try:
            yield
        finally:
            self.spans[part] = self.spans.get(part, 0) + time.perf_counter_ns() - begin


@dataclass(frozen=True)
class Timed:
    """What one run's timestamps say: nanoseconds of each pair, in order; not valid, no times."""

    pairs: tuple[Pair, ...]
    ticks: list[int]
    period_ns: float
    apart: bool = False  # the readback was submitted by itself, as a program's is

    @property
    def valid(self) -> bool:
        """Whether the ticks can be true."""
        return is_valid(self.ticks)

    def nanoseconds(self, what: str) -> list[float]:
        """The duration of each pair of that kind."""
        lengths = durations_ns(self.ticks, self.period_ns)
        return [length for pair, length in zip(self.pairs, lengths, strict=True) if pair.what == what]

    def gaps(self) -> list[float]:
        """Nanoseconds between one gpu span and the next, and a readback that was submitted by itself."""
        kinds = APART if self.apart else ("gpu",)
        spans = [self.ticks[2 * i : 2 * i + 2] for i, pair in enumerate(self.pairs) if pair.what in kinds]
        return [(b[0] - a[1]) * self.period_ns for a, b in pairwise(spans)]


class Timestamps:
    """Room for the timestamps of one run, in as many query sets as it takes."""

    def __init__(self, device: Device, count: int) -> None:
        self._device, self.count = device, count
        self._sets: list[tuple[Handle, int]] = []
        while count > 0:
            size = min(count, MAX_QUERIES)
            self._sets.append((device.query_set(size), size))
            count -= size
        self._resolved = device.buffer("timestamps", 8 * self.count, "timestamps")
        self.buffer = device.buffer("timestamps", 8 * self.count, "readback")

    def locate(self, query: int) -> tuple[Handle, int]:
        """The set that holds a query, and its index there."""
        return self._sets[query // MAX_QUERIES][0], query % MAX_QUERIES

    def resolve(self, encoder: Encoder, count: int) -> None:
        """Records the way of the first `count` timestamps to the host."""
        for i, (queries, size) in enumerate(self._sets):
            if (used := min(size, count - i * MAX_QUERIES)) > 0:
                encoder.resolve(queries, used, self._resolved, 8 * MAX_QUERIES * i)
        encoder.copy(self._resolved, 0, self.buffer, 0, 8 * count)

    def read(self, count: int) -> list[int]:
        """The first `count` timestamps of the run that was waited for."""
        ticks = np.frombuffer(self._device.mapped(self.buffer), np.uint64)[:count].tolist()
        self._device.unmap(self.buffer)
        return ticks

    def free(self) -> None:
        """Gives the buffers back."""
        self._device.free(self._resolved)
        self._device.free(self.buffer)


@dataclass(frozen=True)
class Pending:
    """A plan that was submitted and not waited for: its own timestamps, and the watch that timed its submission."""

    plan: Plan
    timestamps: Timestamps | None
    watch: Watch
    submitted_ns: int


@dataclass(frozen=True)
class Ahead:
    """A plan's commands, recorded before they were asked for.

    They are not finished: wgpu never forgets a command buffer that is not submitted, nor the device that made it.
    """

    plan: Plan
    timestamps: Timestamps | None
    encoder: Encoder


class Recorder:
    """Runs plans on one device, each checked the first time it is encoded."""

    def __init__(self, device: Device, faults: Faults | None = None) -> None:
        self.device = device
        self.faults = faults or Faults()
        self.faults.attach(device)
        self.submitted = Submitted()
        self._timestamps: Timestamps | None = None
        self._spare: list[Timestamps] = []  # of plans that were not waited for one by one
        self._seen: set[int] = set()
        self._plans: list[Plan] = []  # keeps the ids in `_seen` unique
        self._ahead: dict[int, Ahead] = {}  # by the plan's id, which `Ahead` keeps unique

    def run(
        self,
        plan: Plan,
        watch: Watch,
        maps: Sequence[Buffer] = (),
        submitted: Callable[[], None] | None = None,
        model: bool = False,
    ) -> Timed | None:
        """Runs `plan` once; buffers in `maps` can be read afterwards. Gives the timestamps where the plan has some.

        `submitted` is called while the GPU works, to ask for further mappings.
        """
        timestamps = self._room(2 * len(plan.pairs))
        faults = self.faults if model else Faults()
        with watch.span("encode"):
            faults.at("encode")
            command_buffer = self._finish(plan, self._taken(plan, timestamps) or self._encode(plan, timestamps))
        with watch.span("submit"):
            faults.at("submit")
            self.device.submit(command_buffer)
        self._count(plan, model)
        submitted_at, ticks = time.perf_counter_ns(), None
        with watch.span("wait"):  # asking for the mappings takes time that the GPU's work hides, and so does encoding
            for buffer in (*maps, *([timestamps.buffer] if timestamps else ())):
                self.device.request_map(buffer)
            if submitted:
                submitted()
            if model:
                self._encode_ahead(plan, timestamps)
            faults.at("wait")
            self.device.wait()
            if errors := self.device.errors.text():
                raise RunError(f"the GPU reported an error during the run: {errors}")
            if timestamps:
                ticks = timestamps.read(2 * len(plan.pairs))
        return None if ticks is None else self._timed(plan, ticks, watch, submitted_at)

    def launch(self, plan: Plan, watch: Watch) -> Pending:
        """Submits one of several plans that make a model's run, and goes on; `finish` waits."""
        timestamps = self._own(2 * len(plan.pairs))
        with watch.span("encode"):
            self.faults.at("encode")
            command_buffer = self._finish(plan, self._encode(plan, timestamps))
        with watch.span("submit"):
            self.faults.at("submit")
            self.device.submit(command_buffer)
        self.submitted.model += plan.dispatches
        return Pending(plan, timestamps, watch, time.perf_counter_ns())

    def finish(self, pending: Sequence[Pending], watch: Watch, maps: Sequence[Buffer] = ()) -> list[Timed]:
        """Waits for all that was launched; buffers in `maps` can be read afterwards. Gives timestamps in order."""
        timed = [(each, each.timestamps) for each in pending if each.timestamps]
        with watch.span("wait"):
            for buffer in (*maps, *(timestamps.buffer for _, timestamps in timed)):
                self.device.request_map(buffer)
            self.faults.at("wait")
            self.device.wait()
            if errors := self.device.errors.text():
                raise RunError(f"the GPU reported an error during the run: {errors}")
            ticks = [timestamps.read(2 * len(each.plan.pairs)) for each, timestamps in timed]
        self._spare += [timestamps for _, timestamps in timed]
        return [
            self._timed(each.plan, found, each.watch, each.submitted_ns)
            for (each, _), found in zip(timed, ticks, strict=True)
        ]

    def run_stepwise(self, plan: Plan) -> list[tuple[int, int]]:
        """Runs a plan one dispatch per submission: (dispatch id, wall nanoseconds) each. For GPUs without a clock."""
        times = []
        for step in plan.steps:
            dispatches = step.dispatches if isinstance(step, Pass) else (None,)
            for dispatch in dispatches:
                encoder = self.device.encoder()
                if dispatch is None:
                    self._record(encoder, step, None)
                else:
                    encoder.compute_pass([dispatch])
                command_buffer = encoder.finish()
                begin = time.perf_counter_ns()
                self.device.submit(command_buffer)
                self.device.wait()
                if dispatch is not None:
                    times.append((dispatch.id, time.perf_counter_ns() - begin))
        self._count(plan, model=True)
        return times

    def _encode_ahead(self, plan: Plan, timestamps: Timestamps | None) -> None:
        """Encodes what the next run of this plan submits, while the GPU works."""
        self._ahead[id(plan)] = Ahead(plan, timestamps, self._encode(plan, timestamps))

    def _taken(self, plan: Plan, timestamps: Timestamps | None) -> Encoder | None:
        """What was encoded ahead for this plan; it can be submitted once."""
        ahead = self._ahead.pop(id(plan), None)
        if ahead is None or ahead.timestamps is timestamps:
            return ahead and ahead.encoder
        ahead.encoder.drop()
        return None

    def forget(self) -> None:
        """Gives back what was encoded ahead."""
        for ahead in self._ahead.values():
            ahead.encoder.drop()
        self._ahead.clear()

    def _encode(self, plan: Plan, timestamps: Timestamps | None) -> Encoder:
        known = plan.origin or plan
        encoder = self.device.encoder(checked=id(known) not in self._seen)
        for step in plan.steps:
            self._record(encoder, step, timestamps)
        if timestamps:
            timestamps.resolve(encoder, 2 * len(plan.pairs))
        return encoder

    def _finish(self, plan: Plan, encoder: Encoder) -> Handle:
        known = plan.origin or plan
        command_buffer = encoder.finish()
        if id(known) not in self._seen:
            self._seen.add(id(known))
            self._plans.append(known)
        return command_buffer

    def _record(self, encoder: Encoder, step: Pass | Copy | Fill | Stamp, timestamps: Timestamps | None) -> None:
        match step:
            case Pass(dispatches, begin, end) if timestamps and min(begin, end) < timestamps.count:
                queries, _ = timestamps.locate(min(begin, end))
                local = [query % MAX_QUERIES if query < timestamps.count else query for query in (begin, end)]
                encoder.compute_pass(dispatches, queries, *local)
            case Pass(dispatches):
                encoder.compute_pass(dispatches)
            case Copy():
                encoder.copy(step.source, step.source_offset, step.target, step.target_offset, step.bytes)
            case Fill():
                encoder.fill(step.target, step.offset, step.bytes)
            case Stamp(query) if timestamps:
                encoder.timestamp(*timestamps.locate(query))

    def _count(self, plan: Plan, model: bool) -> None:
        if model:
            self.submitted.runs += 1
            self.submitted.model += plan.dispatches
        else:
            self.submitted.other += plan.dispatches

    def _room(self, queries: int) -> Timestamps | None:
        """Timestamps for a run of that many queries, shared by all plans."""
        if queries == 0 or not self.device.has_timestamps:
            return None
        if self._timestamps is None or self._timestamps.count < queries:
            if self._timestamps is not None:
                self._timestamps.free()
            self._timestamps = Timestamps(self.device, queries)
        return self._timestamps

    def _own(self, queries: int) -> Timestamps | None:
        """Timestamps that no other run writes before they are read."""
        if queries == 0 or not self.device.has_timestamps:
            return None
        found = next((each for each in self._spare if each.count >= queries), None)
        if found is None:
            return Timestamps(self.device, queries)
        self._spare.remove(found)
        return found

    def _timed(self, plan: Plan, ticks: list[int], watch: Watch, submitted_at: int) -> Timed:
        """What the ticks say. A driver that runs on the CPU starts within the submission: what of it was already the
        GPU's work is no part of `submit`."""
        if self.device.has_host_clock and is_valid(ticks):
            early = submitted_at - ticks[0]
            early = early if 0 < early <= watch.spans["submit"] else 0
            watch.spans["submit"] -= early
            watch.spans["wait"] = watch.spans.get("wait", 0) + early
        return Timed(plan.pairs, ticks, self.device.period_ns)
