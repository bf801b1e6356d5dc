"""Tests that what is ordered and chosen by value is what ONNX's reference evaluator says, on larger random inputs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt
from onnx.reference import ReferenceEvaluator

from tstorch import backend
from tstorch.compiled import Recipe, compile_model

pytestmark = pytest.mark.gpu

Arrays = Sequence[np.ndarray]


def drawn(seed: int, shape: Sequence[int], values: int = 3, dtype: type = np.float32) -> np.ndarray:
    """Few different numbers, so that many are equal."""
    return np.random.default_rng(seed).integers(-values, values, shape).astype(dtype)


def model(op_type: str, inputs: Arrays, outputs: int, attributes: Mapping[str, Any]) -> onnx.ModelProto:
    names, results = [f"x{at}" for at in range(len(inputs))], [f"y{at}" for at in range(outputs)]
    taken = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in zip(names, inputs, strict=True)
    ]
    node = helper.make_node(op_type, names, results, **attributes)
    graph = helper.make_graph([node], "g", taken, [onnx.ValueInfoProto(name=name) for name in results])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])


def check(op_type: str, inputs: Arrays, outputs: int = 1, **attributes: Any) -> None:
    """Equal to the reference evaluator in every element, and in type and shape."""
    made = model(op_type, inputs, outputs, attributes)
    expected = ReferenceEvaluator(made).run(None, {f"x{at}": array for at, array in enumerate(inputs)})
    compare(backend.run_model(made, list(inputs), "CPU"), expected)


def compare(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> None:
    for got, want in zip(found, expected, strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(("shape", "axis"), [((4000,), 0), ((3, 700), 1), ((300, 2, 3), 0)])
@pytest.mark.parametrize("largest", [0, 1])
def test_of_equal_elements_top_k_takes_the_first(shape: tuple[int, ...], axis: int, largest: int) -> None:
    x, k = drawn(1, shape), shape[axis] // 3
    order = np.argsort(-x if largest else x, axis=axis, kind="stable").take(range(k), axis)
    found = backend.run_model(
        model("TopK", [x, np.array([k])], 2, {"axis": axis, "largest": largest}), [x, np.array([k])]
    )
    compare(found, [np.take_along_axis(x, order, axis), order])


@pytest.mark.parametrize("dtype", [np.float16, np.uint8, np.int16, np.uint32, np.int64])
def test_top_k_of_every_width(dtype: type) -> None:
    inputs = [drawn(9, (5, 37), 50).astype(dtype), np.array([10])]
    order = np.argsort(inputs[0], axis=1, kind="stable")[:, :10]
    found = backend.run_model(model("TopK", inputs, 2, {"largest": 0}), inputs)
    compare(found, [np.take_along_axis(inputs[0], order, 1), order])


def test_top_k_refuses_more_elements_than_there_are() -> None:
    inputs = [drawn(1, (3, 4)), np.array([5])]
    with pytest.raises(BackendIsNotSupposedToImplementIt, match=r"TopK.*k is 5; expected 0 to 4"):
        backend.run_model(model("TopK", inputs, 2, {}), inputs)


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64, np.uint8, np.bool_])
def test_non_zero_finds_all(dtype: type) -> None:
    check("NonZero", [drawn(2, (3, 50, 21), 2).astype(dtype)])


def test_non_zero_of_nothing_but_zeros_is_empty() -> None:
    check("NonZero", [np.zeros((2, 3), np.float32)])


@pytest.mark.parametrize(("axis", "length"), [(0, 40), (1, 3), (2, 1), (-1, 50)])
def test_compress_keeps_whole_slices(axis: int, length: int) -> None:
    check("Compress", [drawn(3, (40, 3, 50)), drawn(4, (length,), 1).astype(bool)], axis=axis)


def test_compress_without_an_axis_keeps_elements() -> None:
    check("Compress", [drawn(3, (40, 3, 50)), drawn(4, (3000,), 1).astype(bool)])


def test_a_condition_that_is_known_cuts_at_compile_time() -> None:
    x, condition = drawn(10, (3, 6)), np.arange(6) % 2 == 0
    made = model("Compress", [x, condition], 1, {"axis": 1})
    del made.graph.input[1]
    made.graph.initializer.append(numpy_helper.from_array(condition, "x1"))
    assert compile_model(made, Recipe()).artifact.program["outputs"][0]["shape"] == [3, 3]
    compare(backend.run_model(made, [x], "CPU"), [x[:, condition]])


@pytest.mark.parametrize("in_order", [0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8])
def test_unique_elements(dtype: type, in_order: int) -> None:
    check("Unique", [drawn(5, (5000,), 90).astype(dtype)], 4, sorted=in_order)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_unique_slices(axis: int) -> None:
    check("Unique", [drawn(6, (70, 60, 2), 1)], 4, axis=axis)


def test_unique_slices_in_the_order_of_their_first_places() -> None:
    x = np.array([[2, 1], [1, 0], [2, 1], [0, 0], [1, 0]], np.float32)
    found = backend.run_model(model("Unique", [x], 4, {"axis": 0, "sorted": 0}), [x])
    compare(found, [x[[0, 1, 3]], np.array([0, 1, 3]), np.array([0, 1, 0, 2, 1]), np.array([2, 2, 1])])


def test_unique_takes_all_that_is_no_number_for_one_number() -> None:
    x = np.array([np.nan, 1, -0.0, 0.0, np.nan, 1, -5], np.float32)
    check("Unique", [x], 4)


@pytest.mark.parametrize("centred", [0, 1])
@pytest.mark.parametrize(("limit", "overlap", "score"), [(7, 0.1, 0.3), (1000, 0.5, 0.0), (20, 0.0, 0.95)])
def test_boxes_that_stay(centred: int, limit: int, overlap: float, score: float) -> None:
    rng = np.random.default_rng(limit)
    first, sides = rng.uniform(0, 12, (2, 150, 2)), rng.uniform(-0.3, 3, (2, 150, 2))
    boxes = np.concatenate([first, sides if centred else first + sides], -1).astype(np.float32)
    scores = (rng.integers(0, 40, (2, 3, 150)) / 40).astype(np.float32)
    thresholds = [np.array([number], np.float32) for number in (overlap, score)]
    check("NonMaxSuppression", [boxes, scores, np.array([limit]), *thresholds], center_point_box=centred)


def test_more_choices_than_an_invocation_can_make_are_refused() -> None:
    inputs = [np.zeros((1, 30000, 4), np.float32), np.zeros((1, 1, 30000), np.float32), np.array([30000])]
    with pytest.raises(BackendIsNotSupposedToImplementIt, match=r"30000 of 30000 boxes .* expected at most 8886"):
        backend.run_model(model("NonMaxSuppression", inputs, 1, {}), inputs)


def test_no_box_stays_where_none_is_asked_for() -> None:
    boxes, scores = drawn(7, (1, 5, 4)), drawn(8, (1, 1, 5))
    check("NonMaxSuppression", [boxes, scores, np.array([0]), np.float32([0.5]), np.float32([0.0])])
