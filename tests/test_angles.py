"""Tests that sines and cosines are as accurate for large angles as for small ones."""

from collections.abc import Callable

import numpy as np
import pytest
from xdsl.builder import Builder
from xdsl.dialects.builtin import f32
from xdsl.ir import Block
from xdsl.rewriter import InsertPoint

from tests.helpers.scalar_interpreter import interpret
from tstorch.dialects.prim.angles import cosine, sine
from tstorch.dialects.prim.scalar import Scalar

RNG = np.random.default_rng(0)
ANGLES = np.concatenate([
    RNG.uniform(-10, 10, 20000), RNG.uniform(-1e6, 1e6, 20000), 10.0 ** RNG.uniform(-40, 38.4, 20000),
    np.arange(0, 100000), np.arange(-200, 200) * np.pi / 4, [0.0, -0.0, 3.4028235e38],
]).astype(np.float32)  # fmt: skip


def computed(function: Callable[[Scalar], Scalar], x: np.ndarray) -> np.ndarray:
    block = Block(arg_types=[f32])
    result = function(Scalar(block.args[0], Builder(InsertPoint.at_end(block))))
    return interpret(block, [x], result.value)


@pytest.mark.parametrize(("function", "wanted"), [(sine, np.sin), (cosine, np.cos)], ids=["sine", "cosine"])
def test_any_angle_is_within_two_units_of_its_size(function: Callable[[Scalar], Scalar], wanted: np.ufunc) -> None:
    exact = wanted(ANGLES.astype(np.longdouble)).astype(np.float64)
    error = np.abs(computed(function, ANGLES) - exact)
    assert error.max() < 1.2e-7
    assert (error / np.maximum(np.abs(exact), 1e-3)).max() < 3e-6


def test_the_sine_of_a_small_angle_keeps_its_digits_and_its_sign() -> None:
    x = np.array([1e-30, -1e-30, 1e-4, -0.0, 0.0], np.float32)
    np.testing.assert_allclose(computed(sine, x), np.sin(x), rtol=1.2e-7)
    assert np.signbit(computed(sine, x)).tolist() == [False, True, False, True, False]


def test_what_has_no_angle_has_no_sine() -> None:
    x = np.array([np.inf, -np.inf, np.nan], np.float32)
    assert np.isnan(computed(sine, x)).all()
    assert np.isnan(computed(cosine, x)).all()
