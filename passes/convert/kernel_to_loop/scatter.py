"""The terms of a scatter: each result element looks through all updates for those that land on it.

So no two invocations write one element, and updates are combined in their own order, whatever the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from xdsl.dialects.builtin import i32
from xdsl.ir import SSAValue

from tstorch.dialects import loop
from tstorch.dialects.indexing import Index
from tstorch.dialects.prim.indexing import ScatterKind, ScatterOp
from tstorch.dialects.prim.kinds import ReduceKind
from tstorch.dialects.prim.scalar import Scalar
from tstorch.dialects.prim.types import integer, ints
from tstorch.passes.convert.kernel_to_loop.emit import Emitter
from tstorch.passes.convert.kernel_to_loop.nest import shape_of

Indices = Sequence[Index]


@dataclass(frozen=True)
class Landing:
    """Where in the updates the term for a result element stands, and whether the update lands there at all."""

    op: ScatterOp
    emit: Emitter

    @property
    def window_dims(self) -> tuple[int, ...]:
        return ints(self.op.update_window_dims)

    def joined(self, total: SSAValue, index: Indices, at: Indices) -> SSAValue:
        """The element so far, combined with update number `at` where that lands on it."""
        build = self.emit.build
        place, lands = self._place(index, at)
        update = Scalar(self.emit.at(self.op.updates, place), build)
        before = Scalar(total, build)
        kind = self.op.kind.data
        after = update if kind is ScatterKind.ASSIGN else COMBINE[ReduceKind(kind.value)](before, update)
        return reduce(Scalar.__and__, lands).select(after, before).value if lands else after.value

    def _place(self, index: Indices, at: Indices) -> tuple[list[Index], list[Scalar]]:
        """The update's element over the result's, and what must hold for it to be one."""
        axes, inserted = ints(self.op.scatter_dims_to_operand_dims), ints(self.op.inserted_window_dims)
        shape, updates = shape_of(self.op.operand), shape_of(self.op.updates)
        sizes = iter(updates[axis] for axis in self.window_dims)
        within: list[Index] = []
        lands: list[Scalar] = []
        for axis, size in enumerate(shape):
            window = 1 if axis in inserted else next(sizes)
            offset = index[axis]
            if axis in axes:
                start = self._start(at, axes.index(axis))
                offset = self._offset(index[axis], start, window, size, lands)
            if axis not in inserted:
                within.append(offset)
        batch, inside = iter(at), iter(within)
        return [next(inside) if axis in self.window_dims else next(batch) for axis in range(len(updates))], lands

    def _offset(self, at: Index, start: Scalar, window: int, size: int, lands: list[Scalar]) -> Index:
        """How far behind the window's start the element lies; 0 where it is outside."""
        build = self.emit.build
        offset = Scalar(build.insert(loop.IndexValueOp(at)).result, build) - start
        conditions = [start.compare("ge", 0), start.compare("le", size - window)]
        conditions += [offset.compare("ge", 0), offset.compare("lt", window)]
        lands += conditions
        if window == 1:
            return Index()
        legal = reduce(Scalar.__and__, conditions).select(offset, offset.lift(0))
        return loop.dim_of(build.insert(loop.ToIndexOp(legal.value, window)).result)

    def _start(self, at: Indices, component: int) -> Scalar:
        """One component of an update's index."""
        place, axis = list(at), integer(self.op.index_vector_dim)
        if axis < len(shape_of(self.op.indices)):
            place.insert(axis, Index(component))
        return Scalar(self.emit.at(self.op.indices, place), self.emit.build).cast(i32)


COMBINE = {
    ReduceKind.ADD: lambda x, y: x + y,
    ReduceKind.MUL: lambda x, y: x * y,
    ReduceKind.MAX: Scalar.maximum,
    ReduceKind.MIN: Scalar.minimum,
    ReduceKind.AND: lambda x, y: x & y,
    ReduceKind.OR: lambda x, y: x | y,
}
"""Two elements as one, for every kind of reduction."""
