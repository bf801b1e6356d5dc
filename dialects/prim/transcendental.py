"""Elementwise exponentials, logarithms, angles and the error function.

Scalar bodies are composed where a device's own function may be wrong by far more than rounding: WGSL allows `asin` an
error of 7e-5 and `atan` 4096 units in the last place, has no `expm1` and no `erf`, and `sinh` and `log` of a sum lose
all digits near zero. Bounds are stated for float32 and checked by the op table's test.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import erf, log, pi
from typing import ClassVar

import numpy as np
from xdsl.dialects import math
from xdsl.irdl import irdl_op_definition

from tstorch.dialects.prim.angles import cosine, sine
from tstorch.dialects.prim.base import Array
from tstorch.dialects.prim.exact import wide_quotient
from tstorch.dialects.prim.formula import Formula
from tstorch.dialects.prim.sample import Sample
from tstorch.dialects.prim.scalar import Scalar
from tstorch.dialects.prim.unary import SmoothUnaryOp

_LARGE = 8192.0  # its square swallows a one in float32


@irdl_op_definition
class ExpOp(SmoothUnaryOp):
    """e**x."""

    name = "prim.exp"

    def compute(self, x: Array) -> Array:
        return np.exp(x)

    def gradient(self, g: Formula, x: Formula, y: Formula) -> Formula:
        return g * y

    def scalar(self, x: Scalar) -> Scalar:
        return x.exp()


@irdl_op_definition
class LogOp(SmoothUnaryOp):
    """The natural logarithm."""

    name = "prim.log"
    RANGE: ClassVar = (0.1, 4.0)

    def compute(self, x: Array) -> Array:
        return np.log(x)

    def gradient(self, g: Formula, x: Formula, y: Formula) -> Formula:
        return g / x

    def scalar(self, x: Scalar) -> Scalar:
        return x.log()


@irdl_op_definition
class Log1pOp(SmoothUnaryOp):
    """log(1 + x), exact near zero."""

    name = "prim.log1p"
    RANGE: ClassVar = (-0.9, 4.0)

    def compute(self, x: Array) -> Array:
        return np.log1p(x)

    def gradient(self, g: Formula, x: Formula, y: Formula) -> Formula:
        return g / (x + 1)

    def scalar(self, x: Scalar) -> Scalar:
        return _log1p(x)


def _log1p(x: Scalar) -> Scalar:
    """log(1 + x): near zero 2 atanh(x / (2 + x)) by its series, whose next term is below 4e-10 of the sum."""
    s = x / (x + 2)
    near = s * (s * s).polynomial([2 / 9, 2 / 7, 2 / 5, 2 / 3, 2])
    return x.abs().compare("lt", 0.25).select(near, (x + 1).log())


@irdl_op_definition
class Expm1Op(SmoothUnaryOp):
    """e**x - 1, exact near zero."""

    name = "prim.expm1"

    def compute(self, x: Array) -> Array:
        return np.expm1(x)

    def gradient(self, g: Formula, x: Formula, y: Formula) -> Formula:
        return g * (y + 1)

    def scalar(self, x: Scalar) -> Scalar:
        near = x * x.polynomial([1 / 40320, 1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1])
        return x.abs().compare("lt", 0.35).select(near, x.exp() - 1)


@irdl_op_definition
class TanhOp(SmoothUnaryOp):
    """The hyperbolic tangent."""

    name = "prim.tanh"

    def compute(self, x: Array) -> Array:
        return np.tanh(x)

    def gradient(self, g: Formula, x: Formula, y: Formula) -> Formula:
        return g * (1 - y * y)

    def scalar(self, x: Scalar) -> Scalar:
        # Some devices form it from e**x, which overflows where tanh has long been 1, and loses digits near 0.
        square = x * x
        near = x * square.polynomial([2 / 15, -1 / 3, 1.0])
        return x.abs().compare("lt", 0.05).select(near, x.minimum(15.0).maximum(-15.0).apply(math.TanhOp))


@irdl_op_definition
class LogisticOp(SmoothUnaryOp):
    """1 / (1 + e**-x)."""

    name = "prim.logistic"

    def compute(self, x: Array) -> Array:
        return (1 / (1 + np.exp(-x))).astype(x.dtype)

    def gradient(self, g: Formula, x: Formula, y: Formula) -> Formula:
        return g * y * (1 - y)

    def scalar(self, x: Scalar) -> Scalar:
        return 1 / ((-x).exp() + 1)


@irdl_op_definition
class SinOp(SmoothUnaryOp):
    """The sine of an angle in radians."""

    name = "prim.sin"

    def compute(self, x: Array) -> Array:
        return np.sin(x)

    def gradient(self, g: Formula, x: Formula, y: Formula) -> Formula:
        return g * x.cos()

    def scalar(self, x: Scalar) -> Scalar:
        return sine(x)


@irdl_op_definition
class CosOp(SmoothUnaryOp):
    """The cosine of an angle in radians."""

    name = "prim.cos"

    def compute(self, x: Array) -> Array:
        return np.cos(x)

    def gradient(self, g: Formula, x: Formula, y: Formula) -> Formula:
        return -(g * x.sin())

    def scalar(self, x: Scalar) -> Scalar:
        return cosine(x)


@irdl_op_definition
class TanOp(SmoothUnaryOp):
    """The tangent of an angle in radians."""

    name = "prim.tan"
    RANGE: ClassVar = (-1.2, 1.2)

    def compute(self, x: Array) -> Array:
        return np.tan(x)

    def gradient(self, g: Formula, x: Formula, y: Formula) -> Formula:
        return g * (y * y + 1)

    def scalar(self, x: Scalar) -> Scalar:
        return sine(x) / cosine(x)


def _asin(x: Scalar) -> Scalar:
    """asin of x in [-1, 1], within 2e-7: S. Moshier's Cephes approximation (asinf), halving the angle above 1/2."""
    a = x.abs()
    above = a.compare("gt", 0.5)
    z = above.select((1 - a) * 0.5, a * a)
    s = above.select(z.sqrt(), a)
    series = z.polynomial([4.2163199048e-2, 2.4181311049e-2, 4.5470025998e-2, 7.4953002686e-2, 1.6666752422e-1])
    angle = (z * series).fma(s, s)
    angle = above.select(pi / 2 - angle * 2, angle)
    return x.compare("lt", 0).select(-angle, angle)


