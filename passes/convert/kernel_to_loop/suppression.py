"""Boxes chosen one after the other: a workgroup has all boxes of one batch and class.

Every round looks once at all boxes that are left: those that overlap the last choice go, and the best of the others is
the next choice. Which boxes are left stands as bits in the workgroup's memory, each invocation's in words of its own.
"""

from __future__ import annotations

from math import ceil

from xdsl.dialects.arith import ShLIOp
from xdsl.dialects.builtin import MemRefType, i32
from xdsl.ir import SSAValue

from tstorch.dialects import flow, loop
from tstorch.dialects.flow import KernelKind, ScheduleAttr
from tstorch.dialects.indexing import Index
from tstorch.dialects.loop import Id, MemorySpace, ReduceKind, ui32
from tstorch.dialects.prim.scalar import Scalar
from tstorch.dialects.prim.suppression import NonMaxSuppressionOp
from tstorch.dialects.prim.types import integer
from tstorch.passes.convert.kernel_to_loop.frame import Frame, Grid, Place, convert
from tstorch.passes.convert.kernel_to_loop.nest import (
    Ids,
    flat_group,
    load,
    loops,
    number,
    private,
    serving,
    shape_of,
    spread,
    store,
)

BITS = 32
ALL = (1 << BITS) - 1
MOST_THREADS = 256
MANY = 1 << 21
"""Boxes that are looked at for one batch and class."""


def suppression_schedule(anchor: NonMaxSuppressionOp, threads: int) -> ScheduleAttr:
    """An invocation for each box, as far as there are; all that there can be where each would look at very many."""
    count = shape_of(anchor.priorities)[2]
    if count * integer(anchor.most) > MANY:
        threads = MOST_THREADS
    return ScheduleAttr.of(KernelKind.SORT, workgroup=(min(1 << (count - 1).bit_length(), threads), 1, 1))


def convert_suppression(kernel: flow.KernelOp, schedule: ScheduleAttr, anchor: NonMaxSuppressionOp) -> loop.KernelOp:
    """One workgroup for each batch and class; each invocation handles every threads-th box."""
    threads = schedule.workgroup[0]
    batch, classes, _ = shape_of(anchor.priorities)
    grid = Grid(spread(batch * classes), (threads, 1, 1))

    def body(frame: Frame, ids: Ids) -> None:
        with serving(frame.build, anchor):
            nest = _Suppression(frame, anchor, flat_group(ids, grid.groups), ids[Id.LID_X], threads)
            nest.begin()
            with frame.build.loop(integer(anchor.most)) as turn:
                nest.look()
                nest.choose(turn)

    return convert(kernel, grid, body)


