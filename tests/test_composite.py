"""Tests of the gradient of `prim.composite`, which is that of its region."""

import numpy as np
from xdsl.builder import Builder
from xdsl.dialects.builtin import f32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region
from xdsl.rewriter import InsertPoint

from tstorch.dialects.prim.control import CompositeOp
from tstorch.dialects.prim.pullback import pull_back
from tstorch.dialects.prim.reference import evaluate
from tstorch.dialects.prim.types import tensor


def test_a_value_that_is_read_twice_gets_its_gradient_once() -> None:
    """(x, x) goes to (2 x**2, x), whose gradient is 4 x g + h."""
    block = Block(arg_types=[tensor((2, 3), f32)] * 3)
    x, g, h = block.args
    composite = CompositeOp(x, x, **next(CompositeOp.samples()).keywords())
    block.add_op(composite)
    build = Builder(InsertPoint.at_end(block))
    gradient = pull_back([composite], zip(composite.results, (g, h), strict=True), build)[x]
    build.insert(ReturnOp(gradient))
    function = FuncOp("main", ([value.type for value in block.args], [gradient.type]), Region(block))
    arrays = [np.random.default_rng(seed).standard_normal((2, 3)) for seed in range(3)]
    [computed] = evaluate(function, arrays, dtype=np.float64)
    np.testing.assert_allclose(computed, 4 * arrays[0] * arrays[1] + arrays[2])
