"""Tests that the work of compilation grows with the number of nodes, and not with its square.

Counted are calls of Python functions, which are the same on any machine, loaded or not, of the passes that look at the
whole graph: those behind them see kernels, each form of which is made but once. The packer of buffers is asked apart.
"""

import cProfile
import pstats
from collections.abc import Callable

import numpy as np
import pytest
from helpers.large_graph import large_graph
from onnx import ModelProto, TensorProto, helper, numpy_helper
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from tstorch.compiled import Recipe, imported
from tstorch.levels import Level
from tstorch.passes.buffers.packing import Packer, Tensor
from tstorch.pipeline import compile

GROWTH = 3.5
"""At most so many times the calls for three times the nodes."""
FEW = 2000
"""Calls below which a pass does next to nothing on either graph."""


class CallCounter:
    """Calls of Python functions by each pass."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self._profile = cProfile.Profile(builtins=False)

    def before(self, step: ModulePass, module: ModuleOp) -> None:
        self._profile = cProfile.Profile(builtins=False)
        self._profile.enable()

    def after(self, step: ModulePass, module: ModuleOp) -> None:
        self._profile.disable()
        self.calls[step.name] = self.calls.get(step.name, 0) + total_calls(self._profile)


def total_calls(profile: cProfile.Profile) -> int:
    return pstats.Stats(profile).total_calls  # pyright: ignore[reportAttributeAccessIssue]


def calls_of(model: ModelProto) -> dict[str, int]:
    """Calls by each pass, up to the kernels."""
    counter, recipe = CallCounter(), Recipe()
    module = imported(model, recipe)
    compile(module, to=Level.FLOW, context=recipe.context(), observers=[counter])
    return counter.calls


def grows(make: Callable[[int], ModelProto], nodes: int) -> dict[str, float]:
    """How many times the calls each pass needs for three times the nodes."""
    small, large = calls_of(make(nodes)), calls_of(make(3 * nodes))
    return {name: large[name] / max(small[name], FEW) for name in large}


def model(nodes: list, shape: list[int], result: str, stored: list | None = None) -> ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", result)]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], initializer=stored or [])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def many_uses(count: int) -> ModelProto:
    """One value that every node reads."""
    reads = [helper.make_node("Add", ["r", f"a{i - 1}" if i else "x"], [f"a{i}"]) for i in range(count)]
    return model([helper.make_node("Relu", ["x"], ["r"]), *reads], [2, 4], f"a{count - 1}")


def joined_late(count: int) -> ModelProto:
    """Products that all live until a chain of sums, at the end, reads them one by one."""
    made = [helper.make_node("MatMul", ["x", f"w{i}"], [f"m{i}"]) for i in range(count)]
    sums = [helper.make_node("Add", [f"a{i - 1}" if i else "x", f"m{i}"], [f"a{i}"]) for i in range(count)]
    stored = [numpy_helper.from_array(np.eye(4, dtype=np.float32) * i, f"w{i}") for i in range(count)]
    return model([*made, *sums], [2, 4], f"a{count - 1}", stored)


@pytest.mark.parametrize(("make", "nodes"), [(large_graph, 700), (many_uses, 300), (joined_late, 60)])
def test_calls_grow_with_the_nodes(make: Callable[[int], ModelProto], nodes: int):
    beyond = {name: round(factor, 2) for name, factor in grows(make, nodes).items() if factor > GROWTH}
    assert not beyond


def test_packing_a_crowd_grows_with_the_tensors():
    def calls(count: int) -> int:
        profile = cProfile.Profile(builtins=False)
        crowd = [Tensor(256, at, count + at) for at in range(count)]
        profile.runcall(Packer(crowd, 2**28).best)
        return total_calls(profile)

    assert calls(3000) <= GROWTH * calls(1000)
