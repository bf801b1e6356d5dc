"""Ordered elements: the largest or smallest along an axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.dialects.builtin import f32, i1, i32, i64
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.generator import IotaOp
from tstorch.dialects.prim.sort import SortOp
from tstorch.dialects.prim.types import NUMBERS
from tstorch.passes.convert.onnx.node import Node, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value


def counted(like: Value, axis: int = 0) -> Value:
    """Each element's own position along an axis, as i64: its range is known, so that it takes one word."""
    return like.emit.value(IotaOp(shape=like.shape, dimension=axis, element_type=i64))


def sorted_together(*values: Value, axis: int = 0, descending: Sequence[bool] = (False,)) -> list[Value]:
    """The values in the order of the first ones, as many as `descending` has entries; ties keep their order."""
    emit = values[0].emit
    op = emit.insert(SortOp(*(value.ssa for value in values), dimension=axis, descending=descending))
    return [Value(result, emit) for result in op.results]


def comparable(value: Value) -> Value:
    """The elements as numbers that have an order: truth values as integers, codes as what they stand for."""
    if value.element in NUMBERS:
        return value
    return value.convert(i32 if value.element == i1 else f32)


@onnx_op("TopK")
def top_k(node: Node) -> list[Value]:
    """NaN is the largest; of equal elements the first comes first."""
    value, axis = node.input(0), node.axis()
    count = int(np.asarray(node.setting("k", 1)).reshape(-1)[0])
    size, largest = value.shape[axis], node.attribute("largest")
    if not 0 <= count <= size:
        raise VerifyException(f"k is {count}; expected 0 to {size}, the size of axis {axis}")
    descending = [largest is None or bool(largest)]
    found = sorted_together(comparable(value), counted(value, axis), axis=axis, descending=descending)
    elements, positions = (each.take(axis, 0, count) for each in found)
    return [elements.convert(value.element), positions]


RULES = rules_of(globals())
