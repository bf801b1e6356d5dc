"""Tests that the codes of stored types mean what ml_dtypes says they mean, in NumPy and in scalar code, to the bit."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from scalar_interpreter import interpret
from xdsl.builder import Builder
from xdsl.dialects.builtin import Float4E2M1FNType, Float8E4M3FNType, Float8E8M0FNUType, TensorType, bf16, f32, i32
from xdsl.ir import Block
from xdsl.rewriter import InsertPoint
from xdsl.utils.exceptions import VerifyException

from tstorch.diagnostics import OnnxImportError
from tstorch.dialects.onnx import ELEMENT_TYPES, element_type
from tstorch.dialects.prim.elementwise import AddOp, BitcastOp, CompareOp, ConvertOp, DecodeOp, EncodeOp
from tstorch.dialects.prim.generator import ConstantOp
from tstorch.dialects.prim.scalar import Scalar
from tstorch.dialects.prim.shape import PadOp, ReverseOp, TransposeOp
from tstorch.dialects.prim.stored import FORMATS, Format, codes_of, from_host, numbers_of
from tstorch.dialects.prim.stored_scalar import decoded, encoded
from tstorch.dialects.prim.types import array_of, type_of, ui32
from tstorch.frontend.importer import import_model
from tstorch.frontend.model_file import ModelFile

EVERY = pytest.mark.parametrize("row", FORMATS.values(), ids=lambda row: row.host)
FLOATS = pytest.mark.parametrize("row", [row for row in FORMATS.values() if row.is_float], ids=lambda row: row.host)


def host(row: Format) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, row.host))


def every_code(row: Format) -> np.ndarray:
    return np.arange(1 << row.bits).astype(row.codes)


def floats(row: Format) -> np.ndarray:
    """Floats of all sizes, the format's own numbers, what lies halfway between them, and their neighbours."""
    rng = np.random.default_rng(3)
    anything = rng.integers(0, 2**32, 100_000, dtype=np.uint32).view(np.float32)
    own = row.positive[row.positive < 3.4e38].astype(np.float32)
    halfway = ((own[1:].astype(np.float64) + own[:-1]) / 2).astype(np.float32)
    around = [np.nextafter(halfway, np.float32(to)) for to in (np.inf, 0)]
    sizes = np.concatenate([own, halfway, *around, [np.inf, 3.4e38, 1e9, 0]]).astype(np.float32)
    usual = rng.normal(0, 3, 20_000).astype(np.float32)
    found = np.concatenate([anything[~np.isnan(anything)], sizes, -sizes, usual])
    if row.facts is not None and row.facts.has_sign:
        return found
    return np.abs(found[np.isfinite(found) & (np.abs(found) >= 2.0**-126)])  # ONNX leaves the rest of E8M0 open


