"""The one form of primitives: no move that moves nothing, one move for two, vectors combined before they spread."""

from collections.abc import Sequence

from xdsl.dialects.builtin import IntegerType, TensorType
from xdsl.ir import SSAValue

from tstorch.dialects.prim.base import ElementwiseOp
from tstorch.dialects.prim.elementwise import AddOp, ConvertOp, DivOp, MulOp, SubOp
from tstorch.dialects.prim.operands import shape_of
from tstorch.dialects.prim.shape import BroadcastInDimOp, ReshapeOp, SliceOp, TransposeOp
from tstorch.dialects.prim.types import ints, tensor
from tstorch.passes.rewrite import Pattern, Rewriter
from tstorch.passes.simplify.constants import is_filled

MOVES_NOTHING = "identity: it moves nothing"


class DropIdentityMove(Pattern):
    """A reshape, transpose, broadcast, slice or convert to the same type in the same order is its operand."""

    root = (ReshapeOp, TransposeOp, BroadcastInDimOp, SliceOp, ConvertOp)

    def match_and_rewrite(
        self, op: ReshapeOp | TransposeOp | BroadcastInDimOp | SliceOp | ConvertOp, rewriter: Rewriter
    ) -> None:
        if op.operand.type == op.result.type and self._keeps_order(op):
            rewriter.replace(op, op.operand, reason=MOVES_NOTHING)

    def _keeps_order(self, op: ReshapeOp | TransposeOp | BroadcastInDimOp | SliceOp | ConvertOp) -> bool:
        match op:
            case TransposeOp():
                return list(ints(op.permutation)) == list(range(len(shape_of(op.result))))
            case BroadcastInDimOp():
                return list(ints(op.dimensions)) == list(range(len(shape_of(op.result))))
        return True


class MergeReshapes(Pattern):
    """A reshape of a reshape is one reshape."""

    def match_and_rewrite(self, op: ReshapeOp, rewriter: Rewriter) -> None:
        inner = op.operand.owner
        if isinstance(inner, ReshapeOp):
            rewriter.replace(op, ReshapeOp(inner.operand, shape=ints(op.shape)))


class MergeTransposes(Pattern):
    """A transpose of a transpose is one transpose."""

    def match_and_rewrite(self, op: TransposeOp, rewriter: Rewriter) -> None:
        inner = op.operand.owner
        if isinstance(inner, TransposeOp):
            first = ints(inner.permutation)
            rewriter.replace(op, TransposeOp(inner.operand, permutation=[first[axis] for axis in ints(op.permutation)]))


class MergeBroadcasts(Pattern):
    """A broadcast of a broadcast is one broadcast."""

    def match_and_rewrite(self, op: BroadcastInDimOp, rewriter: Rewriter) -> None:
        inner = op.operand.owner
        if isinstance(inner, BroadcastInDimOp):
            outer = ints(op.dimensions)
            dimensions = [outer[axis] for axis in ints(inner.dimensions)]
            rewriter.replace(op, BroadcastInDimOp(inner.operand, shape=ints(op.shape), dimensions=dimensions))


class BroadcastWithoutOnes(Pattern):
    """A broadcast of a reshape that only adds dimensions of size 1 spreads the reshape's operand itself."""

    def match_and_rewrite(self, op: BroadcastInDimOp, rewriter: Rewriter) -> None:
        inner = op.operand.owner
        if not isinstance(inner, ReshapeOp):
            return
        kept = _places(shape_of(inner.operand), shape_of(inner.result))
        if kept is not None:
            outer = ints(op.dimensions)
            dimensions = [outer[axis] for axis in kept]
            rewriter.replace(op, BroadcastInDimOp(inner.operand, shape=ints(op.shape), dimensions=dimensions))


class CombineBeforeBroadcast(Pattern):
    """An elementwise op on operands that are spread alike is computed before they are spread."""

    def match_and_rewrite(self, op: ElementwiseOp, rewriter: Rewriter) -> None:
        spread = [value.owner for value in op.operands]
        broadcasts = [owner for owner in spread if isinstance(owner, BroadcastInDimOp)]
        if not broadcasts or len(broadcasts) < len(spread):
            return
        first = broadcasts[0]
        if any(_way(other) != _way(first) for other in broadcasts):
            return
        element = op.results[0].type.element_type  # pyright: ignore[reportAttributeAccessIssue]
        small = type(op).create(
            operands=[broadcast.operand for broadcast in broadcasts],
            result_types=[tensor(shape_of(first.operand), element)],
            properties=op.properties,
        )
        result = rewriter.builder(op).insert(small).results[0]
        rewriter.replace(op, BroadcastInDimOp(result, shape=ints(first.shape), dimensions=ints(first.dimensions)))


class DropNeutralOperand(Pattern):
    """x + 0, x - 0, x * 1 and x / 1 are x. A float plus 0 is kept: it makes 0 of -0."""

    root = (AddOp, SubOp, MulOp, DivOp)

    def match_and_rewrite(self, op: AddOp | SubOp | MulOp | DivOp, rewriter: Rewriter) -> None:
        neutral = 1 if isinstance(op, MulOp | DivOp) else 0
        commutes = isinstance(op, AddOp | MulOp)
        if isinstance(op, AddOp) and not _is_integer(op.lhs):
            return
        for kept, other in [(op.lhs, op.rhs), (op.rhs, op.lhs)][: 1 + commutes]:
            if is_filled(other, neutral):
                return rewriter.replace(op, kept, reason=f"identity: the other operand is {neutral} everywhere")


def _is_integer(value: SSAValue) -> bool:
    return isinstance(value.type, TensorType) and isinstance(value.type.element_type, IntegerType)


def _way(op: BroadcastInDimOp) -> tuple[object, ...]:
    """How a broadcast spreads, apart from the element type."""
    return shape_of(op.operand), shape_of(op.result), ints(op.dimensions)


def _places(small: Sequence[int], large: Sequence[int]) -> list[int] | None:
    """Where the dimensions of `small` stand in `large`, which has further ones of size 1; None where it is not so."""
    places: list[int] = []
    for axis, size in enumerate(large):
        if len(places) < len(small) and size == small[len(places)]:
            places.append(axis)
        elif size != 1:
            return None
    return places if len(places) == len(small) else None


PATTERNS: tuple[type[Pattern], ...] = (
    DropIdentityMove,
    MergeReshapes,
    MergeTransposes,
    MergeBroadcasts,
    BroadcastWithoutOnes,
    CombineBeforeBroadcast,
    DropNeutralOperand,
)
