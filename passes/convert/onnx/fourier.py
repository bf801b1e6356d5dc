"""Discrete Fourier transforms, as products with matrices of cosines and sines."""

from __future__ import annotations

from math import pi

from xdsl.dialects.builtin import i32
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.elementwise import AndOp, CosOp, RemOp, SinOp
from tstorch.dialects.prim.generator import IotaOp
from tstorch.passes.convert.onnx.linear import dot
from tstorch.passes.convert.onnx.node import Node, normalized, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value

LONGEST = 2**15
"""Products of positions stay within 32 bits."""


@onnx_op("DFT")
def fourier_transform(node: Node) -> Value:
    """Of numbers, or pairs in the last dimension, along an axis that is an attribute up to opset 19, then an input."""
    value, given = node.input(0), node.constant(1)
    place = node.setting("axis", 2)
    axis = normalized(-2 if place is None else int(place), value.rank)
    length = value.shape[axis] if given is None else int(given.item())
    if axis == value.rank - 1 or value.shape[-1] not in (1, 2):
        raise VerifyException(f"axis {axis} of {list(value.shape)}; the last dimension holds 1 or 2 numbers")
    if length > LONGEST:
        raise VerifyException(f"a transform of {length} elements; expected {LONGEST} at most")
    if node.attribute("inverse"):
        raise VerifyException("inverse is not supported; conjugate a forward transform and divide by its length")
    wanted = length // 2 + 1 if node.attribute("onesided") else length
    return _transformed(_fitted(value, axis, length), axis, wanted)


def _fitted(value: Value, axis: int, length: int) -> Value:
    """The axis cut or padded with zeros to a length."""
    cut = value.take(axis, 0, min(length, value.shape[axis]))
    high = [length - cut.shape[axis] if at == axis else 0 for at in range(value.rank)]
    return cut.pad([0] * value.rank, high)


def _transformed(value: Value, axis: int, wanted: int) -> Value:
    length = value.shape[axis]
    cosines, sines = _waves(value, length, wanted)
    last = value.rank - 1
    real, *rest = [value.take(last, at, at + 1) for at in range(value.shape[last])]
    parts = _along(real, axis, cosines), -_along(real, axis, sines)
    for imaginary in rest:
        parts = parts[0] + _along(imaginary, axis, sines), parts[1] + _along(imaginary, axis, cosines)
    return parts[0].concatenate(parts[1:], last)


def _waves(like: Value, length: int, wanted: int) -> tuple[Value, Value]:
    """cos and sin of 2 pi j k / length, (wanted, length).

    Whole quarters of the circle are taken off as integers: what should cancel does.
    """
    row, column = (like.emit.value(IotaOp(shape=[wanted, length], dimension=at, element_type=i32)) for at in (0, 1))
    place = (row * column).apply(RemOp, length) * 4
    quarter = (place * 2 + length) / (2 * length)
    angle = (place - quarter * length).convert(like.element) * (pi / (2 * length))
    cosine, sine = angle.apply(CosOp), angle.apply(SinOp)
    odd = quarter.apply(RemOp, 2).compare("eq", 1)
    behind, below = (_between(quarter, *ends) for ends in ((1, 2), (2, 3)))
    level, height = odd.where(sine, cosine), odd.where(cosine, sine)
    return behind.where(-level, level), below.where(-height, height)


def _between(value: Value, low: int, high: int) -> Value:
    return value.compare("ge", low).apply(AndOp, value.compare("le", high))


def _along(value: Value, axis: int, matrix: Value) -> Value:
    """The product of the matrix with an axis."""
    spread = dot(value, matrix, contract=(axis, 1))
    return spread.transpose([*range(axis), value.rank - 1, *range(axis, value.rank - 1)])


RULES = rules_of(globals())
