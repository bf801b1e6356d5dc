"""Tests that tensors without elements are taken, given and looked through without a dispatch of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.prim_program import PrimProgram
from tstorch.dialects.flow import KernelOp
from tstorch.levels import Level
from tstorch.pipeline import compile
from tstorch.runtime.client import Worker

pytestmark = pytest.mark.gpu

ONLY_EMPTY = """(%x: tensor<2x0xf32>, %m: tensor<0xi1>) -> (tensor<0x2xf32>, tensor<0xi1>, tensor<2x0xf32>) {
  %0 = prim.transpose %x, permutation = [1, 0] : tensor<2x0xf32> -> tensor<0x2xf32>
  %1 = prim.exp %0 : tensor<0x2xf32>
  func.return %1, %m, %x : tensor<0x2xf32>, tensor<0xi1>, tensor<2x0xf32>
}"""

SOME_EMPTY = """(%x: tensor<2x0xf32>, %y: tensor<2x3xf32>) -> (tensor<2x3xf32>, tensor<2xf32>, tensor<2x0xi64>) {
  %0 = prim.concatenate %x, %y dimension = 1 : tensor<2x0xf32>, tensor<2x3xf32> -> tensor<2x3xf32>
  %1 = prim.abs %0 : tensor<2x3xf32>
  %2 = prim.reduce mul %x, dimensions = [1] : tensor<2x0xf32> -> tensor<2xf32>
  %3 = prim.convert %x to i64 : tensor<2x0xf32> -> tensor<2x0xi64>
  func.return %1, %2, %3 : tensor<2x3xf32>, tensor<2xf32>, tensor<2x0xi64>
}"""


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    started = Worker.start(None, "process")
    yield started
    started.close()


@pytest.mark.parametrize(("text", "kernels"), [(ONLY_EMPTY, 0), (SOME_EMPTY, 2)], ids=["only", "some"])
def test_empty_tensors_need_no_dispatch(text: str, kernels: int, worker: Worker, tmp_path: Path) -> None:
    program = PrimProgram(text)
    module = program.module()
    compile(module, to=Level.FLOW)
    assert sum(isinstance(op, KernelOp) for op in module.body.block.ops) == kernels
    inputs = program.inputs()
    for got, want in zip(program.run(worker, tmp_path, inputs), program.expected(inputs), strict=True):
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        np.testing.assert_array_equal(got, want)
