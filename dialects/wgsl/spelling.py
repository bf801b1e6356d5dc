"""How ops are spelled: text in pieces, some of which are known only where the printer expands a static loop.

An op's class spells it once, from the spelling of its operands; the printer then renders the pieces for each expansion.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import isfinite

from xdsl.dialects.builtin import Float32Type, IntegerType, Signedness, VectorType
from xdsl.ir import Attribute, SSAValue
from xdsl.ir.affine import AffineBinaryOpExpr, AffineBinaryOpKind, AffineConstantExpr, AffineDimExpr, AffineExpr

from tstorch.dialects.indexing import split_sum

U32 = 1 << 32


class Level(IntEnum):
    """How tightly an expression binds, tightest first."""

    PRIMARY = 0
    UNARY = 1
    MULTIPLY = 2
    ADD = 3
    SHIFT = 4
    COMPARE = 5
    BITWISE = 6
    LOGICAL = 7


@dataclass
class Scope:
    """What is known at one place of the expansion: names of values, and values of static loop indices."""

    names: dict[SSAValue, str]
    values: dict[SSAValue, int]


# A piece that depends on the scope.
Hole = Callable[[Scope], str]


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of WGSL, and how tightly it binds."""

    parts: tuple[str | Hole, ...]
    level: Level = Level.PRIMARY

    def within(self, level: Level) -> "Text":
        """In parentheses where it binds less tightly than `level`."""
        return self if self.level <= level else join("(", self, ")")

    def render(self, scope: Scope) -> str:
        return "".join(part if isinstance(part, str) else part(scope) for part in self.parts)

    def at(self, level: Level) -> "Text":
        """The same text, said to bind at `level`."""
        return Text(self.parts, level)


# The spelling of a value where it is used: the name of a `let`, or the expression itself.
SpellingOf = Callable[[SSAValue], Text]


def join(*pieces: "str | Text") -> Text:
    """The pieces one after the other, neighbouring strings merged."""
    parts: list[str | Hole] = []
    for piece in pieces:
        for part in (piece,) if isinstance(piece, str) else piece.parts:
            if isinstance(part, str) and parts and isinstance(parts[-1], str):
                parts[-1] += part
            else:
                parts.append(part)
    return Text(tuple(parts))


def separated(separator: str, texts: Sequence[Text]) -> Text:
    """The texts with a separator between."""
    pieces: list[str | Text] = []
    for text in texts:
        pieces += [separator, text] if pieces else [text]
    return join(*pieces)


def call(name: str, arguments: Sequence[Text]) -> Text:
    """`name(a, b)`; comparisons in parentheses, for `f(a < b, c > d)` would read as a template."""
    return join(f"{name}(", separated(", ", [argument.within(Level.SHIFT) for argument in arguments]), ")")


def name_of(value: SSAValue) -> Text:
    """The name that the printer gives to the value."""
    return Text((lambda scope: scope.names[value],))


# --- types and literals ----------------------------------------------------------------------------------------------


def scalar_name(type: Attribute) -> str:
    """The WGSL name of a scalar type. Raises ValueError where it has none."""
    match type:
        case Float32Type():
            return "f32"
        case IntegerType() if type.width.data == 1:
            return "bool"
        case IntegerType() if type.width.data == 32:
            return "u32" if type.signedness.data is Signedness.UNSIGNED else "i32"
    raise ValueError(f"{type} has no WGSL type")


def type_name(type: Attribute) -> str:
    """The WGSL name of a scalar or vector type. Raises ValueError where it has none."""
    if isinstance(type, VectorType):
        (lanes,) = type.get_shape()
        return f"vec{lanes}<{scalar_name(type.element_type)}>"
    return scalar_name(type)


def is_wgsl_type(type: Attribute) -> bool:
    """Whether a value may have it: f32, i32, ui32, i1 and vectors of 2 to 4 of them."""
    if isinstance(type, VectorType):
        shape = type.get_shape()
        return len(shape) == 1 and 2 <= shape[0] <= 4 and is_wgsl_type(type.element_type)
    return isinstance(type, Float32Type) or (isinstance(type, IntegerType) and type.width.data in (1, 32))


