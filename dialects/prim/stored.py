"""The element types that a device only stores: one row of facts each, and what their codes mean in NumPy.

A tensor of such a type holds *codes*, the bits of its elements, which ops may move but not compute with:
`prim.decode` makes numbers of them, `prim.encode` codes of numbers. `legalize-types` keeps them as bytes or halves of
words. In NumPy they are arrays with one field, called like the type, so that none is taken for numbers by mistake.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from types import MappingProxyType

import numpy as np
from xdsl.dialects.builtin import (
    BFloat16Type,
    Float4E2M1FNType,
    Float8E4M3FNType,
    Float8E4M3FNUZType,
    Float8E5M2FNUZType,
    Float8E5M2Type,
    Float8E8M0FNUType,
    FloatNanEncoding,
    FloatNonfiniteBehavior,
    FloatSemantics,
    IntegerType,
    Signedness,
)
from xdsl.ir import Attribute


@dataclass(frozen=True)
class Format:
    """What the codes of a stored type are.

    `host` is the name of the dtype in which callers pass and get such numbers (the package ml_dtypes has it). `facts`
    are exponent and mantissa bits, bias, and which codes are infinite or NaN; None for integers in two's complement.
    """

    type: Attribute
    host: str
    bits: int
    facts: FloatSemantics | None = None
    is_signed: bool = True

    @property
    def is_float(self) -> bool:
        """Whether the codes stand for floats."""
        return self.facts is not None

    @property
    def width(self) -> int:
        """The bits that an element takes where it stands alone: 8 or 16."""
        return max(self.bits, 8)

    @property
    def per_byte(self) -> int:
        """How many elements share a byte where they are packed, the first one lowest."""
        return max(8 // self.bits, 1)

    @property
    def codes(self) -> np.dtype:
        """The unsigned integers that codes are."""
        return np.dtype(f"<u{self.width // 8}")

    @property
    def dtype(self) -> np.dtype:
        """Codes under the type's name."""
        return np.dtype([(str(self.type), self.codes)])

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the greatest number of an integer type."""
        low = -(1 << self.bits - 1) if self.is_signed else 0
        return low, low + (1 << self.bits) - 1

    @cached_property
    def numbers(self) -> np.ndarray:
        """What each code stands for, as float32 or int32."""
        codes = np.arange(1 << self.bits)
        if self.facts is None:
            return np.where(codes > self.limits[1], codes - (1 << self.bits), codes).astype(np.int32)
        with np.errstate(all="ignore"):
            return _floats(codes, self.facts)

    @cached_property
    def positive(self) -> np.ndarray:
        """The finite numbers without a sign, by code, as float64; a last one is where overflow begins."""
        facts = _facts(self)
        numbers = self.numbers[: 1 << facts.sign_shift].astype(np.float64)
        finite = numbers[: int(np.argmin(np.isfinite(numbers)))] if not np.isfinite(numbers).all() else numbers
        return np.append(finite, 2.0 * finite[-1] if not facts.mantissa_bits else 2 * finite[-1] - finite[-2])

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """The numbers that codes stand for; bits beyond the format's own do not count."""
        return self.numbers[codes.astype(np.int64) & ((1 << self.bits) - 1)]

    def encode(self, numbers: np.ndarray, *, saturate: bool = True, rounding: str = "nearest") -> np.ndarray:
        """The codes nearest to numbers, the even one of two; integers keep their low bits.

        What is too large is the greatest number with `saturate`, else infinite, else NaN, as far as the format has
        them. A format without mantissa rounds a tie up, and may round "up" or "down" throughout.
        """
        if self.facts is None:
            return (numbers.astype(np.int64) & ((1 << self.bits) - 1)).astype(self.codes)
        x = numbers.astype(np.float64)
        size, greatest = np.abs(x), len(self.positive) - 2
        code = _nearest(size, self.positive, rounding if self.facts.mantissa_bits == 0 else "even")
        code = np.where(code > greatest, greatest if saturate else overflow_code(self), code)
        code = np.where(np.isnan(x), nan_code(self), code)
        if not self.facts.has_sign:
            return code.astype(self.codes)
        negative = np.signbit(x) & ((code > 0) | (self.facts.nan_encoding is not FloatNanEncoding.NEGATIVE_ZERO))
        return (code | (negative.astype(np.int64) << self.facts.sign_shift)).astype(self.codes)


def _facts(format: Format) -> FloatSemantics:
    if format.facts is None:
        raise ValueError(f"{format.type} holds integers")
    return format.facts


def _floats(codes: np.ndarray, facts: FloatSemantics) -> np.ndarray:
    """Sign, exponent and mantissa put together as numbers."""
    mantissa, exponent = codes & facts.max_mantissa, codes >> facts.mantissa_bits & facts.max_exponent
    fraction = mantissa / (1 << facts.mantissa_bits)
    tiny = (exponent == 0) & facts.has_zero
    size = np.where(tiny, fraction, 1 + fraction) * 2.0 ** (
        np.maximum(exponent, int(facts.has_zero)) - facts.exponent_bias
    )
    if facts.nonfinite is FloatNonfiniteBehavior.IEEE:
        size = np.where(exponent == facts.max_exponent, np.where(mantissa > 0, np.nan, np.inf), size)
    negative = (codes >> facts.sign_shift & 1) == 1 if facts.has_sign else np.zeros(codes.shape, bool)
    numbers = np.where(negative, -size, size).astype(np.float32)
    if facts.nonfinite is FloatNonfiniteBehavior.NAN_ONLY and facts.nan_encoding is FloatNanEncoding.ALL_ONES:
        numbers[(exponent == facts.max_exponent) & (mantissa == facts.max_mantissa)] = np.nan
    if facts.nan_encoding is FloatNanEncoding.NEGATIVE_ZERO:
        numbers[codes == 1 << facts.sign_shift] = np.nan
    return numbers


