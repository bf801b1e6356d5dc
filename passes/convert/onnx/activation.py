"""Activations: functions of one element, and softmax with its relatives, which look along an axis."""

from __future__ import annotations

from math import pi, prod, sqrt

from xdsl.dialects.builtin import i32

from tstorch.dialects.prim.elementwise import AbsOp, ErfOp, Expm1Op, ExpOp, Log1pOp, LogisticOp, LogOp, TanhOp
from tstorch.dialects.prim.generator import IotaOp
from tstorch.passes.convert.onnx.node import Node, normalized, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value


@onnx_op("Relu")
def relu(node: Node) -> Value:
    return node.input(0).maximum(0)


@onnx_op("LeakyRelu")
def leaky_relu(node: Node) -> Value:
    value = node.input(0)
    return value.compare("ge", 0).where(value, value * node.attribute("alpha"))


@onnx_op("PRelu")
def parametric_relu(node: Node) -> Value:
    """The slope broadcasts; up to opset 6 it is one per channel."""
    value, slope = node.input(0), node.input(1)
    slope = slope.along(1, value.shape) if node.version < 7 else slope
    return value.compare("ge", 0).where(value, value * slope)


@onnx_op("Elu")
def elu(node: Node) -> Value:
    value = node.input(0)
    return value.compare("ge", 0).where(value, value.apply(Expm1Op) * node.attribute("alpha"))


@onnx_op("Selu")
def selu(node: Node) -> Value:
    value, alpha = node.input(0), node.attribute("alpha")
    negative = value.apply(Expm1Op) * alpha
    return value.compare("gt", 0).where(value, negative) * node.attribute("gamma")


@onnx_op("Celu")
def celu(node: Node) -> Value:
    value, alpha = node.input(0), node.attribute("alpha")
    return value.maximum(0) + ((value / alpha).apply(Expm1Op) * alpha).minimum(0)


@onnx_op("ThresholdedRelu")
def thresholded_relu(node: Node) -> Value:
    value = node.input(0)
    return value.compare("gt", node.attribute("alpha")).where(value, value.full(0))


@onnx_op("Shrink")
def shrink(node: Node) -> Value:
    value, bias, bound = node.input(0), node.attribute("bias"), node.attribute("lambd")
    high = value.compare("gt", bound).where(value - bias, value.full(0))
    return value.compare("lt", -bound).where(value + bias, high)


@onnx_op("Softplus")
def softplus(node: Node) -> Value:
    return _softplus(node.input(0))


def _softplus(value: Value) -> Value:
    """log(1 + e**x) without overflow: what is large passes, what is small is damped."""
    return value.maximum(0) + (-value.apply(AbsOp)).apply(ExpOp).apply(Log1pOp)


@onnx_op("Softsign")
def softsign(node: Node) -> Value:
    value = node.input(0)
    return value / (value.apply(AbsOp) + 1)


@onnx_op("Mish")
def mish(node: Node) -> Value:
    """x tanh(log(1 + e**x)), as a quotient in e**x: near 0 the hyperbolic tangent would lose digits."""
    value = node.input(0)
    power = value.minimum(20).apply(ExpOp)
    grown = power * (power + 2)
    return value * (grown / (grown + 2))


@onnx_op("HardSigmoid")
def hard_sigmoid(node: Node) -> Value:
    return _hard_sigmoid(node.input(0), node.attribute("alpha"), node.attribute("beta"))


@onnx_op("HardSwish")
def hard_swish(node: Node) -> Value:
    value = node.input(0)
    return value * _hard_sigmoid(value, 1 / 6, 0.5)


def _hard_sigmoid(value: Value, alpha: float, beta: float) -> Value:
    return (value * alpha + beta).maximum(0).minimum(1)


@onnx_op("Swish")
def swish(node: Node) -> Value:
    value = node.input(0)
    return value * (value * node.attribute("alpha")).apply(LogisticOp)


@onnx_op("Gelu")
def gelu(node: Node) -> Value:
    value = node.input(0)
    if node.attribute("approximate") == "tanh":
        inner = (value + value * value * value * 0.044715) * sqrt(2 / pi)
        return value * 0.5 * (inner.apply(TanhOp) + 1)
    return value * 0.5 * ((value * sqrt(0.5)).apply(ErfOp) + 1)


@onnx_op("Softmax")
def softmax(node: Node) -> Value:
    """Along the axis and all that follow it; along that axis alone since opset 13."""
    value = node.input(0)
    shifted = _shifted(value, _axes(node))
    powers = shifted.apply(ExpOp)
    return powers / powers.reduce("add", _axes(node), keep=True)


@onnx_op("LogSoftmax")
def log_softmax(node: Node) -> Value:
    value = node.input(0)
    shifted = _shifted(value, _axes(node))
    return shifted - shifted.apply(ExpOp).reduce("add", _axes(node), keep=True).apply(LogOp)


def _shifted(value: Value, axes: list[int]) -> Value:
    """The elements less their maximum, so that no power overflows."""
    return value - value.reduce("max", axes, keep=True)


def _axes(node: Node) -> list[int]:
    rank = node.input(0).rank
    axis = normalized(node.attribute("axis"), rank)
    return [axis] if node.version >= 13 else list(range(axis, rank))


@onnx_op("Hardmax")
def hardmax(node: Node) -> Value:
    """One where the first maximum stands, else zero."""
    value, axes = node.input(0), _axes(node)
    kept, width = value.shape[: axes[0]], prod(value.shape[axis] for axis in axes)
    rest = value.shape[axes[-1] + 1 :]
    flat = value.reshape([*kept, width, *rest])
    ramp = value.emit.value(IotaOp(shape=flat.shape, dimension=len(kept), element_type=i32))
    is_top = flat.compare("eq", flat.reduce("max", [len(kept)], keep=True))
    first = is_top.where(ramp, ramp.full(width)).reduce("min", [len(kept)], keep=True)
    return ramp.compare("eq", first).where(flat.full(1), flat.full(0)).reshape(value.shape)


RULES = rules_of(globals())
