"""Tests that models of stored types run: bfloat16, the floats of 8 and 4 bits, the integers of 4 and 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import tstorch
from tstorch import backend
from tstorch.check import check_outputs, relative_error
from tstorch.diagnostics import DiagnosticError, RunError
from tstorch.dialects.prim.stored import FORMATS, Format
from tstorch.frontend.importer import import_model
from tstorch.frontend.weights import WeightStore
from tstorch.inputs import draw_inputs, load_arrays
from tstorch.levels import Level
from tstorch.pipeline import compile
from tstorch.runtime.dtypes import bits_of, dtype_name, holds, named_dtype
from tstorch.runtime.marshal import check_inputs, pack, unpack
from tstorch.semantics import SemanticsChecker

EVERY = pytest.mark.parametrize("row", FORMATS.values(), ids=lambda row: row.host)
PACKED = pytest.mark.parametrize("row", [row for row in FORMATS.values() if row.bits < 8], ids=lambda row: row.host)
BF16 = ml_dtypes.bfloat16


def number_of(dtype: np.dtype | type) -> int:
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def host(row: Format) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, row.host))


def model_of(
    nodes: list[NodeProto],
    inputs: dict[str, np.ndarray],
    outputs: dict[str, tuple[np.dtype | type, list[int]]],
    stored: dict[str, np.ndarray] | None = None,
) -> ModelProto:
    """A model whose inputs are as these arrays, and whose initializers are others."""
    taken = [helper.make_tensor_value_info(name, number_of(x.dtype), x.shape) for name, x in inputs.items()]
    made = [helper.make_tensor_value_info(name, number_of(dtype), shape) for name, (dtype, shape) in outputs.items()]
    held = [numpy_helper.from_array(array, name) for name, array in (stored or {}).items()]
    graph = helper.make_graph(nodes, "g", taken, made, initializer=held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=11)


def expected(model: ModelProto, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    return ReferenceEvaluator(model).run(None, dict(inputs))  # pyright: ignore[reportReturnType]


def equal(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found.astype(np.float32), wanted.astype(np.float32))


@pytest.mark.gpu
@EVERY
def test_every_code_is_read_to_the_bit(row: Format) -> None:
    codes = np.arange(1 << row.bits).astype(row.codes).view(host(row))
    model = model_of([helper.make_node("Cast", ["x"], ["y"], to=1)], {"x": codes}, {"y": (np.float32, [codes.size])})
    [y] = backend.run_model(model, [codes])
    wanted = codes.astype(np.float32)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(wanted))
    real = ~np.isnan(wanted)
    np.testing.assert_array_equal(y[real].view(np.uint32), wanted[real].view(np.uint32))


@pytest.mark.gpu
@EVERY
def test_codes_are_moved_as_they_are(row: Format) -> None:
    x = np.resize(np.arange(1 << row.bits).astype(row.codes), (5, 7)).view(host(row))
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"]),
        helper.make_node("Concat", ["t", "t"], ["c"], axis=1),
        helper.make_node("Identity", ["x"], ["i"]),
    ]
    model = model_of(nodes, {"x": x}, {"c": (host(row), [7, 10]), "i": (host(row), [5, 7])})
    turned, same = backend.run_model(model, [x])
    equal(turned, np.concatenate([x.T, x.T], 1))
    equal(same, x)


@pytest.mark.gpu
@PACKED
def test_weights_below_a_byte_stay_packed(row: Format) -> None:
    rng = np.random.default_rng(5)
    w = rng.integers(0, 1 << row.bits, (64, 33)).astype(np.uint8).view(host(row))
    s = rng.uniform(0.5, 1, (2, 33)).astype(np.float32)
    x = rng.normal(size=(3, 64)).astype(np.float32)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"], axis=0, block_size=32),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    model = model_of(nodes, {"x": x}, {"y": (np.float32, [3, 33])}, {"w": w, "s": s})
    rep = backend.prepare(model)
    [y] = rep.run([x])
    [wanted] = expected(model, {"x": x})
    np.testing.assert_allclose(y, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())
    [weight] = [w for w in rep.plans[-1].compiled.artifact.program["weights"] if w["name"] == "w"]
    assert weight["bytes"] == 64 * 33 * row.bits // 8


@pytest.mark.gpu
def test_each_node_of_bfloat16_rounds_once() -> None:
    rng = np.random.default_rng(5)
    x, w = rng.normal(size=(4, 64)).astype(BF16), rng.normal(size=(64, 32)).astype(BF16)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Mul", ["h", "h"], ["m"]),
        helper.make_node("Sub", ["m", "h"], ["y"]),
        helper.make_node("Greater", ["m", "h"], ["g"]),
        helper.make_node("ReduceMax", ["m"], ["r"]),
    ]
    outputs = {"h": (BF16, [4, 32]), "y": (BF16, [4, 32]), "g": (np.bool_, [4, 32]), "r": (BF16, [1, 1])}
    model = model_of(nodes, {"x": x}, outputs, {"w": w})
    h, y, g, r = backend.run_model(model, [x])
    wanted = (x.astype(np.float64) @ w.astype(np.float64)).astype(BF16)
    np.testing.assert_allclose(h.astype(np.float32), wanted.astype(np.float32), rtol=2**-7)
    equal(y, h * h - h)
    np.testing.assert_array_equal(g, h * h > h)
    equal(r, (h * h).max(keepdims=True))


@pytest.mark.gpu
def test_a_saved_artifact_takes_what_numpy_stored(tmp_path: Path) -> None:
    x = np.array([1.5, -2, 300], BF16)
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT8E4M3FN)]
    rep = backend.prepare(model_of(nodes, {"x": x}, {"y": (ml_dtypes.float8_e4m3fn, [3])}))
    rep.plans[-1].compiled.artifact.write(tmp_path / "m.tst")
    np.savez(tmp_path / "x.npz", x=x)
    stored = load_arrays(tmp_path / "x.npz")
    assert stored["x"].dtype == np.dtype("V2")
    with tstorch.load(tmp_path / "m.tst") as model:
        equal(model.run(stored)["y"], np.array([1.5, -2, 288]).astype(ml_dtypes.float8_e4m3fn))


def test_inputs_are_drawn_where_nobody_knows_their_type() -> None:
    code = """