def literal(value: int | float | bool, type: Attribute) -> Text:
    """A constant of a scalar type. Raises ValueError for an infinite float or a NaN, which WGSL cannot spell."""
    name = scalar_name(type)
    if name == "bool":
        return Text(("true" if value else "false",))
    if name == "f32":
        return _signed(_float_text(float(value)))
    number = int(value)
    if name == "u32":
        return Text((f"{number % U32}u",))
    number = (number + U32 // 2) % U32 - U32 // 2
    if number == -(U32 // 2):
        return Text((f"i32({number})",))
    return _signed(f"{number}i")


def _signed(text: str) -> Text:
    return Text((text,), Level.UNARY if text.startswith("-") else Level.PRIMARY)


def _float_text(value: float) -> str:
    """The shortest decimal that is this f32; exact near the end of the range, where rounding up would leave it."""
    if not isfinite(value):
        raise ValueError(f"{value} has no WGSL literal")
    single = struct.unpack("f", struct.pack("f", value))[0]
    text = repr(single)
    if abs(single) < 1e38:
        candidates = (f"{single:.{digits}g}" for digits in range(1, 10))
        text = next((c for c in candidates if struct.unpack("f", struct.pack("f", float(c)))[0] == single), text)
    return text + ("f" if "." in text or "e" in text else ".0f")


# --- index expressions -----------------------------------------------------------------------------------------------

# What is static has a value in the scope.
StaticValue = Callable[[Scope], int]
IsStatic = Callable[[SSAValue], bool]


def spell_index(expr: AffineExpr, operands: Sequence[SSAValue], of: SpellingOf, static: IsStatic) -> Text:
    """A u32 expression. What depends on static loop indices and constants only is one number, computed when rendered.

    Negative terms are subtracted: in u32 arithmetic the sum is right although a part of it wraps around.
    """
    constant = 0
    fixed: list[tuple[int, StaticValue]] = []
    plus: list[Text] = []
    minus: list[Text] = []
    for sign_and_factor, atom in split_sum(expr):
        if isinstance(atom, AffineConstantExpr):
            constant += sign_and_factor * atom.value
        elif (value := _static_value(atom, operands, static)) is not None:
            fixed.append((sign_and_factor, value))
        else:
            text = _spell_atom(atom, operands, of, static)
            factor = abs(sign_and_factor)
            scaled = text if factor == 1 else join(text.within(Level.MULTIPLY), f" * {factor}u").at(Level.MULTIPLY)
            (plus if sign_and_factor > 0 else minus).append(scaled)
    return _sum(plus, minus, constant, fixed)


def _sum(plus: list[Text], minus: list[Text], constant: int, fixed: list[tuple[int, StaticValue]]) -> Text:
    def number(scope: Scope) -> int:
        return constant + sum(factor * value(scope) for factor, value in fixed)

    if not plus and not minus:
        return Text((lambda scope: f"{number(scope) % U32}u",)) if fixed else Text((f"{constant % U32}u",))
    if not plus:
        plus = [Text(("0u",))]
    if len(plus) == 1 and not minus and not fixed and not constant:
        return plus[0]
    total = separated(" + ", [text.within(Level.ADD) for text in plus])
    for text in minus:
        total = join(total, " - ", text.within(Level.MULTIPLY))
    tail = Text((lambda scope: _addend(number(scope)),)) if fixed else _addend(constant)
    return join(total, tail).at(Level.ADD)


def _addend(number: int) -> str:
    if number == 0:
        return ""
    return f" + {number}u" if number > 0 else f" - {-number}u"


def _spell_atom(expr: AffineExpr, operands: Sequence[SSAValue], of: SpellingOf, static: IsStatic) -> Text:
    """A dimension, quotient or remainder that is known at run time only."""
    if isinstance(expr, AffineDimExpr):
        return of(operands[expr.position])
    if not isinstance(expr, AffineBinaryOpExpr) or not isinstance(expr.rhs, AffineConstantExpr):
        raise ValueError(f"{expr} is no index expression")
    dividend = spell_index(expr.lhs, operands, of, static).within(Level.MULTIPLY)
    symbol = "/" if expr.kind is AffineBinaryOpKind.FloorDiv else "%"
    return join(dividend, f" {symbol} {expr.rhs.value}u").at(Level.MULTIPLY)


def _static_value(atom: AffineExpr, operands: Sequence[SSAValue], static: IsStatic) -> StaticValue | None:
    """What computes an atom from the indices of static loops; None where it needs more."""
    if isinstance(atom, AffineConstantExpr):
        number = atom.value
        return lambda scope: number
    if isinstance(atom, AffineDimExpr):
        value = operands[atom.position]
        return (lambda scope: scope.values[value]) if static(value) else None
    if not isinstance(atom, AffineBinaryOpExpr) or not isinstance(atom.rhs, AffineConstantExpr):
        return None
    dividend, divisor = _static_sum(atom.lhs, operands, static), atom.rhs.value
    if dividend is None:
        return None
    if atom.kind is AffineBinaryOpKind.FloorDiv:
        return lambda scope: dividend(scope) // divisor
    return lambda scope: dividend(scope) % divisor


def _static_sum(expr: AffineExpr, operands: Sequence[SSAValue], static: IsStatic) -> StaticValue | None:
    parts: list[tuple[int, StaticValue]] = []
    for factor, atom in split_sum(expr):
        if (value := _static_value(atom, operands, static)) is None:
            return None
        parts.append((factor, value))
    return lambda scope: sum(factor * value(scope) for factor, value in parts)


def static_number(expr: AffineExpr, operands: Sequence[SSAValue]) -> StaticValue:
    """What computes an expression of static loop indices only. Raises ValueError for any other."""
    value = _static_sum(expr, operands, lambda _: True)
    if value is None:
        raise ValueError(f"{expr} is no index expression")
    return value
