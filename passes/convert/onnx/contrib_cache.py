"""ONNX Runtime's attention over a cache: how many keys of it count is data, for each batch its own."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from xdsl.dialects.builtin import i32
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.onnx_contrib import DOMAIN
from tstorch.dialects.prim.elementwise import AndOp, TanhOp
from tstorch.dialects.prim.generator import IotaOp
from tstorch.passes.convert.onnx.contrib_attention import LOWEST, Heads, refuse, rotated, split_heads
from tstorch.passes.convert.onnx.indexing import looked_up
from tstorch.passes.convert.onnx.node import Node, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value

UNSUPPORTED = {"head_sink": 11, "k_scale": 12, "v_scale": 13, "q_norm_weight": 14, "k_norm_weight": 15}
"""Operands that have no form here, and where they stand."""


@onnx_op("GroupQueryAttention", domain=DOMAIN)
def grouped_query_attention(node: Node) -> list[Value]:
    """Several queries share a head of keys and values. New ones are put behind those of the cache that count."""
    refuse(node, qk_output=0, causal=1, k_quant_type="NONE", v_quant_type="NONE", sliding_window_cache=0)
    if (given := next((name for name, at in UNSUPPORTED.items() if node.optional(at) is not None), None)) is not None:
        raise VerifyException(f"operand {given} has no form here")
    query, key, value = _given(node)
    total = int(np.asarray(node.constant(6)).item())
    before = _before(node, query.shape[2], total)
    if node.attribute("do_rotary"):
        query, key = (_turned(node, each, before) for each in (query, key))
    keys, values = (_present(node.optional(at), new, before, total) for at, new in ((3, key), (4, value)))
    group = query.shape[1] // keys.shape[1]
    heads = Heads(query, _repeated(keys, group), _repeated(values, group))
    return [heads.attended(_masked(node, heads.scores(node.attribute("scale") or None), before)), keys, values]


def _given(node: Node) -> tuple[Value, Value, Value]:
    """Queries, keys and values by heads, given apart or side by side."""
    count, shared = node.attribute("num_heads"), node.attribute("kv_num_heads")
    query, key, value = node.input(0), node.optional(1), node.optional(2)
    if count % shared:
        raise VerifyException(f"{count} heads share {shared}; expected a divisor")
    if key is None or value is None:
        width = query.shape[2] // (count + 2 * shared)
        cuts = [0, count * width, (count + shared) * width, (count + 2 * shared) * width]
        query, key, value = (query.take(2, start, end) for start, end in pairwise(cuts))
    return split_heads(query, count), split_heads(key, shared), split_heads(value, shared)


def _before(node: Node, rows: int, total: int) -> Value:
    """How many keys of the cache count, as (batch,): none where the rows are all there is."""
    lengths = node.input(5)
    return lengths.full(0) if rows == total else lengths + (1 - rows)


def _turned(node: Node, value: Value, before: Value) -> Value:
    batch, _, rows, _ = value.shape
    places = node.optional(9)
    if places is None:
        ramp = value.emit.value(IotaOp(shape=[batch, rows], dimension=1, element_type=i32))
        places = ramp + before.reshape([batch, 1])
    cosines, sines = node.input(7), node.input(8)
    return rotated(value, places, cosines, sines, 2 * cosines.shape[1], bool(node.attribute("rotary_interleaved")))


def _present(past: Value | None, new: Value, before: Value, total: int) -> Value:
    """The cache with the new rows behind those that count."""
    rows = new.shape[2]
    if past is None or not past.shape[2]:
        if rows != total:
            raise VerifyException(f"{rows} rows and no cache; expected total_sequence_length = {total}")
        return new
    length = max(past.shape[2], total)
    past = past.pad([0] * 4, [0, 0, length - past.shape[2], 0])
    parts = [_written(_batch(past, at), _batch(new, at), before.take(0, at, at + 1)) for at in range(new.shape[0])]
    return parts[0].concatenate(parts[1:], 0)


def _batch(value: Value, at: int) -> Value:
    return value.take(0, at, at + 1)


def _written(past: Value, new: Value, before: Value) -> Value:
    """One batch: rows of the cache up to `before`, then the new ones, then the cache again."""
    rows, ramp = new.shape[2], past.emit.value(IotaOp(shape=[past.shape[2]], dimension=0, element_type=i32))
    own = ramp - before.broadcast_to(ramp.shape)
    moved = looked_up(new, own.maximum(0).minimum(rows - 1), 2)
    inside = own.compare("ge", 0).apply(AndOp, own.compare("lt", rows))
    return inside.along(2, past.shape).where(moved, past)


def _repeated(value: Value, times: int) -> Value:
    batch, heads, rows, width = value.shape
    wide = value.reshape([batch, heads, 1, rows, width]).broadcast_to([batch, heads, times, rows, width])
    return wide.reshape([batch, heads * times, rows, width])


def _masked(node: Node, scores: Value, before: Value) -> Value:
    """Scores of keys up to the query's own, and no further back than the window."""
    if cap := node.attribute("softcap"):
        scores = (scores / cap).apply(TanhOp) * cap
    if node.attribute("smooth_softmax") > 0:
        raise VerifyException("smooth_softmax is 1, which has no form here; expected 0")
    if (bias := node.optional(10)) is not None:
        scores = scores + bias.take(3, 0, scores.shape[3])
    rows, columns = (
        scores.emit.value(IotaOp(shape=scores.shape, dimension=dimension, element_type=i32)) for dimension in (2, 3)
    )
    back = rows + before.along(0, scores.shape) - columns
    shown = back.compare("ge", 0)
    if (window := node.attribute("local_window_size")) > 0:
        shown = shown.apply(AndOp, back.compare("lt", window))
    return shown.where(scores, scores.full(LOWEST))


RULES = rules_of(globals())
