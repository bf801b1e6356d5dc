"""Elementwise functions of one operand: signs, roots, rounding, bits; `transcendental` has exponentials and angles."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from xdsl.builder import Builder
from xdsl.dialects import math
from xdsl.dialects.builtin import BoolAttr, TensorType, f16, i1, i32, i64
from xdsl.ir import Operation, SSAValue
from xdsl.irdl import base, irdl_op_definition, operand_def, prop_def, result_def

from tstorch.dialects.prim.base import NON_DIFFERENTIABLE, Array, Cotangents, ElementwiseOp, Gradients, Properties
from tstorch.dialects.prim.formula import Formula, formulas
from tstorch.dialects.prim.kinds import ReduceKind, identity
from tstorch.dialects.prim.sample import Sample
from tstorch.dialects.prim.scalar import Scalar
from tstorch.dialects.prim.types import BITS, FLOATS, NUMBERS, tensor, ui8

SPECIAL = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1.0, -1.0, 2.5, -0.5, 1.5], np.float32)
"""Floats that elementwise functions go wrong on."""


class UnaryOp(ElementwiseOp):
    """A function of one operand that keeps its type."""

    DOMAIN: ClassVar = FLOATS
    RANGE: ClassVar[tuple[float, float]] = (-2.0, 2.0)
    """Where samples are drawn: inside the function's domain."""

    operand = operand_def(ElementwiseOp.T)
    result = result_def(ElementwiseOp.T)
    assembly_format = "$operand attr-dict `:` type($result)"

    def __init__(self, operand: SSAValue | Operation):
        super().__init__([operand], {})

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample([(2, 3)], ranges=[cls.RANGE])
        yield Sample([()], ranges=[cls.RANGE])
        yield Sample([(1, 5, 1)], types=[f16], ranges=[cls.RANGE])
        yield Sample([(10,)], arrays=[SPECIAL], smooth=False)


class SmoothUnaryOp(UnaryOp):
    """A function with a derivative almost everywhere."""

    @abstractmethod
    def gradient(self, g: Formula, x: Formula, y: Formula) -> Formula:
        """The operand's cotangent from the result's, where y = f(x)."""

    def vjp(self, cotangents: Cotangents, build: Builder) -> Gradients:
        return [self.gradient(*formulas(build, *cotangents, self.operand, self.result)).value]


class StepUnaryOp(UnaryOp):
    """A function that is constant between its jumps."""

    vjp = NON_DIFFERENTIABLE("its derivative is zero almost everywhere")


class IntegerSamples:
    """Samples for functions that are also defined on integers."""

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield from super().samples()  # pyright: ignore[reportAttributeAccessIssue]
        yield Sample([(2, 3)], types=[i32], ranges=[(-5, 5)])
        yield Sample([(4,)], types=[i64], ranges=[(-5, 5)])


@irdl_op_definition
class NegOp(IntegerSamples, SmoothUnaryOp):
    """-x."""

    name = "prim.neg"
    DOMAIN: ClassVar = NUMBERS

    def compute(self, x: Array) -> Array:
        return np.negative(x)

    def gradient(self, g: Formula, x: Formula, y: Formula) -> Formula:
        return -g

    def forwarded(self) -> SSAValue | None:
        inner = self.operand.owner
        return inner.operand if isinstance(inner, NegOp) else None

    def scalar(self, x: Scalar) -> Scalar:
        return -x


@irdl_op_definition
class AbsOp(IntegerSamples, SmoothUnaryOp):
    """|x|."""

    name = "prim.abs"
    DOMAIN: ClassVar = NUMBERS

    def compute(self, x: Array) -> Array:
        return np.abs(x)

    def gradient(self, g: Formula, x: Formula, y: Formula) -> Formula:
        return g * x.apply(SignOp)

    def scalar(self, x: Scalar) -> Scalar:
        return x.abs()


@irdl_op_definition
class SignOp(IntegerSamples, StepUnaryOp):
    """-1, 0 or 1 by the sign of x; NaN stays."""

    name = "prim.sign"
    DOMAIN: ClassVar = NUMBERS

    def compute(self, x: Array) -> Array:
        return np.sign(x)

    def scalar(self, x: Scalar) -> Scalar:
        positive = x.compare("gt", 0).select(1, x)
        return positive if x.is_unsigned else x.compare("lt", 0).select(-1, positive)


@irdl_op_definition
class SqrtOp(SmoothUnaryOp):
    """The square root; NaN below zero."""

    name = "prim.sqrt"
    RANGE: ClassVar = (0.1, 4.0)

    def compute(self, x: Array) -> Array:
        return np.sqrt(x)

    def gradient(self, g: Formula, x: Formula, y: Formula) -> Formula:
        return g * 0.5 / y

    def scalar(self, x: Scalar) -> Scalar:
        return x.sqrt()


