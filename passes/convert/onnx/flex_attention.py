"""Attention whose scores and probabilities go through subgraphs of the node."""

from __future__ import annotations

from math import sqrt

from xdsl.dialects.builtin import f32
from xdsl.ir import Attribute
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.onnx import element_type
from tstorch.dialects.prim.elementwise import ExpOp
from tstorch.dialects.prim.types import is_stored
from tstorch.passes.convert.onnx.linear import dot
from tstorch.passes.convert.onnx.node import Node, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value


@onnx_op("FlexAttention", domain="ai.onnx.preview")
def flex_attention(node: Node) -> Value:
    """softmax(score_mod(q k')) v, where heads of the query share those of key and value. Both products and the softmax
    are in the softmax's precision."""
    query, key, value = (node.input(at) for at in range(3))
    if {query.rank, key.rank, value.rank} != {4} or key.shape[:3] != value.shape[:3]:
        raise VerifyException(f"query, key and value have shapes {query.shape}, {key.shape}, {value.shape}")
    precision = _precision(node)
    key, value = (_repeated(each.convert(precision), query.shape[1]) for each in (key, value))
    given = node.attribute("scale")
    scale = sqrt(1 / sqrt(query.shape[3]) if given is None else given)
    scores = dot(query.convert(precision) * scale, key * scale, batches=2, contract=(3, 3))
    scores = _modified(node, "score_mod", scores)
    powers = (scores - scores.reduce("max", [3], keep=True)).apply(ExpOp)
    shares = _modified(node, "prob_mod", powers / powers.reduce("add", [3], keep=True))
    return dot(shares, value, batches=2, contract=(3, 2)).convert(node.input(2).element)


def _precision(node: Node) -> Attribute:
    """What scores are computed in: of bfloat16, which nothing computes in, float32 instead."""
    number = node.attribute("softmax_precision")
    element = f32 if number is None else element_type(number)
    return f32 if is_stored(element) else element


def _repeated(value: Value, heads: int) -> Value:
    """Each head as often as there are heads of the query that look at it."""
    batch, own, *rest = value.shape
    if heads % own:
        raise VerifyException(f"the query has {heads} heads, the key {own}; expected a multiple of these")
    spread = value.reshape([batch, own, 1, *rest]).broadcast_to([batch, own, heads // own, *rest])
    return spread.reshape([batch, heads, *rest])


def _modified(node: Node, name: str, value: Value) -> Value:
    """What the node's subgraph of that name makes of a tensor, which keeps its type."""
    subgraph = node.subgraph(name)
    if subgraph is None:
        return value
    [result] = subgraph([value], node.emit)
    if result.type != value.type:
        raise VerifyException(f"{name} makes {result.type} of {value.type}; expected the same type")
    return result


RULES = rules_of(globals())
