"""A program evaluated in NumPy: the meaning of its steps, by the primitives' own references, without a GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation, SSAValue

from tstorch.compiled import Compiled
from tstorch.dialects.prim.reference import Lookup, evaluate
from tstorch.dialects.prim.types import dtype_of
from tstorch.dialects.program import (
    ConstantOp,
    EntryOp,
    IfOp,
    InputOp,
    OutputOp,
    RunOp,
    SegmentOp,
    SpecialiseOp,
    TakeOp,
    WhileOp,
    YieldOp,
    control_of,
)
from tstorch.specialise import segment_module

Arrays = list[np.ndarray]
Values = dict[SSAValue, np.ndarray]
Lower = Callable[[ModuleOp], None]
"""Turns the graphs of a module at level onnx into primitives of the model's own types."""


@dataclass(frozen=True)
class ProgramReference:
    """Runs a module of primitives, and the segments that its shapes are told to, as a program does."""

    compiled: Compiled
    lower: Lower
    weights: Lookup

    def run(self, module: ModuleOp, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name."""
        self.lower(module)
        entry = control_of(module)
        assert entry is not None
        names = [op.label.data for op in entry.body.block.ops if isinstance(op, InputOp)]
        outputs = [op.label.data for op in entry.body.block.ops if isinstance(op, OutputOp)]
        return dict(zip(outputs, self._entry(module, entry, [given[name] for name in names]), strict=True))

    def call(self, module: ModuleOp, given: Arrays) -> Arrays:
        """What a module's graph returns for inputs in order."""
        self.lower(module)
        if (entry := control_of(module)) is not None:
            return self._entry(module, entry, given)
        graph = next(op for op in module.ops if isinstance(op, FuncOp))
        return evaluate(graph, given, self.weights)

    def _entry(self, module: ModuleOp, entry: EntryOp, given: Arrays) -> Arrays:
        frame = _Frame(self, module, iter(given))
        frame.block(entry.body.block, {})
        return frame.outputs


class _Frame:
    """One run of one module's entry."""

    def __init__(self, program: ProgramReference, module: ModuleOp, given: Any) -> None:
        self._program = program
        self._given = given
        self._symbols = {op.sym_name.data: op for op in module.ops if isinstance(op, FuncOp | SegmentOp)}
        self.outputs: Arrays = []

    def block(self, block: Block, values: Values) -> Arrays:
        """Does the steps of a block; what it yields."""
        for op in block.ops:
            operands = [values[operand] for operand in op.operands]
            if isinstance(op, YieldOp):
                return operands
            values.update(zip(op.results, self._step(op, operands, values), strict=True))
        return []

    def _step(self, op: Operation, operands: Arrays, values: Values) -> Sequence[np.ndarray]:
        match op:
            case InputOp():
                return [next(self._given)]
            case OutputOp():
                self.outputs += operands
                return []
            case ConstantOp():
                return [op.value.array()]
            case RunOp():
                graph = self._symbols[op.segment_name]
                assert isinstance(graph, FuncOp)
                return evaluate(graph, operands, self._program.weights)
            case TakeOp():
                return [np.take(operands[0], np.arange(int(operands[1])), op.position)]
            case IfOp():
                return self.block((op.then if operands[0].item() else op.otherwise).block, values)
            case WhileOp():
                return self._while(op, values)
            case SpecialiseOp():
                return self._specialise(op, operands)
        raise TypeError(f"{op.name} is no step")

    def _while(self, op: WhileOp, values: Values) -> Arrays:
        most = None if op.trips is None else int(values[op.trips].item())
        going = op.condition is None or bool(values[op.condition].item())
        carried, rows = [values[value] for value in op.carried], list[Arrays]()
        block = op.body.block
        while going and (most is None or len(rows) < most):
            first = [np.array(len(rows), np.int64), np.array(True)]
            values.update(zip(block.args, [*first, *carried], strict=True))
            condition, *results = self.block(block, values)
            carried, going = results[: len(carried)], bool(condition.item())
            rows.append(results[len(carried) :])
        types = op.result_types[len(carried) :]
        return [*carried, *(_stacked([row[at] for row in rows], type) for at, type in enumerate(types))]

    def _specialise(self, op: SpecialiseOp, operands: Arrays) -> Arrays:
        segment, known = self._symbols[op.segment_name], op.known_positions
        assert isinstance(segment, SegmentOp)
        facts = [_facts(array, at in known) for at, array in enumerate(operands)]
        module = segment_module(segment, facts, self._program.compiled)
        return self._program.call(module, [array for at, array in enumerate(operands) if at not in known])


def _facts(array: np.ndarray, with_numbers: bool) -> dict[str, Any]:
    shape = list(array.shape)
    numbers = {"numbers": np.ascontiguousarray(array).tobytes().hex()} if with_numbers else {}
    return {"dtype": str(array.dtype), "room": shape, "shape": shape, **numbers}


def _stacked(rows: Arrays, type: Any) -> np.ndarray:
    if rows:
        return np.stack(rows)
    assert isinstance(type, TensorType)
    return np.zeros([0, *type.get_shape()[1:]], dtype_of(type))
