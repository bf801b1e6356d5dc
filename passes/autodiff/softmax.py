"""Recognises the primitives that a final Softmax or LogSoftmax was converted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import Operation, SSAValue

from tstorch.dialects.indexing import Index
from tstorch.dialects.prim.base import IndexMapOp
from tstorch.dialects.prim.elementwise import DivOp, ExpOp, LogOp, SubOp
from tstorch.dialects.prim.kinds import ReduceKind
from tstorch.dialects.prim.reduction import ReduceOp
from tstorch.dialects.prim.types import ints


@dataclass(frozen=True)
class Softmax:
    """Along `axes` of `logits`; `op` computes its result."""

    op: Operation
    logits: SSAValue
    axes: tuple[int, ...]


def match_softmax(value: SSAValue) -> Softmax | None:
    """The softmax (e**s / sum of e**s) or its logarithm (s - log of that sum) that `value` is; s is x - max of x."""
    op = value.owner
    if not isinstance(op, DivOp | SubOp):
        return None
    divides = isinstance(op, DivOp)
    total = _spread_reduction(op.rhs, ReduceKind.ADD, through=None if divides else LogOp)
    if total is None or not isinstance(powers := total.operand.owner, ExpOp):
        return None
    if op.lhs is not (powers.result if divides else powers.operand):
        return None
    axes = ints(total.dimensions)
    shift = _shift(powers.operand, axes)
    return None if shift is None else Softmax(op, shift.lhs, axes)


def _shift(value: SSAValue, axes: Sequence[int]) -> SubOp | None:
    """The op that subtracts from x its maximum along the axes, where that is what makes the value."""
    op = value.owner
    if not isinstance(op, SubOp):
        return None
    maximum = _spread_reduction(op.rhs, ReduceKind.MAX)
    if maximum is None or maximum.operand is not op.lhs or ints(maximum.dimensions) != tuple(axes):
        return None
    return op


def _spread_reduction(value: SSAValue, kind: ReduceKind, through: type[Operation] | None = None) -> ReduceOp | None:
    """The reduction whose result `value` repeats along the reduced axes, with one op of class `through` on the way."""
    full = [Index.dim(axis, size) for axis, size in enumerate(value.type.get_shape())]  # pyright: ignore[reportAttributeAccessIssue]
    index, wanted = tuple(full), through
    while not isinstance(value.owner, ReduceOp):
        op = value.owner
        if wanted is not None and isinstance(op, wanted):
            wanted = None
        elif isinstance(op, IndexMapOp) and len(sources := op.sources(index)) == 1 and not sources[0].mask:
            index = sources[0].index
        else:
            return None
        value = op.operands[0]
    reduction = value.owner
    kept = tuple(place for axis, place in enumerate(full) if axis not in ints(reduction.dimensions))
    same_shape = reduction.operand.type.get_shape() == tuple(place.high + 1 for place in full)  # pyright: ignore[reportAttributeAccessIssue]
    matches = wanted is None and reduction.kind.data is kind and same_shape and index == kept
    return reduction if matches else None
