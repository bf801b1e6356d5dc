"""Two traces of one model side by side: aligned by ONNX node, each difference split into its causes.

Nodes that share a dispatch in either trace are one group, so that groups are comparable where fusion differs. A group's
difference is split in steps, each with what the step before left over, so that causes add up to the difference:

    launch       what the devices take for empty dispatches, as many as each trace has
    fusion       the second trace's kernels move other bytes or compute other operations, at the first one's ceilings
    memory       the same work at the other device's measured bandwidth, where that bounds it
    compute      the same work at the other device's measured arithmetic, where that bounds it
    feature      what is left, where the shaders use other features of the device, such as halves
    kernel       what is left, where the shaders differ otherwise: how near each comes to its device's ceiling
    unexplained  what is left, where the shaders are the same

Of the whole, `host` is all that is not the GPU's. Without ceilings on both sides there is no launch, memory or compute.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tstorch.trace.bounds import Ceilings
from tstorch.trace.join import node_shares, timed_dispatches, total_us
from tstorch.trace.schema import Record, Trace, TraceError
from tstorch.trace.statistics import CERTAIN, Spread, interval_of_median

CAUSES = ("launch", "fusion", "memory", "compute", "feature", "kernel", "unexplained")
# Smaller differences are nothing that a repetition would confirm, however narrow the spread of one measurement.
LEAST_SHARE = 0.05
FEWEST_SAMPLES = 5


@dataclass
class Side:
    """What one trace has of a group: its dispatches, and what is known of their time and work.

    `samples` has for each dispatch what single runs took, raw; none where the trace does not tell.
    """

    dispatches: list[Record] = field(default_factory=list)
    samples: list[list[float]] = field(default_factory=list)

    @property
    def us(self) -> float | None:
        """Microseconds of all its dispatches, None where one is untimed."""
        return total_us(self.dispatches)

    @property
    def deviation(self) -> float:
        """How far a median of the group's time may be off, in microseconds, from the deviations of its dispatches."""
        return sum((1.5 * row.get("mad_us", 0.0)) ** 2 for row in self.dispatches) ** 0.5

    @property
    def interval(self) -> tuple[float, float] | None:
        """Between which raw microseconds the median of the group's time lies; None where too few runs tell."""
        runs = [sum(times) for times in zip(*self.samples, strict=False)]
        return interval_of_median(runs, CERTAIN) if len(runs) >= FEWEST_SAMPLES else None

    def launch_us(self, ceilings: Ceilings) -> float:
        """What as many empty dispatches would take; never more than the group takes."""
        runs = sum(row.get("runs", 1) for row in self.dispatches)
        return min(runs * ceilings.launch_us, self.us or 0.0)

    def floor_us(self, ceilings: Ceilings) -> float:
        """The least time in which a device with these ceilings could do the group's work."""
        return sum(row.get("runs", 1) * ceilings.floor_us(row["bytes"], row["flops"]) for row in self.dispatches)

    def bound(self, ceilings: Ceilings) -> str:
        """Which ceiling most of the group's time would meet there."""
        row = max(self.dispatches, key=lambda each: ceilings.floor_us(each["bytes"], each["flops"]))
        return ceilings.bound(row["bytes"], row["flops"])


@dataclass(frozen=True)
class Group:
    """Nodes that stand and fall together, and what both traces have of them."""

    nodes: tuple[str, ...]
    before: Side
    after: Side
    causes: dict[str, float]

    @property
    def difference(self) -> float:
        """Microseconds that the second trace takes more."""
        return (self.after.us or 0.0) - (self.before.us or 0.0)

    @property
    def is_noise(self) -> bool:
        """Whether the difference lies inside the spread of the two measurements.

        It does where their medians may be the same by the order of single runs, whose times fall into two kinds on some
        drivers; and where it is within the deviations of both, which tell of a machine whose pace changes.
        """
        least = max(self.before.us or 0.0, self.after.us or 0.0) * LEAST_SHARE
        spread = 3 * (self.before.deviation**2 + self.after.deviation**2) ** 0.5
        first, second = self.before.interval, self.after.interval
        same = first is not None and second is not None and _overlap(first, second)
        return same or abs(self.difference) <= max(least, spread)


@dataclass(frozen=True)
class Comparison:
    """Both wholes, their parts, and all groups, those with the largest difference first."""

    before: Trace
    after: Trace
    groups: list[Group]

    @property
    def parts(self) -> dict[str, tuple[float, float]]:
        """Each part of a run's time in both traces, in microseconds."""
        first, second = self.before.measured["parts_us"], self.after.measured["parts_us"]
        return {name: (us or 0.0, second.get(name) or 0.0) for name, us in first.items()}

    @property
    def causes(self) -> dict[str, float]:
        """Microseconds of the GPU's difference by cause, over all groups."""
        return {cause: sum(group.causes[cause] for group in self.groups) for cause in CAUSES}

    @property
    def host(self) -> float:
        """Microseconds of the whole's difference that are not the GPU's."""
        whole, gpu = self.parts.get("whole", (0.0, 0.0)), self.parts.get("gpu", (0.0, 0.0))
        return (whole[1] - whole[0]) - (gpu[1] - gpu[0])

    @property
    def is_noise(self) -> bool:
        """Whether the two latencies are the same as far as their runs, and the machine's own pace, can tell."""
        first, second = Spread.of(self.before).times, Spread.of(self.after).times
        if not first or not second:
            return False
        if _overlap(interval_of_median(first, CERTAIN), interval_of_median(second, CERTAIN)):
            return True
        medians = Spread(first).median, Spread(second).median
        least = max(LEAST_SHARE, _drift(self.before), _drift(self.after))
        return abs(medians[1] - medians[0]) <= least * max(medians)


