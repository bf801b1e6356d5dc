"""Is the answer right? The outputs against NumPy's, by the primitives' own references, and against onnxruntime's."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp

from tstorch.compiled import Compiled, Recipe, imported
from tstorch.diagnostics import DiagnosticError
from tstorch.dialects.prim.reference import evaluate
from tstorch.dialects.prim.stored import is_coded, numbers_of
from tstorch.dialects.prim.weight import DerivedOp, WeightOp
from tstorch.frontend.graph import ModelGraph
from tstorch.passes.convert.convert_onnx_to_prim import ConvertOnnxToPrimPass
from tstorch.passes.program.cut_segments import CutSegmentsPass
from tstorch.pipeline import optional_passes, run_passes
from tstorch.precision import TOLERANCE, Precision
from tstorch.program_reference import ProgramReference

Arrays = Mapping[str, np.ndarray]


def check_outputs(compiled: Compiled, inputs: Arrays, outputs: Arrays) -> dict[str, Any]:
    """Each output against each reference: `{tolerance, outputs: [{output, reference, error, ok}], unavailable, top_1}`.

    The tolerance follows from what the model computes in. A reference that cannot run the model is named in
    `unavailable`, with the reason. `top_1` is null but for a quantised model: there it counts the rows of which
    onnxruntime finds the same column the largest with and without its optimisations, and where we do, too:
    `{rows, same}`. Raises DiagnosticError where `compiled` was read from an artifact, which holds no model to compare
    with.
    """
    if compiled.model is None:
        raise DiagnosticError("--check needs the model: an artifact holds nothing to compare its answer with")
    precision, unavailable = Precision(), dict[str, str]()
    references = {"NumPy": numpy_outputs(compiled, inputs, precision)}
    other = OnnxRuntime.of(compiled.model, inputs)
    if other is not None:
        try:
            references["onnxruntime"] = other.outputs()
        except other.errors as error:
            unavailable["onnxruntime"] = str(error)
    within = precision.tolerance(other.spread if other and not unavailable else lambda: 0.0)
    rows = [
        compare(name, reference, outputs[name], expected[name], within)
        for reference, expected in references.items()
        for name in outputs
    ]
    top_1 = other.top_1(outputs) if other and not unavailable and precision.quantised else None
    return {"tolerance": within, "outputs": rows, "unavailable": unavailable, "top_1": top_1}


def compare(
    name: str, reference: str, found: np.ndarray, expected: np.ndarray, tolerance: float = TOLERANCE
) -> dict[str, Any]:
    """One row: how far `found` is from what `reference` says; `error` is null where they cannot be compared."""
    error = relative_error(found, expected)
    shown = error if math.isfinite(error) else None
    return {"output": name, "reference": reference, "error": shown, "ok": error <= tolerance}


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """max|a-b| / max|b| over the finite entries; infinite for another shape, or for other NaNs or infinities.

    Where `expected` is 0 throughout, the error is max|a|.
    """
    if is_coded(found.dtype) and expected.dtype.kind == "u":
        expected = expected.view(found.dtype)  # onnxruntime gives float8 as bare codes
    a, b = np.asarray(found, np.float64), np.asarray(numbers_of(expected), np.float64)
    finite = np.isfinite(b)
    if a.shape != b.shape or not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return math.inf
    a, b = a[finite], b[finite]
    if a.size == 0:
        return 0.0
    if not np.isfinite(a).all():
        return math.inf
    largest = float(np.abs(b).max())
    return float(np.abs(a - b).max()) / (largest or 1.0)


def numpy_outputs(
    compiled: Compiled, inputs: Arrays, precision: Precision | None = None, give: Sequence[str] = ()
) -> Arrays:
    """The model at level prim by the ops' own references, without the passes and rules that only make it faster.

    `give` names inner tensors that are given out too; `precision` learns what the model computes in.
    """
    assert compiled.model is not None
    precision = precision or Precision()
    recipe = replace(compiled.recipe, rules=(), without=optional_passes(), plugins=False, give=give)
    module = imported(compiled.model, recipe, compiled.store)

    def weight(op: WeightOp | DerivedOp) -> np.ndarray:
        if isinstance(op, DerivedOp):
            raise LookupError(f"'{op.key.data}' is derived from other weights, which only an optional pass does")
        return compiled.store.array(op.file.data, op.key.data, op.digest.data, op.result.type)

    if "control" in compiled.artifact.program:
        return ProgramReference(compiled, lambda graph: _convert(graph, recipe, precision), weight).run(module, inputs)
    _convert(module, recipe, precision)
    main = next(op for op in module.ops if isinstance(op, FuncOp) and op.sym_name.data == "main")
    given = [inputs[name] for name in _names(main.arg_attrs)]
    return dict(zip(_names(main.res_attrs), evaluate(main, given, weight), strict=True))


def _convert(module: ModuleOp, recipe: Recipe, precision: Precision) -> None:
    """Turns graphs into primitives, cut where only a run can tell how they go on, and still of the model's types."""
    steps = [CutSegmentsPass(always=True), ConvertOnnxToPrimPass()]
    run_passes(module, steps, recipe.context())
    precision.see(module)


