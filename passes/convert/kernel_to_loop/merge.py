"""Pairs of sorted runs made one: each invocation finds by bisection where its result element comes from.

Result number d of a pair has i elements of the first run before it, and d - i of the second. That i is the only one
where neither run has passed over an element that should come first; of equal ones, the first run's do.
"""

from __future__ import annotations

from math import ceil

from xdsl.dialects.arith import ShRUIOp
from xdsl.dialects.builtin import i32
from xdsl.ir import SSAValue

from tstorch.dialects import flow, loop
from tstorch.dialects.indexing import Index
from tstorch.dialects.loop import Id
from tstorch.dialects.prim.scalar import Scalar
from tstorch.dialects.prim.sort import SortOp
from tstorch.dialects.prim.types import integer
from tstorch.passes.convert.kernel_to_loop.frame import Frame, Grid, Place, convert
from tstorch.passes.convert.kernel_to_loop.nest import (
    Ids,
    flat_group,
    load,
    private,
    serving,
    shape_of,
    size_of,
    split,
    spread,
    store,
)
from tstorch.passes.convert.kernel_to_loop.ordering import Rows, Words, comes_before


def convert_merge(kernel: flow.KernelOp, schedule: flow.ScheduleAttr, anchor: SortOp) -> loop.KernelOp:
    """Invocation number i writes result element i."""
    threads, total = schedule.workgroup[0], size_of(anchor.outputs[0])
    grid = Grid(spread(ceil(total / threads)), (threads, 1, 1))

    def body(frame: Frame, ids: Ids) -> None:
        position = flat_group(ids, grid.groups) * threads + ids[Id.LID_X]
        index, mask = split(position, shape_of(anchor.outputs[0])), [(position, total)]
        with serving(frame.build, anchor):
            nest = _Merge(frame, anchor, index, mask)
            nest.search()
            nest.choose()
        frame.store([Place(number, index, mask) for number in range(len(kernel.yielded))])

    return convert(kernel, grid, body)


class _Merge:
    """The code of one invocation: the pair of runs that its element belongs to."""

    def __init__(self, frame: Frame, op: SortOp, index: list[Index], mask: list[loop.Constraint]) -> None:
        self.frame, self.build, self.op, self.mask = frame, frame.build, op, mask
        self.axis, self.index, self.given = integer(op.dimension), index, integer(op.given)
        self.rows = Rows(op, frame.emit)
        place = index[self.axis]
        start = place // integer(op.run) * integer(op.run)
        self.start, self.number = self._scalar(start), self._scalar(place - start)
        left = self.start.lift(op.length) - self.start
        self.first_length = left.minimum(self.given)
        self.second_length = (left - self.given).maximum(0).minimum(self.given)
        self.low, self.high = (private(self.build, [1], i32) for _ in range(2))

    def _scalar(self, index: Index) -> Scalar:
        return Scalar(self.build.insert(loop.IndexValueOp(index)).result, self.build)

    def _read(self, memory: SSAValue) -> Scalar:
        return Scalar(load(self.build, memory, Index()), self.build)

    def _write(self, memory: SSAValue, value: Scalar) -> None:
        store(self.build, value.value, memory, Index())

    def _at(self, offset: Scalar) -> list[Index]:
        """The element so far behind the pair's start; the nearest there is for an offset outside the row."""
        inside = (self.start + offset).maximum(0).minimum(self.op.length - 1)
        place = loop.dim_of(self.build.insert(loop.ToIndexOp(inside.value, self.op.length)).result)
        return [*self.index[: self.axis], place, *self.index[self.axis + 1 :]]

    def _words(self, offset: Scalar) -> Words:
        return self.rows.words(self._at(offset), self.mask)

    def _first_leads(self, first: Scalar, second: Scalar) -> Scalar:
        """Whether that element of the first run comes before that of the second."""
        return comes_before(self._words(second + self.given), self._words(first)).negated()

    def search(self) -> None:
        """How many elements of the first run stand before this one."""
        self._write(self.low, (self.number - self.second_length).maximum(0))
        self._write(self.high, self.number.minimum(self.first_length))
        with self.build.loop(self.given.bit_length()):
            low, high = self._read(self.low), self._read(self.high)
            middle = (low + high).apply(ShRUIOp, 1)
            leads = self._first_leads(middle, self.number - 1 - middle)
            open = low.compare("lt", high)
            self._write(self.low, (open & leads).select(middle + 1, low))
            self._write(self.high, (open & leads.negated()).select(middle, high))

    def choose(self) -> None:
        """The element itself: the next of the first run or of the second."""
        first = self._read(self.low)
        second = self.number - first
        exhausted = second.compare("ge", self.second_length)
        from_first = first.compare("lt", self.first_length) & (exhausted | self._first_leads(first, second))
        self.rows.send(self._at(from_first.select(first, second + self.given)), self.mask)
