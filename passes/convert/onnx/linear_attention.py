"""Linear attention: a state of products of keys and values, renewed from token to token.

The columns of a state, one for each element of a value, have nothing to do with each other: each is a recurrence of
its own, so that a long text keeps many workgroups busy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from xdsl.dialects.builtin import f32
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.elementwise import ExpOp
from tstorch.passes.convert.onnx.linear import dot
from tstorch.passes.convert.onnx.node import Node, onnx_op, rules_of
from tstorch.passes.convert.onnx.recurrence import Values, recurrence
from tstorch.passes.convert.onnx.value import Value

RULES_OF_UPDATE = {
    "linear": (False, False), "gated": (True, False), "delta": (False, True), "gated_delta": (True, True),
}  # fmt: skip
"""update_rule -> whether the state decays, and whether only what it does not hold yet is added."""
PAST, DECAY, BETA = 3, 4, 5


@dataclass(frozen=True)
class Heads:
    """The sizes of a node: batch, tokens, heads of keys, queries for each of them, and elements of keys and values."""

    batch: int
    tokens: int
    heads: int
    queries: int
    key: int
    value: int

    @classmethod
    def of(cls, node: Node) -> Heads:
        """Raises VerifyException where the operands do not fit each other."""
        query, key, value = (node.input(at) for at in range(3))
        queries, heads = node.attribute("q_num_heads"), node.attribute("kv_num_heads")
        shapes = query.shape, key.shape, value.shape
        if any(len(shape) != 3 or shape[:2] != query.shape[:2] for shape in shapes) or heads < 1 or queries % heads:
            raise VerifyException(f"query, key and value have shapes {shapes}, with {queries} and {heads} heads")
        (batch, tokens, width), values = query.shape, value.shape[2]
        found = cls(batch, tokens, heads, queries // heads, width // queries, values // heads)
        if [found.key * queries, found.key * heads, found.value * heads] != [shape[2] for shape in shapes]:
            raise VerifyException(f"shapes {shapes} are no {queries} and {heads} heads of equal size")
        return found

    @property
    def columns(self) -> int:
        """How many recurrences there are."""
        return self.batch * self.heads * self.value

    def spread(self, value: Value, own: Sequence[int]) -> Value:
        """(batch, tokens, heads * own) as (tokens, columns, own): the same for all columns of a state."""
        heads = self.heads if value.shape[2] != 1 else 1
        parts = value.reshape([self.batch, self.tokens, heads, 1, *own]).convert(f32)
        steps = parts.transpose([1, 0, *range(2, parts.rank)])
        whole = steps.broadcast_to([self.tokens, self.batch, self.heads, self.value, *own])
        return whole.reshape([self.tokens, self.columns, *own])

    def values(self, value: Value) -> Value:
        """(batch, tokens, heads * value) as (tokens, columns)."""
        parts = value.convert(f32).reshape([self.batch, self.tokens, self.heads * self.value])
        return parts.transpose([1, 0, 2]).reshape([self.tokens, self.columns])


@onnx_op("LinearAttention")
def linear_attention(node: Node) -> Sequence[Value]:
    """Outputs: what the queries read, and the state after the last token. Computed in f32."""
    heads = Heads.of(node)
    decays, corrects = _update_rule(node)
    sequences = [
        heads.spread(node.input(0), [heads.queries, heads.key]),
        heads.spread(node.input(1), [heads.key]),
        heads.values(node.input(2)),
    ]
    if decays:
        sequences.append(_decay(node, heads))
    if corrects:
        sequences.append(heads.spread(node.input(BETA), []))

    def step(states: Values, slices: Values, shared: Values) -> tuple[Values, Values]:
        [state], [query, key, value, *rest] = states, slices
        state = state * rest[0] if decays else state
        if corrects:
            value = rest[-1] * (value - dot(state, key, batches=1, contract=(1, 1)))
        state = state + key * value.reshape([*value.shape, 1])
        return [state], [dot(query, state, batches=1, contract=(2, 1))]

    [state], [read] = recurrence(step, [_past(node, heads)], sequences, [])
    return [_packed(node, heads, read), _state(node, heads, state)]


def _update_rule(node: Node) -> tuple[bool, bool]:
    """Whether the state decays, and whether it is corrected. Raises VerifyException where an operand is missing."""
    name = node.attribute("update_rule")
    if (found := RULES_OF_UPDATE.get(name)) is None:
        raise VerifyException(f"update_rule is {name}; expected one of {', '.join(RULES_OF_UPDATE)}")
    for needed, position, what in zip(found, (DECAY, BETA), ("decay", "beta"), strict=True):
        if needed != (node.optional(position) is not None):
            raise VerifyException(f"update_rule {name} {'needs' if needed else 'takes no'} {what}")
    return found


def _decay(node: Node, heads: Heads) -> Value:
    """What the state is multiplied with: one number for each head, or for each of its keys' elements."""
    decay = node.input(DECAY).convert(f32).apply(ExpOp)
    if decay.shape[2] == heads.heads:
        whole = heads.spread(decay, [1])
        return whole.broadcast_to([*whole.shape[:2], heads.key])
    return heads.spread(decay, [heads.key])


def _past(node: Node, heads: Heads) -> Value:
    """The state that is given, (columns, key), or none."""
    if (past := node.optional(PAST)) is None:
        return node.emit.full(0, [heads.columns, heads.key], f32)
    if past.shape != (heads.batch, heads.heads, heads.key, heads.value):
        raise VerifyException(f"past_state has shape {past.shape}; expected (batch, heads, key, value) of {heads}")
    return past.convert(f32).transpose([0, 1, 3, 2]).reshape([heads.columns, heads.key])


def _packed(node: Node, heads: Heads, read: Value) -> Value:
    """(tokens, columns, queries) as (batch, tokens, heads * queries * value)."""
    scale = node.attribute("scale") or 1 / sqrt(heads.key)
    parts = (read * scale).reshape([heads.tokens, heads.batch, heads.heads, heads.value, heads.queries])
    moved = parts.transpose([1, 0, 2, 4, 3]).convert(node.input(0).element)
    return moved.reshape([heads.batch, heads.tokens, heads.heads * heads.queries * heads.value])


def _state(node: Node, heads: Heads, state: Value) -> Value:
    """(columns, key) as (batch, heads, key, value)."""
    parts = state.reshape([heads.batch, heads.heads, heads.value, heads.key]).transpose([0, 1, 3, 2])
    past = node.optional(PAST)
    return parts.convert(node.input(0).element if past is None else past.element)


RULES = rules_of(globals())
