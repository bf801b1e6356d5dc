"""How scalar code makes numbers of codes and codes of numbers: one algorithm each, for every row of facts.

Both work on the bits of a 32-bit word and put float arithmetic only where it is exact and cannot meet numbers below
2**-126, which a device may take for 0. Infinite and NaN are told by their bits: drivers simplify comparisons of floats.
"""

from __future__ import annotations

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import FloatNanEncoding, FloatNonfiniteBehavior, FloatSemantics, f32, i32

from tstorch.dialects.prim.scalar import Scalar
from tstorch.dialects.prim.stored import Format, nan_code, overflow_code
from tstorch.dialects.prim.types import ui32

MANTISSA, BIAS = 23, 127
INFINITE, QUIET_NAN, HALF_OF_LEAST = 0x7F800000, 0x7FC00000, 0x00400000
"""Bits of f32: infinity, a NaN, and 2**-127."""


def decoded(code: Scalar, format: Format) -> Scalar:
    """The number, f32 or i32, that a code stands for."""
    code = code.cast(ui32)
    facts = format.facts
    if facts is None:
        return _integer(code, format)
    size, shift = code & ((1 << facts.sign_shift) - 1), MANTISSA - facts.mantissa_bits
    exponent, moved = _right(size, facts.mantissa_bits), _left(size, shift)
    bits = moved if facts.exponent_bias == BIAS else moved + ((BIAS - facts.exponent_bias) << MANTISSA)
    if facts.nonfinite is FloatNonfiniteBehavior.IEEE and facts.exponent_bits < 8:
        bits = exponent.compare("eq", facts.max_exponent).select(moved | INFINITE, bits)
    if _has_tiny(facts):
        tiny = size.cast(f32) * 2.0 ** (1 - facts.exponent_bias - facts.mantissa_bits)
        bits = exponent.compare("eq", 0).select(tiny.bitcast(ui32), bits)
    if not facts.has_zero:
        bits = size.compare("eq", 0).select(HALF_OF_LEAST, bits)
    if (nan := _single_nan(facts)) is not None:
        known = code & ((1 << format.bits) - 1)
        bits = (size if nan < 1 << facts.sign_shift else known).compare("eq", nan).select(QUIET_NAN, bits)
    if facts.has_sign:
        bits = bits | _left(code & (1 << facts.sign_shift), 31 - facts.sign_shift)
    return bits.bitcast(f32)


def encoded(number: Scalar, format: Format, *, saturate: bool, rounding: str) -> Scalar:
    """The code, ui32, of a number; as `Format.encode`."""
    facts = format.facts
    if facts is None:
        return number.cast(ui32) & ((1 << format.bits) - 1)
    bits = number.bitcast(ui32)
    size = bits & 0x7FFFFFFF
    code = _rounded(size, facts, rounding)
    greatest = len(format.positive) - 2
    code = code.compare("gt", greatest).select(greatest if saturate else overflow_code(format), code)
    code = size.compare("gt", INFINITE).select(nan_code(format), code)
    if not facts.has_sign:
        return code
    sign = _left(_right(bits, 31), facts.sign_shift)
    if facts.nan_encoding is FloatNanEncoding.NEGATIVE_ZERO:
        sign = code.compare("eq", 0).select(0, sign)
    return code | sign


def _rounded(size: Scalar, facts: FloatSemantics, rounding: str) -> Scalar:
    """The code of a number without sign: an increment carries from the bits that are cut off into those that stay."""
    shift = MANTISSA - facts.mantissa_bits
    half = 1 << shift - 1
    if rounding != "nearest" or not facts.mantissa_bits:
        moved = size + {"up": (1 << shift) - 1, "down": 0}.get(rounding, half)
    else:
        moved = size + (_right(size, shift) & 1) + (half - 1)
    if facts.exponent_bias != BIAS:
        moved = moved - ((BIAS - facts.exponent_bias) << MANTISSA)
    code = _right(moved, shift)
    if _has_tiny(facts):
        units = (size.bitcast(f32) * 2.0 ** (facts.exponent_bias - 1 + facts.mantissa_bits)).apply(math.RoundEvenOp)
        return size.compare("lt", (BIAS + 1 - facts.exponent_bias) << MANTISSA).select(units.cast(ui32), code)
    return code if facts.has_zero else size.compare("le", HALF_OF_LEAST).select(0, code)


def _integer(code: Scalar, format: Format) -> Scalar:
    places = 32 - format.bits
    if not format.is_signed:
        return (code & ((1 << format.bits) - 1)).cast(i32)
    return _left(code, places).cast(i32).apply(arith.ShRSIOp, places)


def _has_tiny(facts: FloatSemantics) -> bool:
    """Whether numbers without a leading one have to be told apart: with f32's own bias they have f32's own bits."""
    return facts.has_zero and facts.exponent_bias != BIAS


def _single_nan(facts: FloatSemantics) -> int | None:
    """The code that alone is NaN, its sign apart where it has one; None where the format has many, or none."""
    if facts.nonfinite is not FloatNonfiniteBehavior.NAN_ONLY:
        return None
    one = 1 << facts.sign_shift
    return one if facts.nan_encoding is FloatNanEncoding.NEGATIVE_ZERO else one - 1


def _left(x: Scalar, places: int) -> Scalar:
    return x.apply(arith.ShLIOp, places) if places else x


def _right(x: Scalar, places: int) -> Scalar:
    return x.apply(arith.ShRUIOp, places) if places else x
