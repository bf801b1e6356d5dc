"""Numbers stored as small integers: a scale and a zero point make them real ones."""

from __future__ import annotations

from math import prod

import numpy as np
from xdsl.dialects.builtin import f32, i8, i16, i32
from xdsl.ir import Attribute
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.onnx import element_type
from tstorch.dialects.prim.elementwise import RoundOp
from tstorch.dialects.prim.stored import format_of
from tstorch.dialects.prim.types import dtype_of, ui8, ui16
from tstorch.passes.convert.onnx.convolution import convolved
from tstorch.passes.convert.onnx.linear import product
from tstorch.passes.convert.onnx.node import Node, normalized, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value


@onnx_op("QuantizeLinear")
def quantize(node: Node) -> Value:
    """round(x / scale) + zero point, ties to even, cut off where the type ends. Floats are rounded last.

    The quotient has the operands' own precision, or the one that the node asks for.
    """
    value, zero, scale = node.input(0), node.optional(2), node.input(1)
    element = zero.element if zero is not None else _element(node.attribute("output_dtype"), ui8)
    own = value.element if value.element == scale.element else f32
    scaled = value.convert(f32) / _spread(node, scale, value).convert(f32)
    scaled = scaled.convert(_element(node.attribute("precision"), own)).convert(f32)
    zero = None if zero is None else _spread(node, zero, value)
    if not _is_float_format(element):
        return _stored(scaled, zero, element)
    moved = scaled if zero is None else scaled + zero.convert(f32)
    return moved.convert(element, saturate=node.attribute("saturate") != 0)


@onnx_op("DequantizeLinear")
def dequantize(node: Node) -> Value:
    """(x - zero point) * scale."""
    value, scale, zero = node.input(0), node.input(1), node.optional(2)
    element = _element(node.attribute("output_dtype"), scale.element)
    centred = _centred(value, None if zero is None else _spread(node, zero, value))
    return (centred.convert(f32) * _spread(node, scale, value).convert(f32)).convert(element)


@onnx_op("MatMulInteger")
def matmul_integer(node: Node) -> Value:
    """A product of 32-bit integers; a zero point may be one for each row on the left, each column on the right."""
    return _integer_product(node, (0, 2), (1, 3))


@onnx_op("QLinearMatMul")
def quantized_matmul(node: Node) -> Value:
    """A product of quantised matrices, quantised again."""
    scale = _rows(node.input(1)) * node.input(4)
    return _requantized(node, _integer_product(node, (0, 2), (3, 5)), scale, 6)


@onnx_op("ConvInteger")
def convolution_integer(node: Node) -> Value:
    """A convolution of 32-bit integers; padding stands for the zero point."""
    return _integer_convolution(node, (0, 2), (1, 3))


@onnx_op("QLinearConv")
def quantized_convolution(node: Node) -> Value:
    """A convolution of quantised images, quantised again; the bias is in units of both scales."""
    result, bias = _integer_convolution(node, (0, 2), (3, 5)), node.optional(8)
    if bias is not None:
        result = result + bias.along(1, result.shape)
    scale = node.input(1) * node.input(4)
    return _requantized(node, result, scale.along(1, result.shape) if scale.rank else scale, 6)


def _integer_product(node: Node, left: tuple[int, int], right: tuple[int, int]) -> Value:
    (lhs, lhs_zero), (rhs, rhs_zero) = ((node.input(at), node.optional(zero)) for at, zero in (left, right))
    return product(_centred(lhs, None if lhs_zero is None else _rows(lhs_zero)), _centred(rhs, rhs_zero))


def _integer_convolution(node: Node, image: tuple[int, int], kernel: tuple[int, int]) -> Value:
    (pixels, pixel_zero), (weights, weight_zero) = (
        (node.input(at), node.optional(zero)) for at, zero in (image, kernel)
    )
    centre = None if weight_zero is None else weight_zero.along(0, weights.shape)
    return convolved(node, _centred(pixels, pixel_zero), _centred(weights, centre))


def _requantized(node: Node, value: Value, scale: Value, position: int) -> Value:
    """32-bit integers in units of `scale` in those of the result, whose scale and zero point are two inputs."""
    target, zero = node.input(position), node.input(position + 1)
    return _stored(value.convert(f32) * (scale.convert(f32) / target.convert(f32)), zero, zero.element)


def _stored(scaled: Value, zero: Value | None, element: Attribute) -> Value:
    """Rounded, moved by the zero point, and cut off where the type ends."""
    low, high = _limits(element)
    rounded = scaled.apply(RoundOp)
    moved = rounded if zero is None else rounded + zero.convert(f32)
    return moved.maximum(float(low)).minimum(float(high)).convert(element)


def _limits(element: Attribute) -> tuple[int, int]:
    """The least and the greatest integer of a type that numbers are quantised to."""
    if (format := format_of(element)) is not None and not format.is_float:
        return format.limits
    if element not in (i8, ui8, i16, ui16):
        raise VerifyException(f"the result's type is {element}; expected integers of 2 to 16 bits, or floats of 4 or 8")
    limits = np.iinfo(dtype_of(element))
    return int(limits.min), int(limits.max)


def _is_float_format(element: Attribute) -> bool:
    """Whether the type is one of the floats of 4 or 8 bits with a mantissa, which numbers are quantised to."""
    format = format_of(element)
    return format is not None and format.bits <= 8 and format.facts is not None and format.facts.mantissa_bits > 0


def _centred(value: Value, zero: Value | None) -> Value:
    """The value less its zero point, as 32-bit integers, or floats where it holds those of 4 or 8 bits."""
    number = f32 if _is_float_format(value.element) else i32
    whole = value.convert(number)
    return whole if zero is None else whole - zero.convert(number)


def _rows(value: Value) -> Value:
    """A vector that holds one number for each row."""
    return value.reshape([*value.shape, 1]) if value.rank == 1 and value.shape != (1,) else value


def _spread(node: Node, parameter: Value, value: Value) -> Value:
    """A scale or zero point in the shape of the tensor: one for all, one along an axis, or one for each block."""
    if prod(parameter.shape) == 1:
        return parameter.reshape(())
    if (place := node.attribute("axis")) is None:
        raise VerifyException(
            f"a scale of shape {list(parameter.shape)}; before opset 13 it is one number for the whole tensor: convert "
            "the model to opset 13 or later"
        )
    axis = normalized(place, value.rank)
    if parameter.rank == 1:
        return parameter.along(axis, value.shape)
    block = node.attribute("block_size")
    if not block or parameter.rank != value.rank:
        raise VerifyException(f"a scale of shape {list(parameter.shape)} for a tensor of shape {list(value.shape)}")
    apart = [*parameter.shape[: axis + 1], block, *parameter.shape[axis + 1 :]]
    repeated = parameter.reshape([*parameter.shape[: axis + 1], 1, *parameter.shape[axis + 1 :]]).broadcast_to(apart)
    whole = [*parameter.shape[:axis], parameter.shape[axis] * block, *parameter.shape[axis + 1 :]]
    return repeated.reshape(whole).take(axis, 0, value.shape[axis])


def _element(number: int | None, default: Attribute) -> Attribute:
    return element_type(number) if number else default


RULES = rules_of(globals())
