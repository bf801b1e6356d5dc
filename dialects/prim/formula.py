"""Tensor values that compute like numbers, so that a gradient rule reads as its formula."""

from __future__ import annotations

from types import ModuleType

from xdsl.builder import Builder
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute, SSAValue


def _ops() -> ModuleType:
    from tstorch.dialects.prim import elementwise  # here: the ops' own rules are written with formulas

    return elementwise


class Formula:
    """An SSA tensor and the builder that arithmetic on it inserts primitives with.

    Operands of one operation have one type; a Python number stands for a tensor filled with it.
    """

    def __init__(self, value: SSAValue, build: Builder):
        self.value = value
        self.build = build

    @property
    def type(self) -> TensorType:
        return self.value.type  # pyright: ignore[reportReturnType]

    def apply(self, op_class: type, *others: Formula | float, **properties: object) -> Formula:
        """The result of `op_class(self, *others, **properties)`."""
        operands = [self.value, *(self.lift(other).value for other in others)]
        return Formula(self.build.insert(op_class(*operands, **properties)).results[0], self.build)

    def lift(self, other: Formula | float) -> Formula:
        """A number as a tensor of this one's type."""
        return other if isinstance(other, Formula) else Formula(filled(other, self.type, self.build), self.build)

    def __add__(self, other: Formula | float) -> Formula:
        return self.apply(_ops().AddOp, other)

    def __sub__(self, other: Formula | float) -> Formula:
        return self.apply(_ops().SubOp, other)

    def __mul__(self, other: Formula | float) -> Formula:
        return self.apply(_ops().MulOp, other)

    def __truediv__(self, other: Formula | float) -> Formula:
        return self.apply(_ops().DivOp, other)

    def __pow__(self, other: Formula | float) -> Formula:
        return self.apply(_ops().PowOp, other)

    def __radd__(self, other: float) -> Formula:
        return self.lift(other) + self

    def __rsub__(self, other: float) -> Formula:
        return self.lift(other) - self

    def __rmul__(self, other: float) -> Formula:
        return self.lift(other) * self

    def __rtruediv__(self, other: float) -> Formula:
        return self.lift(other) / self

    def __neg__(self) -> Formula:
        return self.apply(_ops().NegOp)

    def exp(self) -> Formula:
        return self.apply(_ops().ExpOp)

    def log(self) -> Formula:
        return self.apply(_ops().LogOp)

    def sqrt(self) -> Formula:
        return self.apply(_ops().SqrtOp)

    def rsqrt(self) -> Formula:
        return self.apply(_ops().RsqrtOp)

    def sin(self) -> Formula:
        return self.apply(_ops().SinOp)

    def cos(self) -> Formula:
        return self.apply(_ops().CosOp)

    def compare(self, direction: str, other: Formula | float) -> Formula:
        """Where `self direction other`, as i1."""
        return self.apply(_ops().CompareOp, other, direction=direction)

    def select(self, on_true: Formula | float, on_false: Formula) -> Formula:
        """`on_true` where this i1 tensor holds, else `on_false`."""
        chosen = on_false.lift(on_true)
        return Formula(self.build.insert(_ops().SelectOp(self.value, chosen.value, on_false.value)).result, self.build)

    def convert(self, element_type: Attribute) -> Formula:
        """The same numbers as another element type."""
        return self.apply(_ops().ConvertOp, element_type=element_type)


def filled(number: float, type: TensorType, build: Builder) -> SSAValue:
    """A tensor of `type` whose elements are all `number`: a broadcast scalar, however large the tensor."""
    from tstorch.dialects.prim.generator import ConstantOp  # here: generators are primitives too
    from tstorch.dialects.prim.shape import BroadcastInDimOp

    scalar = build.insert(ConstantOp.scalar(number, type.element_type)).result
    shape = type.get_shape()
    return build.insert(BroadcastInDimOp(scalar, shape=shape, dimensions=())).result if shape else scalar


def formulas(build: Builder, *values: SSAValue) -> list[Formula]:
    """Each value as a formula."""
    return [Formula(value, build) for value in values]
