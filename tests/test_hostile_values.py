"""Tests of values that break naive kernels: NaN, infinities, zeros of both signs, extremes, ties, long sums."""

import warnings
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from tstorch import backend

pytestmark = pytest.mark.gpu

INF, NAN = np.inf, np.nan
UNITS = 2.0**-24
"""Half a unit in the last place of f32."""


def node(op_type: str, inputs: list[np.ndarray], opset: int = 18, **attributes: Any) -> onnx.ModelProto:
    names = [f"x{at}" for at in range(len(inputs))]
    given = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in zip(names, inputs, strict=True)
    ]
    graph = helper.make_graph(
        [helper.make_node(op_type, names, ["y"], name="n", **attributes)], "one", given, [onnx.ValueInfoProto(name="y")]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def ours(op_type: str, inputs: list[np.ndarray], opset: int = 18, **attributes: Any) -> np.ndarray:
    return np.asarray(backend.prepare(node(op_type, inputs, opset, **attributes)).run(inputs)[0])


def expected(op_type: str, inputs: list[np.ndarray], opset: int = 18, **attributes: Any) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        evaluator = ReferenceEvaluator(node(op_type, inputs, opset, **attributes))
        (found,) = evaluator.run(None, {f"x{at}": array for at, array in enumerate(inputs)})
        return np.asarray(found)


def assert_same(op_type: str, inputs: list[np.ndarray], opset: int = 18, **attributes: Any) -> None:
    found, wanted = ours(op_type, inputs, opset, **attributes), expected(op_type, inputs, opset, **attributes)
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=1.2e-38)  # what is smaller, a device may take for 0


SPECIAL = np.array(
    [0.0, -0.0, 1, -1, NAN, INF, -INF, 1e-30, 3.4e38, -3.4e38, 88, 89, -88, -104, 10, -10, 0.5, -0.5, 1.5, 2.5, -2.5,
     -1e-8, 1e-8, 1e5, 16777216.0, 2147483648.0], np.float32)  # fmt: skip
UNARY = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cosh", "Erf", "Exp", "Floor", "IsNaN", "IsInf",
    "Log", "Neg", "Round", "Sign", "Sinh", "Sqrt", "Tanh", "Reciprocal", "Relu", "LeakyRelu", "Elu", "Selu", "Celu",
    "Cos", "Sin", "Tan", "HardSwish", "HardSigmoid", "Softsign",
)  # fmt: skip


@pytest.mark.parametrize("op_type", UNARY)
def test_a_function_of_one_special_value(op_type: str):
    assert_same(op_type, [SPECIAL])


def test_sigmoid_and_softplus_neither_overflow_nor_lose_what_is_small():
    for op_type, exact in (("Sigmoid", lambda x: 1 / (1 + np.exp(-x))), ("Softplus", lambda x: np.logaddexp(0, x))):
        x = np.array([-INF, -100, -88, -20, -1e-8, 0, 20, 88, 100, INF, NAN], np.float32)
        with np.errstate(all="ignore"):
            wanted = exact(x.astype(np.float64))
        np.testing.assert_allclose(ours(op_type, [x]), wanted, rtol=2e-5, atol=1.2e-38)


PAIRS = np.array([0.0, -0.0, 1, -1, NAN, INF, -INF, 2.5, -2.5, 1e38, -1e38, 3, -3, 7.25], np.float32)


@pytest.mark.parametrize(
    "op_type", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Equal", "Less", "GreaterOrEqual"]
)
def test_a_function_of_two_special_values(op_type: str):
    left, right = (np.ascontiguousarray(side) for side in np.meshgrid(PAIRS, PAIRS))
    assert_same(op_type, [left, right])


def test_a_remainder_of_floats_is_exact_whatever_the_quotient():
    rng = np.random.default_rng(0)
    left, right = (
        (10.0 ** rng.uniform(low, high, 500) * rng.choice([-1, 1], 500)).astype(np.float32)
        for low, high in ((-30, 37), (-30, 36))
    )
    np.testing.assert_array_equal(ours("Mod", [left, right], fmod=1), np.fmod(left, right))
    assert_same("Mod", [np.linspace(-9, 9, 61, dtype=np.float32), np.full(61, 0.3, np.float32)], fmod=1)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32])
def test_integers_wrap_and_their_quotients_and_remainders_have_onnx_signs(kind: type):
    limits = np.iinfo(kind)
    some = {limits.min, limits.min + 1, 0, 1, 2, 3, 7, limits.max - 1, limits.max} | (
        {-1, -2, -7} if limits.min else set()
    )
    values = np.array(sorted(some), kind)
    left, right = (np.ascontiguousarray(side) for side in np.meshgrid(values, values))
    for op_type in ("Add", "Sub", "Mul", "Max", "Min", "BitwiseAnd", "BitwiseOr", "BitwiseXor"):
        assert_same(op_type, [left, right])
    divisors = values[(values != 0) & ((values + 1 != 0) | (limits.min == 0))]  # the lowest / -1 has no result
    left, right = (np.ascontiguousarray(side) for side in np.meshgrid(values, divisors))
    wide = left.astype(np.int64), right.astype(np.int64)
    quotient = np.abs(wide[0]) // np.abs(wide[1]) * np.sign(wide[0]) * np.sign(wide[1])
    np.testing.assert_array_equal(ours("Div", [left, right]), quotient.astype(kind))
    np.testing.assert_array_equal(ours("Mod", [left, right]), np.mod(*wide).astype(kind))
    np.testing.assert_array_equal(ours("Mod", [left, right], fmod=1), np.fmod(*wide).astype(kind))


