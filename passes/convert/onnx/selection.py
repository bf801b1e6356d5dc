"""What is chosen by its value: as many elements as a run finds. All that is chosen comes first, in order."""

from __future__ import annotations

from math import prod

import numpy as np
from xdsl.dialects.builtin import i1, i64
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.cumulative import CumulativeOp
from tstorch.dialects.prim.elementwise import RemOp
from tstorch.dialects.prim.indexing import GatherOp
from tstorch.dialects.prim.search import SearchSortedOp
from tstorch.passes.convert.onnx.counted import Counted
from tstorch.passes.convert.onnx.node import Node, normalized, onnx_op, rules_of
from tstorch.passes.convert.onnx.sorting import counted
from tstorch.passes.convert.onnx.value import Value


def number_of(flags: Value) -> Value:
    """How many of a vector's flags are set, as a scalar i64."""
    return flags.convert(i64).reduce("add", [0])


def chosen(flags: Value) -> Value:
    """The positions of a vector's set flags, in order, as i64; behind them some positions that mean nothing.

    Flag number k stands where the running count of flags first exceeds k.
    """
    running = flags.emit.value(CumulativeOp(flags.convert(i64).ssa, dimension=0))
    found = flags.emit.value(SearchSortedOp(running.ssa, (counted(flags) + 1).ssa))
    return as_positions(found, flags.shape[0])


def as_positions(value: Value, size: int) -> Value:
    """Numbers as i64, of which later passes see that they are positions below the size."""
    return value.convert(i64).maximum(0).minimum(size - 1)


def taken(value: Value, positions: Value, axis: int) -> Value:
    """The slices of a value at a vector of positions along an axis."""
    others = [at for at in range(value.rank) if at != axis]
    return value.emit.value(
        GatherOp(
            value.ssa,
            positions.ssa,
            offset_dims=others,
            collapsed_slice_dims=[axis],
            start_index_map=[axis],
            index_vector_dim=1,
            slice_sizes=[1 if at == axis else size for at, size in enumerate(value.shape)],
        )
    )


@onnx_op("NonZero")
def non_zero(node: Node) -> Counted:
    """The indices of all elements other than 0, one a column; a scalar has none to tell."""
    value = node.input(0)
    flat = value.reshape([prod(value.shape)])
    flags = flat if flat.element == i1 else flat.compare("ne", 0)
    count = number_of(flags)
    if not value.rank:
        return Counted(node.emit.constant(np.zeros((0, 1), np.int64)), 1, count)
    positions = chosen(flags)
    inner = [prod(value.shape[at + 1 :]) for at in range(value.rank)]
    rows = [digit(positions, below, size) for below, size in zip(inner, value.shape, strict=True)]
    first, *others = [row.reshape([1, *row.shape]) for row in rows]
    return Counted(first.concatenate(others, 0), 1, count)


def digit(positions: Value, below: int, size: int) -> Value:
    """One index of a row-major position: its own size, and how many elements are below it."""
    quotient = positions if below == 1 else positions / below
    return quotient.apply(RemOp, size)


@onnx_op("Compress")
def compress(node: Node) -> Counted:
    """The slices at which a condition holds; the condition may be shorter than the axis."""
    value, axis = node.input(0), node.attribute("axis")
    if axis is None:
        value, axis = value.reshape([prod(value.shape)]), 0
    axis = normalized(axis, value.rank)
    flags = node.input(1)
    if flags.rank != 1:
        raise VerifyException(f"the condition has rank {flags.rank}; expected a vector")
    flags = flags.take(0, 0, min(flags.shape[0], value.shape[axis]))
    positions = chosen(flags)
    return Counted(taken(value, positions, axis), axis, number_of(flags))


RULES = rules_of(globals())