@irdl_op_definition
class RsqrtOp(SmoothUnaryOp):
    """1 / sqrt(x)."""

    name = "prim.rsqrt"
    RANGE: ClassVar = (0.1, 4.0)

    def compute(self, x: Array) -> Array:
        return (1 / np.sqrt(x)).astype(x.dtype)

    def gradient(self, g: Formula, x: Formula, y: Formula) -> Formula:
        return g * y / x * -0.5

    def scalar(self, x: Scalar) -> Scalar:
        return x.apply(math.RsqrtOp)


@irdl_op_definition
class FloorOp(StepUnaryOp):
    """The largest integer not above x."""

    name = "prim.floor"

    def compute(self, x: Array) -> Array:
        return np.floor(x)

    def scalar(self, x: Scalar) -> Scalar:
        return x.floor()


@irdl_op_definition
class CeilOp(StepUnaryOp):
    """The smallest integer not below x."""

    name = "prim.ceil"

    def compute(self, x: Array) -> Array:
        return np.ceil(x)

    def scalar(self, x: Scalar) -> Scalar:
        return x.apply(math.CeilOp)


@irdl_op_definition
class RoundOp(StepUnaryOp):
    """The nearest integer, the even one of two."""

    name = "prim.round"

    def compute(self, x: Array) -> Array:
        return np.rint(x)

    def scalar(self, x: Scalar) -> Scalar:
        return x.apply(math.RoundEvenOp)


@irdl_op_definition
class TruncOp(StepUnaryOp):
    """The next integer towards zero."""

    name = "prim.trunc"

    def compute(self, x: Array) -> Array:
        return np.trunc(x)

    def scalar(self, x: Scalar) -> Scalar:
        return x.apply(math.TruncOp)


@irdl_op_definition
class NotOp(UnaryOp):
    """All bits flipped; of i1, its opposite."""

    name = "prim.not"
    DOMAIN: ClassVar = BITS
    vjp = NON_DIFFERENTIABLE("its result is no float")

    def compute(self, x: Array) -> Array:
        return np.invert(x)

    def forwarded(self) -> SSAValue | None:
        inner = self.operand.owner
        return inner.operand if isinstance(inner, NotOp) else None

    def scalar(self, x: Scalar) -> Scalar:
        return x.negated() if x.type == i1 else x ^ int(identity(ReduceKind.AND, x.type))

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample([(2, 3)], types=[i1])
        yield Sample([()], types=[i32], ranges=[(-9, 9)])
        yield Sample([(4,)], types=[ui8], ranges=[(0, 255)])


class FloatTestOp(ElementwiseOp):
    """Whether a float has a property, as i1."""

    DOMAIN: ClassVar = FLOATS
    vjp = NON_DIFFERENTIABLE("its result is no float")

    operand = operand_def(base(TensorType))
    result = result_def(base(TensorType))

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        [type] = super().infer_types(operands, properties)
        return [tensor(type.get_shape(), i1)]

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample([(2, 3)])
        yield Sample(arrays=[SPECIAL])
        yield Sample(arrays=[np.array(np.inf, np.float16)])


@irdl_op_definition
class IsNanOp(FloatTestOp):
    """Whether x is NaN."""

    name = "prim.is_nan"
    assembly_format = "$operand attr-dict `:` type($operand) `->` type($result)"

    def __init__(self, operand: SSAValue | Operation):
        super().__init__([operand], {})

    def compute(self, x: Array) -> Array:
        return np.isnan(x)

    def scalar(self, x: Scalar) -> Scalar:
        return x.is_nan()


@irdl_op_definition
class IsInfOp(FloatTestOp):
    """Whether x is infinite, on the sides asked for."""

    name = "prim.is_inf"
    detect_negative = prop_def(BoolAttr)
    detect_positive = prop_def(BoolAttr)
    assembly_format = (
        "$operand `,` `detect_negative` `=` $detect_negative `,` `detect_positive` `=` $detect_positive "
        "attr-dict `:` type($operand) `->` type($result)"
    )

    def __init__(self, operand: SSAValue | Operation, *, detect_negative: bool = True, detect_positive: bool = True):
        flags = {"detect_negative": detect_negative, "detect_positive": detect_positive}
        super().__init__([operand], {key: BoolAttr.from_bool(flag) for key, flag in flags.items()})

    def compute(self, x: Array) -> Array:
        negative, positive = (bool(flag.value.data) for flag in (self.detect_negative, self.detect_positive))
        return (np.isneginf(x) & negative) | (np.isposinf(x) & positive)

    def scalar(self, x: Scalar) -> Scalar:
        infinite = x.is_inf()
        if self.detect_negative.value.data and self.detect_positive.value.data:
            return infinite
        if self.detect_negative.value.data:
            return infinite & x.compare("lt", 0)
        return infinite & x.compare("gt", 0) if self.detect_positive.value.data else infinite ^ infinite

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield from super().samples()
        yield Sample(arrays=[SPECIAL], properties={"detect_negative": False})
        yield Sample(arrays=[SPECIAL], properties={"detect_positive": False})
        yield Sample(arrays=[SPECIAL], properties={"detect_negative": False, "detect_positive": False})