def _names(attributes: ArrayAttr[DictionaryAttr] | None) -> list[str]:
    """The names in the model of a function's arguments or results."""
    names = [entry.data["tst.name"] for entry in attributes or ()]
    return [name.data for name in names if isinstance(name, StringAttr)]


@dataclass(frozen=True)
class OnnxRuntime:
    """onnxruntime with a model and its inputs."""

    module: Any
    model: str | bytes
    inputs: Arrays
    folder: Path | None = None
    """Where external data lies, of a model that is no file."""

    @classmethod
    def of(cls, model: Any, inputs: Arrays) -> OnnxRuntime | None:
        """The model at hand there; None where onnxruntime is not installed."""
        if importlib.util.find_spec("onnxruntime") is None:
            return None
        if isinstance(model, str | Path):
            source: str | bytes = str(model)
        else:
            source = model if isinstance(model, bytes) else model.SerializeToString()
        return cls(importlib.import_module("onnxruntime"), source, inputs)

    def giving(self, graph: ModelGraph, tensors: Sequence[str]) -> OnnxRuntime:
        """The same with inner tensors as the outputs."""
        model, folder = graph.with_outputs(tensors)
        return replace(self, model=model, folder=folder)

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What it raises for a model, a type or an operator that it does not run."""
        raised = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
        refused = (raised.Fail, raised.InvalidGraph, raised.InvalidArgument, raised.NotImplemented)
        return *refused, raised.RuntimeException, RuntimeError  # the last one where it takes a type from no array

    def outputs(self, *, optimised: bool = True) -> Arrays:
        """What it computes, by name."""
        options = self.module.SessionOptions()
        options.log_severity_level = 3  # errors only: its advice on the model is not what was asked for
        if not optimised:
            options.graph_optimization_level = self.module.GraphOptimizationLevel.ORT_DISABLE_ALL
        if self.folder is not None:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(self.folder))
        session = self.module.InferenceSession(self.model, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(self.inputs)), strict=True))

    def top_1(self, found: Arrays) -> dict[str, int]:
        """In how many rows of float outputs its largest column is sure, and in how many of these it is ours."""
        rows = same = 0
        one, other = self.outputs(), self.outputs(optimised=False)
        for name in one:
            if one[name].dtype.kind != "f" or one[name].ndim == 0 or not one[name].size:
                continue
            first, second, ours = (np.argmax(values[name], axis=-1) for values in (one, other, found))
            rows += int((first == second).sum())
            same += int((first == second)[ours == first].sum())
        return {"rows": rows, "same": same}

    def spread(self) -> float:
        """How far it is from itself, with and without its own optimisations."""
        one, other = self.outputs(), self.outputs(optimised=False)
        return max((relative_error(other[name], one[name]) for name in one), default=0.0)
