"""Runs that one workgroup sorts in its own memory: a bitonic network over their keys and positions.

The position is the last key, so that no two elements are equal: the network, which keeps no order, cannot be told from
a stable sort. Runs are filled up to a power of two with elements that come last. Only keys and positions move; what a
result holds is read once, from where its position says.
"""

from __future__ import annotations

from math import ceil

from xdsl.dialects.arith import ShRUIOp
from xdsl.dialects.builtin import MemRefType
from xdsl.ir import SSAValue

from tstorch.dialects import flow, loop
from tstorch.dialects.indexing import Index
from tstorch.dialects.loop import Id, MemorySpace, ui32
from tstorch.dialects.prim.scalar import Scalar
from tstorch.dialects.prim.sort import SortOp
from tstorch.dialects.prim.types import integer
from tstorch.passes.convert.kernel_to_loop.emit import unsettled
from tstorch.passes.convert.kernel_to_loop.frame import Frame, Grid, Place, convert
from tstorch.passes.convert.kernel_to_loop.nest import (
    Ids,
    flat_group,
    load,
    number,
    private,
    serving,
    spread,
    steps,
    store,
)
from tstorch.passes.convert.kernel_to_loop.ordering import LAST, Rows, comes_before, row_count


def slots_of(op: SortOp) -> int:
    """The elements that one run takes in the network: a power of two, at least 2."""
    return max(1 << (min(integer(op.run), op.length) - 1).bit_length(), 2)


def runs_of(op: SortOp) -> int:
    """How many runs a row has."""
    return ceil(op.length / integer(op.run))


def convert_sort(kernel: flow.KernelOp, schedule: flow.ScheduleAttr, anchor: SortOp) -> loop.KernelOp:
    """`together` runs side by side in one workgroup; each invocation handles every threads-th pair."""
    threads, together = schedule.workgroup[0], schedule.together
    grid = Grid(spread(ceil(row_count(anchor) * runs_of(anchor) / together)), (threads, 1, 1))

    def body(frame: Frame, ids: Ids) -> None:
        nest = _Network(frame, anchor, ids[Id.LID_X], threads, together)
        nest.place(flat_group(ids, grid.groups))
        with serving(frame.build, anchor):
            nest.fill()
            nest.sort()
        nest.finish()

    return convert(kernel, grid, body)


class _Network:
    """The code of one invocation."""

    def __init__(self, frame: Frame, op: SortOp, thread: Index, threads: int, together: int) -> None:
        self.frame, self.build = frame, frame.build
        self.op, self.thread, self.threads, self.together = op, thread, threads, together
        self.rows = Rows(op, frame.emit)
        self.slots = slots_of(op)
        self.total = self.slots * together
        self.keys = [self._shared() for _ in op.keys]
        self.positions = self._shared()

    def _shared(self) -> SSAValue:
        type = MemRefType(ui32, [self.total])
        return self.build.insert(loop.AllocOp(MemorySpace.WORKGROUP, type)).memory

    def place(self, group: Index) -> None:
        """Which runs this workgroup sorts."""
        self.first_run = group * self.together

    def _element(self, slot: Index, position: Index) -> tuple[list[Index], list[loop.Constraint]]:
        """The index of a position in the run that a slot belongs to, and when the slot holds an element at all."""
        run, own = self.first_run + slot // self.slots, slot % self.slots
        parts = runs_of(self.op)
        start, length = run % parts * integer(self.op.run), min(integer(self.op.run), self.op.length)
        mask = [(run, row_count(self.op) * parts), (own, length), (start + own, self.op.length)]
        return self.rows.index(run // parts, start + position), unsettled(mask)

    def fill(self) -> None:
        """Keys and positions of all elements; behind them what comes last."""
        build = self.build
        with steps(build, self.total, self.threads) as first:
            slot = first + self.thread
            index, mask = self._element(slot, slot % self.slots)
            inside = [Scalar(build.insert(loop.WithinOp(mask)).result, build)] if mask else []
            for memory, word in zip(self.keys, self.rows.words(index, mask), strict=True):
                key = inside[0].select(word, word.lift(LAST)) if inside else word
                store(build, key.value, memory, slot)
            store(build, build.insert(loop.IndexValueOp(slot % self.slots, ui32)).result, self.positions, slot)
        build.insert(loop.BarrierOp())

    def sort(self) -> None:
        """All stages: runs of 2, 4, ... slots, each by comparing at half its length, a quarter, ... down to 1."""
        build, levels = self.build, self.slots.bit_length() - 1
        size, distance = (private(build, [1], ui32) for _ in range(2))
        store(build, number(build, 2, ui32), size, Index())
        store(build, number(build, 1, ui32), distance, Index())
        with build.loop(levels * (levels + 1) // 2):
            long, far = (Scalar(load(build, memory, Index()), build) for memory in (size, distance))
            with steps(build, self.total // 2, self.threads) as first:
                self._exchange(first + self.thread, long, far)
            build.insert(loop.BarrierOp())
            last = far.compare("eq", 1)
            half = far.apply(ShRUIOp, 1)
            store(build, last.select(long + long, long).value, size, Index())
            store(build, last.select(long, half).value, distance, Index())

    def _exchange(self, pair: Index, long: Scalar, far: Scalar) -> None:
        """Puts two elements in order: downwards in every second run, so that the next stage finds a rise and a fall."""
        build = self.build
        number = Scalar(build.insert(loop.IndexValueOp(pair, ui32)).result, build)
        inside = number & (far - 1)
        low = number + number - inside
        places = [loop.dim_of(build.insert(loop.ToIndexOp(at.value, self.total)).result) for at in (low, low + far)]
        memories = [*self.keys, self.positions]
        first, second = ([Scalar(load(build, memory, at), build) for memory in memories] for at in places)
        rising = (low & (self.slots - 1) & long).compare("eq", 0)
        swap = rising ^ comes_before(first, second)
        for memory, a, b in zip(memories, first, second, strict=True):
            store(build, swap.select(b, a).value, memory, places[0])
            store(build, swap.select(a, b).value, memory, places[1])

    def finish(self) -> None:
        """Stores every result's elements in their new order."""
        with steps(self.build, self.total, self.threads) as first:
            slot = first + self.thread
            with serving(self.build, self.op):
                held = load(self.build, self.positions, slot)
                position = loop.dim_of(self.build.insert(loop.ToIndexOp(held, self.slots)).result)
            index, mask = self._element(slot, slot % self.slots)
            origin, _ = self._element(slot, position)
            self.rows.send(origin, mask)
            self.frame.store([Place(n, index, mask) for n in range(len(self.frame.kernel.yielded))])
