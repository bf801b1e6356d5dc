"""ONNX Runtime's attention: projections, caches and masks around softmax(Q K') V."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from xdsl.dialects.builtin import i32
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.onnx_contrib import DOMAIN
from tstorch.dialects.prim.elementwise import AndOp, ExpOp
from tstorch.dialects.prim.generator import IotaOp
from tstorch.passes.convert.onnx.indexing import looked_up
from tstorch.passes.convert.onnx.linear import dot, product
from tstorch.passes.convert.onnx.node import Node, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value

LOWEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True)
class Heads:
    """Queries, keys and values as (batch, heads, rows, width of a head); keys and values hold the cache, too."""

    query: Value
    key: Value
    value: Value

    def scores(self, scale: float | None) -> Value:
        """(batch, heads, queries, keys), scaled by 1/sqrt(width) unless said otherwise."""
        products = dot(self.query, self.key, contract=(3, 3), batches=2)
        return products * (scale or 1 / sqrt(self.query.shape[-1]))

    def attended(self, scores: Value) -> Value:
        """Each query's mixture of values, as (batch, queries, hidden)."""
        powers = (scores - scores.reduce("max", [3], keep=True)).apply(ExpOp)
        shares = powers / powers.reduce("add", [3], keep=True)
        mixed = dot(shares, self.value, contract=(3, 2), batches=2).transpose([0, 2, 1, 3])
        return mixed.reshape([*mixed.shape[:2], mixed.shape[2] * mixed.shape[3]])

    @property
    def past(self) -> int:
        """How many keys stand before the first query's own."""
        return self.key.shape[2] - self.query.shape[2]