def _nearest(size: np.ndarray, positive: np.ndarray, rounding: str) -> np.ndarray:
    """The positions of the numbers that `size` is rounded to; NaN is anywhere."""
    below = np.clip(np.searchsorted(positive, size, side="right") - 1, 0, len(positive) - 2)
    low, high = positive[below], positive[below + 1]
    middle = (low + high) / 2
    match rounding:
        case "up":
            up = size > low
        case "down":
            up = size >= high
        case "even":
            up = (size > middle) | ((size == middle) & (below % 2 == 1))
        case _:
            up = size >= middle
    return below + up


def nan_code(format: Format) -> int:
    """The code that a NaN is given, its sign apart; a type without one has -0 there."""
    facts = _facts(format)
    if facts.nonfinite is FloatNonfiniteBehavior.FINITE_ONLY or facts.nan_encoding is FloatNanEncoding.NEGATIVE_ZERO:
        return 1 << facts.sign_shift
    ones = (1 << facts.sign_shift) - 1
    return ones if facts.nan_encoding is FloatNanEncoding.ALL_ONES else ones ^ (facts.max_mantissa >> 1)


def overflow_code(format: Format) -> int:
    """The code of what is too large where nothing saturates: infinite, else NaN, else the greatest number."""
    facts = _facts(format)
    match facts.nonfinite:
        case FloatNonfiniteBehavior.IEEE:
            return facts.max_exponent << facts.mantissa_bits
        case FloatNonfiniteBehavior.NAN_ONLY:
            return nan_code(format)
        case FloatNonfiniteBehavior.FINITE_ONLY:
            return len(format.positive) - 2


def _integer(bits: int, is_signed: bool) -> Format:
    type = IntegerType(bits, Signedness.SIGNLESS if is_signed else Signedness.UNSIGNED)
    return Format(type, f"{'' if is_signed else 'u'}int{bits}", bits, None, is_signed)


_ROWS = (
    Format(BFloat16Type(), "bfloat16", 16, FloatSemantics(exponent_bits=8, mantissa_bits=7, exponent_bias=127)),
    *(
        Format(type, host, type.bitwidth, type.SEMANTICS)
        for type, host in (
            (Float8E4M3FNType(), "float8_e4m3fn"),
            (Float8E4M3FNUZType(), "float8_e4m3fnuz"),
            (Float8E5M2Type(), "float8_e5m2"),
            (Float8E5M2FNUZType(), "float8_e5m2fnuz"),
            (Float8E8M0FNUType(), "float8_e8m0fnu"),
            (Float4E2M1FNType(), "float4_e2m1fn"),
        )
    ),
    *(_integer(bits, is_signed) for bits in (4, 2) for is_signed in (True, False)),
)

FORMATS: Mapping[Attribute, Format] = MappingProxyType({row.type: row for row in _ROWS})
"""Every stored type and its facts."""


def format_of(type: Attribute | None) -> Format | None:
    """The facts of a stored element type; None for any other."""
    return None if type is None else FORMATS.get(type)


def format_called(host: str) -> Format | None:
    """The facts of the stored type that callers know by a dtype's name."""
    return next((row for row in FORMATS.values() if row.host == host), None)


@cache
def stored_dtypes() -> Mapping[Attribute, np.dtype]:
    """The NumPy dtypes of the stored types: codes under the type's name."""
    return MappingProxyType({type: row.dtype for type, row in FORMATS.items()})


def is_coded(dtype: np.dtype) -> bool:
    """Whether NumPy itself lacks the type: its elements are codes, under whose name ever."""
    return dtype.isbuiltin == 2 or dtype.kind == "V"


def codes_of(array: np.ndarray) -> np.ndarray:
    """The bare codes of an array of a stored type, its own or the caller's dtype; other arrays as they are."""
    if not is_coded(array.dtype):
        return array
    return np.ascontiguousarray(array).view(f"<u{array.dtype.itemsize}").reshape(array.shape)


def from_host(array: np.ndarray, type: Attribute | None) -> np.ndarray:
    """An array as callers pass it, as codes under the type's name; other types as they are."""
    if (format := format_of(type)) is None or array.dtype == format.dtype:
        return array
    codes = codes_of(array) & format.codes.type((1 << format.bits) - 1)
    return codes.view(format.dtype).reshape(array.shape)


def numbers_of(array: np.ndarray) -> np.ndarray:
    """The numbers that an array of a stored type stands for; other arrays as they are."""
    if not array.dtype.names:
        return array
    format = next(row for row in FORMATS.values() if row.dtype == array.dtype)
    return format.decode(codes_of(array))


def unpacked(data: np.ndarray, type: Attribute, count: int) -> np.ndarray:
    """The first `count` elements of packed bytes, as codes under the type's name."""
    format = FORMATS[type]
    if format.bits >= 8:
        return data.view(format.dtype)[:count]
    shifts = np.arange(0, 8, format.bits, dtype=np.uint8)
    codes = data[:, None] >> shifts & np.uint8((1 << format.bits) - 1)
    return codes.reshape(-1)[:count].view(format.dtype)
