"""Other data for a test: seeded, of the same shapes, and legal wherever the test's own is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np


def varied(inputs: Sequence[Any], fixed: Collection[int] = (), seed: int = 0) -> list[Any]:
    """Each input with other numbers, or the very same object where there are none; those at `fixed` stay."""
    random = np.random.default_rng(seed)
    return [value if at in fixed else _varied(value, random) for at, value in enumerate(inputs)]


def _varied(value: Any, random: np.random.Generator) -> Any:
    if not isinstance(value, np.ndarray) or value.size == 0 or value.ndim == 0:
        return value
    if value.dtype.kind == "f" and np.isfinite(value).all() and value.dtype.itemsize > 2:
        if value.min() == value.max():
            return _lowered(value, random)
        if not np.array_equal(value, np.trunc(value)):  # whole ones may be indices
            return random.uniform(value.min(), value.max(), value.shape).astype(value.dtype)
    others = (_rearranged(value, random, axis) for axis in _free_axes(value))
    return next((other for other in others if other.tobytes() != value.tobytes()), value)


def _lowered(value: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Of equal numbers others between their half and themselves; of zeroes, up to one."""
    if not value.any():
        return random.uniform(0, 1, value.shape).astype(value.dtype)
    return (value * random.uniform(0.5, 1, value.shape)).astype(value.dtype)


def _free_axes(value: np.ndarray) -> list[int]:
    """The axes along which rows may change places: along the last one indices may have bounds of their own."""
    free = [axis for axis, size in enumerate(value.shape) if size > 1]
    return free[:-1] or free


def _rearranged(value: np.ndarray, random: np.random.Generator, axis: int) -> np.ndarray:
    """Rows in another order."""
    if value.dtype.kind == "b":
        return random.permutation(value.ravel()).reshape(value.shape)
    order = np.roll(np.arange(value.shape[axis]), 1 + int(random.integers(value.shape[axis] - 1)))
    return np.ascontiguousarray(value.take(order, axis))
