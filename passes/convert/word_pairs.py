"""64-bit integers as pairs of 32-bit words: arithmetic that wraps where 64 bits do, as formulas of primitives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdsl.dialects.builtin import f32, i1, i32
from xdsl.ir import Attribute

from tstorch.dialects.prim.elementwise import (
    AndOp,
    BitcastOp,
    MinimumOp,
    NotOp,
    OrOp,
    ShiftLeftOp,
    ShiftRightOp,
    XorOp,
)
from tstorch.dialects.prim.formula import Formula
from tstorch.dialects.prim.types import ui32
from tstorch.dialects.prim.words import DivideWordsOp

ONES = 2**32 - 1
SIGN = 2**31
ORDERED: dict[str, Callable[[Pair, Pair], Formula]] = {
    "lt": lambda a, b: a.below(b),
    "gt": lambda a, b: b.below(a),
    "le": lambda a, b: b.below(a).apply(NotOp),
    "ge": lambda a, b: a.below(b).apply(NotOp),
    "eq": lambda a, b: a.equals(b),
    "ne": lambda a, b: a.equals(b).apply(NotOp),
}


@dataclass(frozen=True)
class Pair:
    """`high * 2**32 + low`, in two's complement where `signed`: two ui32 tensors of the integers' shape."""

    low: Formula
    high: Formula
    signed: bool

    @classmethod
    def of_word(cls, word: Formula, *, signed: bool) -> Pair:
        """A 32-bit integer as 64 bits: i32 and i1 keep their value, so does ui32."""
        low = word.convert(ui32)
        if word.type.element_type != i32:
            return cls(low, low.lift(0), signed)
        return cls(low, word.compare("lt", 0).select(ONES, low.lift(0)), signed)

    def number(self, value: int) -> Pair:
        """A constant of this one's shape."""
        return Pair(self.low.lift(value & ONES), self.low.lift(value >> 32 & ONES), self.signed)

    def __add__(self, other: Pair) -> Pair:
        low = self.low + other.low
        return Pair(low, self.high + other.high + _bit(low.compare("lt", self.low)), self.signed)

    def __sub__(self, other: Pair) -> Pair:
        borrow = _bit(self.low.compare("lt", other.low))
        return Pair(self.low - other.low, self.high - other.high - borrow, self.signed)

    def __neg__(self) -> Pair:
        return self.number(0) - self

    def __mul__(self, other: Pair) -> Pair:
        high = _high_of_product(self.low, other.low)
        crossed = self.low * other.high + self.high * other.low
        return Pair(self.low * other.low, high + crossed, self.signed)

    def each(self, op_class: type, other: Pair | None = None) -> Pair:
        """A bitwise function, word by word."""
        low, high = ([], []) if other is None else ([other.low], [other.high])
        return Pair(self.low.apply(op_class, *low), self.high.apply(op_class, *high), self.signed)

    def below(self, other: Pair) -> Formula:
        """Where self < other, as i1."""
        mine, theirs = (_flipped(pair.high) if self.signed else pair.high for pair in (self, other))
        tied = self.high.compare("eq", other.high).apply(AndOp, self.low.compare("lt", other.low))
        return mine.compare("lt", theirs).apply(OrOp, tied)

    def equals(self, other: Pair) -> Formula:
        """Where both words agree, as i1."""
        return self.low.compare("eq", other.low).apply(AndOp, self.high.compare("eq", other.high))

    def chosen(self, condition: Formula, other: Pair) -> Pair:
        """This one where the condition holds, else the other."""
        return Pair(condition.select(self.low, other.low), condition.select(self.high, other.high), self.signed)

    def is_negative(self) -> Formula:
        """Where the sign bit counts and is set, as i1."""
        return self.high.compare("ge", SIGN) if self.signed else self.high.compare("lt", 0)

    def magnitude(self) -> Pair:
        """The absolute value, to be read without a sign."""
        found = (-self).chosen(self.is_negative(), self) if self.signed else self
        return Pair(found.low, found.high, False)

    def signed_by(self, negative: Formula, *, signed: bool) -> Pair:
        """A magnitude, negated where told."""
        found = (-self).chosen(negative, self)
        return Pair(found.low, found.high, signed)

    def shifted_left(self, places: Pair) -> Pair:
        """Times 2**places; 0 from 64 on."""
        s = places.places()
        over = self.low.apply(ShiftRightOp, 32 - s).apply(OrOp, self.low.apply(ShiftLeftOp, s - 32))
        return Pair(self.low.apply(ShiftLeftOp, s), self.high.apply(ShiftLeftOp, s).apply(OrOp, over), self.signed)

    def moved_left(self, places: int) -> Pair:
        """Times 2**places, for a number of places that is known."""
        if places == 0:
            return self
        if places >= 32:
            return Pair(self.low.lift(0), self.low.apply(ShiftLeftOp, places - 32), self.signed)
        over = self.low.apply(ShiftRightOp, 32 - places)
        high = self.high.apply(ShiftLeftOp, places).apply(OrOp, over)
        return Pair(self.low.apply(ShiftLeftOp, places), high, self.signed)

    def shifted_right(self, places: Pair) -> Pair:
        """Over 2**places, rounded down; the bits of a negative number are inverted on the way."""
        if self.signed:
            sign = self.is_negative().select(ONES, self.low.lift(0))
            fill = Pair(sign, sign, False)
            moved = Pair(self.low, self.high, False).each(XorOp, fill).shifted_right(places).each(XorOp, fill)
            return Pair(moved.low, moved.high, True)
        s = places.places()
        under = self.high.apply(ShiftLeftOp, 32 - s).apply(OrOp, self.high.apply(ShiftRightOp, s - 32))
        return Pair(self.low.apply(ShiftRightOp, s).apply(OrOp, under), self.high.apply(ShiftRightOp, s), False)

    def places(self) -> Formula:
        """A number of places to shift by: 64 stands for all that are too many, negative ones too."""
        return self.high.compare("eq", 0).select(self.low.apply(MinimumOp, 64), self.low.lift(64))

    def quotient(self, other: Pair) -> Pair:
        """Towards zero; self where other is 0."""
        a, b = self.magnitude(), other.magnitude()
        words = [a.low, a.high, b.low, b.high]
        low, high = (words[0].apply(DivideWordsOp, *words[1:], word=word) for word in (0, 1))
        unlike = self.is_negative().apply(XorOp, other.is_negative())
        divided = Pair(low, high, False).signed_by(unlike, signed=self.signed)
        return self.chosen(other.equals(other.number(0)), divided)

    def remainder(self, other: Pair) -> Pair:
        """With the sign of self; 0 where other is 0."""
        return (self - self.quotient(other) * other).chosen(other.equals(other.number(0)).apply(NotOp), self.number(0))

    def sign(self) -> Pair:
        """-1, 0 or 1."""
        nonzero = Pair(_bit(self.equals(self.number(0)).apply(NotOp)), self.low.lift(0), self.signed)
        return self.number(-1).chosen(self.is_negative(), nonzero)

    def word(self) -> Formula:
        """The low word as i32: the number, where it fits."""
        return self.low.convert(i32)

    def index(self) -> Formula:
        """As i32, the nearest one: what is too large or too small to be a place stays so."""
        most, least = self.number(2**31 - 1), self.number(-(2**31))
        capped = most.chosen(most.below(self), self)
        return (least.chosen(capped.below(least), capped) if self.signed else capped).word()

    def is_true(self) -> Formula:
        """Where it is not 0, as i1."""
        return self.low.apply(OrOp, self.high).compare("ne", 0)

    def to_float(self) -> Formula:
        """The nearest f32, ties to even: the leading 32 bits, the last of which says whether anything follows."""
        size = self.magnitude()
        word, rest, places = _normalized(size)
        sticky = word.apply(OrOp, _bit(rest.compare("ne", 0)))
        # 2**(32 - places) by its bits; the word itself is below 2**32
        scale = ((159 - places).apply(ShiftLeftOp, 23)).apply(BitcastOp, element_type=f32)
        value = sticky.convert(f32) * scale
        value = size.is_true().select(value, value.lift(0))
        return self.is_negative().select(-value, value)

    @classmethod
    def of_float(cls, number: Formula, *, signed: bool) -> Pair:
        """Truncated; saturating, NaN as 0."""
        bits = number.apply(BitcastOp, element_type=ui32)
        exponent = bits.apply(ShiftRightOp, 23).apply(AndOp, 255)
        significand = bits.apply(AndOp, 2**23 - 1).apply(OrOp, 2**23)
        whole = cls(significand, significand.lift(0), False)
        zero = significand.lift(0)
        left = whole.shifted_left(cls((exponent.compare("gt", 150)).select(exponent - 150, zero), zero, False))
        right = whole.shifted_right(cls((exponent.compare("lt", 150)).select(150 - exponent, zero), zero, False))
        size = left.chosen(exponent.compare("ge", 150), right)
        negative = bits.compare("ge", SIGN)
        most, least = (2**63 - 1, -(2**63)) if signed else (2**64 - 1, 0)
        limit = whole.number(least).chosen(negative, whole.number(most))
        exact = size.signed_by(negative, signed=signed) if signed else size.number(0).chosen(negative, size)
        fits = exponent.compare("lt", 127 + (63 if signed else 64))
        nan = bits.apply(AndOp, SIGN - 1).compare("gt", 255 << 23)
        found = size.number(0).chosen(nan, exact.chosen(fits, limit))
        return cls(found.low, found.high, signed)


