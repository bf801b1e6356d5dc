"""A step that is repeated along the first dimension of its inputs, with a state from one step to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Block, Region
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.control import YieldOp
from tstorch.dialects.prim.scan import ScanOp
from tstorch.dialects.prim.types import tensor
from tstorch.passes.convert.kernel_to_loop.scan import scan_threads, step_iterations, unsuitable, workgroup_bytes
from tstorch.passes.convert.onnx.value import Emitter, Value

Values = Sequence[Value]
Step = Callable[[Values, Values, Values], tuple[Values, Values]]
"""(states, one element of each sequence, what every step reads) -> (the new states, one element of each output)"""

FEW = 2
"""So few steps are kernels of their own: they keep more of a device busy than one workgroup does."""
MOST_UNROLLED = 256
MOST_ITERATIONS = 50_000
"""What drivers count up to, less a margin: more steps are several scans, one after the other."""
WORKGROUP_BYTES, INVOCATIONS = 16384, 256
"""WebGPU's default limits."""


def recurrence(
    step: Step, states: Values, sequences: Values, shared: Values, *, backwards: bool = False
) -> tuple[Values, Values]:
    """The states after the last step, and the outputs of all steps, in the order of the sequences.

    The first dimension of sequences and outputs is the step, of states and of a step's elements the batch. Raises
    VerifyException where there are many steps, and one is more than a workgroup can run.
    """
    if (length := sequences[0].shape[0]) == 0:
        raise VerifyException("its sequences have no steps; expected one or more")
    if length <= FEW:
        return _unrolled(step, states, sequences, shared, backwards)
    scan = _scan(step, states, sequences, shared, backwards)
    problem = unsuitable(scan) or _too_large(scan)
    steps = 0 if problem else max(MOST_ITERATIONS // step_iterations(scan, scan_threads(scan, INVOCATIONS)), 1)
    scan.erase()  # it was only made to be looked at
    if problem is None:
        return _in_parts(step, states, sequences, shared, backwards, steps)
    if length <= MOST_UNROLLED:
        return _unrolled(step, states, sequences, shared, backwards)
    raise VerifyException(f"{length} steps, of which {problem}; expected at most {MOST_UNROLLED} of that kind")


def _too_large(scan: ScanOp) -> str | None:
    size = workgroup_bytes(scan)
    return f"each keeps {size} bytes in a workgroup's memory of {WORKGROUP_BYTES}" if size > WORKGROUP_BYTES else None


def _in_parts(
    step: Step, states: Values, sequences: Values, shared: Values, backwards: bool, steps: int
) -> tuple[Values, Values]:
    """Scans of at most so many steps, each from where the one before left off."""
    length, emit = sequences[0].shape[0], states[0].emit
    starts = range(0, length, steps)
    parts: list[Values] = []
    for start in reversed(starts) if backwards else starts:
        part = [value.take(0, start, min(start + steps, length)) for value in sequences]
        scan = emit.insert(_scan(step, states, part, shared, backwards))
        results = [Value(result, emit) for result in scan.results]
        states = results[: len(states)]
        parts.append(results[len(states) :])
    columns = zip(*(reversed(parts) if backwards else parts), strict=True)
    return states, [first.concatenate(rest, 0) for first, *rest in columns]


def _scan(step: Step, states: Values, sequences: Values, shared: Values, backwards: bool) -> ScanOp:
    """The steps as one op, which stands nowhere yet."""
    elements = [tensor(value.shape[1:], value.element) for value in sequences]
    types: list[TensorType] = [*(value.type for value in states), *elements, *(value.type for value in shared)]
    block = Block(arg_types=types)
    inside = Emitter(block, states[0].emit.location)
    given = [Value(argument, inside) for argument in block.args]
    first, last = len(states), len(states) + len(sequences)
    news, row = step(given[:first], given[first:last], given[last:])
    inside.insert(YieldOp(*(value.ssa for value in (*news, *row))))
    return ScanOp(
        *(value.ssa for value in (*states, *sequences, *shared)),
        region=Region(block), states=first, sequences=len(sequences), backwards=backwards, batched=True,
    )  # fmt: skip


def _unrolled(step: Step, states: Values, sequences: Values, shared: Values, backwards: bool) -> tuple[Values, Values]:
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
    parts = [value.reshape([*value.shape[:axis], 1, *value.shape[axis:]]) for value in values]
    return parts[0].concatenate(parts[1:], axis)