def arctangent(x: Scalar) -> Scalar:
    """atan of any x, within 2e-7: Cephes's approximation (atanf), which folds x into [0, tan(pi/8)]."""
    a = x.abs()
    steep, middle = a.compare("gt", 2.414213562373095), a.compare("gt", 0.4142135623730950)
    reduced = steep.select(-1 / a, middle.select((a - 1) / (a + 1), a))
    offset = steep.select(pi / 2, middle.select(pi / 4, a.lift(0.0)))
    z = reduced * reduced
    series = z.polynomial([8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1])
    angle = offset + (z * series).fma(reduced, reduced)
    return x.compare("lt", 0).select(-angle, angle)


@irdl_op_definition
class AsinOp(SmoothUnaryOp):
    """The angle whose sine is x."""

    name = "prim.asin"
    RANGE: ClassVar = (-0.9, 0.9)

    def compute(self, x: Array) -> Array:
        return np.arcsin(x)

    def gradient(self, g: Formula, x: Formula, y: Formula) -> Formula:
        return g * (1 - x * x).rsqrt()

    def scalar(self, x: Scalar) -> Scalar:
        return _asin(x)


@irdl_op_definition
class AcosOp(SmoothUnaryOp):
    """The angle whose cosine is x."""

    name = "prim.acos"
    RANGE: ClassVar = (-0.9, 0.9)

    def compute(self, x: Array) -> Array:
        return np.arccos(x)

    def gradient(self, g: Formula, x: Formula, y: Formula) -> Formula:
        return -(g * (1 - x * x).rsqrt())

    def scalar(self, x: Scalar) -> Scalar:
        return pi / 2 - _asin(x)


@irdl_op_definition
class AtanOp(SmoothUnaryOp):
    """The angle whose tangent is x."""

    name = "prim.atan"

    def compute(self, x: Array) -> Array:
        return np.arctan(x)

    def gradient(self, g: Formula, x: Formula, y: Formula) -> Formula:
        return g / (x * x + 1)

    def scalar(self, x: Scalar) -> Scalar:
        return arctangent(x)


