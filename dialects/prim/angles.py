"""The sine and cosine of any angle, as accurate far from zero as near it, by whole numbers of turns.

WGSL asks for an absolute error of 2**-11 within one turn and for nothing beyond; devices lose a digit with each of the
angle's. What is left of an angle beyond quarter turns is computed in wrapping 32-bit integers, which are exact.
"""

from __future__ import annotations

from math import pi

from xdsl.dialects import arith
from xdsl.dialects.builtin import f32, i32

from tstorch.dialects.prim.scalar import Scalar
from tstorch.dialects.prim.types import ui32

_FRACTION = 23
_TURNS = (0x00000000, 0x28BE60DB, 0x9391054A, 0x7F09D5F4, 0x7D4D3770, 0x36D8A566, 0x4F10E410)
"""One over two pi, in words of 32 bits behind the point, with a word of zeros ahead."""
_NAN = 0x7FC00000
_EIGHTH = 1 << 29
_QUARTER_OF_PI_BITS = 0x3F490FDB


def sine(x: Scalar) -> Scalar:
    """sin x."""
    return _wave(x, 0)


def cosine(x: Scalar) -> Scalar:
    """cos x."""
    return _wave(x, 1)


def _wave(x: Scalar, ahead: int) -> Scalar:
    """The sine of x and `ahead` quarter turns."""
    rest, quarters = _reduced(x)
    quarters = quarters + ahead
    z = rest * rest
    sin = (z * z.polynomial([-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1])).fma(rest, rest)
    sin = z.compare("lt", 2.0**-26).select(rest, sin)  # to the bit, the sign of a zero too
    cos = z.fma(-0.5, 1.0) + z * z * z.polynomial([2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2])
    odd = (quarters & 1).compare("eq", 1)
    value = odd.select(cos, sin)
    value = (quarters & 2).compare("eq", 2).select(-value, value)
    unlimited = (x.bitcast(i32) & 0x7FFFFFFF).compare("ge", 0x7F800000)
    return unlimited.select(_NAN, value.bitcast(i32)).bitcast(f32)


def _reduced(x: Scalar) -> tuple[Scalar, Scalar]:
    """What is left of the angle beyond the nearest quarter turn, at most pi / 4 either way, and these quarters."""
    bits = x.bitcast(i32)
    magnitude = bits & 0x7FFFFFFF
    turned = _turned(magnitude)
    quarters = (turned + _EIGHTH).apply(arith.ShRUIOp, 30)
    rest = (turned - quarters.apply(arith.ShLIOp, 30)).bitcast(i32).cast(f32) * (2 * pi / 2**32)
    near = magnitude.compare("lt", _QUARTER_OF_PI_BITS)
    quarters = near.select(0, quarters.bitcast(i32))
    rest = near.select(magnitude.bitcast(f32), rest)
    negative = bits.compare("lt", 0)
    return negative.select(-rest, rest), negative.select(0 - quarters, quarters)


def _turned(magnitude: Scalar) -> Scalar:
    """The part of a turn that a float's bits stand for, in units of 2**-32 turns, whole turns left out."""
    digits = ((magnitude & 0x7FFFFF) | 0x800000).bitcast(ui32)
    place = (magnitude.apply(arith.ShRUIOp, _FRACTION) - 118).maximum(0).bitcast(ui32)  # of the first bit that counts
    shift, word = place & 31, place.apply(arith.ShRUIOp, 5)
    first, second, third = (_word(word, ahead) for ahead in range(3))
    high, low = _shifted(first, second, shift), _shifted(second, third, shift)
    return digits * high + _high_of_product(digits, low)


def _word(number: Scalar, ahead: int) -> Scalar:
    """Word `number + ahead` of the table, for numbers up to 4."""
    found = number.lift(_TURNS[ahead])
    for index in range(1, 5):
        found = number.compare("eq", index).select(_TURNS[index + ahead], found)
    return found


def _shifted(word: Scalar, behind: Scalar, shift: Scalar) -> Scalar:
    """The word `shift` bits further on."""
    coming = behind.apply(arith.ShRUIOp, 1).apply(arith.ShRUIOp, 31 - shift)
    return word.apply(arith.ShLIOp, shift) | coming


def _high_of_product(digits: Scalar, word: Scalar) -> Scalar:
    """The product of 24 bits and 32, without its 32 lowest bits."""
    upper, lower = word.apply(arith.ShRUIOp, 16), word & 0xFFFF
    above, below = digits.apply(arith.ShRUIOp, 16), digits & 0xFFFF
    crossed = below * upper + (below * lower).apply(arith.ShRUIOp, 16)
    middle = above * lower + (crossed & 0xFFFF)
    return above * upper + crossed.apply(arith.ShRUIOp, 16) + middle.apply(arith.ShRUIOp, 16)
