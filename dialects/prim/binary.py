"""Elementwise functions of two operands."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from math import pi
from typing import ClassVar

import numpy as np
from xdsl.builder import Builder
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import f16, i1, i32, i64
from xdsl.ir import Operation, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, result_def

from tstorch.dialects.prim.base import NON_DIFFERENTIABLE, Array, Cotangents, ElementwiseOp, Gradients
from tstorch.dialects.prim.exact import exact_quotient, exact_remainder, wide_quotient
from tstorch.dialects.prim.formula import Formula, formulas
from tstorch.dialects.prim.kinds import ReduceKind, identity
from tstorch.dialects.prim.sample import Sample, floats
from tstorch.dialects.prim.scalar import Scalar
from tstorch.dialects.prim.shape import uniform_value
from tstorch.dialects.prim.transcendental import arctangent
from tstorch.dialects.prim.types import BITS, FLOATS, INTEGERS, NUMBERS, is_float, ui8, ui32

LEFT = np.array([np.nan, 1.0, np.inf, -np.inf, 0.0, -0.0, 3.0, -3.0], np.float32)
RIGHT = np.array([1.0, np.nan, np.inf, 2.0, 0.0, 0.0, -2.0, 2.0], np.float32)


class BinaryOp(ElementwiseOp):
    """A function of two operands of one type that keeps it."""

    DOMAIN: ClassVar = NUMBERS

    lhs = operand_def(ElementwiseOp.T)
    rhs = operand_def(ElementwiseOp.T)
    result = result_def(ElementwiseOp.T)
    assembly_format = "$lhs `,` $rhs attr-dict `:` type($result)"

    def __init__(self, lhs: SSAValue | Operation, rhs: SSAValue | Operation):
        super().__init__([lhs, rhs], {})

    def neutral_right(self) -> float | None:
        """The y for which the result is x, bit by bit, whatever x is; None without one."""
        return None

    def neutral_left(self) -> float | None:
        """The x for which the result is y."""
        return None

    def forwarded(self) -> SSAValue | None:
        if _is_number(self.rhs, self.neutral_right()):
            return self.lhs
        return self.rhs if _is_number(self.lhs, self.neutral_left()) else None

    def _holds_floats(self) -> bool:
        return is_float(self.result.type.element_type)  # pyright: ignore[reportAttributeAccessIssue]


def _is_number(value: SSAValue, number: float | None) -> bool:
    """Whether all elements of a value are a number, the sign of a zero included."""
    if number is None or (found := uniform_value(value)) is None:
        return False
    return bool(found == number) and np.copysign(1.0, float(found)) == np.copysign(1.0, number)


class CommutativeOp:
    """What is neutral on one side is on the other."""

    def neutral_left(self) -> float | None:
        return self.neutral_right()  # pyright: ignore[reportAttributeAccessIssue]


class SmoothBinaryOp(BinaryOp):
    """A function with derivatives almost everywhere."""

    @abstractmethod
    def gradients(self, g: Formula, x: Formula, y: Formula) -> tuple[Formula, Formula | None]:
        """The operands' cotangents from the result's."""

    def vjp(self, cotangents: Cotangents, build: Builder) -> Gradients:
        gradients = self.gradients(*formulas(build, *cotangents, self.lhs, self.rhs))
        return [gradient and gradient.value for gradient in gradients]

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample([(2, 3)] * 2)
        yield Sample([()] * 2)
        yield Sample([(1, 5, 1)] * 2, types=[f16])
        yield Sample(arrays=[LEFT, RIGHT], smooth=False)
        if cls.DOMAIN is NUMBERS:
            yield Sample([(3, 2)] * 2, types=[i32], ranges=[(-9, 9), (1, 5)])
            yield Sample([(4,)] * 2, types=[i64], ranges=[(-9, 9), (-5, -1)])
            yield Sample([(4,)] * 2, types=[ui8], ranges=[(0, 255), (1, 9)])


@irdl_op_definition
class AddOp(CommutativeOp, SmoothBinaryOp):
    """x + y."""

    name = "prim.add"

    def compute(self, x: Array, y: Array) -> Array:
        return x + y

    def gradients(self, g: Formula, x: Formula, y: Formula) -> tuple[Formula, Formula]:
        return g, g

    def neutral_right(self) -> float:
        return -0.0 if self._holds_floats() else 0  # -0.0 + 0.0 is 0.0

    def scalar(self, x: Scalar, y: Scalar) -> Scalar:
        return x + y


@irdl_op_definition
class SubOp(SmoothBinaryOp):
    """x - y."""

    name = "prim.sub"

    def compute(self, x: Array, y: Array) -> Array:
        return x - y

    def gradients(self, g: Formula, x: Formula, y: Formula) -> tuple[Formula, Formula]:
        return g, -g

    def neutral_right(self) -> float:
        return 0

    def scalar(self, x: Scalar, y: Scalar) -> Scalar:
        return x - y


@irdl_op_definition
class MulOp(CommutativeOp, SmoothBinaryOp):
    """x * y."""

    name = "prim.mul"

    def compute(self, x: Array, y: Array) -> Array:
        return x * y

    def gradients(self, g: Formula, x: Formula, y: Formula) -> tuple[Formula, Formula]:
        return g * y, g * x

    def neutral_right(self) -> float:
        return 1

    def scalar(self, x: Scalar, y: Scalar) -> Scalar:
        return x * y


class QuotientOp(SmoothBinaryOp):
    """x / y."""

    def compute(self, x: Array, y: Array) -> Array:
        if x.dtype.kind == "f":
            return x / y
        divisor = np.where(y == 0, 1, y).astype(y.dtype)
        return np.where(y == 0, x, (x - np.fmod(x, divisor)) // divisor).astype(x.dtype)

    def gradients(self, g: Formula, x: Formula, y: Formula) -> tuple[Formula, Formula]:
        over = g / y
        return over, -(over * x / y)

    def neutral_right(self) -> float:
        return 1


@irdl_op_definition
class DivOp(QuotientOp):
    """x / y; of integers the quotient towards zero, and x itself where y is 0 (as in WGSL)."""

    name = "prim.div"

    def scalar(self, x: Scalar, y: Scalar) -> Scalar:
        return wide_quotient(x, y) if x.is_float else x / y.compare("eq", 0).select(1, y)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample([(2, 3)] * 2, ranges=[(-2, 2), (0.5, 2)])
        yield from list(super().samples())[3:]
        yield Sample(arrays=[np.array([7, -7, 7, -7, 5, 0]), np.array([2, 2, -2, -2, 0, 0])])


@irdl_op_definition
class ExactDivOp(QuotientOp):
    """x / y of floats, rounded once on every device: for what is then rounded to a whole number, or compared."""

    name = "prim.exact_div"
    DOMAIN: ClassVar = FLOATS

    def scalar(self, x: Scalar, y: Scalar) -> Scalar:
        return exact_quotient(x, y)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample([(2, 3)] * 2, ranges=[(-2, 2), (0.5, 2)])
        yield Sample(arrays=[LEFT, RIGHT], smooth=False)
        yield Sample(arrays=[floats([1, 7, 3e38, 1e-38, 1.0]), floats([3, 0.1, 1.5e-3, 1e38, 2**127])], smooth=False)


@irdl_op_definition
class RemOp(SmoothBinaryOp):
    """x - y * trunc(x / y), with the sign of x (C's fmod); of integers 0 where y is 0 (as in WGSL)."""

    name = "prim.rem"

    def compute(self, x: Array, y: Array) -> Array:
        return np.fmod(x, y) if x.dtype.kind == "f" else np.where(y == 0, 0, np.fmod(x, np.where(y == 0, 1, y)))

    def gradients(self, g: Formula, x: Formula, y: Formula) -> tuple[Formula, Formula]:
        from tstorch.dialects.prim.unary import TruncOp

        return g, -(g * (x / y).apply(TruncOp))

    def scalar(self, x: Scalar, y: Scalar) -> Scalar:
        if not x.is_float:
            divisor = y.compare("eq", 0).select(1, y)
            return x.apply(arith.RemUIOp if x.is_unsigned else arith.RemSIOp, divisor)
        return exact_remainder(x, y)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample([(2, 3)] * 2, ranges=[(-5, 5), (0.7, 2)])
        yield from list(super().samples())[3:]
        yield Sample(arrays=[np.array([7, -7, 7, -7, 5, 0]), np.array([2, 2, -2, -2, 0, 0])])
        yield Sample(arrays=[floats([6, 9, -0.3, 49]), floats([3, 0.1, 0.1, 7])], smooth=False)
        yield Sample(arrays=[floats([1e38, -3e30, 1e9, 5e-20]), floats([2.5, 0.7, 1e-7, 3e-36])], smooth=False)


@irdl_op_definition
class PowOp(SmoothBinaryOp):
    """x ** y; of a negative x NaN, unless y is an integer; 1 where x is 1 or y is 0, even if the other is NaN."""

    name = "prim.pow"
    DOMAIN: ClassVar = FLOATS

    def compute(self, x: Array, y: Array) -> Array:
        return np.power(x, y)

    def gradients(self, g: Formula, x: Formula, y: Formula) -> tuple[Formula, Formula]:
        # 0 * log(0) must not spoil the gradient of a constant exponent
        log = x.compare("gt", 0).select(x, x.lift(1.0)).log()
        return g * y * x ** (y - 1), g * Formula(self.result, g.build) * log

    def neutral_right(self) -> float:
        return 1

    def scalar(self, x: Scalar, y: Scalar) -> Scalar:
        magnitude = x.abs().apply(math.PowFOp, y)
        half = y * 0.5
        is_whole, odd = y.floor().compare("eq", y), half.floor().compare("ne", half)
        signed = odd.select(-magnitude, magnitude)
        # A device's pow of a negative number is NaN, which no WGSL constant may spell.
        undefined = x.is_inf().select(magnitude, x.apply(math.PowFOp, y))
        power = x.compare("lt", 0).select(is_whole.select(signed, undefined), magnitude)
        nothing = (is_whole & odd).select(x, x.abs())  # of which some devices make 0 whatever the exponent
        power = x.compare("eq", 0).select(y.compare("lt", 0).select(1 / nothing, nothing), power)
        unknown = x.is_nan() | y.is_nan()  # which some devices take for a number
        one = y.compare("eq", 0) | x.compare("eq", 1) | (x.compare("eq", -1) & y.is_inf())
        return one.select(1.0, unknown.select(x + y, power))

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample([(2, 3)] * 2, ranges=[(0.2, 2), (-2, 2)])
        yield Sample([()] * 2, ranges=[(0.2, 2), (-2, 2)])
        yield Sample(
            arrays=[floats([-2, -2, -2, -1.5, 0, 0, 2, -2]), floats([2, 3, -1, 0, 0, 2, 0.5, 0.5])],
            smooth=False,
        )
        unknown = floats([np.nan, np.nan, 1, 0, -1, -1, np.inf, -np.inf, -np.inf])
        yield Sample(arrays=[unknown, floats([1, 0, np.nan, np.nan, np.inf, -np.inf, -1, 3, 2.5])], smooth=False)
        yield Sample(arrays=[floats([0, -0.0, 0, -0.0, -0.0]), floats([-1, -1, -2.5, 3, -np.inf])], smooth=False)


class ExtremumOp(CommutativeOp, SmoothBinaryOp):
    """One of two values; half of the gradient to each where they are equal."""

    DIRECTION: ClassVar[str]
    KIND: ClassVar[ReduceKind]
    DOMAIN: ClassVar = NUMBERS | {i1}

    def neutral_right(self) -> float:
        return identity(self.KIND, self.result.type.element_type)  # pyright: ignore[reportAttributeAccessIssue]

    def forwarded(self) -> SSAValue | None:
        return self.lhs if self.lhs is self.rhs else super().forwarded()

    def gradients(self, g: Formula, x: Formula, y: Formula) -> tuple[Formula, Formula]:
        # the share of x first, from the operands alone: one tensor to keep for the way back
        chosen = x.compare(self.DIRECTION, y).select(1.0, g.lift(0.0))
        to_x = g * x.compare("eq", y).select(0.5, chosen)
        return to_x, g - to_x

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield from super().samples()
        yield Sample([(3, 2)] * 2, types=[i32], ranges=[(-9, 9)])
        yield Sample([(4,)] * 2, types=[ui32], ranges=[(0, 9)])
        yield Sample([(6,)] * 2, types=[i1])


@irdl_op_definition
class MaximumOp(ExtremumOp):
    """The larger of x and y; NaN where either is."""

    name = "prim.maximum"
    DIRECTION: ClassVar = "gt"
    KIND: ClassVar = ReduceKind.MAX

    def compute(self, x: Array, y: Array) -> Array:
        return np.maximum(x, y)

    def scalar(self, x: Scalar, y: Scalar) -> Scalar:
        return x | y if x.type == i1 else x.maximum(y)


@irdl_op_definition
class MinimumOp(ExtremumOp):
    """The smaller of x and y; NaN where either is."""

    name = "prim.minimum"
    DIRECTION: ClassVar = "lt"
    KIND: ClassVar = ReduceKind.MIN

    def compute(self, x: Array, y: Array) -> Array:
        return np.minimum(x, y)

    def scalar(self, x: Scalar, y: Scalar) -> Scalar:
        return x & y if x.type == i1 else x.minimum(y)


@irdl_op_definition
class Atan2Op(SmoothBinaryOp):
    """The angle of the point (y, x), from -pi to pi; a zero counts as positive."""

    name = "prim.atan2"
    DOMAIN: ClassVar = FLOATS

    def compute(self, y: Array, x: Array) -> Array:
        return np.arctan2(y + 0.0, x + 0.0)

    def gradients(self, g: Formula, x: Formula, y: Formula) -> tuple[Formula, Formula]:
        over, across = x, y  # the angle's own names for its operands: (y, x)
        scaled = g / (across * across + over * over)
        return scaled * across, -(scaled * over)

    def scalar(self, y: Scalar, x: Scalar) -> Scalar:
        ay, ax = y.abs(), x.abs()
        large = ax.maximum(ay)
        ratio = ax.compare("eq", ay).select(1.0, ax.minimum(ay) / large)
        angle = arctangent(large.compare("eq", 0).select(0.0, ratio))
        angle = ay.compare("gt", ax).select(pi / 2 - angle, angle)
        angle = x.compare("lt", 0).select(pi - angle, angle)
        return y.compare("lt", 0).select(-angle, angle)


class BitsOp(BinaryOp):
    """A function of bits."""

    DOMAIN: ClassVar = BITS
    vjp = NON_DIFFERENTIABLE("its result is no float")

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample([(2, 3)] * 2, types=[i32], ranges=[(-99, 99), (0, 40)])
        yield Sample([()] * 2, types=[i64], ranges=[(-99, 99), (0, 5)])
        yield Sample([(5,)] * 2, types=[ui8], ranges=[(0, 255), (0, 10)])
        if cls.DOMAIN is BITS:
            yield Sample([(2, 4)] * 2, types=[i1])


@irdl_op_definition
class AndOp(CommutativeOp, BitsOp):
    """The bits set in both."""

    name = "prim.and"

    def compute(self, x: Array, y: Array) -> Array:
        return x & y

    def neutral_right(self) -> float:
        return identity(ReduceKind.AND, self.result.type.element_type)  # pyright: ignore[reportAttributeAccessIssue]

    def scalar(self, x: Scalar, y: Scalar) -> Scalar:
        return x & y


@irdl_op_definition
class OrOp(CommutativeOp, BitsOp):
    """The bits set in either."""

    name = "prim.or"

    def compute(self, x: Array, y: Array) -> Array:
        return x | y

    def neutral_right(self) -> float:
        return 0

    def scalar(self, x: Scalar, y: Scalar) -> Scalar:
        return x | y


@irdl_op_definition
class XorOp(CommutativeOp, BitsOp):
    """The bits set in one of the two."""

    name = "prim.xor"

    def compute(self, x: Array, y: Array) -> Array:
        return x ^ y

    def neutral_right(self) -> float:
        return 0

    def scalar(self, x: Scalar, y: Scalar) -> Scalar:
        return x ^ y


class ShiftOp(BitsOp):
    """Moves the bits of x by y places."""

    DOMAIN: ClassVar = INTEGERS

    def neutral_right(self) -> float:
        return 0


@irdl_op_definition
class ShiftLeftOp(ShiftOp):
    """x times 2**y; 0 where y is the width or more, or negative."""

    name = "prim.shift_left"

    def compute(self, x: Array, y: Array) -> Array:
        return np.left_shift(x, y)

    def scalar(self, x: Scalar, y: Scalar) -> Scalar:
        width = _width(x)
        shifted = x.apply(arith.ShLIOp, y.minimum(width - 1))
        return _below(y, width).select(shifted, x.lift(0))


@irdl_op_definition
class ShiftRightOp(ShiftOp):
    """x over 2**y, rounded down; where y is the width or more, 0, or -1 for a negative x; so for a negative y."""

    name = "prim.shift_right"

    def compute(self, x: Array, y: Array) -> Array:
        return np.right_shift(x, y)

    def scalar(self, x: Scalar, y: Scalar) -> Scalar:
        width = _width(x)
        if not x.is_unsigned:
            return x.apply(arith.ShRSIOp, _below(y, width).select(y, y.lift(width - 1)))
        return y.compare("lt", width).select(x.apply(arith.ShRUIOp, y.minimum(width - 1)), x.lift(0))


def _below(y: Scalar, width: int) -> Scalar:
    """Whether y is a number of places; a negative one is too many."""
    below = y.compare("lt", width)
    return below if y.is_unsigned else below & y.compare("ge", 0)


def _width(x: Scalar) -> int:
    return x.type.width.data  # pyright: ignore[reportAttributeAccessIssue]
