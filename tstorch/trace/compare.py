"""Two traces of one model side by side: aligned by ONNX node, each difference split into its causes.

Nodes that share a dispatch in either trace are one group, so that groups are comparable where fusion differs. A group's
difference is split in steps, each with what the step before left over, so that causes add up to the difference:

    fusion       the second trace's kernels move other bytes or compute other operations, at the first one's ceilings
    memory       the same work at the other device's measured bandwidth, where that bounds it
    compute      the same work at the other device's measured arithmetic, where that bounds it
    kernel       what is left, where the shaders differ: how near each comes to its device's ceiling
    unexplained  what is left, where the shaders are the same

Without ceilings on both sides there is no `memory` and no `compute`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tstorch.trace.bounds import Ceilings
from tstorch.trace.join import node_shares, timed_dispatches, total_us
from tstorch.trace.schema import Record, Trace, TraceError
from tstorch.trace.statistics import Spread, interval_of_median

CAUSES = ("fusion", "memory", "compute", "kernel", "unexplained")
# Smaller differences are nothing that a repetition would confirm, however narrow the spread of one measurement.
LEAST_SHARE = 0.05


@dataclass
class Side:
    """What one trace has of a group: its dispatches, and what is known of their time and work."""

    dispatches: list[Record] = field(default_factory=list)

    @property
    def us(self) -> float | None:
        """Microseconds of all its dispatches, None where one is untimed."""
        return total_us(self.dispatches)

    @property
    def work(self) -> tuple[int, int]:
        """Bytes moved, and operations."""
        return sum(row["bytes"] for row in self.dispatches), sum(row["flops"] for row in self.dispatches)

    @property
    def deviation(self) -> float:
        """How far a median of the group's time may be off, in microseconds, from the deviations of its dispatches."""
        return sum((1.5 * row.get("mad_us", 0.0)) ** 2 for row in self.dispatches) ** 0.5


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
        """Whether the difference lies inside the spread of the two measurements."""
        least = max(self.before.us or 0.0, self.after.us or 0.0) * LEAST_SHARE
        spread = 3 * (self.before.deviation**2 + self.after.deviation**2) ** 0.5
        return abs(self.difference) <= max(least, spread)


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
    def is_noise(self) -> bool:
        """Whether the two latencies are the same as far as their runs can tell."""
        first, second = Spread.of(self.before).times, Spread.of(self.after).times
        if not first or not second:
            return False
        (low, high), (lower, upper) = interval_of_median(first), interval_of_median(second)
        medians = Spread(first).median, Spread(second).median
        return (low <= upper and lower <= high) or abs(medians[1] - medians[0]) <= LEAST_SHARE * max(medians)


def compare(before: Trace, after: Trace) -> Comparison:
    """Aligns two traces. Raises TraceError where they are not of one model with one set of dimensions."""
    _check_comparable(before, after)
    first, second = Ceilings.of(before.measured), Ceilings.of(after.measured)
    shaders = [{kernel["name"]: kernel.get("digest") for kernel in trace.kernels} for trace in (before, after)]
    groups = []
    for nodes, old, new in _aligned(before, after):
        same = _shaders(old, shaders[0]) == _shaders(new, shaders[1])
        groups.append(Group(nodes, old, new, _causes(old, new, first, second, same=same)))
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
    for at, dispatches in enumerate(both):
        for dispatch in dispatches:
            pair = sides.setdefault(owner.find(_members(dispatch)[0]), (Side(), Side()))
            pair[at].dispatches.append(dispatch)
    nodes: dict[str, list[str]] = {}
    for node in before.nodes:
        nodes.setdefault(owner.find(node["id"]), []).append(node["id"])
    for head, (old, new) in sides.items():
        yield tuple(nodes.get(head, [head])), old, new


def _members(dispatch: Record) -> list[str]:
    return list(node_shares(dispatch)) or [dispatch["kernel"]]


def _shaders(side: Side, digests: dict[str, str | None]) -> list[str | None]:
    return [digests.get(row["kernel"]) for row in side.dispatches]


def _causes(old: Side, new: Side, first: Ceilings | None, second: Ceilings | None, *, same: bool) -> dict[str, float]:
    causes: dict[str, float] = {cause: 0.0 for cause in CAUSES}
    begin, end = old.us or 0.0, new.us or 0.0
    at = begin
    if first is not None and second is not None and begin and end:
        floor = first.floor_us(*old.work)
        if floor and old.work != new.work:
            causes["fusion"] = at * (first.floor_us(*new.work) / floor - 1)
            at += causes["fusion"]
        if floor := first.floor_us(*new.work):
            bound = second.bound(*new.work)
            causes[bound] = at * (second.floor_us(*new.work) / floor - 1)
            at += causes[bound]
    causes["unexplained" if same else "kernel"] = end - at
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
