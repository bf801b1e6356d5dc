"""ONNX Runtime's normalisations: of sums with a residual, and without a mean."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import f32, i32

from tstorch.dialects.onnx_contrib import DOMAIN
from tstorch.dialects.prim.elementwise import RsqrtOp
from tstorch.passes.convert.onnx.indexing import looked_up
from tstorch.passes.convert.onnx.node import Node, normalized, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value


@onnx_op("SkipLayerNormalization", domain=DOMAIN)
def skip_layer_normalization(node: Node) -> Sequence[Value]:
    """Normalises input + skip + bias over the last axis; the sum is a result, too."""
    total = _sum(node, 4)
    result, mean, inverse = normalized_rows(total, node.input(2), node.optional(3), node.attribute("epsilon"))
    return [result, mean, inverse, total]


@onnx_op("SkipSimplifiedLayerNormalization", domain=DOMAIN)
def skip_rms_normalization(node: Node) -> Sequence[Value | None]:
    total = _sum(node, 3)
    result, inverse = _scaled_by_square([total.rank - 1], total, node.input(2), node.attribute("epsilon"))
    return [result, None, inverse, total]


@onnx_op("SimplifiedLayerNormalization")
def rms_normalization(node: Node) -> Sequence[Value]:
    """RMSNormalization, as ONNX Runtime wrote it before ONNX had one."""
    value, scale = node.input(0), node.input(1)
    axes = list(range(normalized(node.attribute("axis"), value.rank), value.rank))
    return _scaled_by_square(axes, value, scale, node.attribute("epsilon"))


@onnx_op("EmbedLayerNormalization", domain=DOMAIN)
def embedding_normalization(node: Node) -> Sequence[Value]:
    """The sum of word, position and segment embeddings, normalised; how much of each row the mask lets through."""
    ids, segments, places = node.input(0), node.optional(1), node.optional(8)
    batch, length = ids.shape
    if places is None:
        table = node.input(3).take(0, 0, length)
    else:
        table = _embedded(node, 3, places.broadcast_to(ids.shape))
    total = _embedded(node, 2, ids) + table
    if segments is not None:
        total = total + _embedded(node, 4, segments)
    result, _, _ = normalized_rows(total, node.input(5), node.optional(6), node.attribute("epsilon"))
    mask = node.optional(7)
    if mask is None:
        return [result, node.emit.full(0, [batch], i32), total]
    return [result, mask.compare("eq", 1).convert(i32).reduce("add", [1]), total]


def _embedded(node: Node, position: int, ids: Value) -> Value:
    return looked_up(node.input(position), ids, 0)


def _sum(node: Node, bias: int) -> Value:
    total = node.input(0) + node.input(1)
    return total if node.optional(bias) is None else total + node.input(bias)


def normalized_rows(value: Value, scale: Value, bias: Value | None, epsilon: float) -> tuple[Value, Value, Value]:
    """A layer normalisation over the last axis in f32, with its means and inverse deviations."""
    axes, wide = [value.rank - 1], value.convert(f32)
    mean = wide.mean(axes, keep=True)
    centred = wide - mean
    inverse = ((centred * centred).mean(axes, keep=True) + epsilon).apply(RsqrtOp)
    result = (centred * inverse).convert(value.element) * scale
    return (result if bias is None else result + bias), mean, inverse


def _scaled_by_square(axes: Sequence[int], value: Value, scale: Value, epsilon: float) -> list[Value]:
    wide = value.convert(f32)
    inverse = ((wide * wide).mean(axes, keep=True) + epsilon).apply(RsqrtOp)
    return [(wide * inverse).convert(scale.element) * scale, inverse]


RULES = rules_of(globals())
