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
    if not isinstance(value, np.ndarray) or value.size < 2:
        return value
    if value.dtype.kind == "f" and np.isfinite(value).all() and value.dtype.itemsize > 2:
        return _between(value, random)
    other = _rearranged(value, random)
    return value if np.array_equal(other.view(np.uint8), value.view(np.uint8)) else other


def _between(value: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Numbers between the smallest and the largest: whatever range the operator is defined on, they are in it."""
    low, high = value.min(), value.max()
    return value if low == high else random.uniform(low, high, value.shape).astype(value.dtype)


def _rearranged(value: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Rows in another order: of integers, which may be indices, an axis may have bounds of its own."""
    if value.dtype.kind == "b":
        return random.permutation(value.ravel()).reshape(value.shape)
    axis = next((axis for axis, size in enumerate(value.shape) if size > 1), 0)
    order = np.roll(np.arange(value.shape[axis]), 1 + int(random.integers(value.shape[axis] - 1)))
    return np.ascontiguousarray(value.take(order, axis))