import sys
from tstorch.inputs import draw_inputs
found = draw_inputs([{"name": "x", "dtype": "bfloat16", "shape": [3], "law": {"kind": "ones"}}])["x"]
assert "ml_dtypes" not in sys.modules
print(found.dtype.names[0], *found["bfloat16"])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["bfloat16", "16256", "16256", "16256"]
    equal(
        draw_inputs([{"name": "x", "dtype": "bfloat16", "shape": [3], "law": {"kind": "ones"}}])["x"], np.ones(3, BF16)
    )


def test_a_type_that_does_not_exist_is_named() -> None:
    with pytest.raises(DiagnosticError, match="there is no element type 'float7'"):
        draw_inputs([{"name": "x", "dtype": "float7", "shape": [3]}])


@EVERY
def test_codes_cross_to_the_worker_and_back(row: Format) -> None:
    array = np.arange(1 << row.bits).astype(row.codes)[:10].view(host(row))
    value = {"name": "x", "dtype": row.host, "shape": [array.size], "storage": f"u{row.width}"}
    memory = bytearray(b"\xff" * 32)
    pack(value, array, memoryview(memory))
    back = unpack(value, memoryview(memory))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(bits_of(back), bits_of(array))
    assert dtype_name(array.dtype) == row.host
    assert named_dtype(row.host, array.itemsize) == array.dtype


def test_a_name_that_nobody_knows_stands_for_codes() -> None:
    dtype = named_dtype("float8_nobody", 1)
    assert (dtype_name(dtype), dtype.itemsize) == ("float8_nobody", 1)
    np.testing.assert_array_equal(bits_of(np.array([3, 255], np.uint8).view(dtype)), [3, 255])


@pytest.mark.parametrize(
    ("dtype", "fits"),
    [(BF16, True), ("V2", True), ("V1", False), (np.uint16, False), (np.float16, False), (ml_dtypes.int4, False)],
    ids=str,
)
def test_only_what_may_be_of_the_type_is_taken_for_it(dtype: type | str, fits: bool) -> None:
    assert holds(np.dtype(dtype), "bfloat16", 2) == fits
    assert not holds(np.dtype("V4"), "float32", 4)


