"""Tests that Einsum gives what NumPy gives, however the equation is spelt, on the GPU."""

import numpy as np
import pytest
from chain import Chain
from onnx import TensorProto, helper

import tstorch
from tstorch.diagnostics import DiagnosticError
from tstorch.runtime.client import Worker

pytestmark = pytest.mark.gpu

CASES = {
    "product": ("ij,jk->ik", [(2, 3), (3, 4)]),
    "implicit output": ("ij,jk", [(2, 3), (3, 4)]),
    "implicit order": ("ba", [(2, 3)]),
    "implicit sum": ("ii", [(3, 3)]),
    "diagonal": ("...ii->...i", [(2, 3, 3)]),
    "diagonal of three": ("iii->i", [(3, 3, 3)]),
    "outer": ("i,j->ij", [(2,), (3,)]),
    "three operands": ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 2)]),
    "batches": ("...ij,...jk->...ik", [(2, 1, 3, 4), (5, 4, 2)]),
    "ellipsis in the middle": ("a...b,b...c->a...c", [(2, 3, 4), (4, 3, 5)]),
    "ellipsis that is empty": ("...i,i...->...", [(3,), (3,)]),
    "implicit ellipsis": ("...i,...i", [(2, 3), (2, 3)]),
    "spaces and capitals": (" bHqd , bHkd -> bHqk ", [(2, 3, 4, 5), (2, 3, 6, 5)]),
    "sum of one side": ("ij,k->ik", [(2, 3), (4,)]),
    "all summed": ("ij,ij->", [(2, 3), (2, 3)]),
    "size 1 is spread": ("ij,ij->ij", [(1, 3), (2, 3)]),
    "size 1 is summed": ("ij,ij->j", [(1, 3), (2, 3)]),
    "kept and summed": ("bij,bjk,bi->bk", [(2, 3, 4), (2, 4, 5), (2, 3)]),
}


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    with Worker.start() as worker:
        yield Chain(worker, tmp_path_factory.mktemp("einsum"))


def model_of(equation: str, shapes: list) -> object:
    names = [f"x{at}" for at in range(len(shapes))]
    node = helper.make_node("Einsum", names, ["y"], equation=equation)
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(names, shapes, strict=True)]
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=9)


@pytest.mark.parametrize("case", CASES)
def test_like_numpy(case, chain):
    equation, shapes = CASES[case]
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    compiled = chain.compiled(model_of(equation, shapes))
    found = chain.run(compiled, {f"x{at}": value for at, value in enumerate(inputs)})["y"]
    np.testing.assert_allclose(found, np.einsum(equation, *inputs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("equation", "shapes", "message"),
    [
        ("ij,jk->ik", [(2, 3), (4, 5)], "dimensions 'j' have sizes 3 and 4"),
        ("ij->ik", [(2, 3)], "the output has 'k' twice, or no operand has it"),
        ("ij->ii", [(2, 3)], "the output has 'i' twice"),
        ("ij,jk->ik", [(2, 3)], "2 terms for 1 operands"),
        ("ijk->i", [(2, 3)], "3 letters for a tensor of rank 2"),
        ("...i->i", [(2, 3, 4)], "the output must have the ellipsis, too"),
        ("i.j->i", [(2, 3)], "is no list of letters"),
    ],
)
def test_a_wrong_equation_is_refused(equation, shapes, message):
    with pytest.raises(DiagnosticError, match=message):
        tstorch.load(model_of(equation, shapes))