class _Suppression:
    """The code of one invocation."""

    def __init__(self, frame: Frame, op: NonMaxSuppressionOp, row: Index, thread: Index, threads: int) -> None:
        self.frame, self.build, self.op, self.thread, self.threads = frame, frame.build, op, thread, threads
        batch, classes, self.count = shape_of(op.priorities)
        self.row, self.inside = row, [(row, batch * classes)]
        self.batch, self.class_ = row // classes, row % classes
        self.steps = ceil(self.count / threads)
        self.words = ceil(self.steps / BITS)
        self.span = ceil(self.steps / self.words)
        memory = MemRefType(ui32, [self.words * threads])
        self.left = self.build.insert(loop.AllocOp(MemorySpace.WORKGROUP, memory)).memory
        self.last, self.place = private(self.build, [1], i32), private(self.build, [1], i32)
        self.best, self.word = private(self.build, [1], ui32), private(self.build, [1], ui32)

    def _read(self, memory: SSAValue) -> Scalar:
        return Scalar(load(self.build, memory, Index()), self.build)

    def _write(self, memory: SSAValue, value: Scalar) -> None:
        store(self.build, value.value, memory, Index())

    def _number(self, value: int) -> Scalar:
        return Scalar(number(self.build, value, i32), self.build)

    def _scalar(self, index: Index) -> Scalar:
        return Scalar(self.build.insert(loop.IndexValueOp(index)).result, self.build)

    def begin(self) -> None:
        """All boxes are left, and none is chosen."""
        with loops(self.build, [self.words]) as [word]:
            store(self.build, number(self.build, ALL, ui32), self.left, word * self.threads + self.thread)
        self._write(self.last, self._number(-1))
        self.threshold = Scalar(self.frame.emit.at(self.op.threshold, []), self.build)

    def look(self) -> None:
        """Takes away what overlaps the last choice, and finds the best of what is left."""
        build = self.build
        last = self._read(self.last)
        chosen = self._corners(loop.dim_of(build.insert(loop.ToIndexOp(last.maximum(0).value, self.count)).result))
        self._write(self.best, Scalar(number(build, 0, ui32), build))
        self._write(self.place, self._number(self.count))
        with loops(build, [self.words]) as [word]:
            own = word * self.threads + self.thread
            store(build, load(build, self.left, own), self.word, Index())
            with loops(build, [self.span]) as [step]:
                box = (word * self.span + step) * self.threads + self.thread
                bit = Scalar(number(build, 1, ui32), build).apply(ShLIOp, Scalar(self._word_of(step), build))
                present = Scalar(build.insert(loop.WithinOp([(box, self.count), *self.inside])).result, build)
                with build.when((present & (self._read(self.word) & bit).compare("ne", 0)).value):
                    self._judge(box, bit, last, chosen)
            store(build, load(build, self.word, Index()), self.left, own)

    def _word_of(self, step: Index) -> SSAValue:
        return self.build.insert(loop.IndexValueOp(step, ui32)).result

    def _judge(self, box: Index, bit: Scalar, last: Scalar, chosen: list[Scalar]) -> None:
        """One box that is left: it goes, or it may be the best."""
        place = self._scalar(box)
        overlaps = self._overlap(chosen, self._corners(box)) & last.compare("ge", 0)
        gone = overlaps | place.compare("eq", last)
        word, best = self._read(self.word), self._read(self.best)
        self._write(self.word, gone.select(word ^ bit, word))
        index = [self.batch, self.class_, box]
        priority = Scalar(self.frame.emit.at(self.op.priorities, index), self.build)
        better = gone.negated() & priority.compare("gt", best)
        self._write(self.best, better.select(priority, best))
        self._write(self.place, better.select(place, self._read(self.place)))

    def _corners(self, box: Index) -> list[Scalar]:
        return [
            Scalar(self.frame.emit.at(self.op.boxes, [self.batch, box, Index(side)], self.inside), self.build)
            for side in range(4)
        ]

    def _overlap(self, one: list[Scalar], other: list[Scalar]) -> Scalar:
        """Whether two boxes have more in common than the threshold allows."""
        low_y, low_x = (a.maximum(b) for a, b in zip(one[:2], other[:2], strict=True))
        high_y, high_x = (a.minimum(b) for a, b in zip(one[2:], other[2:], strict=True))
        height, width = high_y - low_y, high_x - low_x
        common = height * width
        areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
        together = areas[0] + areas[1] - common
        full = height.compare("gt", 0)
        for size in (width, common, *areas, together):
            full = full & size.compare("gt", 0)
        return full & (common / together).compare("gt", self.threshold)

    def choose(self, turn: Index) -> None:
        """The best of all invocations' bests; the first of equal ones."""
        build, best = self.build, self._read(self.best)
        top = Scalar(build.insert(loop.ReduceWorkgroupOp(ReduceKind.MAX, best.value)).result, build)
        mine = best.compare("eq", top).select(self._read(self.place), self._number(self.count))
        first = Scalar(build.insert(loop.ReduceWorkgroupOp(ReduceKind.MIN, mine.value)).result, build)
        found = top.compare("ne", 0).select(first, self._number(-1))
        self._write(self.last, found)
        self.frame.emit.known[self.op.result] = lambda _: found.value
        mask = [*self.inside, (self.thread, 1)]
        self.frame.store([Place(0, [self.batch, self.class_, turn], mask)])
