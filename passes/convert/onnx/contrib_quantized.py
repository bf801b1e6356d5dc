"""ONNX Runtime's operators on quantised tensors: real numbers in between, quantised again at the end."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from xdsl.dialects.builtin import f32, i32
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.onnx_contrib import DOMAIN
from tstorch.dialects.prim.elementwise import ExpOp, LogisticOp, RoundOp
from tstorch.dialects.prim.types import dtype_of
from tstorch.passes.convert.onnx.linear import dot, product
from tstorch.passes.convert.onnx.node import Node, normalized, onnx_op, rules_of
from tstorch.passes.convert.onnx.pooling import Pool
from tstorch.passes.convert.onnx.quantization import dequantize, quantize, quantized_convolution
from tstorch.passes.convert.onnx.value import Value


def real(node: Node, position: int, scale: int, zero: int) -> Value:
    """The real numbers that an operand stands for: (x - zero point) * scale."""
    value, centre = node.input(position).convert(i32), node.optional(zero)
    whole = value if centre is None else value - centre.reshape(()).convert(i32)
    return whole.convert(f32) * node.input(scale).reshape(())


def quantized(node: Node, value: Value, scale: int, zero: int) -> Value:
    """Real numbers as the integers of the result: round(x / scale) + zero point, cut off where the type ends."""
    centre = node.optional(zero)
    element = node.input(0).element if centre is None else centre.element
    limits = np.iinfo(dtype_of(element))
    moved = (value / node.input(scale).reshape(())).apply(RoundOp)
    moved = moved if centre is None else moved + centre.reshape(()).convert(f32)
    return moved.maximum(float(limits.min)).minimum(float(limits.max)).convert(element)


def _pointwise(combine: Callable[[Node, Value], Value]) -> Callable[[Node], Value]:
    return lambda node: quantized(node, combine(node, real(node, 0, 1, 2)), 3, 4)


def _of_two(combine: Callable[[Value, Value], Value]) -> Callable[[Node], Value]:
    return lambda node: quantized(node, combine(real(node, 0, 1, 2), real(node, 3, 4, 5)), 6, 7)


add = onnx_op("QLinearAdd", domain=DOMAIN)(_of_two(lambda left, right: left + right))
mul = onnx_op("QLinearMul", domain=DOMAIN)(_of_two(lambda left, right: left * right))
sigmoid = onnx_op("QLinearSigmoid", domain=DOMAIN)(_pointwise(lambda node, value: value.apply(LogisticOp)))
leaky_relu = onnx_op("QLinearLeakyRelu", domain=DOMAIN)(
    _pointwise(lambda node, value: value.compare("ge", 0).where(value, value * node.attribute("alpha")))
)
linear_quantize = onnx_op("QuantizeLinear", domain=DOMAIN)(quantize.convert)
linear_dequantize = onnx_op("DequantizeLinear", domain=DOMAIN)(dequantize.convert)


@onnx_op("QLinearSoftmax", domain=DOMAIN)
def softmax(node: Node) -> Value:
    """Along one axis, or up to opset 12 along it and all behind it."""
    value = real(node, 0, 1, 2)
    axis = normalized(node.attribute("axis"), value.rank)
    axes = [axis] if (node.attribute("opset") or 13) >= 13 else list(range(axis, value.rank))
    powers = (value - value.reduce("max", axes, keep=True)).apply(ExpOp)
    return quantized(node, powers / powers.reduce("add", axes, keep=True), 3, 4)


@onnx_op("QLinearConcat", domain=DOMAIN)
def concatenation(node: Node) -> Value:
    parts = [real(node, at, at + 1, at + 2) for at in range(2, len(node.given), 3)]
    whole = parts[0].concatenate(parts[1:], normalized(node.attribute("axis"), parts[0].rank))
    return quantized(node, whole, 0, 1)


@onnx_op("QLinearWhere", domain=DOMAIN)
def where(node: Node) -> Value:
    return quantized(node, node.input(0).where(real(node, 1, 2, 3), real(node, 4, 5, 6)), 7, 8)


@onnx_op("QLinearGlobalAveragePool", domain=DOMAIN)
def global_average_pool(node: Node) -> Value:
    value = real(node, 0, 1, 2)
    last = node.attribute("channels_last")
    return quantized(node, value.mean(range(1, value.rank - 1) if last else range(2, value.rank), keep=True), 3, 4)


@onnx_op("QLinearAveragePool", domain=DOMAIN)
def average_pool(node: Node) -> Value:
    if node.attribute("channels_last"):
        raise VerifyException("channels_last has no form here; expected channels first")
    value, pool = real(node, 0, 1, 2), Pool.of(node)
    mean = pool.reduce(value, "add") / pool.counts(value, bool(node.attribute("count_include_pad")))
    return quantized(node, mean, 3, 4)


@onnx_op("QLinearConv", domain=DOMAIN)
def convolution(node: Node) -> Value:
    if node.attribute("channels_last"):
        raise VerifyException("channels_last has no form here; expected channels first")
    return quantized_convolution.convert(node)  # pyright: ignore[reportReturnType]


@onnx_op("QGemm", domain=DOMAIN)
def gemm(node: Node) -> Value:
    """alpha * A' * B' + C in 32-bit integers; real numbers where no scale of the result is given."""
    lhs, zero = _centred(node, 0, 2), node.input(5).convert(i32)
    rhs = node.input(3).convert(i32) - (
        zero.reshape([*zero.shape, 1]) if node.attribute("transB") and zero.rank else zero
    )
    result = dot(lhs, rhs, contract=(0 if node.attribute("transA") else 1, 1 if node.attribute("transB") else 0))
    if (bias := node.optional(6)) is not None:
        result = result + bias
    scaled = result.convert(f32) * (node.input(1).reshape(()) * node.input(4) * node.attribute("alpha"))
    return scaled if node.optional(7) is None else quantized(node, scaled, 7, 8)


@onnx_op("MatMulIntegerToFloat", domain=DOMAIN)
def matmul_to_float(node: Node) -> Value:
    """A product of quantised matrices in real numbers."""
    whole = product(_centred(node, 0, 4), _centred(node, 1, 5))
    result = whole.convert(f32) * (node.input(2).reshape(()) * node.input(3))
    return result if node.optional(6) is None else result + node.input(6)


@onnx_op("DynamicQuantizeMatMul", domain=DOMAIN)
def dynamic_matmul(node: Node) -> Value:
    """A product with a quantised matrix; the other one is quantised to bytes here, by its own range with 0 in it."""
    value = node.input(0)
    axes = list(range(value.rank))
    low, high = value.reduce("min", axes).minimum(0), value.reduce("max", axes).maximum(0)
    span = (high - low) / 255
    scale = span.compare("eq", 0).where(span.full(1), span)
    zero = (-low / scale).apply(RoundOp).maximum(0).minimum(255)
    whole = ((value / scale).apply(RoundOp) + zero).maximum(0).minimum(255) - zero
    sums = product(whole.convert(i32), _centred(node, 1, 3))
    result = sums.convert(f32) * (scale * node.input(2))
    return result if node.optional(4) is None else result + node.input(4)


def _centred(node: Node, position: int, zero: int) -> Value:
    """An operand less its zero point, as 32-bit integers; of the right matrix each column may have one of its own."""
    value, centre = node.input(position).convert(i32), node.optional(zero)
    return value if centre is None else value - centre.convert(i32)


RULES = rules_of(globals())
