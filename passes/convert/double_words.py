"""The 64 bits of a float64, as two words, made the 32 bits of a float32."""

from tstorch.dialects.prim.elementwise import AndOp, MaximumOp, MinimumOp, OrOp, ShiftLeftOp, ShiftRightOp
from tstorch.dialects.prim.formula import Formula

_LARGEST, _INFINITY, _NAN = 0x7F7FFFFF, 0x7F800000, 0x7FC00000
_BIAS = 1023 - 127
_SPARE = 29
"""The bits that a float32 has less behind the leading one."""


def single_bits(low: Formula, high: Formula) -> Formula:
    """The bits of the nearest float32, ties to even, from the words of a float64; all of them are ui32.

    A finite number too large for float32 becomes its largest; one below its normal numbers becomes zero.
    """
    exponent = high.apply(ShiftRightOp, 20).apply(AndOp, 0x7FF)
    fraction = high.apply(AndOp, 0xFFFFF)
    digits = fraction.apply(ShiftLeftOp, 3).apply(OrOp, low.apply(ShiftRightOp, _SPARE))
    scale = (exponent.apply(MaximumOp, _BIAS) - _BIAS).apply(MinimumOp, 255)
    bits = scale.apply(ShiftLeftOp, 23) + digits + _carry(digits, low.apply(AndOp, (1 << _SPARE) - 1))
    bits = scale.compare("eq", 0).select(0, bits.apply(MinimumOp, _LARGEST))
    endless = fraction.apply(OrOp, low).compare("eq", 0).select(_INFINITY, bits.lift(_NAN))
    magnitude = exponent.compare("eq", 0x7FF).select(endless, bits)
    return magnitude.apply(OrOp, high.apply(AndOp, 1 << 31))


def _carry(digits: Formula, rest: Formula) -> Formula:
    """What rounding adds to the digits kept: 1 where the rest is more than half, or half and the digits are odd."""
    half = 1 << _SPARE - 1
    odd = digits.apply(AndOp, 1)
    return rest.compare("gt", half).select(1, rest.compare("eq", half).select(odd, odd.lift(0)))
