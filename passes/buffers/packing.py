"""Packs tensors with known life times into a few arenas: which arena, and where in it."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from heapq import heappop, heappush
from random import Random

ALIGNMENT = 256
FEW_ARENAS = (2, 3, 4)
MOVES = 150
"""So many changes of the best order are tried."""
GOOD_ENOUGH = 1.1
"""No moves are tried on a plan whose peak is at most so many times the bytes alive at once."""
CROWDED = 200_000
"""Pairs of tensors that live at the same time, above which no order but that of time is tried."""


@dataclass(frozen=True)
class Tensor:
    """Bytes that are needed from command `first` to command `last`, and the tensors that must lie in other arenas."""

    bytes: int
    first: int
    last: int
    apart: frozenset[int] = frozenset()

    @cached_property
    def padded(self) -> int:
        """Its bytes, up to where the next tensor may start."""
        return -(-self.bytes // ALIGNMENT) * ALIGNMENT

    def lives_with(self, other: "Tensor") -> bool:
        return self.first <= other.last and other.first <= self.last


@dataclass
class Plan:
    """Where each tensor lies, and how large the arenas have become."""

    arenas: list[int] = field(default_factory=list)
    place: dict[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def peak(self) -> int:
        return sum(self.arenas)


@dataclass
class Shelf:
    """An arena at one moment: how large it has become, and the ranges in it that are free, in order."""

    size: int = 0
    gaps: list[tuple[int, int]] = field(default_factory=list)

    def fit(self, size: int) -> tuple[int, int, int]:
        """(growth, waste, offset) of the tightest gap of so many bytes, else at the end."""
        if fits := [(end - begin - size, begin) for begin, end in self.gaps if end - begin >= size]:
            return 0, *min(fits)
        begin = self.gaps[-1][0] if self.gaps and self.gaps[-1][1] == self.size else self.size
        return begin + size - self.size, 0, begin

    def take(self, offset: int, size: int) -> None:
        """Fills the first bytes of a gap, or those at the end."""
        at = bisect_left(self.gaps, (offset, 0))
        if at < len(self.gaps) and self.gaps[at][0] == offset:
            end = self.gaps[at][1]
            self.gaps[at : at + 1] = [(offset + size, end)] if end > offset + size else []
        self.size = max(self.size, offset + size)

    def free(self, offset: int, size: int) -> None:
        """Makes a gap of what was taken, one with the gaps beside it."""
        begin, end, at = offset, offset + size, bisect_left(self.gaps, (offset, 0))
        if at < len(self.gaps) and self.gaps[at][0] == end:
            end = self.gaps.pop(at)[1]
        if at and self.gaps[at - 1][1] == begin:
            begin = self.gaps.pop(at - 1)[0]
            at -= 1
        self.gaps.insert(at, (begin, end))


@dataclass(frozen=True)
class Packer:
    """Tensors to pack, and the most bytes that one arena may have."""

    tensors: Sequence[Tensor]
    max_arena: int

    def best(self) -> Plan:
        """The smallest plan among several orders and numbers of arenas, improved by small moves where that pays.

        The moves are seeded: the same tensors always get the same plan. Where very many live at once, each order would
        cost their number squared, and the one plan that is made in order of time has to do.
        """
        if self._pairs > CROWDED:
            return self.in_time()
        enough = GOOD_ENOUGH * max(self._live, default=0)
        best, order, arenas = Plan(), list[int](), FEW_ARENAS[0]
        for tried, count in self._starts():
            plan = self.in_order(tried, count, below=best.peak or None)
            if plan is not None and (not best.place or plan.peak < best.peak):
                best, order, arenas = plan, tried, count
        chance = Random(0)
        for _ in range(MOVES):
            if best.peak <= enough:
                break
            moved = _moved(order, chance)
            plan = self.in_order(moved, chance.choice((arenas, *FEW_ARENAS)), below=best.peak + 1)
            if plan is not None:
                best, order, arenas = plan, moved, len(plan.arenas)
        return best

    def first(self) -> Plan:
        """The plan that places the largest tensors first, in three arenas."""
        plan = self.in_order(sorted(range(len(self.tensors)), key=self._keys()[0]), 3)
        assert plan is not None
        return plan

    def in_order(self, order: Sequence[int], arenas: int, below: int | None = None) -> Plan | None:
        """Places tensors one by one, each where it lets its arena grow least; opens a new arena only where it must.

        None where the plan does not stay below that peak.
        """
        plan = Plan([0] * arenas)
        for index in order:
            options = list(self._options(index, plan))
            if options:
                _, _, arena, offset = min(options)
            else:
                arena, offset = len(plan.arenas), 0
                plan.arenas.append(0)
            plan.place[index] = (arena, offset)
            plan.arenas[arena] = max(plan.arenas[arena], offset + self.tensors[index].padded)
            if below is not None and plan.peak >= below:
                return None
        return plan

    def in_time(self) -> Plan:
        """Places tensors as they come to life, in what is free then; the time is near linear in their number."""
        plan, shelves = Plan(), [Shelf() for _ in range(FEW_ARENAS[-1])]
        dying: list[tuple[int, int]] = []
        for index in sorted(range(len(self.tensors)), key=self._keys()[-1]):
            tensor = self.tensors[index]
            while dying and dying[0][0] < tensor.first:
                _, gone = heappop(dying)
                arena, offset = plan.place[gone]
                shelves[arena].free(offset, self.tensors[gone].padded)
            barred = self._barred(index, plan)
            fits = [(*shelf.fit(tensor.padded), arena) for arena, shelf in enumerate(shelves) if arena not in barred]
            fits = [each for each in fits if shelves[each[-1]].size + each[0] <= self.max_arena]
            _, _, offset, arena = min(fits, default=(0, 0, 0, len(shelves)))
            if arena == len(shelves):
                shelves.append(Shelf())
            shelves[arena].take(offset, tensor.padded)
            plan.place[index] = (arena, offset)
            heappush(dying, (tensor.last, index))
        plan.arenas = [shelf.size for shelf in shelves]
        return plan

    def _starts(self) -> Iterator[tuple[list[int], int]]:
        """Orders worth trying, each with 2, 3 and 4 arenas."""
        for key in self._keys():
            for arenas in FEW_ARENAS:
                yield sorted(range(len(self.tensors)), key=key), arenas

    def _keys(self) -> Sequence[Callable[[int], tuple[int, ...]]]:
        tensors = self.tensors
        return (
            lambda i: (-tensors[i].padded, tensors[i].first, i),
            lambda i: (-tensors[i].padded * (tensors[i].last - tensors[i].first + 1), i),
            lambda i: (-self._pressure(i), -tensors[i].padded, i),
            lambda i: (tensors[i].first, -tensors[i].padded, i),
        )

    def _pressure(self, index: int) -> int:
        """The largest sum of bytes that the tensor is part of."""
        tensor = self.tensors[index]
        return max(self._live[tensor.first : tensor.last + 1], default=0)

    @cached_property
    def _live(self) -> list[int]:
        """Padded bytes alive at each command."""
        live = [0] * (max((tensor.last for tensor in self.tensors), default=-1) + 1)
        for tensor in self.tensors:
            for position in range(tensor.first, tensor.last + 1):
                live[position] += tensor.padded
        return live

    @cached_property
    def _pairs(self) -> int:
        """How many pairs of tensors live at the same time: of all pairs, those of which none ends before the other."""
        ends, count = sorted(tensor.last for tensor in self.tensors), len(self.tensors)
        return count * (count - 1) // 2 - sum(bisect_left(ends, tensor.first) for tensor in self.tensors)

    @cached_property
    def _together(self) -> list[list[int]]:
        """For each tensor, those that live when it does."""
        together: list[list[int]] = [[] for _ in self.tensors]
        living: list[int] = []
        for index in sorted(range(len(self.tensors)), key=lambda i: self.tensors[i].first):
            living = [other for other in living if self.tensors[other].last >= self.tensors[index].first]
            together[index] += living
            for other in living:
                together[other].append(index)
            living.append(index)
        return together

    def _barred(self, index: int, plan: Plan) -> set[int]:
        """The arenas that hold what the tensor must not share one with."""
        return {plan.place[other][0] for other in self.tensors[index].apart if other in plan.place}

    def _options(self, index: int, plan: Plan) -> Iterator[tuple[int, int, int, int]]:
        """(growth, waste, arena, offset) for each arena that may hold the tensor."""
        size, barred = self.tensors[index].padded, self._barred(index, plan)
        taken: list[list[tuple[int, int]]] = [[] for _ in plan.arenas]
        for other in self._together[index]:
            if other in plan.place:
                arena, begin = plan.place[other]
                taken[arena].append((begin, begin + self.tensors[other].padded))
        for arena, end in enumerate(plan.arenas):
            if arena not in barred:
                waste, offset = _best_gap(sorted(taken[arena]), size, end)
                growth = max(0, offset + size - end)
                if end + growth <= self.max_arena:
                    yield growth, waste, arena, offset


def _moved(order: Sequence[int], chance: Random) -> list[int]:
    """The order with one tensor at another place."""
    moved = list(order)
    moved.insert(chance.randrange(len(order)), moved.pop(chance.randrange(len(order))))
    return moved


def _best_gap(taken: Sequence[tuple[int, int]], size: int, arena: int) -> tuple[int, int]:
    """(bytes left over, offset) of the tightest gap of `size` bytes between the ranges taken, else behind them."""
    best: tuple[int, int] | None = None
    end = 0
    for low, high in [*taken, (arena, arena)]:
        if low - end >= size and (best is None or low - end - size < best[0]):
            best = (low - end - size, end)
        end = max(end, high)
    return best or (0, max((high for _, high in taken), default=0))
