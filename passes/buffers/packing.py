"""Packs tensors with known life times into a few arenas: which arena, and where in it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random

ALIGNMENT = 256
FEW_ARENAS = (2, 3, 4)
MOVES = 150
"""So many changes of the best order are tried."""
GOOD_ENOUGH = 1.1
"""No moves are tried on a plan whose peak is at most so many times the bytes alive at once."""


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


@dataclass(frozen=True)
class Packer:
    """Tensors to pack, and the most bytes that one arena may have."""

    tensors: Sequence[Tensor]
    max_arena: int

    def best(self) -> Plan:
        """The smallest plan among several orders and numbers of arenas, improved by small moves where that pays.

        The moves are seeded: the same tensors always get the same plan.
        """
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
        members = [0] * arenas
        for index in order:
            options = list(self._options(index, plan, members))
            if options:
                _, _, arena, offset = min(options)
            else:
                arena, offset = len(plan.arenas), 0
                plan.arenas.append(0)
                members.append(0)
            plan.place[index] = (arena, offset)
            members[arena] |= 1 << index
            plan.arenas[arena] = max(plan.arenas[arena], offset + self.tensors[index].padded)
            if below is not None and plan.peak >= below:
                return None
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
    def _apart(self) -> list[int]:
        """For each tensor, those of other arenas, as bits."""
        return [sum(1 << other for other in tensor.apart) for tensor in self.tensors]

    @cached_property
    def _together(self) -> list[int]:
        """For each tensor, those that live when it does, as bits."""
        pairs = [[one.lives_with(other) for other in self.tensors] for one in self.tensors]
        return [sum(1 << other for other, lives in enumerate(row) if lives) for row in pairs]

    def _options(self, index: int, plan: Plan, members: Sequence[int]) -> Iterator[tuple[int, int, int, int]]:
        """(growth, waste, arena, offset) for each arena that may hold the tensor."""
        size = self.tensors[index].padded
        for arena, inside in enumerate(members):
            if not self._apart[index] & inside:
                others = _bits(self._together[index] & inside)
                taken = sorted((plan.place[i][1], plan.place[i][1] + self.tensors[i].padded) for i in others)
                waste, offset = _best_gap(taken, size, plan.arenas[arena])
                growth = max(0, offset + size - plan.arenas[arena])
                if plan.arenas[arena] + growth <= self.max_arena:
                    yield growth, waste, arena, offset


def _moved(order: Sequence[int], chance: Random) -> list[int]:
    """The order with one tensor at another place."""
    moved = list(order)
    moved.insert(chance.randrange(len(order)), moved.pop(chance.randrange(len(order))))
    return moved


def _bits(mask: int) -> Iterator[int]:
    """The numbers of the bits that are set."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def _best_gap(taken: Sequence[tuple[int, int]], size: int, arena: int) -> tuple[int, int]:
    """(bytes left over, offset) of the tightest gap of `size` bytes between the ranges taken, else behind them."""
    best: tuple[int, int] | None = None
    end = 0
    for low, high in [*taken, (arena, arena)]:
        if low - end >= size and (best is None or low - end - size < best[0]):
            best = (low - end - size, end)
        end = max(end, high)
    return best or (0, max((high for _, high in taken), default=0))
