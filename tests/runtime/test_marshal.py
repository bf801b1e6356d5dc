"""What crosses between NumPy and a buffer: checked, narrowed, packed, widened."""

import numpy as np
import pytest

from tstorch.diagnostics import RunError
from tstorch.runtime.marshal import check_inputs, pack, start_bytes, unpack

IMAGE = {"name": "image", "dtype": "float32", "shape": [2, 3], "storage": "f32", "bytes": 24}


@pytest.mark.parametrize(
    ("storage", "array"),
    [
        ("f32", np.array([1.5, -2.0, np.inf], np.float32)),
        ("f16", np.array([1.5, -2.0, 65504.0], np.float16)),
        ("i32", np.array([1, -2, 2**31 - 1], np.int32)),
        ("u32", np.array([1, 2, 2**32 - 1], np.uint32)),
        ("u8", np.array([1, 2, 255], np.uint8)),
        ("i32<i64", np.array([1, -2, 2**31 - 1], np.int64)),
        ("u32<bool", np.array([True, False, True])),
    ],
)
def test_storage_round_trips(storage, array):
    value = {"name": "x", "dtype": str(array.dtype), "shape": [3], "storage": storage}
    memory = bytearray(b"\xff" * (-(-3 * {"f16": 2, "u8": 1}.get(storage, 4) // 4) * 4))
    pack(value, array, memoryview(memory))
    back = unpack(value, memoryview(memory))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def test_bytes_are_packed_four_to_a_word_and_padded_with_zeros():
    value = {"name": "x", "dtype": "uint8", "shape": [5], "storage": "u8"}
    memory = bytearray(b"\xff" * 8)
    pack(value, np.arange(1, 6, dtype=np.uint8), memoryview(memory))
    assert np.frombuffer(memory, "<u4").tolist() == [0x04030201, 0x00000005]


def test_arrays_that_are_views_are_packed_in_order():
    memory = bytearray(24)
    pack(IMAGE, np.arange(6, dtype=np.float32).reshape(3, 2).T, memoryview(memory))
    assert np.frombuffer(memory, "<f4").tolist() == [0, 2, 4, 1, 3, 5]


def test_an_integer_that_does_not_fit_is_named():
    value = {"name": "ids", "dtype": "int64", "shape": [2], "storage": "i32<i64"}
    with pytest.raises(RunError, match=r"'ids' holds values from 0 to 2147483648; expected -2147483648 to 2147483647"):
        pack(value, np.array([0, 2**31]), memoryview(bytearray(8)))


def test_the_declared_range_is_the_rule():
    value = {"name": "ids", "dtype": "int64", "shape": [2], "storage": "i32<i64", "range": [0, 9]}
    pack(value, np.array([0, 9]), memoryview(bytearray(8)))
    with pytest.raises(RunError, match="from -1 to 3; expected 0 to 9"):
        pack(value, np.array([-1, 3]), memoryview(bytearray(8)))


def test_good_inputs_pass():
    check_inputs([IMAGE], {"image": np.zeros((2, 3), np.float32)})


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "input 'image' is missing"),
        ({"image": np.zeros((2, 3), np.float32), "mask": np.zeros(1)}, "there is no input 'mask'"),
        ({"image": np.zeros((2, 3))}, r"input 'image' is float64\[2, 3\]"),
        ({"image": np.zeros((3, 2), np.float32)}, r"input 'image' is float32\[3, 2\]"),
    ],
)
def test_wrong_inputs_are_named_with_what_is_expected(given, problem):
    with pytest.raises(RunError, match=problem + r".*; expected image: float32\[2, 3\]"):
        check_inputs([IMAGE], given)


def test_a_filled_state_starts_from_its_value():
    state = {"name": "m", "dtype": "float32", "shape": [3], "storage": "f32", "bytes": 16, "start": {"fill": 0.5}}
    assert start_bytes(state).view("<f4").tolist() == [0.5, 0.5, 0.5, 0.0]