def _overlap(first: tuple[float, float], second: tuple[float, float]) -> bool:
    return first[0] <= second[1] and second[0] <= first[1]


def _drift(trace: Trace) -> float:
    """By how much a fixed kernel changed its pace while this was measured: so far the machine itself may be off."""
    return abs(trace.measured["timing"].get("sentinel_drift") or 0.0)


def compare(before: Trace, after: Trace) -> Comparison:
    """Aligns two traces. Raises TraceError where they are not of one model with one set of dimensions."""
    _check_comparable(before, after)
    first, second = Ceilings.of(before.measured), Ceilings.of(after.measured)
    kernels = [{kernel["name"]: kernel for kernel in trace.kernels} for trace in (before, after)]
    groups = []
    for nodes, old, new in _aligned(before, after):
        used = [
            [known.get(row["kernel"], {}) for row in side.dispatches]
            for side, known in zip((old, new), kernels, strict=True)
        ]
        rest = _rest(*used)
        groups.append(Group(nodes, old, new, _causes(old, new, first, second, rest)))
    groups.sort(key=lambda group: -abs(group.difference))
    return Comparison(before, after, groups)


def _check_comparable(before: Trace, after: Trace) -> None:
    for what in ("model", "dims"):
        first, second = before.header.get(what), after.header.get(what)
        if what == "model":
            first, second = before.header["model"].get("sha256"), after.header["model"].get("sha256")
        if first != second:
            raise TraceError(f"the traces are of two models: {what} is {first} in the first, {second} in the second")


def _aligned(before: Trace, after: Trace) -> Iterator[tuple[tuple[str, ...], Side, Side]]:
    """Groups of nodes with the dispatches of both traces that serve them; a dispatch without nodes is its own group."""
    owner = _Union()
    both = [timed_dispatches(trace) for trace in (before, after)]
    for dispatches in both:
        for dispatch in dispatches:
            owner.join(_members(dispatch))
    sides: dict[str, tuple[Side, Side]] = {}
    for at, (trace, dispatches) in enumerate(zip((before, after), both, strict=True)):
        samples = _samples(trace)
        for dispatch in dispatches:
            side = sides.setdefault(owner.find(_members(dispatch)[0]), (Side(), Side()))[at]
            side.dispatches.append(dispatch)
            side.samples.append(samples.get(dispatch["id"], []))
    nodes: dict[str, list[str]] = {}
    for node in before.nodes:
        nodes.setdefault(owner.find(node["id"]), []).append(node["id"])
    for head, (old, new) in sides.items():
        yield tuple(nodes.get(head, [head])), old, new


def _samples(trace: Trace) -> dict[int, list[float]]:
    """What each dispatch took in single detailed runs, by its id; nothing where runs differ in what they dispatch."""
    ids = [row["id"] for row in trace.dispatches if row["entry"] == trace.header.get("entry", "run")]
    runs = [run["raw_us"] for run in trace.runs if run["kind"] == "detailed"]
    if any(len(run) != len(ids) for run in runs):
        return {}
    return {id: [run[at] for run in runs] for at, id in enumerate(ids)}


def _members(dispatch: Record) -> list[str]:
    return list(node_shares(dispatch)) or [dispatch["kernel"]]


def _rest(old: list[Record], new: list[Record]) -> str:
    """What is to be said of a difference that work and ceilings do not tell, between these kernels."""
    if [kernel.get("digest") for kernel in old] == [kernel.get("digest") for kernel in new]:
        return "unexplained"
    used = [{name for kernel in kernels for name in kernel.get("features", ())} for kernels in (old, new)]
    return "kernel" if used[0] == used[1] else "feature"


def _causes(old: Side, new: Side, first: Ceilings | None, second: Ceilings | None, rest: str) -> dict[str, float]:
    causes: dict[str, float] = {cause: 0.0 for cause in CAUSES}
    begin, end = old.us or 0.0, new.us or 0.0
    at = begin
    if first is not None and second is not None and begin and end:
        before, after = old.launch_us(first), new.launch_us(second)
        causes["launch"] = after - before
        at -= before
        if floor := old.floor_us(first):
            causes["fusion"] = at * (new.floor_us(first) / floor - 1)
            at += causes["fusion"]
        if floor := new.floor_us(first):
            bound = new.bound(second)
            causes[bound] = at * (new.floor_us(second) / floor - 1)
            at += causes[bound]
        at += after
    causes[rest] = end - at
    return causes


class _Union:
    """Sets that are joined; each known by one of its members."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def find(self, name: str) -> str:
        while (parent := self._parent.setdefault(name, name)) != name:
            self._parent[name] = name = self._parent[parent]
        return name

    def join(self, names: list[str]) -> None:
        for name in names[1:]:
            self._parent[self.find(name)] = self.find(names[0])