@irdl_op_definition
class SinhOp(SmoothUnaryOp):
    """The hyperbolic sine."""

    name = "prim.sinh"

    def compute(self, x: Array) -> Array:
        return np.sinh(x)

    def gradient(self, g: Formula, x: Formula, y: Formula) -> Formula:
        return g * x.apply(CoshOp)

    def scalar(self, x: Scalar) -> Scalar:
        half = (x.abs() - log(2)).exp()  # of e**x, which itself overflows before sinh does
        far = x.compare("lt", 0).select(0.25 / half - half, half - 0.25 / half)
        near = x * (x * x).polynomial([1 / 362880, 1 / 5040, 1 / 120, 1 / 6, 1])
        return x.abs().compare("lt", 1.0).select(near, far)


@irdl_op_definition
class CoshOp(SmoothUnaryOp):
    """The hyperbolic cosine."""

    name = "prim.cosh"

    def compute(self, x: Array) -> Array:
        return np.cosh(x)

    def gradient(self, g: Formula, x: Formula, y: Formula) -> Formula:
        return g * x.apply(SinhOp)

    def scalar(self, x: Scalar) -> Scalar:
        half = (x.abs() - log(2)).exp()
        return half + 0.25 / half


@irdl_op_definition
class AsinhOp(SmoothUnaryOp):
    """The inverse of sinh."""

    name = "prim.asinh"

    def compute(self, x: Array) -> Array:
        return np.arcsinh(x)

    def gradient(self, g: Formula, x: Formula, y: Formula) -> Formula:
        return g * (x * x + 1).rsqrt()

    def scalar(self, x: Scalar) -> Scalar:
        a = x.abs()
        near = _log1p(a + a * a / ((a * a + 1).sqrt() + 1))
        magnitude = a.compare("gt", _LARGE).select(a.log() + log(2), near)
        return x.compare("lt", 0).select(-magnitude, magnitude)


@irdl_op_definition
class AcoshOp(SmoothUnaryOp):
    """The inverse of cosh on [1, infinity)."""

    name = "prim.acosh"
    RANGE: ClassVar = (1.1, 4.0)

    def compute(self, x: Array) -> Array:
        return np.arccosh(x)

    def gradient(self, g: Formula, x: Formula, y: Formula) -> Formula:
        return g * (x * x - 1).rsqrt()

    def scalar(self, x: Scalar) -> Scalar:
        t = x - 1
        return x.compare("gt", _LARGE).select(x.log() + log(2), _log1p(t + t.sqrt() * (x + 1).sqrt()))


@irdl_op_definition
class AtanhOp(SmoothUnaryOp):
    """The inverse of tanh on (-1, 1)."""

    name = "prim.atanh"
    RANGE: ClassVar = (-0.9, 0.9)

    def compute(self, x: Array) -> Array:
        return np.arctanh(x)

    def gradient(self, g: Formula, x: Formula, y: Formula) -> Formula:
        return g / (1 - x * x)

    def scalar(self, x: Scalar) -> Scalar:
        return _log1p(wide_quotient(x * 2, 1 - x)) * 0.5


@irdl_op_definition
class ErfOp(SmoothUnaryOp):
    """The error function."""

    name = "prim.erf"

    def compute(self, x: Array) -> Array:
        return np.asarray(np.frompyfunc(erf, 1, 1)(x)).astype(x.dtype)

    def gradient(self, g: Formula, x: Formula, y: Formula) -> Formula:
        return g * (-(x * x)).exp() * (2 / pi**0.5)

    def scalar(self, x: Scalar) -> Scalar:
        """x P(x*x) / Q(x*x) on [-4, 4], within 5e-7: the rational minimax approximation of Eigen's float32 erf."""
        clamped = x.minimum(4.0).maximum(-4.0)
        z = clamped * clamped
        over = z.polynomial([
            -2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05,
            -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02,
        ])  # fmt: skip
        under = z.polynomial([
            -1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03,
            -1.42647390514189e-02,
        ])  # fmt: skip
        return clamped * over / under

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield from super().samples()
        yield Sample([(64,)], ranges=[(-6, 6)])