def test_another_type_of_the_same_width_is_refused() -> None:
    value = {"name": "x", "dtype": "bfloat16", "shape": [2], "storage": "u16"}
    check_inputs([value], {"x": np.zeros(2, BF16)})
    with pytest.raises(RunError, match=r"input 'x' is float16\[2\]; expected x: bfloat16\[2\]"):
        check_inputs([value], {"x": np.zeros(2, np.float16)})


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [BF16, np.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("shape", [(3, 8), (3, 5), (1, 8), (5, 1)], ids=str)
def test_a_row_s_one_sum_goes_back_to_narrow_rows(dtype: type, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    x, s = rng.normal(size=shape).astype(dtype), rng.normal(size=shape[1:]).astype(dtype)
    nodes = [helper.make_node("RMSNormalization", ["x", "s"], ["y"])]
    model = model_of(nodes, {"x": x, "s": s}, {"y": (dtype, list(shape))})
    [y] = backend.run_model(model, [x, s])
    wide = x.astype(np.float64)
    wanted = wide / np.sqrt((wide * wide).mean(-1, keepdims=True) + 1e-5) * s.astype(np.float64)
    assert y.dtype == dtype
    np.testing.assert_allclose(y.astype(np.float64), wanted, rtol=2**-7, atol=1e-6)


@pytest.mark.gpu
def test_a_result_typed_like_its_operand_by_default_is_bfloat16() -> None:
    x = np.ones((2, 3), BF16)
    model = model_of([helper.make_node("EyeLike", ["x"], ["y"])], {"x": x}, {"y": (BF16, [2, 3])})
    equal(backend.run_model(model, [x])[0], np.eye(2, 3).astype(BF16))


def test_no_gradient_goes_silently_through_bfloat16() -> None:
    x = np.ones(3, np.float32)
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], "halve", to=TensorProto.BFLOAT16),
        helper.make_node("Mul", ["h", "h"], ["m"]),
        helper.make_node("Cast", ["m"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["f"], ["y"], keepdims=0),
    ]
    model = model_of(nodes, {"x": x}, {"y": (np.float32, [])})
    with pytest.raises(DiagnosticError, match=r"^onnx 'halve' \(Cast, opset 25\): the loss depends .* through bf16"):
        tstorch.grads(model, {"x": x}, "x")


@pytest.mark.gpu
def test_a_gradient_that_meets_no_bfloat16_is_computed() -> None:
    x = np.array([1, -2, 3], np.float32)
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["m"]),
        helper.make_node("ReduceSum", ["m"], ["y"], keepdims=0),
        helper.make_node("Cast", ["m"], ["h"], to=TensorProto.BFLOAT16),
    ]
    model = model_of(nodes, {"x": x}, {"y": (np.float32, []), "h": (BF16, [3])})
    np.testing.assert_allclose(tstorch.grads(model, {"x": x}, "x", output="y")["x"], 2 * x)


def test_weights_of_bfloat16_are_not_left_untrained() -> None:
    x, w = np.ones((1, 3), np.float32), np.ones((3, 70), BF16)
    nodes = [
        helper.make_node("Cast", ["w"], ["v"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "v"], ["y"]),
    ]
    model = model_of(nodes, {"x": x}, {"y": (np.float32, [1, 70])}, {"w": w})
    with pytest.raises(DiagnosticError, match=r"'w' is tensor<3x70xbf16>, which is not trained"):
        tstorch.train(model, loss="mse")


@pytest.mark.gpu
@pytest.mark.parametrize(
    "row", [row for row in FORMATS.values() if row.host in ("bfloat16", "int4", "float8_e5m2")], ids=str
)
def test_the_references_know_stored_types(row: Format) -> None:
    x = np.array([1, -2, 0], np.float32).astype(host(row))
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=1),
        helper.make_node("Cast", ["f"], ["y"], to=number_of(host(row))),
    ]
    model = model_of(nodes, {"x": x}, {"f": (np.float32, [3]), "y": (host(row), [3])})
    with tstorch.load(model) as loaded:
        rows = check_outputs(loaded.compiled, {"x": x}, loaded.run({"x": x}))
    assert all(row["ok"] for row in rows["outputs"])
    assert {row["output"] for row in rows["outputs"]} == {"f", "y"}
    assert set(rows["unavailable"]) <= {"onnxruntime"}


def test_bare_codes_of_a_reference_are_read_as_the_result_s_type() -> None:
    found = np.array([1.5, 448], ml_dtypes.float8_e4m3fn)
    assert relative_error(found, found.view(np.uint8)) == 0
    assert relative_error(found, np.array([1.5, 1], ml_dtypes.float8_e4m3fn).view(np.uint8)) > 1


@pytest.mark.parametrize("dtype", [BF16, ml_dtypes.float8_e4m3fn, ml_dtypes.int4], ids=lambda dtype: dtype.__name__)
def test_every_pass_keeps_what_codes_mean(dtype: type) -> None:
    x, w = np.ones((2, 64), dtype), np.resize(np.arange(-2, 2), (64, 33)).astype(np.float32).astype(dtype)
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["w"], ["v"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["f", "v"], ["h"]),
        helper.make_node("Cast", ["h"], ["y"], to=number_of(dtype)),
    ]
    model = model_of(nodes, {"x": x}, {"h": (np.float32, [2, 33]), "y": (dtype, [2, 33])}, {"w": w})
    store = WeightStore()
    compile(import_model(model, store=store), to=Level.BUF, observers=[SemanticsChecker(store)])
