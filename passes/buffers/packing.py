"""Packs tensors with known life times into a few arenas: which arena, and where in it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

ALIGNMENT = 256
FEW_ARENAS = (2, 3, 4)


@dataclass(frozen=True)
class Tensor:
    """Bytes that are needed from command `first` to command `last`, and the tensors that must lie in other arenas."""

    bytes: int
    first: int
    last: int
    apart: frozenset[int] = frozenset()

    @property
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
        """The smallest plan among several orders and numbers of arenas; stops at one that no plan can beat."""
        bound = max(self._live, default=0)
        best: Plan | None = None
        for plan in self._plans():
            if best is None or plan.peak < best.peak:
                best = plan
            if best.peak <= bound:
                break
        return best or Plan()

    def first(self) -> Plan:
        """The plan that places the largest tensors first, in three arenas."""
        return self.in_order(sorted(range(len(self.tensors)), key=self._keys()[0]), 3)

    def in_order(self, order: Sequence[int], arenas: int) -> Plan:
        """Places tensors one by one, each where it lets its arena grow least; opens a new arena only where it must."""
        plan = Plan([0] * arenas)
        members: list[list[int]] = [[] for _ in range(arenas)]
        for index in order:
            options = list(self._options(index, plan, members))
            if options:
                _, _, arena, offset = min(options)
            else:
                arena, offset = len(plan.arenas), 0
                plan.arenas.append(0)
                members.append([])
            plan.place[index] = (arena, offset)
            members[arena].append(index)
            plan.arenas[arena] = max(plan.arenas[arena], offset + self.tensors[index].padded)
        return plan

    def _plans(self) -> Iterator[Plan]:
        """Orders worth trying, each with 2, 3 and 4 arenas; then the best order's neighbours."""
        everyone = range(len(self.tensors))
        orders = [sorted(everyone, key=key) for key in self._keys()]
        for order in orders:
            for arenas in FEW_ARENAS:
                yield self.in_order(order, arenas)
        for order in orders[:1]:
            yield from self._neighbours(order)

    def _keys(self) -> Sequence[Callable[[int], tuple[int, ...]]]:
        tensors = self.tensors
        return (
            lambda i: (-tensors[i].padded, tensors[i].first, i),
            lambda i: (-tensors[i].padded * (tensors[i].last - tensors[i].first + 1), i),
            lambda i: (-self._pressure(i), -tensors[i].padded, i),
            lambda i: (tensors[i].first, -tensors[i].padded, i),
        )

    def _neighbours(self, order: list[int]) -> Iterator[Plan]:
        """Plans that place one of the tensors at the top of the order first."""
        for position in range(1, min(len(order), 12)):
            moved = [order[position], *order[:position], *order[position + 1 :]]
            for arenas in FEW_ARENAS:
                yield self.in_order(moved, arenas)

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

    def _options(self, index: int, plan: Plan, members: list[list[int]]) -> Iterator[tuple[int, int, int, int]]:
        """(growth, waste, arena, offset) for each arena that may hold the tensor."""
        tensor = self.tensors[index]
        for arena, inside in enumerate(members):
            if tensor.apart.isdisjoint(inside):
                taken = sorted(
                    (plan.place[other][1], plan.place[other][1] + self.tensors[other].padded)
                    for other in inside
                    if self.tensors[other].lives_with(tensor)
                )
                waste, offset = _best_gap(taken, tensor.padded, plan.arenas[arena])
                growth = max(0, offset + tensor.padded - plan.arenas[arena])
                if plan.arenas[arena] + growth <= self.max_arena:
                    yield growth, waste, arena, offset


def _best_gap(taken: Sequence[tuple[int, int]], size: int, arena: int) -> tuple[int, int]:
    """(bytes left over, offset) of the tightest gap of `size` bytes between the ranges taken, else behind them."""
    best: tuple[int, int] | None = None
    end = 0
    for low, high in [*taken, (arena, arena)]:
        if low - end >= size and (best is None or low - end - size < best[0]):
            best = (low - end - size, end)
        end = max(end, high)
    return best or (0, max((high for _, high in taken), default=0))
