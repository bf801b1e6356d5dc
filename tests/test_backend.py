"""Tests of ONNX's backend interface: on the GPU, inputs stay inputs, shapes specialise, refusals are ONNX's own."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt

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
        (helper.make_node("NonZero", ["x"], ["y"], name="where"), r"NonZero \(opset 18\).*'where'"),
        (helper.make_node("Gather", ["x", "x"], ["y"], name="odd"), "odd"),
    ],
)
def test_a_refusal_is_onnx_own_and_names_the_node(node, said):
    with pytest.raises(BackendIsNotSupposedToImplementIt, match=f"(?s){said}"):
        backend.prepare(made([node], [("x", TensorProto.FLOAT, [3, 4])]))
