"""Tests that models in odd but legal spellings run on the GPU and give what onnxruntime gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from chain import Chain
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from tstorch.compiled import compile_model
from tstorch.diagnostics import OnnxImportError
from tstorch.runtime.client import Worker
from tstorch.session import make_recipe

pytestmark = pytest.mark.gpu

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
X, Y = ("x", FLOAT, [2, 4]), ("y", FLOAT, [2, 4])
RELU = helper.make_node("Relu", ["x"], ["y"])


def weight(name: str, *shape: int) -> TensorProto:
    return numpy_helper.from_array(np.random.default_rng(0).standard_normal(shape).astype(np.float32), name)


def spelt(
    *nodes: NodeProto, inputs: Sequence = (X,), outputs: Sequence = (Y,), stored: Sequence = (), opset: int = 17, **more
) -> ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "spelt",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
        list(stored),
    )
    domains = [helper.make_opsetid("", opset), *(helper.make_opsetid(name, 1) for name in more.pop("domains", ()))]
    return helper.make_model(graph, opset_imports=domains, ir_version=3 if opset < 9 else 8, **more)


def half_in_int32_data() -> TensorProto:
    """Sixteen-bit floats, one to a 32-bit integer, as the old field holds them."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT16, dims=[4])
    tensor.int32_data.extend(np.arange(4).astype(np.float16).view(np.uint16).tolist())
    return tensor


node = helper.make_node
TWICE = helper.make_function(
    "my", "Twice", ["a"], ["b"], [node("Sigmoid", ["a"], ["s"]), node("Mul", ["a", "s"], ["b"])],
    [helper.make_opsetid("", 17)],
)  # fmt: skip
STATS = [weight(name, 4) for name in "abc"] + [numpy_helper.from_array(np.ones(4, np.float32), "d")]
TWO = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "s")
IMAGE, LARGER = ("x", FLOAT, [1, 4, 3, 3]), ("y", FLOAT, [1, 4, 6, 6])

SPELLINGS = {
    "a weight that is listed as an input": spelt(
        node("MatMul", ["x", "w"], ["y"]), inputs=(X, ("w", FLOAT, [4, 4])), stored=[weight("w", 4, 4)]
    ),
    "nodes without names": spelt(node("Relu", ["x"], ["a"]), node("Relu", ["a"], ["b"]), node("Neg", ["b"], ["y"])),
    "an output that nothing uses": spelt(
        node("Split", ["x"], ["a", "b"], axis=1), node("Concat", ["a", "a"], ["y"], axis=1)
    ),
    "a mask that nothing uses": spelt(node("Dropout", ["x"], ["a", "mask"]), node("Relu", ["a"], ["y"])),
    "an empty name in the middle": spelt(node("Clip", ["x", "", "h"], ["y"]), stored=[weight("h")]),
    "an empty name at the end": spelt(node("Clip", ["x", "l", ""], ["y"]), stored=[weight("l")]),
    "an input that is an output": spelt(RELU, outputs=(Y, X)),
    "a weight that is an output": spelt(RELU, outputs=(Y, ("w", FLOAT, [30, 30])), stored=[weight("w", 30, 30)]),
    "a constant that is an output": spelt(
        RELU, node("Constant", [], ["c"], value=weight("c", 100)), outputs=(Y, ("c", FLOAT, [100]))
    ),
    "a shape that is an output": spelt(RELU, node("Shape", ["x"], ["s"]), outputs=(Y, ("s", INT64, [2]))),
    "one value under two names": spelt(RELU, node("Identity", ["y"], ["z"]), outputs=(Y, ("z", FLOAT, [2, 4]))),
    "nothing but names": spelt(node("Identity", ["x"], ["a"]), node("Identity", ["a"], ["y"])),
    "the default domain by its name": spelt(node("Relu", ["x"], ["y"], domain="ai.onnx")),
    "names with spaces, quotes and letters": spelt(
        node("Relu", ['x /"é'], ["ψ β"], name='n "q" \\'), node("Neg", ["ψ β"], ["y"], name="-"),
        inputs=(('x /"é', FLOAT, [2, 4]),),
    ),
    "no dimensions": spelt(node("Add", ["x", "x"], ["y"]), inputs=(("x", FLOAT, []),), outputs=(("y", FLOAT, []),)),
    "six dimensions": spelt(
        node("Transpose", ["x"], ["y"], perm=[5, 4, 3, 2, 1, 0]),
        inputs=(("x", FLOAT, [2, 3, 1, 2, 3, 2]),), outputs=(("y", FLOAT, [2, 3, 2, 1, 3, 2]),),
    ),
    "an input and a node that nothing uses": spelt(
        RELU, node("Exp", ["x"], ["dead"]), inputs=(X, ("u", FLOAT, [3])), stored=[weight("w", 300)]
    ),
    "no inputs": spelt(
        node("Constant", [], ["c"], value=weight("c", 5)), node("Relu", ["c"], ["y"]), inputs=(),
        outputs=(("y", FLOAT, [5]),),
    ),
    "an opset of years ago": spelt(
        node("BatchNormalization", ["x", *"abcd"], ["n"]),
        node("Upsample", ["n"], ["y"], mode="nearest", scales=[1.0, 1.0, 2.0, 2.0]),
        inputs=(IMAGE, *((name, FLOAT, [4]) for name in "abcd")), outputs=(LARGER,), stored=STATS, opset=7,
    ),
    "an operator that is no more": spelt(
        node("Upsample", ["x", "s"], ["y"], mode="linear"), inputs=(IMAGE,), outputs=(LARGER,), stored=[TWO], opset=9
    ),
    "halves in a field of 32 bits": spelt(
        node("Cast", ["w"], ["c"], to=FLOAT), node("Add", ["x", "c"], ["y"]), stored=[half_in_int32_data()]
    ),
    "functions of its own": spelt(
        node("Twice", ["x"], ["m"], domain="my", name="one"), node("Twice", ["m"], ["y"], domain="my", name="two"),
        domains=("my",), functions=[TWICE],
    ),
    "domains that nothing is of": spelt(RELU, domains=("com.microsoft", "com.ms.internal.nhwc", "ai.onnx.ml")),
}  # fmt: skip


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    with Worker.start() as worker:
        yield Chain(worker, tmp_path_factory.mktemp("spellings"))


@pytest.mark.parametrize("name", SPELLINGS)
def test_it_gives_what_onnxruntime_gives(chain, name):
    _, errors = chain.errors(SPELLINGS[name])
    assert max(errors.values()) <= 1e-6


def test_weights_beside_the_model_are_found(chain, tmp_path):
    model = spelt(node("MatMul", ["x", "w"], ["y"]), stored=[weight("w", 4, 4)])
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    compiled = chain.compiled(tmp_path / "m.onnx")
    x = np.ones((2, 4), np.float32)
    np.testing.assert_allclose(
        chain.run(compiled, {"x": x})["y"], x @ numpy_helper.to_array(weight("w", 4, 4)), rtol=1e-5
    )


def test_a_sparse_weight_is_refused_by_its_name():
    model = spelt(node("Add", ["x", "w"], ["y"]))
    places = numpy_helper.from_array(np.array([1, 6]), "places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(weight("w", 2), places, [2, 4]))
    with pytest.raises(OnnxImportError, match="'w' is stored sparse"):
        compile_model(model, make_recipe("cpu"))
