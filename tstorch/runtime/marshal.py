"""Values between NumPy and GPU buffers: checked against what the artifact declares, narrowed, packed and widened."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tstorch.diagnostics import RunError
from tstorch.runtime.dtypes import bits_of, dtype_name, holds, is_foreign, named_dtype

# What the buffer holds for each storage type, as NumPy names it.
_STORED = {
    "f32": "<f4", "f16": "<f2", "i32": "<i4", "u32": "<u4", "i16": "<i2", "u16": "<u2", "i8": "i1", "u8": "u1",
    "f32<f64": "<f4", "i32<i64": "<i4", "i32<u64": "<i4", "u32<i64": "<i8", "u32<u64": "<u8", "u32<bool": "<u4",
}  # fmt: skip

Value = Mapping[str, Any]  # an input, output or state as program.json declares it


def check_inputs(declared: Sequence[Value], given: Mapping[str, np.ndarray]) -> None:
    """Raises RunError, listing what is expected, unless `given` holds exactly the declared names, dtypes and shapes."""
    problems = [f"input '{value['name']}' is missing" for value in declared if value["name"] not in given]
    names = {value["name"] for value in declared}
    problems += [f"there is no input '{name}'" for name in given if name not in names]
    for value in declared:
        array = given.get(value["name"])
        if array is not None and not _fits(value, array):
            problems.append(f"input '{value['name']}' is {dtype_name(array.dtype)}{list(array.shape)}")
    if problems:
        expected = ", ".join(f"{value['name']}: {value['dtype']}{value['shape']}" for value in declared)
        raise RunError(f"{'; '.join(problems)}; expected {expected or 'no inputs'}")


def _fits(value: Value, array: np.ndarray) -> bool:
    size = np.dtype(_STORED[value["storage"]]).itemsize if "storage" in value else array.itemsize
    return holds(array.dtype, value["dtype"], size) and list(array.shape) == value["shape"]


def pack(value: Value, array: np.ndarray, target: memoryview) -> None:
    """Writes `array` into the value's bytes on their way to the GPU, converted to its storage type.

    Raises RunError where an integer does not fit.
    """
    storage = value["storage"]
    if storage in ("i32<i64", "i32<u64"):
        check_range(value, array)
    stored = np.frombuffer(target, dtype=_STORED[storage])
    if storage == "f32<f64":
        array = _demoted(array)
    stored[: array.size] = bits_of(array).reshape(-1)
    stored[array.size :] = 0


def _demoted(array: np.ndarray) -> np.ndarray:
    """float64 within the range of float32, which rounds it where it is stored; a finite number stays finite."""
    most = float(np.finfo(np.float32).max)
    return np.where(np.isfinite(array), np.clip(array, -most, most), array)


def unpack(value: Value, source: memoryview, *, copy: bool = True) -> np.ndarray:
    """The value's bytes, widened to the dtype that the caller sees; without `copy` a view where that suffices."""
    stored = np.frombuffer(source, dtype=_STORED[value["storage"]])
    count = int(np.prod(value["shape"], dtype=np.int64))
    dtype = named_dtype(value["dtype"], stored.itemsize)
    if is_foreign(dtype):
        return (stored[:count].copy() if copy else stored[:count]).view(dtype).reshape(value["shape"])
    return stored[:count].astype(dtype, copy=copy).reshape(value["shape"])


def stored_bytes(value: Value) -> int:
    """The bytes of a value's elements, without what fills the last word."""
    return int(np.prod(value["shape"], dtype=np.int64)) * np.dtype(_STORED[value["storage"]]).itemsize


def start_bytes(state: Value) -> np.ndarray:
    """The bytes that a state filled with one value starts from."""
    stored = np.zeros(state["bytes"] // np.dtype(_STORED[state["storage"]]).itemsize, _STORED[state["storage"]])
    stored[: int(np.prod(state["shape"], dtype=np.int64))] = state["start"]["fill"]
    return stored.view(np.uint8)


def check_range(value: Value, array: np.ndarray) -> None:
    """Raises RunError where a 64-bit integer is not among those that the plan was made for."""
    if array.size == 0:
        return
    low, high = value.get("range", (-(2**31), 2**31 - 1))
    smallest, largest = int(array.min()), int(array.max())
    if smallest < low or largest > high:
        raise RunError(
            f"input '{value['name']}' holds values from {smallest} to {largest}; expected {low} to {high}: "
            "64-bit integers travel as 32-bit ones, and this model indexes with them"
        )
