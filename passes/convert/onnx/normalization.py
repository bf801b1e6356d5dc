"""Normalisations, as the plain arithmetic that they are: what becomes one kernel is fusion's business."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import f32
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.elementwise import AbsOp, PowOp, RsqrtOp, SqrtOp
from tstorch.dialects.prim.reduction import ReduceWindowOp
from tstorch.passes.convert.onnx.node import Node, normalized, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value


@onnx_op("BatchNormalization")
def batch_normalization(node: Node) -> Sequence[Value]:
    """(x - mean) * (scale / sqrt(var + epsilon)) + bias; what stands in brackets comes of weights alone.

    In training mean and variance are the batch's own, and the outputs behind are those given, moved towards them. Up to
    opset 13 it is the outputs that say so, and the batch's own follow.
    """
    value, scale, bias, mean, variance = (node.input(position) for position in range(5))
    old = node.version < 14
    if not (node.outputs > 1 if old else node.attribute("training_mode")):
        return [_normalized(node, value, scale, bias, mean, variance)]
    axes = [at for at in range(value.rank) if at != 1]
    wide = value.convert(f32)
    own = wide.mean(axes)
    centred = wide - own.along(1, wide.shape)
    spread = (centred * centred).mean(axes)
    result = _normalized(node, wide, scale.convert(f32), bias.convert(f32), own, spread).convert(value.element)
    momentum = node.attribute("momentum")
    moved = [
        (given.convert(f32) * momentum + batch * (1 - momentum)).convert(given.element)
        for given, batch in ((mean, own), (variance, spread))
    ]
    return [result, *moved, own.convert(mean.element), spread.convert(mean.element)] if old else [result, *moved]


def _normalized(node: Node, value: Value, scale: Value, bias: Value, mean: Value, variance: Value) -> Value:
    factor = scale * (variance + node.attribute("epsilon")).apply(RsqrtOp)
    if node.attribute("spatial") == 0:
        return (value - mean) * factor + bias
    shape = value.shape
    return (value - mean.along(1, shape)) * factor.along(1, shape) + bias.along(1, shape)


@onnx_op("LayerNormalization")
def layer_normalization(node: Node) -> Sequence[Value]:
    """Over the axis and all that follow it, in f32 however narrow the input."""
    given, scale, bias = node.input(0), node.input(1), node.optional(2)
    axes = _trailing(node)
    value = given.convert(f32) if node.attribute("stash_type") == 1 and given.is_float else given
    mean = value.mean(axes, keep=True)
    centred = value - mean
    inverse = ((centred * centred).mean(axes, keep=True) + node.attribute("epsilon")).apply(RsqrtOp)
    result = (centred * inverse).convert(given.element) * scale
    return [result if bias is None else result + bias, mean, inverse]


@onnx_op("RMSNormalization")
def rms_normalization(node: Node) -> Value:
    given, scale = node.input(0), node.input(1)
    value = given.convert(f32) if node.attribute("stash_type") == 1 and given.is_float else given
    inverse = ((value * value).mean(_trailing(node), keep=True) + node.attribute("epsilon")).apply(RsqrtOp)
    return (value * inverse).convert(given.element) * scale


def _trailing(node: Node) -> list[int]:
    rank = node.input(0).rank
    return list(range(normalized(node.attribute("axis"), rank), rank))


@onnx_op("InstanceNormalization")
def instance_normalization(node: Node) -> Value:
    value, scale, bias = node.input(0), node.input(1), node.input(2)
    result = _standardized(value, range(2, value.rank), node.attribute("epsilon"))
    return result * scale.along(1, value.shape) + bias.along(1, value.shape)


@onnx_op("GroupNormalization")
def group_normalization(node: Node) -> Value:
    """Scale and bias are one per group up to opset 20, one per channel since 21."""
    value, scale, bias = node.input(0), node.input(1), node.input(2)
    groups, channels = node.attribute("num_groups"), value.shape[1]
    if groups < 1 or channels % groups:
        raise VerifyException(f"{channels} channels in {groups} groups; expected a divisor")
    grouped = value.reshape([value.shape[0], groups, channels // groups, *value.shape[2:]])
    result = _standardized(grouped, range(2, grouped.rank), node.attribute("epsilon"))
    if node.version < 21:
        result = result * scale.along(1, result.shape) + bias.along(1, result.shape)
        return result.reshape(value.shape)
    result = result.reshape(value.shape)
    return result * scale.along(1, value.shape) + bias.along(1, value.shape)


def _standardized(value: Value, axes: Sequence[int], epsilon: float) -> Value:
    """(x - mean) / sqrt(variance + epsilon) over the axes."""
    centred = value - value.mean(axes, keep=True)
    variance = (centred * centred).mean(axes, keep=True)
    return centred * (variance + epsilon).apply(RsqrtOp)


@onnx_op("MeanVarianceNormalization")
def mean_variance_normalization(node: Node) -> Value:
    value, axes = node.input(0), node.attribute("axes") or [0, 2, 3]
    centred = value - value.mean(axes, keep=True)
    return centred / ((centred * centred).mean(axes, keep=True).apply(SqrtOp) + 1e-9)


@onnx_op("LpNormalization")
def lp_normalization(node: Node) -> Value:
    value, power = node.input(0), node.attribute("p")
    axes = [node.axis()]
    if power == 1:
        norm = value.apply(AbsOp).reduce("add", axes, keep=True)
    else:
        norm = (value * value).reduce("add", axes, keep=True).apply(SqrtOp)
    return norm.compare("eq", 0).where(value.full(0), value / norm)


@onnx_op("LRN")
def local_response_normalization(node: Node) -> Value:
    """x / (bias + alpha / size * sum of squares over neighbouring channels) ** beta."""
    value, size = node.input(0), node.attribute("size")
    ones, none = (1,) * value.rank, (0,) * (value.rank - 2)
    total = value.emit.value(
        ReduceWindowOp(
            (value * value).ssa,
            kind="add",
            window=(1, size, *ones[2:]),
            strides=ones,
            padding_low=(0, (size - 1) // 2, *none),
            padding_high=(0, size // 2, *none),
            window_dilation=ones,
            base_dilation=ones,
        )
    )
    return value / (total * (node.attribute("alpha") / size) + node.attribute("bias")).apply(
        PowOp, node.attribute("beta")
    )


RULES = rules_of(globals())
