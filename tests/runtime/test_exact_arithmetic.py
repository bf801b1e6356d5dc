"""Tests that quotients, remainders and halves are rounded as IEEE says, on whatever device the tests run on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.prim_program import PrimProgram
from tstorch.runtime.client import Worker

pytestmark = pytest.mark.gpu

COUNT = 1 << 20
LEAST_NORMAL = np.float32(2.0**-126)
EXTREMES = np.array(
    [0, -0.0, 1, -1, 3, np.inf, -np.inf, np.nan, 3.4028235e38, 1.1754944e-38, 2.0**127, 2.0**-126, 8388609, 0.1, 1e38],
    np.float32,
)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker.start(None, "process") as started:
        yield started


def _pairs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Any bits, numbers near each other, small whole numbers, and every pair of extremes."""
    rng = np.random.default_rng(seed)
    quarter = COUNT // 4
    anything = rng.integers(0, 1 << 32, 2 * quarter, dtype=np.uint64).astype(np.uint32)
    close = anything[:quarter] ^ rng.integers(0, 1 << 25, quarter).astype(np.uint32)
    whole = rng.integers(-300, 300, (2, 2 * quarter)).astype(np.float32)
    extremes = np.stack(np.meshgrid(EXTREMES, EXTREMES)).reshape(2, -1)
    left = np.concatenate([anything.view(np.float32), whole[0]])
    right = np.concatenate([rng.permutation(anything[quarter:]), close, whole[1].view(np.uint32)]).view(np.float32)
    left[-extremes.shape[1] :], right[-extremes.shape[1] :] = extremes
    return left, right


def _is_normal(x: np.ndarray) -> np.ndarray:
    """Whether a number is none of those that a device may flush to zero."""
    return (np.abs(x) >= LEAST_NORMAL) | (x == 0) | ~np.isfinite(x)


def _computed(op: str, worker: Worker, folder: Path, inputs: list[np.ndarray]) -> np.ndarray:
    text = f"""(%a: tensor<{COUNT}xf32>, %b: tensor<{COUNT}xf32>) -> tensor<{COUNT}xf32> {{
      %0 = {op} %a, %b : tensor<{COUNT}xf32>
      func.return %0 : tensor<{COUNT}xf32>
    }}"""
    return PrimProgram(text).run(worker, folder, inputs)[0]


@pytest.mark.parametrize(("op", "function"), [("prim.exact_div", np.divide), ("prim.rem", np.fmod)])
def test_a_million_pairs_agree_to_the_bit(op: str, function: np.ufunc, worker: Worker, tmp_path: Path) -> None:
    left, right = _pairs(7)
    got = _computed(op, worker, tmp_path, [left, right])
    with np.errstate(all="ignore"):
        want = function(left, right)
    same = (got.view(np.uint32) == want.view(np.uint32)) | (np.isnan(got) & np.isnan(want))
    certain = _is_normal(left) & _is_normal(right) & _is_normal(want)
    assert certain.sum() > 0.9 * COUNT
    wrong = np.flatnonzero(certain & ~same)
    assert not wrong.size, [(left[i], right[i], got[i], want[i]) for i in wrong[:5]]


@pytest.mark.parametrize(("op", "function"), [("prim.sin", np.sin), ("prim.cos", np.cos)])
def test_angles_of_any_size_have_a_sine(op: str, function: np.ufunc, worker: Worker, tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    x = (10.0 ** rng.uniform(-6, 38, COUNT) * rng.choice([-1, 1], COUNT)).astype(np.float32)
    x[: COUNT // 2] = np.arange(COUNT // 2)
    text = f"""(%a: tensor<{COUNT}xf32>) -> tensor<{COUNT}xf32> {{
      %0 = {op} %a : tensor<{COUNT}xf32>
      func.return %0 : tensor<{COUNT}xf32>
    }}"""
    [found] = PrimProgram(text).run(worker, tmp_path, [x])
    assert np.abs(found - function(x.astype(np.longdouble)).astype(np.float64)).max() < 3e-7


def test_every_half_and_what_lies_between_is_rounded(worker: Worker, tmp_path: Path) -> None:
    """Sums of two halves, kept in f16 inside one kernel, and given as f32."""
    halves = np.arange(COUNT, dtype=np.uint32).astype(np.uint16).view(np.float16)
    other = np.random.default_rng(3).permutation(halves)
    text = f"""(%a: tensor<{COUNT}xf16>, %b: tensor<{COUNT}xf16>) -> (tensor<{COUNT}xf32>, tensor<{COUNT}xf32>) {{
      %0 = prim.mul %a, %b : tensor<{COUNT}xf16>
      %1 = prim.convert %0 to f32 : tensor<{COUNT}xf16> -> tensor<{COUNT}xf32>
      %2 = prim.add %a, %b : tensor<{COUNT}xf16>
      %3 = prim.sub %2, %b : tensor<{COUNT}xf16>
      %4 = prim.convert %3 to f32 : tensor<{COUNT}xf16> -> tensor<{COUNT}xf32>
      func.return %1, %4 : tensor<{COUNT}xf32>, tensor<{COUNT}xf32>
    }}"""
    product, difference = PrimProgram(text).run(worker, tmp_path, [halves, other])
    with np.errstate(all="ignore"):
        wanted = [halves * other, halves + other - other]
    for got, want in zip((product, difference), wanted, strict=True):
        np.testing.assert_array_equal(got, want.astype(np.float32))
