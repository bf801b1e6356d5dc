"""Discrete Fourier transforms, as products with matrices of cosines and sines."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.contraction import ConvOp
from tstorch.dialects.prim.elementwise import AndOp, CosOp, OrOp, RemOp, SinOp
from tstorch.passes.convert.onnx.convolution import layouts
from tstorch.passes.convert.onnx.image import counted
from tstorch.passes.convert.onnx.linear import dot
from tstorch.passes.convert.onnx.node import Node, normalized, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value

LONGEST = 2**15
"""Products of positions stay within 32 bits."""


@onnx_op("DFT")
def fourier_transform(node: Node) -> Value:
    """Of numbers, or pairs in the last dimension, along an axis that is an attribute up to opset 19, then an input.

    The inverse of a one-sided transform takes the first half of the pairs for all of them, and gives numbers.
    """
    value, given = node.input(0), node.constant(1)
    place = node.setting("axis", 2)
    axis = normalized(-2 if place is None else int(place), value.rank)
    inverse, half = bool(node.attribute("inverse")), bool(node.attribute("onesided"))
    own = 2 * (value.shape[axis] - 1) if inverse and half else value.shape[axis]
    length = own if given is None else int(given.item())
    if axis == value.rank - 1 or value.shape[-1] not in (1, 2):
        raise VerifyException(f"axis {axis} of {list(value.shape)}; the last dimension holds 1 or 2 numbers")
    _check_length(length)
    if inverse and not half:
        raise VerifyException("inverse without onesided has no form here; conjugate, transform forward, divide")
    if inverse:
        return _numbers_of_half(_fitted(value, axis, length // 2 + 1), axis, length)
    return _transformed(_fitted(value, axis, length), axis, length // 2 + 1 if half else length)


def _check_length(length: int) -> None:
    if not 0 < length <= LONGEST:
        raise VerifyException(f"a transform of {length} elements; expected 1 to {LONGEST}")


@onnx_op("STFT")
def short_time_fourier_transform(node: Node) -> Value:
    """Transforms of frames of a signal (batch, length, 1 or 2) under a window: a convolution with waves."""
    signal, step, window, given = node.input(0), node.constant(1), node.optional(2), node.constant(3)
    if signal.rank != 3 or signal.shape[2] not in (1, 2) or step is None or step.item() < 1:
        raise VerifyException(
            f"a signal of shape {signal.shape}; expected rank 3, 1 or 2 numbers last, a step from 1 on"
        )
    default = signal.shape[1] if window is None else window.shape[0]
    length = default if given is None else int(given.item())
    _check_length(length)
    if length > signal.shape[1] or (window is not None and window.shape != (length,)):
        raise VerifyException(f"frames of {length} elements of {signal.shape[1]} under a window of {default}")
    bins = length // 2 + 1 if node.attribute("onesided") else length
    cosine, sine = (wave if window is None else wave * window for wave in _waves(signal, length, bins))
    kernels = [[cosine, sine], [-sine, cosine]]
    rows = [_stacked([part.reshape([bins, 1, length]) for part in kernel[: signal.shape[2]]], 1) for kernel in kernels]
    found = node.emit.value(
        ConvOp(
            signal.transpose([0, 2, 1]).ssa,
            _stacked(rows, 0).ssa,
            window_strides=(int(step.item()),),
            padding_low=(0,),
            padding_high=(0,),
            lhs_dilation=(1,),
            rhs_dilation=(1,),
            feature_group_count=1,
            **layouts(1),
        )
    )
    return found.reshape([signal.shape[0], 2, bins, found.shape[2]]).transpose([0, 3, 2, 1])


def _stacked(parts: Sequence[Value], axis: int) -> Value:
    return parts[0].concatenate(parts[1:], axis)


def _fitted(value: Value, axis: int, length: int) -> Value:
    """The axis cut or padded with zeros to a length."""
    cut = value.take(axis, 0, min(length, value.shape[axis]))
    high = [length - cut.shape[axis] if at == axis else 0 for at in range(value.rank)]
    return cut.pad([0] * value.rank, high)


def _transformed(value: Value, axis: int, wanted: int) -> Value:
    length, last = value.shape[axis], value.rank - 1
    cosines, sines = _waves(value, length, wanted)
    real, *rest = [value.take(last, at, at + 1) for at in range(value.shape[last])]
    parts = _along(real, axis, cosines), -_along(real, axis, sines)
    for imaginary in rest:
        parts = parts[0] + _along(imaginary, axis, sines), parts[1] + _along(imaginary, axis, cosines)
    return _stacked(parts, last)


def _numbers_of_half(value: Value, axis: int, length: int) -> Value:
    """What the first half of a transform's pairs comes of: all but the first, and the middle one, count twice."""
    last, half = value.rank - 1, length // 2 + 1
    column = counted(value.emit, [length, half], 1)
    once = column.compare("eq", 0).apply(OrOp, (column * 2).compare("eq", length))
    factor = once.where(column.full(1), column.full(2)).convert(value.element) / length
    cosines, sines = (wave * factor for wave in _waves(value, length, length, half))
    result = _along(value.take(last, 0, 1), axis, cosines)
    return result if value.shape[last] == 1 else result - _along(value.take(last, 1, 2), axis, sines)


def _waves(like: Value, length: int, rows: int, columns: int | None = None) -> tuple[Value, Value]:
    """cos and sin of 2 pi j k / length, (rows, columns); by default as many columns as the length.

    Whole quarters of the circle are taken off as integers: what should cancel does.
    """
    row, column = (counted(like.emit, [rows, columns or length], at) for at in (0, 1))
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
