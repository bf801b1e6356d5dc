"""Quotients and remainders of f32 that are exact on every device, by whole numbers.

WGSL lets a quotient be off by 2.5 units in the last place, lets `fma` round twice, and compilers contract and regroup
sums: no float can tell how far off a quotient is. Wrapping 32-bit integers can, for a good guess leaves little.
"""

from __future__ import annotations

from xdsl.dialects import arith
from xdsl.dialects.builtin import f32, i32

from tstorch.dialects.prim.scalar import Scalar

FRACTION = 23
"""The bits of an f32 below its leading one."""
_ONE = 127 << FRACTION
_LEADING = 1 << FRACTION
_SIGN = -(1 << 31)
_INFINITY = 0x7F800000
_NAN = 0x7FC00000
_ROUNDER = 1.5 * 2**FRACTION
"""A float that, added to a small one, leaves its nearest whole number in the lowest bits."""
_ROUNDER_BITS = 0x4B400000
_STEP = 22
"""Powers of two that a remainder is doubled by at once: a guess of that many bits is off by one at most."""


def wide_quotient(x: Scalar, y: Scalar) -> Scalar:
    """x / y as the device has it, for divisors of any size: of those above 2**126 some take the reciprocal for zero."""
    if y.type != f32:
        return x / y  # a half is never so large
    scale = y.abs().compare("gt", 2.0**64).select(2.0**-64, y.lift(1.0))
    return x * scale / (y * scale)


def exact_quotient(x: Scalar, y: Scalar) -> Scalar:
    """x / y, rounded once. Where an operand or the result is below the normal numbers it is as the device has it."""
    a, b = x.bitcast(i32), y.bitcast(i32)
    m, n = _significand(a), _significand(b)
    divisor = _scaled_to_one(b)
    less = m.compare("lt", n)
    guess = (_scaled_to_one(a) / divisor).bitcast(i32) - less.select(_ONE - _LEADING, n.lift(_ONE)) + _LEADING
    rest = m * less.select(2 * _LEADING, n.lift(_LEADING)) - guess * n  # the sum wraps, and is right nevertheless
    steps = (rest.cast(f32) * 2.0**-FRACTION / divisor + _ROUNDER).bitcast(i32) - _ROUNDER_BITS
    rest = rest - steps * n
    nearest = guess + steps + _one_where(rest * 2, n) - _one_where(rest * -2, n)
    exponent = _exponent(a) - _exponent(b) + less.select(126, n.lift(127))
    sign = (a ^ b) & _SIGN
    usual = _is_normal(a) & _is_normal(b)
    bits = usual.select(sign | ((exponent - 1) * _LEADING + nearest), (x / y).bitcast(i32))
    bits = (usual & exponent.compare("lt", 1)).select((x / y).bitcast(i32), bits)
    return _unusual(a, b, usual & exponent.compare("gt", 254), bits).bitcast(f32)


def _unusual(a: Scalar, b: Scalar, beyond: Scalar, bits: Scalar) -> Scalar:
    """The bits of a quotient, or of the zero, infinity or NaN that it is: devices find these by a reciprocal."""
    sign, p, q = (a ^ b) & _SIGN, a & ~_SIGN, b & ~_SIGN
    bits = (p.compare("eq", 0) | q.compare("eq", _INFINITY)).select(sign, bits)
    bits = (beyond | p.compare("eq", _INFINITY) | q.compare("eq", 0)).select(sign | _INFINITY, bits)
    both = p.compare("eq", q) & (p.compare("eq", 0) | p.compare("eq", _INFINITY))
    return (both | p.compare("gt", _INFINITY) | q.compare("gt", _INFINITY)).select(_NAN, bits)


def exact_remainder(x: Scalar, y: Scalar) -> Scalar:
    """What is left of x after whole multiples of y, with the sign of x (C's fmod), by long division of significands."""
    a, b = x.bitcast(i32), y.bitcast(i32)
    above, below = (_exponent(bits).maximum(1) for bits in (a, b))
    divisor = _whole(b).maximum(1)
    scale, doublings = divisor.cast(f32), above - below
    rest = _whole(a).apply(arith.RemSIOp, divisor)
    for _ in range(-(-253 // _STEP)):
        by = doublings.minimum(_STEP).maximum(0)
        rest = _doubled(rest, by, divisor, scale)
        doublings = doublings - by
    left = above.compare("lt", below).select(a & ~_SIGN, _of_whole(rest, below))
    undefined = x.is_inf() | x.is_nan() | y.is_nan() | (b & ~_SIGN).compare("eq", 0)
    return undefined.select(_NAN, left | (a & _SIGN)).bitcast(f32)


def _doubled(rest: Scalar, by: Scalar, divisor: Scalar, scale: Scalar) -> Scalar:
    """What is left of `rest * 2**by` after multiples of the divisor, from what was left before."""
    power = (by * _LEADING + _ONE).bitcast(f32)
    guess = (rest.cast(f32) * power / scale).floor().cast(i32)
    rest = rest.apply(arith.ShLIOp, by) - guess * divisor  # wraps, as above
    rest = rest.compare("lt", 0).select(rest + divisor, rest)
    return rest.compare("ge", divisor).select(rest - divisor, rest)


def _of_whole(number: Scalar, exponent: Scalar) -> Scalar:
    """The bits of a whole number below 2**24 times the unit that the exponent gives it."""
    bits = number.cast(f32).bitcast(i32)
    moved = bits + (exponent - 150) * _LEADING
    normal = (_exponent(bits) + exponent).compare("gt", 150) & number.compare("gt", 0)
    return normal.select(moved, number.apply(arith.ShLIOp, (exponent - 1).minimum(FRACTION)))


def _exponent(bits: Scalar) -> Scalar:
    return bits.apply(arith.ShRUIOp, FRACTION) & 255


def _is_normal(bits: Scalar) -> Scalar:
    exponent = _exponent(bits)
    return exponent.compare("gt", 0) & exponent.compare("lt", 255)


def _significand(bits: Scalar) -> Scalar:
    """The digits of a normal number, its leading one among them."""
    return (bits & (_LEADING - 1)) | _LEADING


def _whole(bits: Scalar) -> Scalar:
    """The digits of any number, in units of its exponent."""
    return (bits & (_LEADING - 1)) | _exponent(bits).compare("eq", 0).select(0, bits.lift(_LEADING))


def _scaled_to_one(bits: Scalar) -> Scalar:
    """The normal number between 1 and 2 that has the same digits."""
    return ((bits & (_LEADING - 1)) | _ONE).bitcast(f32)


def _one_where(larger: Scalar, smaller: Scalar) -> Scalar:
    return larger.compare("gt", smaller).select(1, larger.lift(0))
