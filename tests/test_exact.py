"""Tests that exact quotients and remainders are exact however wrong, within WGSL's bounds, a device's division is."""

from collections.abc import Callable

import numpy as np
import pytest
from xdsl.builder import Builder
from xdsl.dialects import arith
from xdsl.dialects.builtin import f32
from xdsl.ir import Block
from xdsl.rewriter import InsertPoint

from tests.helpers import scalar_interpreter
from tstorch.dialects.prim.exact import exact_quotient, exact_remainder
from tstorch.dialects.prim.scalar import Scalar

COUNT = 1 << 18
UNITS = 2.5


def sloppy_division(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A quotient that is off by up to 2.5 units in the last place, differently for each element."""
    error = np.random.default_rng(0).uniform(-UNITS, UNITS, np.broadcast(x, y).shape) * 2.0**-24
    return (x.astype(np.float64) / y * (1 + error)).astype(np.float32)


def computed(function: Callable[[Scalar, Scalar], Scalar], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    block = Block(arg_types=[f32, f32])
    result = function(*(Scalar(argument, Builder(InsertPoint.at_end(block))) for argument in block.args))
    return scalar_interpreter.interpret(block, [x, y], result.value)


def normal_numbers(seed: int) -> np.ndarray:
    """Of any sign, and of exponents whose quotients are normal as well."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(70 << 23, 180 << 23, COUNT) | rng.integers(0, 2, COUNT) << 31
    return bits.astype(np.uint32).view(np.float32)


@pytest.mark.parametrize(
    ("function", "wanted"), [(exact_quotient, np.divide), (exact_remainder, np.fmod)], ids=["quotient", "remainder"]
)
def test_a_sloppy_division_is_corrected(
    function: Callable[[Scalar, Scalar], Scalar], wanted: np.ufunc, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = normal_numbers(1), normal_numbers(2)
    y[: COUNT // 2] = np.random.default_rng(3).integers(1, 300, COUNT // 2)
    x[: COUNT // 4] = y[: COUNT // 4] * np.random.default_rng(4).integers(-300, 300, COUNT // 4)
    assert (sloppy_division(x, y) != x / y).mean() > 0.5
    monkeypatch.setitem(scalar_interpreter._FUNCTIONS, arith.DivfOp, sloppy_division)  # pyright: ignore[reportArgumentType]
    np.testing.assert_array_equal(computed(function, x, y), wanted(x, y))
