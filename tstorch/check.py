"""Is the answer right? The outputs against NumPy's, by the primitives' own references, and against onnxruntime's."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp

from tstorch.compiled import Compiled, Recipe, imported, lower
from tstorch.diagnostics import DiagnosticError
from tstorch.dialects.prim.reference import evaluate
from tstorch.dialects.prim.stored import numbers_of
from tstorch.dialects.prim.weight import DerivedOp, WeightOp
from tstorch.levels import Level
from tstorch.passes.convert.convert_onnx_to_prim import ConvertOnnxToPrimPass
from tstorch.passes.program.cut_segments import CutSegmentsPass
from tstorch.pipeline import optional_passes, run_passes
from tstorch.program_reference import ProgramReference

Arrays = Mapping[str, np.ndarray]

TOLERANCE = 1e-3
"""The largest error that counts as right: max|a-b| / max|b|. Float32 sums in another order differ by 1e-6 to 1e-4."""


def check_outputs(compiled: Compiled, inputs: Arrays, outputs: Arrays) -> dict[str, Any]:
    """`{tolerance, outputs: [{output, reference, error, ok}]}`: each output against each reference at hand.

    Raises DiagnosticError where `compiled` was read from an artifact, which holds no model to compare with.
    """
    if compiled.model is None:
        raise DiagnosticError("--check needs the model: an artifact holds nothing to compare its answer with")
    rows = [
        compare(name, reference, outputs[name], expected[name])
        for reference, expected in _references(compiled, inputs)
        for name in outputs
    ]
    return {"tolerance": TOLERANCE, "outputs": rows}


def compare(name: str, reference: str, found: np.ndarray, expected: np.ndarray) -> dict[str, Any]:
    """One row: how far `found` is from what `reference` says; `error` is null where they cannot be compared."""
    error = relative_error(found, expected)
    shown = error if math.isfinite(error) else None
    return {"output": name, "reference": reference, "error": shown, "ok": error <= TOLERANCE}


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """max|a-b| / max|b| over the finite entries; infinite for another shape, or for other NaNs or infinities.

    Where `expected` is 0 throughout, the error is max|a|.
    """
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


def _references(compiled: Compiled, inputs: Arrays) -> Iterator[tuple[str, Arrays]]:
    yield "NumPy", _numpy_outputs(compiled, inputs)
    if importlib.util.find_spec("onnxruntime") is not None:
        yield "onnxruntime", _onnxruntime_outputs(compiled.model, inputs)


def _numpy_outputs(compiled: Compiled, inputs: Arrays) -> Arrays:
    """The model at level prim by the ops' own references, without the passes and rules that only make it faster."""
    assert compiled.model is not None
    recipe = replace(compiled.recipe, rules=(), without=optional_passes(), plugins=False)
    module = imported(compiled.model, recipe, compiled.store)

    def weight(op: WeightOp | DerivedOp) -> np.ndarray:
        if isinstance(op, DerivedOp):
            raise LookupError(f"'{op.key.data}' is derived from other weights, which only an optional pass does")
        return compiled.store.array(op.file.data, op.key.data, op.digest.data, op.result.type)

    if "control" in compiled.artifact.program:
        return ProgramReference(compiled, lambda graph: _convert(graph, recipe), weight).run(module, inputs)
    lower(module, Level.PRIM, recipe, recipe.context())
    main = next(op for op in module.ops if isinstance(op, FuncOp) and op.sym_name.data == "main")
    given = [inputs[name] for name in _names(main.arg_attrs)]
    return dict(zip(_names(main.res_attrs), evaluate(main, given, weight), strict=True))


def _convert(module: ModuleOp, recipe: Recipe) -> None:
    """Turns graphs into primitives, cut where only a run can tell how they go on, and still of the model's types."""
    steps = [CutSegmentsPass(always=True), ConvertOnnxToPrimPass()]
    run_passes(module, steps, recipe.context())


def _names(attributes: ArrayAttr[DictionaryAttr] | None) -> list[str]:
    """The names in the model of a function's arguments or results."""
    names = [entry.data["tst.name"] for entry in attributes or ()]
    return [name.data for name in names if isinstance(name, StringAttr)]


def _onnxruntime_outputs(model: Any, inputs: Arrays) -> Arrays:
    runtime: Any = importlib.import_module("onnxruntime")
    if isinstance(model, str | Path):
        source: str | bytes = str(model)
    else:
        source = model if isinstance(model, bytes) else model.SerializeToString()
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors only: its advice on the model is not what was asked for
    session = runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))
