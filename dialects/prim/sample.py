"""One instance of a primitive to test it on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from xdsl.dialects.builtin import f32
from xdsl.ir import Attribute

from tstorch.dialects.prim.types import dtype_of, is_float


def floats(numbers: Any) -> np.ndarray:
    """Numbers, nested as the array's dimensions are, as float32."""
    return np.array(numbers, np.float32)


@dataclass(frozen=True)
class Sample:
    """Operands to draw, and the constructor's keywords.

    `shapes`: one per operand. `properties`: keywords of the constructor; a callable is called for each instance made.
    `types`: one element type per operand, or one for all. `ranges`: likewise (low, high), drawn uniformly.
    `arrays`: the operands themselves, where drawing will not do (NaN, infinities, ties).
    `smooth`: whether the function is differentiable at these operands, so that `vjp` can be checked there.
    """

    shapes: Sequence[Sequence[int]] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)
    types: Sequence[Attribute] = (f32,)
    ranges: Sequence[tuple[float, float]] = ((-2.0, 2.0),)
    arrays: Sequence[np.ndarray] = ()
    smooth: bool = True

    def operands(self, rng: np.random.Generator) -> list[np.ndarray]:
        """The operands' values: `arrays`, or drawn."""
        if self.arrays:
            return list(self.arrays)
        count = len(self.shapes)
        types, ranges = (_each(given, count) for given in (self.types, self.ranges))
        return [_draw(rng, *operand) for operand in zip(self.shapes, types, ranges, strict=True)]

    def keywords(self) -> dict[str, Any]:
        """The constructor's keywords, made afresh."""
        return {key: value() if callable(value) else value for key, value in self.properties.items()}


def _each(given: Sequence, count: int) -> Sequence:
    return list(given) * count if len(given) == 1 else given


def _draw(rng: np.random.Generator, shape: Sequence[int], type: Attribute, bounds: tuple[float, float]) -> np.ndarray:
    low, high = bounds
    if is_float(type):
        return np.asarray(rng.uniform(low, high, shape)).astype(dtype_of(type))
    dtype = dtype_of(type)
    if dtype == np.bool_:
        return np.asarray(rng.integers(0, 2, shape)).astype(dtype)
    least = max(int(low), np.iinfo(dtype).min)
    return np.asarray(rng.integers(least, int(high), shape, endpoint=True)).astype(dtype)