def of_type(element: Attribute) -> Callable[[Formula, Formula], Pair]:
    """How words of a 64-bit element type make a pair."""
    from tstorch.dialects.prim.types import is_unsigned

    return lambda low, high: Pair(low, high, not is_unsigned(element))


def _bit(condition: Formula) -> Formula:
    assert condition.type.element_type == i1
    return condition.convert(ui32)


def _flipped(word: Formula) -> Formula:
    """Signed order as unsigned order."""
    return word.apply(XorOp, SIGN)


def _high_of_product(x: Formula, y: Formula) -> Formula:
    """The upper word of the product of two words, by halves."""
    (a, b), (c, d) = ((v.apply(ShiftRightOp, 16), v.apply(AndOp, 0xFFFF)) for v in (x, y))
    inner, outer, low = b * c, a * d, b * d
    middle = low.apply(ShiftRightOp, 16) + inner.apply(AndOp, 0xFFFF) + outer.apply(AndOp, 0xFFFF)
    carried = inner.apply(ShiftRightOp, 16) + outer.apply(ShiftRightOp, 16) + middle.apply(ShiftRightOp, 16)
    return a * c + carried


def _normalized(size: Pair) -> tuple[Formula, Formula, Formula]:
    """The leading word of a magnitude with its first bit set, the word behind it, and by how many places it moved."""
    short = size.high.compare("eq", 0)
    zero = size.low.lift(0)
    pair = Pair(zero, size.low, False).chosen(short, size)
    places = short.select(32, zero)
    for step in (16, 8, 4, 2, 1):
        behind = pair.high.compare("lt", 2 ** (32 - step))
        pair = pair.moved_left(step).chosen(behind, pair)
        places = places + behind.select(step, zero)
    return pair.high, pair.low, places
