"""Pairs of sorted runs made one: each invocation finds by bisection where its result element comes from.

Result number d of a pair has i elements of the first run before it, and d - i of the second. That i is the only one
where neither run has passed over an element that should come first; of equal ones, the first run's do.
"""

from __future__ import annotations

from math import ceil

from tstorch.dialects import flow, loop
from tstorch.dialects.indexing import Index
from tstorch.dialects.loop import Id
from tstorch.dialects.prim.scalar import Scalar
from tstorch.dialects.prim.sort import SortOp
from tstorch.dialects.prim.types import integer
from tstorch.passes.convert.kernel_to_loop.bisection import bisected
from tstorch.passes.convert.kernel_to_loop.frame import Frame, Grid, Place, convert
from tstorch.passes.convert.kernel_to_loop.nest import (
    Ids,
    flat_group,
    serving,
    shape_of,
    size_of,
    split,
    spread,
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
            _Merge(frame, anchor, index, mask).choose()
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

    def _scalar(self, index: Index) -> Scalar:
        return Scalar(self.build.insert(loop.IndexValueOp(index)).result, self.build)

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

    def choose(self) -> None:
        """The element itself: what comes next in the first run, of which some stand before it, or in the second."""
        low = (self.number - self.second_length).maximum(0)
        high = self.number.minimum(self.first_length)
        first = bisected(
            self.build, low, high, self.given, lambda place: self._first_leads(place, self.number - 1 - place)
        )
        second = self.number - first
        exhausted = second.compare("ge", self.second_length)
        from_first = first.compare("lt", self.first_length) & (exhausted | self._first_leads(first, second))
        self.rows.send(self._at(from_first.select(first, second + self.given)), self.mask)
