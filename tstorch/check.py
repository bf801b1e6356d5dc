"""Is the answer right? The outputs against NumPy's, by the primitives' own references, and against onnxruntime's."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tstorch.compiled import Compiled, imported, lower
from tstorch.diagnostics import DiagnosticError
from tstorch.dialects.prim.reference import evaluate_module
from tstorch.levels import Level

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
    """One row: how far `found` is from what `reference` says."""
    error = relative_error(found, expected)
    return {"output": name, "reference": reference, "error": error, "ok": error <= TOLERANCE}


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """max|a-b| / max|b|, over the finite entries; another shape, or other NaNs or infinities, are as wrong as can be.

    Where `expected` is 0 throughout, the error is max|a|. As wrong as can be is 1e300: JSON knows no infinity.
    """
    a, b = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    finite = np.isfinite(b)
    if a.shape != b.shape or not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return 1e300
    a, b = a[finite], b[finite]
    if a.size == 0:
        return 0.0
    if not np.isfinite(a).all():
        return 1e300
    largest = float(np.abs(b).max())
    return float(np.abs(a - b).max()) / (largest or 1.0)


def _references(compiled: Compiled, inputs: Arrays) -> Iterator[tuple[str, Arrays]]:
    yield "NumPy", _numpy_outputs(compiled, inputs)
    if importlib.util.find_spec("onnxruntime") is not None:
        yield "onnxruntime", _onnxruntime_outputs(compiled.model, inputs)


def _numpy_outputs(compiled: Compiled, inputs: Arrays) -> Arrays:
    """The model at level prim, before any optimisation of ours could have spoilt it, by the ops' own references."""
    assert compiled.model is not None
    module = imported(compiled.model, compiled.recipe, compiled.store)
    lower(module, Level.PRIM, compiled.recipe, compiled.recipe.context())
    return evaluate_module(module, inputs, compiled.store.array)


def _onnxruntime_outputs(model: Any, inputs: Arrays) -> Arrays:
    runtime: Any = importlib.import_module("onnxruntime")
    source = str(model) if isinstance(model, str | Path) else model if isinstance(model, bytes) else None
    session = runtime.InferenceSession(source or model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))
