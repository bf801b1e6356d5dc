"""Recurrent networks: LSTM, GRU and RNN. What depends on the input alone is one product, ahead of all steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from xdsl.dialects.builtin import f32, i32
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.generator import IotaOp
from tstorch.passes.convert.onnx.gate_functions import GateFunction, gate_functions
from tstorch.passes.convert.onnx.linear import product
from tstorch.passes.convert.onnx.node import Node, onnx_op, rules_of
from tstorch.passes.convert.onnx.recurrence import Values, recurrence, slice_at, stacked
from tstorch.passes.convert.onnx.value import Value

DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
"""The attribute -> of each recurrence of the node, whether it runs backwards."""
W, R, B, LENGTHS, INITIAL, INITIAL_CELL, PEEPHOLES = 1, 2, 3, 4, 5, 6, 7
"""The positions of a node's inputs."""


@dataclass(frozen=True)
class Cell(ABC):
    """What one direction of a node computes in a step. `size` is the number of hidden units."""

    node: Node
    functions: Sequence[GateFunction]
    size: int

    GATES: ClassVar[int]
    FUNCTIONS: ClassVar[tuple[str, ...]]
    STATES: ClassVar[tuple[int, ...]] = (INITIAL,)
    """The inputs that say what the states begin with; the first state is the hidden one."""

    @abstractmethod
    def step(self, given: Value, states: Values, weights: Values) -> Values:
        """The states after a step. `given` is the input's part of all gates; `weights` are what `shared` gives."""

    def shared(self, number: int) -> list[Value]:
        """What every step of direction `number` reads: first the hidden units' weights, [size, gates * size]."""
        return [slice_at(self.node.input(R), 0, number).convert(f32).transpose([1, 0])]

    def bias(self, number: int) -> Value | None:
        """What is added to the input's part of direction `number`, [gates * size]."""
        biases = self.biases(number)
        return None if biases is None else biases[0] + biases[1]

    def biases(self, number: int) -> tuple[Value, Value] | None:
        """The biases of direction `number`: those of the input's and those of the hidden units' weights."""
        if (given := self.node.optional(B)) is None:
            return None
        both, half = slice_at(given, 0, number).convert(f32), self.GATES * self.size
        return both.take(0, 0, half), both.take(0, half, 2 * half)

    def gate(self, values: Value, number: int, count: int = 1) -> Value:
        """The part of several gates' numbers that belongs to `count` of them, from `number` on."""
        return values.take(values.rank - 1, number * self.size, (number + count) * self.size)

    def apply(self, number: int, value: Value) -> Value:
        """One of the node's functions, of what is cut to the node's threshold."""
        clip = self.node.attribute("clip")
        return self.functions[number](value if not clip else value.maximum(-clip).minimum(clip))


class PlainCell(Cell):
    """h = f(x W + h R + b)"""

    GATES = 1
    FUNCTIONS = ("Tanh",)

    def step(self, given: Value, states: Values, weights: Values) -> Values:
        return [self.apply(0, given + product(states[0], weights[0]))]


class GatedCell(Cell):
    """GRU. Gates are z, r and h; with `linear_before_reset` r is multiplied behind h's product."""

    GATES = 3
    FUNCTIONS = ("Sigmoid", "Tanh")

    def shared(self, number: int) -> list[Value]:
        biases = self.biases(number)
        extra = [] if biases is None or not self._is_linear else [self.gate(biases[1], 2)]
        return [*super().shared(number), *extra]

    def bias(self, number: int) -> Value | None:
        biases = self.biases(number)
        if biases is None or not self._is_linear:
            return super().bias(number)
        return biases[0] + self.gate(biases[1], 0, 2).pad([0], [self.size])

    def step(self, given: Value, states: Values, weights: Values) -> Values:
        [hidden], [matrix, *bias] = states, weights
        opened = self.apply(0, self.gate(given, 0, 2) + product(hidden, self.gate(matrix, 0, 2)))
        update, reset = self.gate(opened, 0), self.gate(opened, 1)
        own = self.gate(matrix, 2)
        if self._is_linear:
            kept = product(hidden, own)
            recalled = reset * (kept + bias[0] if bias else kept)
        else:
            recalled = product(reset * hidden, own)
        candidate = self.apply(1, self.gate(given, 2) + recalled)
        return [(1 - update) * candidate + update * hidden]

    @property
    def _is_linear(self) -> bool:
        return bool(self.node.attribute("linear_before_reset"))


