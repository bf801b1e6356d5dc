"""Inputs that are legal for a model: drawn by seed from the laws that the compiler wrote, or read from a file."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tstorch.diagnostics import DiagnosticError

Value = Mapping[str, Any]
"""An input as the artifact's program.json declares it."""


def draw_inputs(declared: Sequence[Value], seed: int = 0) -> dict[str, np.ndarray]:
    """One array for each declared input, the same for the same seed whatever the order of the declarations."""
    return {value["name"]: _draw(value, np.random.default_rng([seed, *value["name"].encode()])) for value in declared}


def law_text(law: Mapping[str, Any]) -> str:
    """How an input is drawn, in words: `normal`, `integers from 0 to 30521`, `ones`."""
    match law:
        case {"kind": "uniform", "low": low, "high": high}:
            return f"uniform from {low} to {high}"
        case {"kind": "int", "low": low, "high": high}:
            return f"integers from {low} to {high - 1}"
        case _:
            return law["kind"]


def load_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name. Raises DiagnosticError for a file that is missing or is none."""
    try:
        with open(path, "rb") as file:  # numpy leaves a file open that it opened and could not read
            found = np.load(file, allow_pickle=False)
            if not isinstance(found, np.lib.npyio.NpzFile):
                raise ValueError("one array without a name")
            return {name: found[name] for name in found.files}
    except FileNotFoundError as error:
        raise DiagnosticError(f"input file '{path}' does not exist") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DiagnosticError(
            f"input file '{path}' is no .npz file of arrays ({error}); write it with numpy.savez"
        ) from error


def save_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays by name as .npz, whole or not at all. Raises DiagnosticError where the file cannot be written."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with zipfile.ZipFile(
            partial, "w"
        ) as archive:  # numpy.savez takes names as keywords: one called `file` breaks it
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, array, allow_pickle=False)
        os.replace(partial, path)
    except OSError as error:
        raise DiagnosticError(f"cannot write '{path}': {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def _draw(value: Value, random: np.random.Generator) -> np.ndarray:
    shape, dtype, law = value["shape"], value["dtype"], value.get("law", {"kind": "normal"})
    match law:
        case {"kind": "normal"}:
            return _typed(random.standard_normal(shape), dtype)
        case {"kind": "uniform", "low": low, "high": high}:
            return _typed(random.uniform(low, high, shape), dtype)
        case {"kind": "int", "low": low, "high": high}:
            return _typed(random.integers(low, high, shape), dtype)
        case {"kind": "ones"}:
            return _typed(np.ones(shape), dtype)
        case {"kind": "zeros"}:
            return _typed(np.zeros(shape), dtype)
    raise DiagnosticError(
        f"input '{value['name']}': unknown law {dict(law)}; expected normal, uniform, int, ones or zeros"
    )


def _typed(numbers: Any, name: str) -> np.ndarray:
    """Numbers as elements of a type; of one that NumPy lacks here, as codes under its name."""
    try:
        return np.asarray(numbers).astype(name)
    except TypeError:
        from tstorch.dialects.prim.stored import (
            format_called,
        )  # here: few models need it, and it takes a compiler to load

        if (format := format_called(name)) is None:
            raise DiagnosticError(f"there is no element type '{name}'; the artifact is damaged") from None
        return format.encode(np.asarray(numbers)).view([(name, format.codes)])
