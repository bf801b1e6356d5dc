"""Element types, their NumPy dtypes, and the small attributes that primitives are described by."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from math import prod

import numpy as np
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    DenseArrayBase,
    Float16Type,
    Float32Type,
    Float64Type,
    IntegerAttr,
    IntegerType,
    Signedness,
    TensorType,
    f16,
    f32,
    f64,
    i1,
    i8,
    i16,
    i32,
    i64,
)
from xdsl.ir import Attribute
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.stored import FORMATS, Format, codes_of, from_host, stored_dtypes

ui8, ui16, ui32, ui64 = (IntegerType(width, Signedness.UNSIGNED) for width in (8, 16, 32, 64))

_DTYPES = {
    f16: np.dtype(np.float16), f32: np.dtype(np.float32), f64: np.dtype(np.float64), i1: np.dtype(np.bool_),
    i8: np.dtype(np.int8), i16: np.dtype(np.int16), i32: np.dtype(np.int32), i64: np.dtype(np.int64),
    ui8: np.dtype(np.uint8), ui16: np.dtype(np.uint16), ui32: np.dtype(np.uint32), ui64: np.dtype(np.uint64),
    **stored_dtypes(),
}  # fmt: skip
_TYPES = {dtype: type for type, dtype in _DTYPES.items()}

FLOATS = frozenset[Attribute]((f16, f32, f64))
INTEGERS = frozenset[Attribute]((i8, i16, i32, i64, ui8, ui16, ui32, ui64))
NUMBERS = FLOATS | INTEGERS
BITS = INTEGERS | {i1}


def is_element_type(type: Attribute) -> bool:
    """Whether primitives may hold elements of the type."""
    return type in _DTYPES


def is_stored(type: Attribute) -> bool:
    """Whether elements of the type are codes, which no op computes with."""
    return type in FORMATS


def is_stored_float(type: Attribute) -> bool:
    """Whether elements of the type are codes of floats."""
    format = FORMATS.get(type)
    return format is not None and format.is_float


def bits_of(type: Attribute) -> int:
    """How many bits an element has."""
    format = FORMATS.get(type)
    return 8 * dtype_of(type).itemsize if format is None else format.bits


def code_type(format: Format) -> IntegerType:
    """The unsigned integers that hold a stored type's codes, one an element."""
    return ui8 if format.width == 8 else ui16


def array_of(numbers: object, type: Attribute) -> np.ndarray:
    """Numbers, or an array as callers pass it, as an array of an element type; codes are the nearest ones."""
    if (format := FORMATS.get(type)) is None:
        return np.asarray(numbers, dtype_of(type))
    array = np.asarray(numbers)
    codes = codes_of(array)
    return (
        from_host(array, type) if codes is not array else format.encode(array).view(format.dtype).reshape(array.shape)
    )


def is_float(type: Attribute) -> bool:
    """Whether an element type is a floating-point one."""
    return isinstance(type, Float32Type | Float16Type | Float64Type)


def is_unsigned(type: Attribute) -> bool:
    """Whether an element type is an unsigned integer, i1 included."""
    return isinstance(type, IntegerType) and (type.signedness.data == Signedness.UNSIGNED or type.width.data == 1)


def dtype_of(type: Attribute) -> np.dtype:
    """The NumPy dtype of an element type or a tensor type. Raises VerifyException for a type without one."""
    element = type.element_type if isinstance(type, TensorType) else type
    if (dtype := _DTYPES.get(element)) is None:
        raise VerifyException(f"{element} is no element type of a primitive")
    return dtype


def element_type_of(dtype: np.dtype | type) -> Attribute:
    """The element type that holds a NumPy dtype. Raises VerifyException for a dtype without one."""
    if (type := _TYPES.get(np.dtype(dtype))) is None:
        raise VerifyException(f"{np.dtype(dtype)} has no primitive element type")
    return type


MOST_ELEMENTS = 2**32 - 1
"""No device holds a tensor of more: kernels count elements in 32 bits."""


@lru_cache(maxsize=4096)
def _tensor(shape: tuple[int, ...], element_type: Attribute) -> TensorType:
    if prod(shape) > MOST_ELEMENTS or min(shape, default=0) < DYNAMIC_INDEX:
        raise VerifyException(f"a tensor of shape {list(shape)}: its sizes are negative, or more than a device holds")
    return TensorType(element_type, shape)


def tensor(shape: Sequence[int], element_type: Attribute) -> TensorType:
    """The tensor type, made once: two equal types met on a hot path are one object."""
    return _tensor(tuple(int(size) for size in shape), element_type)


def type_of(array: np.ndarray) -> TensorType:
    """The tensor type of an array."""
    return tensor(array.shape, element_type_of(array.dtype))


@cache
def _array_attr(values: tuple[int, ...]) -> DenseArrayBase:
    return DenseArrayBase.from_list(i64, values)


def array_attr(values: Sequence[int]) -> DenseArrayBase:
    """A list of integers as `array<i64: ...>`."""
    return _array_attr(tuple(int(value) for value in values))


@cache
def int_attr(value: int) -> IntegerAttr:
    """An integer as an i64 attribute."""
    return IntegerAttr(int(value), i64)


@lru_cache(maxsize=4096)
def ints(attribute: Attribute) -> tuple[int, ...]:
    """The integers of `array<i64: ...>`."""
    if not isinstance(attribute, DenseArrayBase):
        raise VerifyException(f"expected a list of integers, got {attribute}")
    return tuple(attribute.iter_values())


def integer(attribute: Attribute) -> int:
    """The value of an integer attribute."""
    if not isinstance(attribute, IntegerAttr):
        raise VerifyException(f"expected an integer, got {attribute}")
    return attribute.value.data