def test_floats_become_integers_towards_zero_and_stay_within_them():
    x = np.array([0.0, -0.5, 0.5, 1.5, -1.9, 2.9, 127.9, 128, -129, 1e20, -1e20, NAN], np.float32)
    for type, kind in ((TensorProto.INT8, np.int8), (TensorProto.UINT8, np.uint8), (TensorProto.INT32, np.int32)):
        limits = np.iinfo(kind)
        wanted = np.nan_to_num(np.trunc(x.astype(np.float64)), nan=0).clip(limits.min, limits.max).astype(kind)
        np.testing.assert_array_equal(ours("Cast", [x], to=type), wanted)


ROWS = np.array(
    [[INF, 1, 2], [-INF, -INF, -INF], [NAN, 1, 2], [1e38, 3e38, -3e38], [88, 89, 90], [-1e4, -1e4, -1e4],
     [1e4, 0, -1e4], [INF, INF, 0], [-INF, 0, 1]], np.float32)  # fmt: skip


def test_a_softmax_of_extremes():
    assert_same("Softmax", [ROWS], axis=1)
    with np.errstate(all="ignore"):
        wide = ROWS.astype(np.float64)
        shifted = wide - wide.max(1, keepdims=True)
        wanted = (shifted - np.log(np.exp(shifted).sum(1, keepdims=True))).astype(np.float32)
    np.testing.assert_allclose(ours("LogSoftmax", [ROWS], axis=1), wanted, rtol=2e-5)


@pytest.mark.parametrize(
    "op_type", ["ReduceMax", "ReduceMin", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare"]
)
def test_a_reduction_of_extremes(op_type: str):
    assert_same(op_type, [ROWS], opset=11, axes=[1], keepdims=0)


def test_a_sum_of_powers_of_nothing_is_nothing():
    np.testing.assert_array_equal(ours("ReduceLogSumExp", [ROWS[1:2]], opset=11, axes=[1], keepdims=0), [-INF])
    np.testing.assert_allclose(ours("ReduceLogSumExp", [ROWS[4:5]], opset=11, axes=[1], keepdims=0), [90.407606])


@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("op_type", ["ArgMax", "ArgMin"])
def test_of_equal_extremes_the_first_is_found_or_the_last(op_type: str, last: int):
    ties = np.array([[1, 3, 3, 1], [-INF, -INF, -INF, -INF], [INF, INF, 1, INF], [0.0, -0.0, 0.0, -0.0]], np.float32)
    assert_same(op_type, [ties], axis=1, select_last_index=last)


@pytest.mark.parametrize(
    ("shape", "axes"), [((1, 1 << 20), [1]), ((4, 65521), [1]), ((1 << 16, 4), [0]), ((3, 300, 301), [1, 2])]
)
def test_the_mean_of_many_equal_numbers_is_that_number(shape: tuple[int, ...], axes: list[int]):
    """Added up one after the other they would be off by thousands of units: 0.1 is rounded the same way each time."""
    x = np.full(shape, 0.1, np.float32)
    found = ours("ReduceMean", [x], opset=11, axes=axes).astype(np.float64)
    assert np.abs(found / np.float64(np.float32(0.1)) - 1).max() < 128 * UNITS


def test_the_variance_of_large_numbers_that_differ_little_is_not_lost():
    x = (1000 + np.random.default_rng(0).standard_normal((4, 512))).astype(np.float32)
    found = ours("LayerNormalization", [x, np.ones(512, np.float32)])
    wide = x.astype(np.float64)
    wanted = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_a_row_spread_back_may_be_all_that_says_where_a_column_is():
    x = np.arange(18, dtype=np.float32).reshape(6, 3)
    given = {"x": x, "t": np.where(x % 3 == 0, x + 2, x), "u": 2 * x.reshape(6, 3, 1)}
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], axes=[1]),
        helper.make_node("Expand", ["top", "wide"], ["spread"]),
        helper.make_node("Equal", ["spread", "t"], ["hit"]),
        helper.make_node("Reshape", ["hit", "deep"], ["mask"]),
        helper.make_node("Where", ["mask", "u", "zero"], ["y"]),
    ]
    stored = {"wide": np.array([6, 3]), "deep": np.array([6, 3, 1]), "zero": np.zeros((1, 1, 1), np.float32)}
    graph = helper.make_graph(
        nodes,
        "rows",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in given.items()],
        [onnx.ValueInfoProto(name="y")],
        [onnx.numpy_helper.from_array(array, name) for name, array in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (found,) = backend.prepare(model).run(given)
    hit = given["t"] == x.max(1, keepdims=True)
    np.testing.assert_array_equal(found, np.where(hit[..., None], given["u"], 0))


def test_before_opset_13_a_scale_for_each_channel_is_refused_by_name():
    x, scales, zeros = np.zeros((3, 4), np.float32), np.ones(4, np.float32), np.zeros(4, np.uint8)
    with pytest.raises(Exception, match=r"'n' \(QuantizeLinear, opset 10\).*one number for the whole tensor"):
        ours("QuantizeLinear", [x, scales, zeros], opset=10)
    assert ours("QuantizeLinear", [x, scales, zeros], opset=13, axis=1).dtype == np.uint8
