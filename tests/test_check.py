"""Tests of the comparison behind --check: what is close enough, and what can never be."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from xdsl.dialects.builtin import ModuleOp

from tstorch.check import TOLERANCE, check_outputs, compare, relative_error
from tstorch.compiled import compile_model
from tstorch.dialects.prim.generator import ConstantOp
from tstorch.precision import Precision
from tstorch.session import make_recipe

NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("found", "expected", "error"),
    [
        ([1, 2], [1, 2], 0.0),
        ([1.0, 2.5], [1, 2], 0.25),
        ([0.5, 0], [0, 0], 0.5),
        ([], [], 0.0),
        ([NAN, 1], [NAN, 1], 0.0),
        ([INF, 1], [INF, 1], 0.0),
        ([INF, 1], [-INF, 1], INF),
        ([NAN, 1], [1, 1], INF),
        ([1, 1], [NAN, 1], INF),
        ([INF, 1], [1, 1], INF),
        ([1, 1], [1], INF),
    ],
)
def test_the_error_is_relative_to_the_largest_value(found, expected, error):
    assert relative_error(np.array(found, np.float32), np.array(expected, np.float32)) == error


def test_integers_are_compared_exactly():
    assert relative_error(np.array([2**31 - 1]), np.array([2**31 - 2])) > 0


@pytest.mark.parametrize(("off", "ok"), [(0.5 * TOLERANCE, True), (2 * TOLERANCE, False)])
def test_a_row_says_whether_it_is_close_enough(off, ok):
    row = compare("y", "NumPy", np.array([1 + off]), np.array([1.0]))
    assert (row["output"], row["reference"], row["ok"]) == ("y", "NumPy", ok)


def test_what_cannot_be_compared_has_no_error_and_is_wrong():
    row = compare("y", "NumPy", np.zeros(3), np.zeros(4))
    assert (row["error"], row["ok"]) == (None, False)


@pytest.mark.parametrize(
    ("dtype", "spread", "tolerance"),
    [
        (np.float32, 0.5, 1e-3),
        (np.int32, 0.5, 1e-3),
        (np.bool_, 0.5, 1e-3),
        (np.float16, 0.5, 2e-2),
        (np.int8, 0.004, 2e-2),
        (np.uint8, 0.03, 6e-2),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_a_model_computes_in_says_how_close_is_close_enough(dtype, spread, tolerance):
    precision = Precision()
    precision.see(ModuleOp([ConstantOp(np.ones(3, np.float32)), ConstantOp(np.ones(3, dtype))]))
    assert precision.tolerance(lambda: spread) == tolerance


def half_of(op_type: str, opset: int, **attributes: object) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT16, [3])
    graph = helper.make_graph(
        [helper.make_node(op_type, ["x"], ["y"], **attributes)], "half", [value],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, [3])],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def test_a_step_of_half_precision_is_no_mistake_and_several_are():
    compiled = compile_model(half_of("Relu", 17), make_recipe("cpu"))
    x = np.array([1, 2, 3], np.float16)
    for off, ok in ((0.03, True), (0.3, False)):
        found = check_outputs(compiled, {"x": x}, {"y": (x + off).astype(np.float16)})
        assert found["tolerance"] == 2e-2
        assert {row["reference"]: row["ok"] for row in found["outputs"]} == {"NumPy": ok, "onnxruntime": ok}


def test_a_reference_that_cannot_run_the_model_is_named():
    steps = [("Cast", "x", "a", {"to": TensorProto.BFLOAT16}), ("Relu", "a", "b", {}), ("Cast", "b", "y", {"to": 1})]
    nodes = [helper.make_node(op_type, [taken], [given], **more) for op_type, taken, given, more in steps]
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, [3])] for name in "xy"]
    model = helper.make_model(
        helper.make_graph(nodes, "brain", *ends), opset_imports=[helper.make_opsetid("", 18)], ir_version=8
    )
    x = np.array([-1, 0, 1], np.float32)
    found = check_outputs(compile_model(model, make_recipe("cpu")), {"x": x}, {"y": np.maximum(x, 0)})
    assert [(row["reference"], row["ok"]) for row in found["outputs"]] == [("NumPy", True)]
    assert "NOT_IMPLEMENTED" in found["unavailable"]["onnxruntime"]
    assert found["tolerance"] == 2e-2