def same_bits(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal, the sign of zero included; NaN is NaN."""
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_array_equal(
        found[~np.isnan(found)].view(np.uint32), expected[~np.isnan(expected)].view(np.uint32)
    )


def in_scalar_code(build: object, x: np.ndarray, type: object) -> np.ndarray:
    block = Block(arg_types=[type])  # pyright: ignore[reportArgumentType]
    builder = Builder(InsertPoint.at_end(block))
    result = build(Scalar(block.args[0], builder))  # pyright: ignore[reportCallIssue]
    return interpret(block, [x], result.value)


@EVERY
def test_every_code_means_what_ml_dtypes_says(row: Format) -> None:
    codes = every_code(row)
    expected = codes.view(host(row)).astype(np.float32)
    same_bits(row.decode(codes).astype(np.float32), expected)
    same_bits(in_scalar_code(lambda x: decoded(x, row), codes.astype(np.uint32), ui32).astype(np.float32), expected)


@EVERY
def test_every_number_is_given_its_own_code(row: Format) -> None:
    codes = every_code(row)
    numbers = row.decode(codes)
    real = ~np.isnan(numbers)
    np.testing.assert_array_equal(row.encode(numbers, saturate=False)[real], codes[real])


@FLOATS
def test_rounding_is_that_of_ml_dtypes(row: Format) -> None:
    x = floats(row)
    with np.errstate(all="ignore"):
        expected = x.astype(host(row)).view(row.codes)
    np.testing.assert_array_equal(row.encode(x, saturate=False), expected)
    found = in_scalar_code(lambda v: encoded(v, row, saturate=False, rounding="nearest"), x, f32)
    np.testing.assert_array_equal(found, expected)


@FLOATS
def test_saturation_is_that_of_onnx(row: Format) -> None:
    x = floats(row)
    if row.facts is not None and row.facts.has_sign and row.bits == 8:
        expected = numpy_helper.saturate_cast(x, host(row)).view(np.uint8)
        np.testing.assert_array_equal(row.encode(x, saturate=True), expected)
    found = in_scalar_code(lambda v: encoded(v, row, saturate=True, rounding="nearest"), x, f32)
    np.testing.assert_array_equal(found, row.encode(x, saturate=True))
    assert np.isfinite(row.decode(row.encode(np.array([np.inf]), saturate=True))).all()


@pytest.mark.parametrize("rounding", ["nearest", "up", "down"])
def test_powers_of_two_are_rounded_as_onnx_does(rounding: str) -> None:
    row = FORMATS[Float8E8M0FNUType()]
    x = floats(row)
    expected = numpy_helper.to_float8e8m0(x, True, rounding).view(np.uint8)
    np.testing.assert_array_equal(row.encode(x, saturate=True, rounding=rounding), expected)
    found = in_scalar_code(lambda v: encoded(v, row, saturate=True, rounding=rounding), x, f32)
    np.testing.assert_array_equal(found, expected)


@EVERY
def test_nan_is_nan_where_the_format_has_one(row: Format) -> None:
    if row.facts is None:
        return
    codes = row.encode(np.array([np.nan, -np.nan], np.float32))
    scalar = in_scalar_code(
        lambda v: encoded(v, row, saturate=True, rounding="nearest"), np.array([np.nan, -np.nan], np.float32), f32
    )
    np.testing.assert_array_equal(codes, scalar)
    numbers = row.decode(codes)
    assert (numbers == 0).all() if row.type == Float4E2M1FNType() else np.isnan(numbers).all()


@EVERY
def test_integers_keep_their_low_bits(row: Format) -> None:
    if row.is_float:
        return
    x = np.arange(-300, 300, dtype=np.int32)
    mask = (1 << row.bits) - 1
    np.testing.assert_array_equal(row.encode(x), x.astype(host(row)).view(np.uint8) & mask)
    np.testing.assert_array_equal(
        in_scalar_code(lambda v: encoded(v, row, saturate=True, rounding="nearest"), x, i32), x & mask
    )


@EVERY
def test_arrays_cross_the_border_and_come_back(row: Format) -> None:
    array = every_code(row)[:16].view(host(row))
    inside = from_host(array, row.type)
    assert type_of(inside) == TensorType(row.type, [len(array)])
    same_bits(numbers_of(inside).astype(np.float32), array.astype(np.float32))
    np.testing.assert_array_equal(from_host(inside, row.type), inside)


def test_bits_beyond_a_small_type_do_not_count() -> None:
    row = next(row for row in FORMATS.values() if row.host == "int4")
    same_bits(row.decode(np.array([0xF8, 0x7F], np.uint8)).astype(np.float32), np.array([-8, -1], np.float32))
    np.testing.assert_array_equal(codes_of(from_host(np.array([-1], ml_dtypes.int4), row.type)), [15])


@EVERY
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "int32_data"])
def test_tensors_of_a_file_are_read(row: Format, raw: bool) -> None:
    number = next(number for number, type in ELEMENT_TYPES.items() if type == row.type)
    array = np.resize(every_code(row), 35).view(host(row)).reshape(5, 7)
    tensor = numpy_helper.from_array(array, "w")
    if not raw:
        data = np.frombuffer(tensor.raw_data, np.uint16 if row.bits == 16 else np.uint8)
        tensor = TensorProto(name="w", data_type=number, dims=[5, 7], int32_data=data.tolist())
    graph = helper.make_graph([], "g", [], [onnx.ValueInfoProto(name="w")], initializer=[tensor])
    found = ModelFile(helper.make_model(graph)).array("w", TensorType(row.type, [5, 7]))
    assert type_of(found) == TensorType(row.type, [5, 7])
    same_bits(numbers_of(found).astype(np.float32), array.astype(np.float32))


@EVERY
def test_codes_are_moved_and_not_computed_with(row: Format) -> None:
    x = array_of(row.decode(np.resize(every_code(row), (2, 3))), row.type)
    value = ConstantOp(x)
    [turned] = TransposeOp(value, permutation=[1, 0]).reference(x)
    same_bits(numbers_of(turned).astype(np.float32), numbers_of(x).astype(np.float32).T.copy())
    [reverse] = ReverseOp(value, dimensions=[1]).reference(x)
    assert reverse.dtype == x.dtype
    fill = array_of(1.0, row.type)
    [padded] = PadOp(value, ConstantOp(fill), low=[1, 0], high=[0, 0], interior=[0, 0]).reference(x, fill)
    np.testing.assert_array_equal(numbers_of(padded)[0], [1, 1, 1])
    with pytest.raises(VerifyException, match="not defined on"):
        CompareOp(value, value, direction="lt")
    with pytest.raises(VerifyException, match=r"prim\.decode"):
        ConvertOp(value, element_type=f32)


def test_codes_are_held_against_their_format() -> None:
    codes = ConstantOp(np.zeros(3, np.uint8))
    with pytest.raises(VerifyException, match="no stored format"):
        DecodeOp(codes, format=f32)
    with pytest.raises(VerifyException, match="the codes of bf16 are bf16 or ui16, not ui8"):
        DecodeOp(codes, format=bf16)
    with pytest.raises(VerifyException, match="made of f32"):
        EncodeOp(codes, format=bf16)
    with pytest.raises(VerifyException, match="rounds to the nearest"):
        EncodeOp(ConstantOp(np.zeros(3, np.float32)), format=Float8E4M3FNType(), rounding="up")
    with pytest.raises(VerifyException, match="keeps the width"):
        BitcastOp(ConstantOp(array_of([1.0], Float4E2M1FNType())), element_type=i32)


def test_a_sum_of_codes_is_refused() -> None:
    x = ConstantOp(array_of([1.0], bf16))
    with pytest.raises(VerifyException, match="not defined on bf16"):
        AddOp(x, x)


def test_codes_that_were_read_are_not_made_anew() -> None:
    x = ConstantOp(array_of([1.0], bf16))
    assert EncodeOp(DecodeOp(x, format=bf16), format=bf16).forwarded() is x.result
    other = EncodeOp(DecodeOp(x, format=bf16), format=Float8E4M3FNType())
    assert other.forwarded() is None


def test_a_type_without_a_form_is_named() -> None:
    with pytest.raises(VerifyException, match="element type COMPLEX64 has no form here"):
        element_type(TensorProto.COMPLEX64)
    with pytest.raises(VerifyException, match="element type number 99 has no form here"):
        element_type(99)
    values = [helper.make_tensor_value_info(name, TensorProto.COMPLEX64, [2]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", values[:1], values[1:])
    with pytest.raises(OnnxImportError, match="input 'x' is a tensor of element type COMPLEX64; a graph input must be"):
        import_model(helper.make_model(graph))
