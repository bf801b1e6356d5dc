"""Running sums along rows: in one go, or shared by the invocations of a workgroup.

Where a row is shared each invocation has a stretch of it. It combines the elements of its own stretch, leaves that in
the workgroup's memory, and then runs over its stretch again, beginning with what stands before it.
"""

from __future__ import annotations

from math import ceil

from xdsl.dialects.builtin import MemRefType, i32
from xdsl.ir import SSAValue

from tstorch.dialects import flow, loop
from tstorch.dialects.flow import KernelKind, ScheduleAttr
from tstorch.dialects.indexing import Index
from tstorch.dialects.loop import Id, MemorySpace
from tstorch.dialects.prim.cumulative import CumulativeOp
from tstorch.dialects.prim.kinds import identity
from tstorch.dialects.prim.scalar import Scalar
from tstorch.dialects.prim.types import integer
from tstorch.passes.convert.kernel_to_loop.frame import Frame, Grid, convert
from tstorch.passes.convert.kernel_to_loop.nest import (
    Ids,
    flat_group,
    load,
    number,
    private,
    registers_of,
    serving,
    shape_of,
    size_of,
    split,
    spread,
    store,
    tensor_type,
)
from tstorch.passes.convert.kernel_to_loop.scatter import COMBINE

SHORT = 256
"""Rows up to this length are not shared."""
STRETCH = 16
"""An invocation's part of a shared row is at least that long."""


def running_schedule(anchor: CumulativeOp, threads: int) -> ScheduleAttr:
    """Long rows are shared, unless there are so many that they fill the device by themselves."""
    rows = size_of(anchor.operand) // max(anchor.length, 1)
    shared = 1 if anchor.length <= SHORT or rows >= 16 * threads else min(_power_of_two(anchor.length // STRETCH), 256)
    workgroup = shared if shared > 1 else min(_power_of_two(rows), threads)
    return ScheduleAttr.of(KernelKind.SCAN, threads=shared, workgroup=(workgroup, 1, 1))


def convert_running(kernel: flow.KernelOp, schedule: ScheduleAttr, anchor: CumulativeOp) -> loop.KernelOp:
    """`threads` invocations share a row; where it is one, each invocation of a workgroup has a row of its own."""
    threads, workgroup = schedule.threads, schedule.workgroup[0]
    rows = size_of(anchor.operand) // anchor.length
    grid = Grid(spread(ceil(rows * threads / workgroup)), (workgroup, 1, 1))

    def body(frame: Frame, ids: Ids) -> None:
        group, own = flat_group(ids, grid.groups), ids[Id.LID_X]
        row, part = (group, own) if threads > 1 else (group * workgroup + own, Index())
        nest = _Run(frame, anchor, row, part, threads)
        if threads > 1:
            with serving(frame.build, anchor):
                nest.combine_parts()
        nest.finish()

    return convert(kernel, grid, body)


class _Run:
    """The code of one invocation: its stretch of one row."""

    def __init__(self, frame: Frame, op: CumulativeOp, row: Index, part: Index, threads: int) -> None:
        self.frame, self.build, self.op, self.part, self.threads = frame, frame.build, op, part, threads
        self.stretch = ceil(op.length / threads)
        self.axis, self.type = integer(op.dimension), registers_of(op.result)
        self.start = identity(op.kind.data, tensor_type(op.result).element_type)
        outer = [size for at, size in enumerate(shape_of(op.operand)) if at != self.axis]
        self.outer, self.row, self.rows = split(row, outer), row, size_of(op.operand) // op.length
        with serving(frame.build, op):
            self.total = private(self.build, [1], self.type)
            store(self.build, number(self.build, self.start, self.type), self.total, Index())

    def _index(self, step: Index) -> tuple[list[Index], list[loop.Constraint]]:
        """Where an element of the stretch stands, and when there is one."""
        position = self.part * self.stretch + step
        place = self.op.length - 1 - position if self.op.is_reverse else position
        return [*self.outer[: self.axis], place, *self.outer[self.axis :]], [
            (self.row, self.rows),
            (place, self.op.length),
        ]

    def _join(self, element: SSAValue) -> SSAValue:
        """The total with one more element."""
        before = Scalar(load(self.build, self.total, Index()), self.build)
        return COMBINE[self.op.kind.data](before, Scalar(element, self.build)).value

    def _advance(self, step: Index) -> tuple[SSAValue, SSAValue]:
        """Adds one element of the stretch; gives the totals before and behind it."""
        index, mask = self._index(step)
        before = load(self.build, self.total, Index())
        behind = self._join(self.frame.emit.at_or(self.op.operand, index, mask, self.start))
        store(self.build, behind, self.total, Index())
        return before, behind

    def combine_parts(self) -> None:
        """Makes the total what stands before this invocation's stretch."""
        build = self.build
        memory = MemRefType(self.type, [self.threads])
        parts = build.insert(loop.AllocOp(MemorySpace.WORKGROUP, memory)).memory
        with build.loop(self.stretch) as step:
            self._advance(step)
        store(build, load(build, self.total, Index()), parts, self.part)
        build.insert(loop.BarrierOp())
        store(build, number(build, self.start, self.type), self.total, Index())
        own = Scalar(build.insert(loop.IndexValueOp(self.part, i32)).result, build)
        with build.loop(self.threads - 1) as other:
            counted = Scalar(build.insert(loop.IndexValueOp(other, i32)).result, build)
            joined = Scalar(self._join(load(build, parts, other)), build)
            kept = Scalar(load(build, self.total, Index()), build)
            store(build, counted.compare("lt", own).select(joined, kept).value, self.total, Index())

    def finish(self) -> None:
        """Stores what the kernel makes of each total on the way."""
        with self.build.loop(self.stretch) as step:
            with serving(self.build, self.op):
                before, behind = self._advance(step)
            index, mask = self._index(step)
            self.frame.emit.known[self.op.result] = lambda _: before if self.op.is_exclusive else behind
            self.frame.store(self.frame.places_at({self.op.result: index}, mask))


def _power_of_two(most: int) -> int:
    """The largest power of two up to a number."""
    return 1 << (max(most, 1).bit_length() - 1)
