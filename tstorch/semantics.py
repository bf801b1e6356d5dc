"""Runs the NumPy reference before and after each prim or flow pass, and names the first pass that changes values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, FloatAttr, ModuleOp, StringAttr, TensorType
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.traits import IsTerminator

from tstorch.diagnostics import DiagnosticError
from tstorch.dialects.buf import WeightRefAttr
from tstorch.dialects.flow import DispatchOp, KernelOp
from tstorch.dialects.prim.reference import evaluate
from tstorch.dialects.prim.stored import codes_of, format_called, format_of, numbers_of
from tstorch.dialects.prim.types import array_of, dtype_of, is_stored
from tstorch.dialects.prim.weight import DerivedOp, WeightOp
from tstorch.frontend.weights import WeightStore
from tstorch.inputs import draw_inputs
from tstorch.levels import Level, get_level
from tstorch.locations import node_ids
from tstorch.target import plain

TOLERANCE = 1e-5
"""The largest max|a-b| / max|b| that a pass may cause: reassociated float32 sums differ by some 1e-6."""


@dataclass
class SemanticsChecker:
    """An observer that compares the results of every function before and after each pass, on seeded inputs."""

    store: WeightStore = field(default_factory=WeightStore)
    _before: dict[str, np.ndarray] | None = None

    def before(self, step: ModulePass, module: ModuleOp) -> None:
        if self._before is None:
            self._before = results_of(module, self.store)

    def after(self, step: ModulePass, module: ModuleOp) -> None:
        earlier, self._before = self._before, results_of(module, self.store)
        if earlier is None or self._before is None:
            return
        for name in [name for name in earlier if name in self._before]:
            error = difference(self._before[name], earlier[name])
            if not error <= TOLERANCE:
                raise DiagnosticError(
                    f"pass {step.name} changes values: {name} differs by {error:.3g} (max|a-b| / max|b|) on seeded "
                    f"inputs, more than {TOLERANCE:.0e}; --print-ir-after={step.name} shows what it made"
                )


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """max|a-b| / max|b|; infinite where shapes differ or one has numbers where the other has none."""
    if expected.dtype.names and found.dtype.itemsize == expected.dtype.itemsize:
        found = found.view(expected.dtype)  # the codes that `legalize-types` made of a stored type
    if found.shape == (*expected.shape, 2) and expected.dtype.itemsize == 8:
        found = np.ascontiguousarray(found).view(expected.dtype)[..., 0]  # the pairs that it made of 64-bit integers
    a, b = (numbers_of(array).astype(np.float64) for array in (found, expected))
    finite = np.isfinite(b)
    if a.shape != b.shape or not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    if not finite.any():
        return 0.0
    return float(np.abs(a[finite] - b[finite]).max()) / (float(np.abs(b[finite]).max()) or 1.0)


def results_of(module: ModuleOp, store: WeightStore) -> dict[str, np.ndarray] | None:
    """What the functions return on seeded inputs, by name; None at a level whose ops have no reference."""
    if get_level(module) not in (None, Level.PRIM, Level.FLOW):
        return None
    functions = [op for op in module.body.block.ops if isinstance(op, FuncOp)]
    if any(op.dialect_name() not in ("prim", "flow", "func") for function in functions for op in function.body.walk()):
        return None
    kernels = {op.sym_name: op for op in module.body.block.ops if isinstance(op, KernelOp)}
    host = _Host(store, kernels)
    results: dict[str, np.ndarray] = {}
    for function in sorted(functions, key=lambda function: function.sym_name.data != "init"):  # @init runs first
        names = _result_names(function)
        arrays = dict(zip(names, host.run(function), strict=True))
        if function.sym_name.data == "init":
            host.derived = arrays
        else:
            results |= {f"'{name}' of @{function.sym_name.data}": array for name, array in arrays.items()}
    return results


@dataclass
class _Host:
    """Evaluates the host's code: primitives, and dispatches of kernels made of primitives."""

    store: WeightStore
    kernels: Mapping[StringAttr, KernelOp]
    derived: Mapping[str, np.ndarray] = field(default_factory=dict)

    def run(self, function: FuncOp) -> list[np.ndarray]:
        block = function.body.block
        values: dict[SSAValue, np.ndarray] = dict(zip(block.args, self._inputs(function), strict=True))
        for op in block.ops:
            operands = [values[operand] for operand in op.operands]
            if op.has_trait(IsTerminator):
                return operands
            values.update(zip(op.results, self._results(op, operands), strict=True))
        return []

    def _results(self, op: Operation, operands: list[np.ndarray]) -> list[np.ndarray]:
        if isinstance(op, DispatchOp):
            return evaluate(self.kernels[op.kernel.root_reference].body, operands, self.weight)
        if isinstance(op, WeightOp | DerivedOp):
            return [self.weight(op)]
        reference = getattr(op, "run", None)
        try:
            if reference is not None:
                return list(reference(operands, lambda region, arrays: evaluate(region, arrays, self.weight)))
            return list(op.reference(*operands))  # pyright: ignore[reportAttributeAccessIssue]
        except (ValueError, TypeError) as error:
            raise DiagnosticError(f"{op.name}: {error}", node=next(iter(node_ids(op)), None)) from error

    def weight(self, op: WeightOp | DerivedOp) -> np.ndarray:
        if isinstance(op, DerivedOp):
            return self.derived[op.key.data]
        return self.store.array(op.file.data, op.key.data, op.digest.data, op.result.type)

    def _inputs(self, function: FuncOp) -> list[np.ndarray]:
        """One array for each argument: what a state starts from, else seeded, by its law where it has one."""
        notes = _dictionaries(function.arg_attrs, len(function.body.block.args))
        arrays: list[np.ndarray] = []
        for index, (argument, entry) in enumerate(zip(function.body.block.args, notes, strict=True)):
            type, start = argument.type, entry.get("tst.start")
            if not isinstance(type, TensorType):
                raise DiagnosticError(f"--check-semantics: argument {index} of @{function.sym_name.data} is no tensor")
            stored = format_of(type.element_type) or format_called(_text(entry.get("tst.dtype")))
            dtype = np.dtype(np.float32) if stored is not None else dtype_of(type.element_type)
            if isinstance(start, WeightRefAttr):
                arrays.append(self.store.array(start.file.data, start.key.data, start.digest.data, type))
            elif isinstance(start, FloatAttr):
                arrays.append(np.full(type.get_shape(), start.value.data, dtype))
            else:
                name, law, long = _name(entry, index), entry.get("tst.law"), _text(entry.get("tst.dtype"))
                if long in ("int64", "uint64") and dtype == np.uint32:
                    pairs = _drawn(name, type.get_shape()[:-1], np.dtype(long), law)
                    arrays.append(np.frombuffer(pairs.tobytes(), dtype).reshape(type.get_shape()))
                    continue
                drawn = _drawn(name, type.get_shape(), dtype, law)
                codes = drawn if stored is None else array_of(drawn, stored.type)
                arrays.append(codes if is_stored(type.element_type) else codes_of(codes))
        return arrays


def _drawn(name: str, shape: Sequence[int], dtype: np.dtype, law: Attribute | None) -> np.ndarray:
    usual = {"kind": "normal"} if dtype.kind == "f" else {"kind": "int", "low": 0, "high": 2}
    value = {"name": name, "shape": shape, "dtype": dtype.name, "law": usual if law is None else plain(law)}
    return draw_inputs([value])[name]


def _text(attribute: Attribute | None) -> str:
    return attribute.data if isinstance(attribute, StringAttr) else ""


def _name(notes: Mapping[str, Attribute], index: int) -> str:
    name = notes.get("tst.name", notes.get("tst.state"))
    return name.data if isinstance(name, StringAttr) else str(index)


def _result_names(function: FuncOp) -> list[str]:
    notes = _dictionaries(function.res_attrs, len(function.function_type.outputs.data))
    return [_name(entry, index) for index, entry in enumerate(notes)]


def _dictionaries(attributes: ArrayAttr[DictionaryAttr] | None, count: int) -> Sequence[Mapping[str, Attribute]]:
    return [entry.data for entry in attributes] if attributes is not None else [{} for _ in range(count)]
