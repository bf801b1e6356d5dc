"""Tests of ONNX's backend interface: on the GPU, inputs stay inputs, shapes specialise, refusals are ONNX's own."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt
from onnx.reference import ReferenceEvaluator

from tstorch import backend
from tstorch.diagnostics import RunError

pytestmark = pytest.mark.gpu

X = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)


def made(nodes, inputs, outputs=("y",)) -> onnx.ModelProto:
    taken = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs]
    results = [onnx.ValueInfoProto(name=name) for name in outputs]
    return helper.make_model(helper.make_graph(nodes, "g", taken, results), opset_imports=[helper.make_opsetid("", 18)])


def reshaping() -> onnx.ModelProto:
    return made(
        [helper.make_node("Reshape", ["x", "s"], ["y"])],
        [("x", TensorProto.FLOAT, [3, 4]), ("s", TensorProto.INT64, [2])],
    )


def test_a_model_runs_on_any_device_name():
    model = made([helper.make_node("Relu", ["x"], ["y"])], [("x", TensorProto.FLOAT, [3, 4])])
    for device in ("CPU", "CUDA:1"):
        assert backend.supports_device(device)
        (y,) = backend.run_model(model, [X], device)
        np.testing.assert_array_equal(y, np.maximum(X, 0))


def test_a_node_runs_with_its_inputs_given_as_inputs():
    rep = backend.prepare(made([helper.make_node("Add", ["x", "x"], ["y"])], [("x", TensorProto.FLOAT, [3, 4])]))
    (plan,) = rep.plans
    assert plan.inputs == ["x"]
    (y,) = backend.run_node(helper.make_node("Add", ["x", "z"], ["y"]), [X, X])
    np.testing.assert_array_equal(y, X + X)


def test_only_the_values_that_shapes_follow_from_specialise_a_plan():
    rep = backend.prepare(reshaping())
    assert rep.specialised == ["s"]
    assert rep.run([X, np.array([2, 6])])[0].shape == (2, 6)
    np.testing.assert_array_equal(rep.run([X + 1, np.array([6, -1])])[0], (X + 1).reshape(6, 2))
    before = rep.plans
    np.testing.assert_array_equal(rep.run([X + 2, np.array([2, 6])])[0], (X + 2).reshape(2, 6))
    assert len(before) == 2
    assert {id(plan) for plan in before} == {id(plan) for plan in rep.plans}
    assert all(plan.inputs == ["x"] for plan in before)


def test_a_plan_is_made_for_each_shape():
    rep = backend.prepare(made([helper.make_node("Neg", ["x"], ["y"])], [("x", TensorProto.FLOAT, ["n", 4])]))
    assert not rep.plans
    for rows in (1, 3, 1):
        np.testing.assert_array_equal(rep.run([X[:rows]])[0], -X[:rows])
    assert len(rep.plans) == 2


def test_inputs_go_by_name_too_and_missing_ones_are_named():
    rep = backend.prepare(reshaping())
    np.testing.assert_array_equal(rep.run({"x": X, "s": np.array([12, 1])})[0], X.reshape(12, 1))
    with pytest.raises(RunError, match="expected x, s"):
        rep.run([X])


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (helper.make_node("RandomUniformLike", ["x"], ["y"], name="any"), r"RandomUniformLike \(opset 18\).*'any'"),
        (helper.make_node("Gather", ["x", "x"], ["y"], name="odd"), "odd"),
    ],
)
def test_a_refusal_is_onnx_own_and_names_the_node(node, said):
    with pytest.raises(BackendIsNotSupposedToImplementIt, match=f"(?s){said}"):
        backend.prepare(made([node], [("x", TensorProto.FLOAT, [3, 4])]))


INDICES = np.array([[1, 2, 0], [2, 0, -3]])
TABLE = np.arange(9, dtype=np.float32).reshape(3, 3)


@pytest.mark.parametrize(
    ("node", "inputs"),
    [
        (helper.make_node("GatherElements", ["x", "i"], ["y"], axis=0), [TABLE, INDICES]),
        (helper.make_node("GatherND", ["x", "i"], ["y"], batch_dims=1), [TABLE, INDICES.T[:, :1] % 3]),
        (helper.make_node("ScatterElements", ["x", "i", "u"], ["y"], axis=1, reduction="add"),
         [TABLE, INDICES, TABLE[:2]]),
        (helper.make_node("ScatterND", ["x", "i", "u"], ["y"]), [TABLE, np.array([[2], [-3]]), TABLE[:2]]),
        (helper.make_node("BitShift", ["x", "i"], ["y"], direction="LEFT"),
         [np.array([1, 2], np.uint32), np.array([31, 2], np.uint32)]),
        (helper.make_node("Max", ["x", "i"], ["y"]), [np.array([1, 7], np.uint64), np.array([5, 2], np.uint64)]),
        (helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"], axis=1),
         [X, np.array([0.1, 0.2, 0.5, 1], np.float32), np.array([0, 9, -7, 1], np.int8)]),
        (helper.make_node("MatMulInteger", ["x", "w", "a"], ["y"]),
         [np.array([[255, 3], [7, 200]], np.uint8), np.array([[-5], [100]], np.int8), np.array(12, np.uint8)]),
        (helper.make_node("Resize", ["x", "", "", "s"], ["y"], mode="cubic"),
         [X.reshape(1, 1, 3, 4), np.array([1, 1, 5, 3])]),
        (helper.make_node("Mish", ["x"], ["y"]), [np.linspace(-30, 30, 64, dtype=np.float32)]),
        (helper.make_node("ReduceLogSum", ["x"], ["y"]), [np.zeros((2, 0, 3), np.float32)]),
    ],
    ids=lambda given: given.op_type if isinstance(given, onnx.NodeProto) else "",
)  # fmt: skip
def test_a_node_computes_what_onnx_reference_does(node, inputs):
    version = 18 if node.op_type != "BitShift" else 11
    named = dict(zip([name for name in node.input if name], inputs, strict=True))
    [want] = ReferenceEvaluator(node).run(None, {**named, **{name: None for name in node.input if not name}})
    [got] = backend.run_node(node, inputs, opset_version=version)
    assert isinstance(want, np.ndarray)
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


def test_a_view_of_truth_values_between_two_kernels_is_right():
    """A mask that one kernel stores, another reads reshaped."""
    nodes = [
        helper.make_node("ReduceSum", ["x", "axes"], ["sums"]),
        helper.make_node("Greater", ["sums", "zero"], ["mask"]),
        helper.make_node("Reshape", ["mask", "flat"], ["column"]),
        helper.make_node("Where", ["column", "sums", "zero"], ["kept"]),
        helper.make_node("ReduceSum", ["kept"], ["y"], keepdims=0),
    ]
    model = made(nodes, [("x", TensorProto.FLOAT, [3, 4])], ["y", "mask"])
    for name, values in (("axes", [1]), ("flat", [3, 1])):
        model.graph.initializer.append(numpy_helper.from_array(np.array(values), name))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "zero"))
    y, mask = backend.run_model(model, [X])
    sums = X.sum(1, keepdims=True)
    np.testing.assert_array_equal(mask, sums > 0)
    np.testing.assert_allclose(y, sums[sums > 0].sum(), rtol=1e-6)
