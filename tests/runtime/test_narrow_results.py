"""Tests that kernels of every kind store results whose elements share words, whatever their shape."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.prim_program import PrimProgram
from tstorch.runtime.client import Worker

pytestmark = pytest.mark.gpu

CONV = (
    'layout = "NCHW" x "OIHW" to "NCHW", window_strides = [1, 1], padding_low = [0, 0], padding_high = [0, 0], '
    "lhs_dilation = [1, 1], rhs_dilation = [1, 1], feature_group_count = 1, batch_group_count = 1, "
    "reverse_window = false"
)
WINDOW = (
    "window = [1, 3], strides = [1, 1], padding_low = [0, 0], padding_high = [0, 0], window_dilation = [1, 1], "
    "base_dilation = [1, 1]"
)
SCATTER = (
    "update_window_dims = [1], inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1"
)


def products(element: str) -> list[str]:
    """Products whose rows are no whole words, alone and behind elementwise ops."""
    return [
        f"""(%a: tensor<3x9x{element}>, %b: tensor<9x7x{element}>) -> tensor<3x7x{element}> {{
          %0 = prim.dot_general %a, %b, batch = [] x [], contract = [1] x [0]
              : tensor<3x9x{element}>, tensor<9x7x{element}> -> tensor<3x7x{element}>
          func.return %0 : tensor<3x7x{element}>
        }}""",
        f"""(%a: tensor<2x17x9x{element}>, %b: tensor<2x9x13x{element}>) -> tensor<13x2x17x{element}> {{
          %0 = prim.dot_general %a, %b, batch = [0] x [0], contract = [2] x [1]
              : tensor<2x17x9x{element}>, tensor<2x9x13x{element}> -> tensor<2x17x13x{element}>
          %1 = prim.abs %0 : tensor<2x17x13x{element}>
          %2 = prim.transpose %1, permutation = [2, 0, 1] : tensor<2x17x13x{element}> -> tensor<13x2x17x{element}>
          func.return %2 : tensor<13x2x17x{element}>
        }}""",
        f"""(%x: tensor<1x3x7x5x{element}>, %w: tensor<6x3x3x3x{element}>) -> tensor<1x6x5x3x{element}> {{
          %0 = prim.conv %x, %w, {CONV}
              : tensor<1x3x7x5x{element}>, tensor<6x3x3x3x{element}> -> tensor<1x6x5x3x{element}>
          func.return %0 : tensor<1x6x5x3x{element}>
        }}""",
    ]


def reductions(element: str) -> list[str]:
    """Reductions whose rows, or what is made of each row, are no whole words."""
    return [
        f"""(%x: tensor<5x7x{element}>) -> tensor<5x{element}> {{
          %0 = prim.reduce add %x, dimensions = [1] : tensor<5x7x{element}> -> tensor<5x{element}>
          func.return %0 : tensor<5x{element}>
        }}""",
        f"""(%x: tensor<5x7x{element}>) -> (tensor<5x{element}>, tensor<5x7x{element}>) {{
          %0 = prim.reduce max %x, dimensions = [1] : tensor<5x7x{element}> -> tensor<5x{element}>
          %1 = prim.reduce min %x, dimensions = [1] : tensor<5x7x{element}> -> tensor<5x{element}>
          %2 = prim.sub %0, %1 : tensor<5x{element}>
          %3 = prim.broadcast_in_dim %2, shape = [5, 7], dimensions = [0] : tensor<5x{element}> -> tensor<5x7x{element}>
          %4 = prim.add %x, %3 : tensor<5x7x{element}>
          func.return %2, %4 : tensor<5x{element}>, tensor<5x7x{element}>
        }}""",
        f"""(%x: tensor<3x301x{element}>) -> tensor<3x301x{element}> {{
          %0 = prim.reduce max %x, dimensions = [1] : tensor<3x301x{element}> -> tensor<3x{element}>
          %1 = prim.reduce min %x, dimensions = [1] : tensor<3x301x{element}> -> tensor<3x{element}>
          %2 = prim.sub %0, %1 : tensor<3x{element}>
          %3 = prim.broadcast_in_dim %2, shape = [3, 301], dimensions = [0]
              : tensor<3x{element}> -> tensor<3x301x{element}>
          %4 = prim.sub %3, %x : tensor<3x301x{element}>
          func.return %4 : tensor<3x301x{element}>
        }}""",
        f"""(%x: tensor<3x9x{element}>) -> tensor<7x3x{element}> {{
          %0 = prim.reduce_window max %x, {WINDOW} : tensor<3x9x{element}> -> tensor<3x7x{element}>
          %1 = prim.transpose %0, permutation = [1, 0] : tensor<3x7x{element}> -> tensor<7x3x{element}>
          func.return %1 : tensor<7x3x{element}>
        }}""",
        f"""(%x: tensor<5x3x{element}>, %u: tensor<4x3x{element}>) -> tensor<5x3x{element}> {{
          %i = prim.constant dense<[4, 0, 4, 2]> : tensor<4xi32>
          %0 = prim.scatter add %x, %i, %u, {SCATTER}
              : tensor<5x3x{element}>, tensor<4xi32>, tensor<4x3x{element}>
          func.return %0 : tensor<5x3x{element}>
        }}""",
    ]


# A product or a sum that leaves 8 bits, and goes on inside the kernel: what is wider than the type must be gone.
WRAPPED = """(%a: tensor<5x9xui8>) -> (tensor<5xi32>, tensor<5xui8>) {
  %c = prim.constant dense<200> : tensor<5x9xui8>
  %0 = prim.add %a, %c : tensor<5x9xui8>
  %1 = prim.reduce add %0, dimensions = [1] : tensor<5x9xui8> -> tensor<5xui8>
  %2 = prim.convert %1 to i32 : tensor<5xui8> -> tensor<5xi32>
  func.return %2, %1 : tensor<5xi32>, tensor<5xui8>
}"""

# 2049 is no half: the sum is 2048 whether it was stored in between or not.
ROUNDED = """(%a: tensor<5xf16>) -> tensor<5xf32> {
  %c = prim.constant dense<2048.0> : tensor<5xf16>
  %0 = prim.abs %a : tensor<5xf16>
  %1 = prim.add %0, %c : tensor<5xf16>
  %2 = prim.sub %1, %c : tensor<5xf16>
  %3 = prim.convert %2 to f32 : tensor<5xf16> -> tensor<5xf32>
  func.return %3 : tensor<5xf32>
}"""


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    started = Worker.start(None, "process")
    yield started
    started.close()


def check(text: str, worker: Worker, folder: Path) -> None:
    """Whole numbers this small are exact in every type: results agree to the bit."""
    program = PrimProgram(text)
    inputs = program.inputs()
    for got, want in zip(program.run(worker, folder, inputs), program.expected(inputs), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("element", ["f16", "i8", "ui8"])
@pytest.mark.parametrize("number", range(3))
def test_products_of_odd_shapes(element: str, number: int, worker: Worker, tmp_path: Path) -> None:
    check(products(element)[number], worker, tmp_path)


@pytest.mark.parametrize("element", ["f16", "i8", "ui8"])
@pytest.mark.parametrize("number", range(5))
def test_reductions_of_odd_shapes(element: str, number: int, worker: Worker, tmp_path: Path) -> None:
    check(reductions(element)[number], worker, tmp_path)


@pytest.mark.parametrize("text", [WRAPPED, ROUNDED], ids=["wrapped", "rounded"])
def test_fusion_changes_no_narrow_value(text: str, worker: Worker, tmp_path: Path) -> None:
    check(text, worker, tmp_path)