@onnx_op("Attention", domain=DOMAIN)
def attention(node: Node) -> list[Value]:
    """One product makes queries, keys and values of the input."""
    refuse(node, do_rotary=0, past_present_share_buffer=0)
    count = node.attribute("num_heads")
    projected = product(node.input(0), node.input(1))
    projected = projected if node.optional(2) is None else projected + node.input(2)
    widths = node.attribute("qkv_hidden_sizes") or [projected.shape[2] // 3] * 3
    starts = [0, widths[0], widths[0] + widths[1]]
    query, key, value = (
        split_heads(projected.take(2, start, start + width), count) for start, width in zip(starts, widths, strict=True)
    )
    if (past := node.optional(4)) is not None:
        before = [past.take(0, at, at + 1).reshape(past.shape[1:]) for at in (0, 1)]
        key, value = before[0].concatenate([key], 2), before[1].concatenate([value], 2)
    result = _masked_attention(node, Heads(query, key, value), node.optional(3), node.optional(5))
    if node.outputs == 1:
        return [result]
    return [result, key.reshape([1, *key.shape]).concatenate([value.reshape([1, *value.shape])], 0)]


@onnx_op("MultiHeadAttention", domain=DOMAIN)
def multi_head_attention(node: Node) -> list[Value]:
    """Queries, keys and values are given: apart, keys with values, or all three in one tensor."""
    count = node.attribute("num_heads")
    query, key, value = _given(node, count)
    for before, at in ((6, 1), (7, 2)):
        if (past := node.optional(before)) is not None:
            key, value = (past.concatenate([key], 2), value) if at == 1 else (key, past.concatenate([value], 2))
    heads = Heads(query, key, value)
    return [_masked_attention(node, heads, node.optional(4), node.optional(5)), key, value]


def _given(node: Node, count: int) -> tuple[Value, Value, Value]:
    """Queries, keys and values by heads, each with its part of the bias."""
    query, key, value = node.input(0), node.optional(1), node.optional(2)
    if query.rank == 5:
        batch, rows, _, _, width = query.shape
        query, key, value = (query.take(3, at, at + 1).reshape([batch, rows, count * width]) for at in range(3))
    if key is None:
        raise VerifyException(f"queries of shape {list(query.shape)} without keys; expected all three in one of rank 5")
    if key.rank == 5 or value is None:
        if value is not None or key.rank != 5:
            raise VerifyException(f"keys of shape {list(key.shape)} without values; expected both in one of rank 5")
        pair = [key.take(3, at, at + 1).reshape([*key.shape[:3], key.shape[4]]) for at in (0, 1)]
        return (split_heads(query, count), *(each.transpose([0, 2, 1, 3]) for each in pair))  # pyright: ignore[reportReturnType]
    parts = [query, key, value]
    if (bias := node.optional(3)) is not None:
        start = 0
        for at, part in enumerate(parts):
            width = query.shape[2] if at < 2 else bias.shape[0] - 2 * query.shape[2]
            if part.rank == 3:
                parts[at] = part + bias.take(0, start, start + width)
            start += width
    query, key, value = (split_heads(part, count) if part.rank == 3 else part for part in parts)
    return query, key, value


def split_heads(value: Value, count: int) -> Value:
    """(batch, rows, hidden) as (batch, heads, rows, width)."""
    batch, rows, hidden = value.shape
    if hidden % count:
        raise VerifyException(f"{hidden} columns in {count} heads; expected a divisor")
    return value.reshape([batch, rows, count, hidden // count]).transpose([0, 2, 1, 3])


def _masked_attention(node: Node, heads: Heads, mask: Value | None, bias: Value | None) -> Value:
    scores = heads.scores(node.attribute("scale"))
    if bias is not None:
        scores = scores + bias
    filling = node.attribute("mask_filter_value")
    filling = -10000.0 if filling is None else filling
    if mask is not None:
        scores = _shown(mask, scores.shape).where(scores.full(0), scores.full(filling)) + scores
    if node.attribute("unidirectional"):
        scores = not_after(scores, heads.past).where(scores, scores.full(LOWEST))
    return heads.attended(scores)


def _shown(mask: Value, shape: tuple[int, ...]) -> Value:
    """Which keys a query may see, by a mask of one of ONNX Runtime's forms."""
    batch, _, queries, keys = shape
    if mask.rank == 1:
        columns = mask.emit.value(IotaOp(shape=shape, dimension=3, element_type=i32))
        mask = mask.convert(i32)
        if mask.shape[0] not in (batch, 2 * batch):
            raise VerifyException(
                f"a mask of shape {list(mask.shape)} for a batch of {batch}; expected {batch} or twice"
            )
        ends = mask.take(0, 0, batch).along(0, shape)
        shown = columns.compare("lt", ends)
        if mask.shape[0] == batch:
            return shown
        return shown.apply(AndOp, columns.compare("ge", mask.take(0, batch, 2 * batch).along(0, shape)))
    if mask.rank == 2:
        mask = mask.reshape([mask.shape[0], 1, 1, mask.shape[1]])
    elif mask.rank == 3:
        mask = mask.reshape([mask.shape[0], 1, *mask.shape[1:]])
    else:
        past = keys - queries
        mask = mask.take(2, past, past + queries).take(3, 0, keys)
    return mask.compare("gt", 0).broadcast_to(shape)


def not_after(scores: Value, past: int) -> Value:
    """Which keys stand no later than the query."""
    rows, columns = (
        scores.emit.value(IotaOp(shape=scores.shape, dimension=dimension, element_type=i32)) for dimension in (2, 3)
    )
    return columns.compare("le", rows + past)


@onnx_op("RotaryEmbedding", domain=DOMAIN)
def rotary_embedding(node: Node) -> Value:
    """Turns pairs of each head's columns by angles that depend on the position."""
    refuse(node, is_packed_batching=0)
    value, places, cosines, sines = (node.input(position) for position in range(4))
    width = node.attribute("rotary_embedding_dim") or 2 * cosines.shape[1]
    flat = value.rank == 3
    if flat:
        heads = node.attribute("num_heads") if node.attribute("rotary_embedding_dim") else value.shape[2] // width
        value = split_heads(value, heads)
    batch, _, rows, _ = value.shape
    if places.rank == 1:
        ramp = value.emit.value(IotaOp(shape=[batch, rows], dimension=1, element_type=places.element))
        places = ramp + places.reshape([1, 1])
    turned = rotated(value, places, cosines, sines, width, bool(node.attribute("interleaved")))
    return turned.transpose([0, 2, 1, 3]).reshape(node.input(0).shape) if flat else turned


def rotated(value: Value, places: Value, cosines: Value, sines: Value, width: int, interleaved: bool) -> Value:
    """(batch, heads, rows, width): the first `width` columns turned, in pairs of neighbours or of halves."""
    batch, heads, rows, whole = value.shape
    half = width // 2
    angles = [looked_up(table, places, 0).reshape([batch, 1, rows, half]) for table in (cosines, sines)]
    part = value.take(3, 0, width)
    if interleaved:
        pairs = part.reshape([batch, heads, rows, half, 2])
        first, second = (pairs.take(4, at, at + 1).reshape([batch, heads, rows, half]) for at in (0, 1))
    else:
        first, second = part.take(3, 0, half), part.take(3, half, width)
    real, imaginary = first * angles[0] - second * angles[1], first * angles[1] + second * angles[0]
    if interleaved:
        real, imaginary = (each.reshape([*each.shape, 1]) for each in (real, imaginary))
        turned = real.concatenate([imaginary], 4).reshape([batch, heads, rows, width])
    else:
        turned = real.concatenate([imaginary], 3)
    return turned if width == whole else turned.concatenate([value.take(3, width, whole)], 3)


def refuse(node: Node, **expected: object) -> None:
    """Raises VerifyException for an attribute that asks for what has no form here."""
    for name, wanted in expected.items():
        if (given := node.attribute(name)) is not None and given != wanted:
            raise VerifyException(f"{name} is {given}, which has no form here; expected {wanted}")


RULES = rules_of(globals())
