"""Tests that a model in float64 is refused by name, and with `demote_f64` computed as float32 and told so."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tstorch
from tstorch.diagnostics import DiagnosticError
from tstorch.passes.convert.demote_doubles import demoted
from tstorch.runtime.marshal import pack
from tstorch.tools.run import main

RNG = np.random.default_rng(5)
WEIGHT = RNG.standard_normal((70, 9)) * 10.0 ** RNG.integers(-3, 3, (70, 9))
EDGES = np.array([0.0, -0.0, 1e-320, 1e-40, -1e300, np.inf, -np.inf, np.nan, 1 + 2**-24, 1 + 3 * 2**-24])


def double_model(edges: np.ndarray = EDGES) -> onnx.ModelProto:
    """As torch exports one whose constants nobody thought of: casts to double, a scale and a weight in float64."""
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], "cast", to=TensorProto.DOUBLE),
        helper.make_node("MatMul", ["wide", "w"], ["product"], "product"),
        helper.make_node("Constant", [], ["scale"], "scale", value=numpy_helper.from_array(np.float64(1 / 3))),
        helper.make_node("Mul", ["product", "scale"], ["scaled"], "mul"),
        helper.make_node("Add", ["scaled", "d"], ["y"], "add"),
        helper.make_node("Mul", ["edges", "d"], ["z"], "edge"),
        helper.make_node("Cast", ["y"], ["narrow"], "narrow", to=TensorProto.FLOAT),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 70])]
    inputs += [helper.make_tensor_value_info("d", TensorProto.DOUBLE, [1])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.DOUBLE, [4, 9])]
    outputs += [helper.make_tensor_value_info("z", TensorProto.DOUBLE, [len(edges)])]
    outputs += [helper.make_tensor_value_info("narrow", TensorProto.FLOAT, [4, 9])]
    weights = [numpy_helper.from_array(WEIGHT, "w"), numpy_helper.from_array(edges, "edges")]
    graph = helper.make_graph(nodes, "doubles", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_float64_is_refused_by_name_and_the_way_out_is_told() -> None:
    with pytest.raises(DiagnosticError, match=r"'cast'.*element type float64 .*--demote-f64"):
        tstorch.load(double_model())


@pytest.mark.gpu
def test_a_demoted_model_takes_and_gives_float64() -> None:
    inputs = {"x": RNG.standard_normal((4, 70)).astype(np.float32), "d": np.array([0.25])}
    with tstorch.load(double_model(), demote_f64=True) as model:
        outputs = model.run(inputs)
        remarks = [remark for remark in model.artifact.remarks if remark["id"] == "TST-T002"]
        pipeline = model.artifact.manifest["pipeline"]
    want = inputs["x"].astype(np.float64) @ WEIGHT / 3 + inputs["d"]
    assert (outputs["y"].dtype, outputs["narrow"].dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(outputs["y"], want, rtol=1e-5, atol=1e-6 * np.abs(want).max())
    np.testing.assert_array_equal(outputs["narrow"], outputs["y"].astype(np.float32))
    flushed = np.where(np.abs(EDGES) < 2.0**-126, 0, EDGES)
    np.testing.assert_array_equal(outputs["z"], demoted(flushed).astype(np.float64) / 4)
    assert "demote-doubles" in pipeline
    assert remarks[0]["metric"]["tensors"] >= 5
    assert {"cast", "product", "mul", "add"} <= set(remarks[0]["nodes"])


@pytest.mark.gpu
def test_the_tool_takes_the_flag_and_the_report_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(double_model(np.array([0.1, -3.0])), tmp_path / "m.onnx")
    arguments = [str(tmp_path / "m.onnx"), "--iterations", "3"]
    assert main(arguments) == 1
    assert "run with --demote-f64" in capsys.readouterr().err
    assert main([*arguments, "--demote-f64", "--check"]) == 0
    assert "float64 is computed as float32" in capsys.readouterr().out


def test_a_finite_number_stays_finite_on_its_way_to_the_device() -> None:
    target = bytearray(12)
    pack({"name": "d", "storage": "f32<f64", "dtype": "float64"}, np.array([1e300, -np.inf, 0.1]), memoryview(target))
    assert np.frombuffer(target, np.float32).tolist() == [np.finfo(np.float32).max, -np.inf, np.float32(0.1)]
