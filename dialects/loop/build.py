"""A builder for loop nests: blocks as `with`, and a location for every op."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from xdsl.builder import Builder
from xdsl.dialects.builtin import UNKNOWN_LOC, FusedLoc, LocationAttr, NameLoc, NoneAttr, StringAttr
from xdsl.ir import Block, Operation, SSAValue
from xdsl.rewriter import InsertPoint

from tstorch.dialects.indexing import Index
from tstorch.dialects.loop.structure import ForOp, Id, IfOp, KernelOp, ParallelOp, dim_of

OpT = TypeVar("OpT", bound=Operation)


class NestBuilder(Builder):
    """Inserts ops at a place that `with` moves into and out of loops.

        build = NestBuilder.at_end_of(kernel.body.block)
        with build.parallel([Id.WG_X, Id.LID_X]) as (group, lane), build.op_location(0):
            with build.loop(16, unroll=True) as i:
                value = build.insert(LoadOp(x, [group * 64 + lane, i])).result

    Loop indices come as `Index` expressions. Every op gets the current location.
    """

    location: LocationAttr = UNKNOWN_LOC

    @classmethod
    def at_end_of(cls, block: Block) -> "NestBuilder":
        return cls(InsertPoint.at_end(block))

    def insert(self, op: OpT) -> OpT:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Puts one op at the current place, with the current location."""
        op.location = self.location
        return super().insert(op)

    @contextmanager
    def op_location(self, *local_indices: int) -> Iterator[None]:
        """Ops inserted inside serve these prim ops of the kernel, by index."""
        names = [NameLoc(StringAttr(str(index)), NoneAttr()) for index in local_indices]
        before = self.location
        self.location = names[0] if len(names) == 1 else FusedLoc(tuple(names), NoneAttr())
        yield
        self.location = before

    @contextmanager
    def inside(self, block: Block) -> Iterator[None]:
        """Ops inserted inside go to the end of the block."""
        before = self.insertion_point
        self.insertion_point = InsertPoint.at_end(block)
        yield
        self.insertion_point = before

    @contextmanager
    def parallel(self, ids: Sequence[Id]) -> Iterator[list[Index]]:
        """The loop over all invocations; gives the ids as expressions."""
        op = self.insert(ParallelOp(ids))
        with self.inside(op.body.block):
            yield [dim_of(argument) for argument in op.body.block.args]

    @contextmanager
    def loop(
        self, extent: int, step: int = 1, *, unroll: bool = False, until: SSAValue | None = None
    ) -> Iterator[Index]:
        """A serial or unrolled loop; gives its index."""
        op = self.insert(ForOp(extent, step, unroll=unroll, until=until))
        with self.inside(op.body.block):
            yield dim_of(op.iv)

    @contextmanager
    def when(self, condition: SSAValue) -> Iterator[None]:
        """A conditional block."""
        op = self.insert(IfOp(condition))
        with self.inside(op.body.block):
            yield


def kernel_builder(kernel: KernelOp) -> NestBuilder:
    """A builder at the end of the kernel's body."""
    return NestBuilder.at_end_of(kernel.body.block)
