"""Scalar SSA values that compute like numbers, so that an elementwise body reads as its formula."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.builder import Builder
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import FloatAttr, IntegerAttr, i1, i32
from xdsl.ir import Attribute, Operation, SSAValue

from tstorch.dialects.loop import scalar as loop
from tstorch.dialects.prim.types import is_float, is_unsigned, ui32

_FLOAT_PREDICATES = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}


class Scalar:
    """An SSA scalar and the builder that arithmetic on it inserts `arith`, `math` and `loop` ops with."""

    def __init__(self, value: SSAValue, build: Builder):
        self.value = value
        self.build = build

    @property
    def type(self) -> Attribute:
        return self.value.type

    @property
    def is_float(self) -> bool:
        return is_float(self.type)

    @property
    def is_unsigned(self) -> bool:
        return is_unsigned(self.type)

    def insert(self, op: Operation) -> Scalar:
        """The result of an op, inserted."""
        return Scalar(self.build.insert(op).results[0], self.build)

    def apply(self, op_class: type[Operation], *others: Scalar | float) -> Scalar:
        """The result of `op_class(self, *others)`."""
        return self.insert(op_class(self.value, *(self.lift(other).value for other in others)))  # pyright: ignore[reportCallIssue]

    def lift(self, other: Scalar | float) -> Scalar:
        """A number as a constant of this scalar's type."""
        if isinstance(other, Scalar):
            return other
        return constant(other, self.type, self.build)

    def pick(
        self, float_op: type[Operation], signed_op: type[Operation], unsigned_op: type[Operation]
    ) -> type[Operation]:
        """The op for this scalar's type."""
        return float_op if self.is_float else unsigned_op if self.is_unsigned else signed_op

    def __add__(self, other: Scalar | float) -> Scalar:
        return self.apply(self.pick(arith.AddfOp, arith.AddiOp, arith.AddiOp), other)

    def __sub__(self, other: Scalar | float) -> Scalar:
        return self.apply(self.pick(arith.SubfOp, arith.SubiOp, arith.SubiOp), other)

    def __mul__(self, other: Scalar | float) -> Scalar:
        return self.apply(self.pick(arith.MulfOp, arith.MuliOp, arith.MuliOp), other)

    def __truediv__(self, other: Scalar | float) -> Scalar:
        return self.apply(self.pick(arith.DivfOp, arith.DivSIOp, arith.DivUIOp), other)

    def __radd__(self, other: float) -> Scalar:
        return self.lift(other) + self

    def __rsub__(self, other: float) -> Scalar:
        return self.lift(other) - self

    def __rmul__(self, other: float) -> Scalar:
        return self.lift(other) * self

    def __rtruediv__(self, other: float) -> Scalar:
        return self.lift(other) / self

    def __neg__(self) -> Scalar:
        return self.apply(arith.NegfOp) if self.is_float else 0 - self

    def __and__(self, other: Scalar | int) -> Scalar:
        return self.apply(arith.AndIOp, other)

    def __or__(self, other: Scalar | int) -> Scalar:
        return self.apply(arith.OrIOp, other)

    def __xor__(self, other: Scalar | int) -> Scalar:
        return self.apply(arith.XOrIOp, other)

    def abs(self) -> Scalar:
        return self if self.is_unsigned else self.apply(self.pick(math.AbsFOp, math.AbsIOp, math.AbsIOp))

    def exp(self) -> Scalar:
        return self.apply(math.ExpOp)

    def log(self) -> Scalar:
        return self.apply(math.LogOp)

    def sqrt(self) -> Scalar:
        return self.apply(math.SqrtOp)

    def floor(self) -> Scalar:
        return self.apply(math.FloorOp)

    def fma(self, factor: Scalar | float, addend: Scalar | float) -> Scalar:
        """`self * factor + addend`, rounded once where the device does so."""
        return self.apply(math.FmaOp, factor, addend)

    def maximum(self, other: Scalar | float) -> Scalar:
        """The larger one; NaN where either is NaN."""
        return self.apply(self.pick(arith.MaximumfOp, arith.MaxSIOp, arith.MaxUIOp), other)

    def minimum(self, other: Scalar | float) -> Scalar:
        """The smaller one; NaN where either is NaN."""
        return self.apply(self.pick(arith.MinimumfOp, arith.MinSIOp, arith.MinUIOp), other)

    def compare(self, direction: str, other: Scalar | float) -> Scalar:
        """`self direction other` as i1; with NaN only `ne` holds."""
        right = self.lift(other)
        if self.is_float:
            return self.insert(arith.CmpfOp(self.value, right.value, _FLOAT_PREDICATES[direction]))
        sign = "" if direction in ("eq", "ne") else "u" if self.is_unsigned else "s"
        return self.insert(arith.CmpiOp(self.value, right.value, sign + direction))

    def select(self, on_true: Scalar | float, on_false: Scalar) -> Scalar:
        """`on_true` where this i1 holds, else `on_false`."""
        return self.insert(loop.SelectOp(self.value, on_false.lift(on_true).value, on_false.value))

    def cast(self, type: Attribute) -> Scalar:
        """The same number as another type: floats truncate and saturate, integers wrap."""
        return self if type == self.type else self.insert(loop.CastOp(self.value, type))

    def bitcast(self, type: Attribute) -> Scalar:
        """The same bits as another type."""
        return self if type == self.type else self.insert(loop.BitcastOp(self.value, type))

    def is_nan(self) -> Scalar:
        """Whether this float is NaN, as i1."""
        return self.insert(loop.IsNanOp(self.value))

    def is_inf(self) -> Scalar:
        """Whether this float is infinite, as i1."""
        return self.insert(loop.IsInfOp(self.value))

    def negated(self) -> Scalar:
        """The opposite of an i1."""
        return self.insert(arith.XOrIOp(self.value, self.insert(arith.ConstantOp(IntegerAttr(1, i1))).value))

    def polynomial(self, coefficients: Sequence[float]) -> Scalar:
        """A polynomial in this scalar, highest power first, by Horner's rule."""
        first, second, *rest = coefficients
        result = self.fma(first, second)
        for coefficient in rest:
            result = result.fma(self, coefficient)
        return result


def constant(number: float, type: Attribute, build: Builder) -> Scalar:
    """A number of a register type."""
    if type == ui32:  # arith holds no unsigned constant: the same bits, signed
        bits = (int(number) + (1 << 31)) % (1 << 32) - (1 << 31)
        return Scalar(build.insert(arith.ConstantOp(IntegerAttr(bits, i32))).result, build).cast(ui32)
    return Scalar(build.insert(arith.ConstantOp(number_attribute(number, type))).result, build)


def number_attribute(number: float, type: Attribute) -> FloatAttr | IntegerAttr:
    """A number as an attribute of a register type."""
    return FloatAttr(number, type) if is_float(type) else IntegerAttr(int(number), type)  # pyright: ignore[reportCallIssue, reportArgumentType]
