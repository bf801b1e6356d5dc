"""Subgraphs whose control is known at compile time: the branch taken, the body once for each time it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.dialects.builtin import TensorType
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.onnx import YieldOp
from tstorch.passes.convert.onnx.node import Node, Subgraph, normalized, onnx_op, rules_of
from tstorch.passes.convert.onnx.recurrence import slice_at, stacked
from tstorch.passes.convert.onnx.value import Value

BRANCHES = ("else_branch", "then_branch")
"""What an If runs where its condition is false, and true."""


@onnx_op("If")
def branch(node: Node) -> Sequence[Value]:
    condition = node.constant(0, "which branch runs")
    if condition is None or condition.size != 1:
        raise VerifyException("the condition is absent or not one truth value")
    return node.body(BRANCHES[bool(condition.item())])([], node.emit)


@onnx_op("Loop")
def loop(node: Node) -> Sequence[Value | None]:
    """Inputs: the most iterations, whether to begin, what is carried. The body gets the iteration, whether it goes on
    and what is carried; it gives whether to go on, what is carried on, and an element of each scanned output."""
    limit = node.constant(0, "how often the body runs")
    going = node.constant(1, "whether the body runs")
    body, carried = node.body("body"), [node.input(at) for at in range(2, len(node.given))]
    most = None if limit is None else int(limit.item())
    rows: list[Sequence[Value]] = []
    while (going is None or going.item()) and (most is None or len(rows) < most):
        step, truth = node.emit.constant(np.array(len(rows), np.int64)), node.emit.constant(np.array(True))
        condition, *results = body([step, truth, *carried], node.emit)
        carried, row = results[: len(carried)], results[len(carried) :]
        rows.append(row)
        going = node.settled(condition, 1, "whether the body runs once more")
    if not rows:
        return [*carried, *_empty(node, body, 1 + len(carried))]
    return [*carried, *(stacked(column, 0) for column in zip(*rows, strict=True))]


def _empty(node: Node, body: Subgraph, first: int) -> list[Value | None]:
    """The scanned outputs of a body that never runs, from output number `first` on."""
    end = body.region.block.last_op
    found: list[Value | None] = []
    for at, value in enumerate(end.values[first:] if isinstance(end, YieldOp) else (), first - 1):
        if isinstance(type := value.type, TensorType) and type.has_static_shape():
            found.append(node.emit.full(0, [0, *type.get_shape()], type.element_type))
        elif node.is_used(at):
            raise VerifyException("its body never runs, and the file does not say what its outputs would be")
        else:
            found.append(None)
    return found


@dataclass(frozen=True)
class Sequenced:
    """How a Scan walks along its inputs and outputs: an axis and a direction (1 is backwards) for each."""

    axes: Sequence[int]
    backwards: Sequence[int]

    @classmethod
    def of(cls, node: Node, side: str, count: int) -> Sequenced:
        """What the node says of its scanned inputs or outputs. Raises VerifyException for too few or too many."""
        lists = [node.attribute(f"scan_{side}_{what}") or [0] * count for what in ("axes", "directions")]
        if any(len(given) != count for given in lists):
            raise VerifyException(f"{count} scanned {side}s; scan_{side}_axes and _directions must have one entry each")
        if not set(lists[1]) <= {0, 1}:
            raise VerifyException(f"scan_{side}_directions are {list(lists[1])}; expected 0 or 1 each")
        return cls(*lists)

    def slices(self, values: Sequence[Value]) -> list[list[Value]]:
        """What the body gets of each value, step by step. Raises VerifyException where they have unequal lengths."""
        axes = [normalized(axis, value.rank) for axis, value in zip(self.axes, values, strict=True)]
        lengths = {value.shape[axis] for axis, value in zip(axes, values, strict=True)}
        if len(lengths) != 1:
            raise VerifyException(f"scanned inputs have lengths {sorted(lengths)}; expected one length")
        [length] = lengths
        return [
            [
                slice_at(value, axis, length - 1 - step if backwards else step)
                for value, axis, backwards in zip(values, axes, self.backwards, strict=True)
            ]
            for step in range(length)
        ]

    def joined(self, rows: Sequence[Sequence[Value]]) -> list[Value]:
        """The outputs that the elements of all steps make."""
        columns = zip(*rows, strict=True)
        return [
            stacked(column[::-1] if backwards else column, normalized(axis, column[0].rank + 1))
            for column, axis, backwards in zip(columns, self.axes, self.backwards, strict=True)
        ]


@onnx_op("Scan", since=9)
def scan(node: Node) -> Sequence[Value]:
    """The last `num_scan_inputs` inputs are walked along, the others carried."""
    count = node.attribute("num_scan_inputs")
    if not 1 <= count <= len(node.inputs):
        raise VerifyException(f"num_scan_inputs is {count}; expected 1 to {len(node.inputs)}")
    carried, given = node.inputs[:-count], node.inputs[-count:]
    outputs = node.outputs - len(carried)
    return _scanned(
        node, carried, given, Sequenced.of(node, "input", count), Sequenced.of(node, "output", max(outputs, 0))
    )


@onnx_op("Scan", since=8)
def scan_batches(node: Node) -> Sequence[Value]:
    """As it was in opset 8: each element of a batch is a scan of its own, forwards along its first axis."""
    if node.optional(0) is not None:
        raise VerifyException("sequence_lens is given; expected sequences of one length, or opset 9")
    count, inputs = node.attribute("num_scan_inputs"), [node.input(at) for at in range(1, len(node.given))]
    backwards = node.attribute("directions") or [0] * count
    kept = len(inputs) - count
    walk, join = Sequenced([0] * count, backwards), Sequenced([0] * (node.outputs - kept), [0] * (node.outputs - kept))
    batch: list[Sequence[Value]] = []
    for at in range(inputs[0].shape[0]):
        own = [slice_at(value, 0, at) for value in inputs]
        batch.append(_scanned(node, own[:kept], own[kept:], walk, join))
    return [stacked(column, 0) for column in zip(*batch, strict=True)]


def _scanned(
    node: Node, carried: Sequence[Value], given: Sequence[Value], walk: Sequenced, join: Sequenced
) -> Sequence[Value]:
    body, rows = node.body("body"), list[Sequence[Value]]()
    for elements in walk.slices(given):
        results = body([*carried, *elements], node.emit)
        carried, row = results[: len(carried)], results[len(carried) :]
        rows.append(row)
    if not rows:
        raise VerifyException("the scanned inputs are empty; expected one step or more")
    return [*carried, *join.joined(rows)]


RULES = rules_of(globals())