class LongShortCell(Cell):
    """LSTM. Gates are i, o, f and c; peepholes add the cell to i, o and f."""

    GATES = 4
    FUNCTIONS = ("Sigmoid", "Tanh", "Tanh")
    STATES = (INITIAL, INITIAL_CELL)

    def shared(self, number: int) -> list[Value]:
        """The peepholes are a last row of the matrix: all inputs and outputs are as many as a kernel may have."""
        [matrix], peepholes = super().shared(number), self.node.optional(PEEPHOLES)
        if peepholes is None:
            return [matrix]
        row = peepholes.take(0, number, number + 1).convert(f32).pad([0, 0], [0, self.size])
        return [matrix.concatenate([row], 0)]

    def step(self, given: Value, states: Values, weights: Values) -> Values:
        [hidden, cell], [weights_and_row] = states, weights
        gates = given + product(hidden, weights_and_row.take(0, 0, self.size))
        has_peepholes = weights_and_row.shape[0] > self.size

        def opened(number: int, seen: Value) -> Value:
            own = self.gate(gates, number)
            if not has_peepholes:
                return self.apply(0, own)
            return self.apply(0, own + self.gate(slice_at(weights_and_row, 0, self.size), number) * seen)

        entered = opened(0, cell)
        kept = 1 - entered if self.node.attribute("input_forget") else opened(2, cell)
        cell = kept * cell + entered * self.apply(1, self.gate(gates, 3))
        return [opened(1, cell) * self.functions[2](cell), cell]


@onnx_op("RNN")
def plain(node: Node) -> Values:
    return _recurrent(node, PlainCell)


@onnx_op("GRU")
def gated(node: Node) -> Values:
    return _recurrent(node, GatedCell)


@onnx_op("LSTM")
def long_short(node: Node) -> Values:
    return _recurrent(node, LongShortCell)


def _recurrent(node: Node, kind: type[Cell]) -> Values:
    """Outputs: the hidden units of all steps, then the last states; computed in f32 whatever the type."""
    directions = DIRECTIONS.get(node.attribute("direction"))
    if directions is None:
        raise VerifyException(f"direction is {node.attribute('direction')}; expected one of {', '.join(DIRECTIONS)}")
    size = _size(node, kind, len(directions))
    functions = gate_functions(node, kind.FUNCTIONS, len(directions))
    batch_first = bool(node.attribute("layout"))
    given = _steps_first(node.input(0), batch_first).convert(f32)
    found = [
        _one_direction(kind(node, functions[number], size), given, number, backwards, batch_first)
        for number, backwards in enumerate(directions)
    ]
    element = node.input(0).element
    sequence = stacked([outputs for outputs, _ in found], 1).convert(element)
    states = [stacked(column, 0).convert(element) for column in zip(*(states for _, states in found), strict=True)]
    if batch_first:
        return [sequence.transpose([2, 0, 1, 3]), *(state.transpose([1, 0, 2]) for state in states)]
    return [sequence, *states]


def _size(node: Node, kind: type[Cell], directions: int) -> int:
    """The number of hidden units. Raises VerifyException where weights and attributes disagree on it."""
    size, width = node.input(R).shape[-1], node.input(0).shape[-1]
    for position, last in ((W, width), (R, size)):
        expected = (directions, kind.GATES * size, last)
        if node.input(position).shape != expected:
            raise VerifyException(f"input {position} has shape {node.input(position).shape}; expected {expected}")
    if (stated := node.attribute("hidden_size")) not in (None, size):
        raise VerifyException(f"hidden_size is {stated}; the weights have {size} hidden units")
    return size


def _steps_first(value: Value, batch_first: bool) -> Value:
    return value.transpose([1, 0, 2]) if batch_first else value


def _one_direction(
    cell: Cell, given: Value, number: int, backwards: bool, batch_first: bool
) -> tuple[Value, Sequence[Value]]:
    """The hidden units of all steps, and the states after the last one."""
    node, [steps, batch, _] = cell.node, given.shape
    weights = slice_at(node.input(W), 0, number).convert(f32)
    parts = product(given, weights.transpose([1, 0]))
    bias = cell.bias(number)
    parts = parts if bias is None else parts + bias
    states = [_initial(cell, position, number, batch, batch_first) for position in cell.STATES]
    lengths = node.optional(LENGTHS)

    def step(states: Values, slices: Values, shared: Values) -> tuple[Values, Values]:
        new = cell.step(slices[0], states, shared)
        if lengths is None:
            return new, [new[0]]
        open = slices[1].compare("gt", 0).along(0, new[0].shape)
        return [open.where(after, before) for after, before in zip(new, states, strict=True)], [
            open.where(new[0], new[0].full(0))
        ]

    sequences = [parts] if lengths is None else [parts, _left(lengths, steps)]
    states, [outputs] = recurrence(step, states, sequences, cell.shared(number), backwards=backwards)
    return outputs, states


def _initial(cell: Cell, position: int, number: int, batch: int, batch_first: bool) -> Value:
    """What a state begins with: zeros where the node says nothing."""
    node = cell.node
    if (given := node.optional(position)) is None:
        return node.emit.full(0, [batch, cell.size], f32)
    return slice_at(given, 1 if batch_first else 0, number).convert(f32)


def _left(lengths: Value, steps: int) -> Value:
    """How many steps are left of each sequence, at each step: [steps, batch]."""
    counts = lengths.convert(i32)
    step = lengths.emit.value(IotaOp(shape=[steps, counts.shape[0]], dimension=0, element_type=i32))
    return counts - step


RULES = rules_of(globals())
