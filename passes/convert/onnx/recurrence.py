"""A step that is repeated along the first dimension of its inputs, with a state from one step to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.utils.exceptions import VerifyException

from tstorch.passes.convert.onnx.value import Value

Values = Sequence[Value]
Step = Callable[[Values, Values, Values], tuple[Values, Values]]
"""(states, one element of each sequence, what every step reads) -> (the new states, one element of each output)"""


def recurrence(
    step: Step, states: Values, sequences: Values, shared: Values, *, backwards: bool = False
) -> tuple[Values, Values]:
    """The states after the last step, and the outputs of all steps, in the order of the sequences.

    The first dimension of sequences and outputs is the step, of states and of a step's elements the batch.
    """
    length = sequences[0].shape[0]
    rows: list[Values] = []
    for at in reversed(range(length)) if backwards else range(length):
        states, row = step(states, [slice_at(value, 0, at) for value in sequences], shared)
        rows.append(row)
    columns = zip(*(reversed(rows) if backwards else rows), strict=True)
    return states, [stacked(column, 0) for column in columns]


def slice_at(value: Value, axis: int, position: int) -> Value:
    """What lies at a position of an axis; the axis vanishes."""
    cut = value.take(axis, position, position + 1)
    return cut.reshape([*value.shape[:axis], *value.shape[axis + 1 :]])


def stacked(values: Values, axis: int) -> Value:
    """Tensors one behind the other, along a new axis. Raises VerifyException where their shapes differ."""
    if len({value.shape for value in values}) > 1:
        raise VerifyException("an output of the body changes its shape from one run to the next")
    first, *rest = [value.reshape([*value.shape[:axis], 1, *value.shape[axis:]]) for value in values]
    return first.concatenate(rest, axis)
