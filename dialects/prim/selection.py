"""Elementwise comparison, choice, and change of element type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from xdsl.builder import Builder
from xdsl.dialects.builtin import TensorType, f16, f32, f64, i1, i8, i32, i64
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import Attribute, Operation, SpacedOpaqueSyntaxAttribute, SSAValue, TypeAttribute
from xdsl.irdl import VarConstraint, base, irdl_attr_definition, irdl_op_definition, operand_def, prop_def, result_def
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum

from tstorch.dialects.prim.base import NON_DIFFERENTIABLE, Array, Cotangents, ElementwiseOp, Gradients, Properties
from tstorch.dialects.prim.binary import LEFT, RIGHT
from tstorch.dialects.prim.formula import formulas
from tstorch.dialects.prim.sample import Sample, floats
from tstorch.dialects.prim.scalar import Scalar
from tstorch.dialects.prim.shape import uniform_value
from tstorch.dialects.prim.types import FLOATS, NUMBERS, bits_of, dtype_of, is_stored, tensor, ui8, ui32
from tstorch.dialects.prim.unary import SPECIAL


class Direction(StrEnum):
    """The six comparisons."""

    EQ = "eq"
    NE = "ne"
    LT = "lt"
    LE = "le"
    GT = "gt"
    GE = "ge"


@irdl_attr_definition
class DirectionAttr(EnumAttribute[Direction], SpacedOpaqueSyntaxAttribute):
    name = "prim.direction"


_COMPARE = {
    Direction.EQ: np.equal, Direction.NE: np.not_equal, Direction.LT: np.less,
    Direction.LE: np.less_equal, Direction.GT: np.greater, Direction.GE: np.greater_equal,
}  # fmt: skip


@irdl_op_definition
class CompareOp(ElementwiseOp):
    """Whether the comparison holds, as i1; with NaN only `ne` does."""

    name = "prim.compare"
    T: ClassVar = VarConstraint("T", base(TensorType))
    DOMAIN: ClassVar = NUMBERS | {i1}
    vjp = NON_DIFFERENTIABLE("its result is no float")

    lhs = operand_def(T)
    rhs = operand_def(T)
    direction = prop_def(DirectionAttr)
    result = result_def(base(TensorType))
    assembly_format = "$direction $lhs `,` $rhs attr-dict `:` type($lhs) `->` type($result)"

    def __init__(self, lhs: SSAValue | Operation, rhs: SSAValue | Operation, *, direction: str):
        super().__init__([lhs, rhs], {"direction": DirectionAttr(Direction(direction))})

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        [type] = super().infer_types(operands, properties)
        return [tensor(type.get_shape(), i1)]

    def compute(self, x: Array, y: Array) -> Array:
        return _COMPARE[self.direction.data](x, y)

    def scalar(self, x: Scalar, y: Scalar) -> Scalar:
        return x.compare(self.direction.data, y)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for direction in Direction:
            yield Sample(arrays=[LEFT, RIGHT], properties={"direction": direction})
            yield Sample([(2, 3)] * 2, types=[i32], ranges=[(-2, 2)], properties={"direction": direction})
        yield Sample([(3, 1)] * 2, types=[ui8], ranges=[(100, 200)], properties={"direction": "lt"})
        yield Sample([(5,)] * 2, types=[i1], properties={"direction": "ne"})
        yield Sample([()] * 2, types=[i64], ranges=[(0, 1)], properties={"direction": "eq"})


@irdl_op_definition
class SelectOp(ElementwiseOp):
    """`on_true` where the condition holds, else `on_false`."""

    name = "prim.select"
    T: ClassVar = VarConstraint("T", base(TensorType))

    condition = operand_def(base(TensorType))
    on_true = operand_def(T)
    on_false = operand_def(T)
    result = result_def(T)
    assembly_format = "$condition `,` $on_true `,` $on_false attr-dict `:` type($condition) `,` type($result)"

    def __init__(self, condition: SSAValue | Operation, on_true: SSAValue | Operation, on_false: SSAValue | Operation):
        super().__init__([condition, on_true, on_false], {})

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        condition, *choices = operands
        [type] = super().infer_types(choices, properties)
        if condition.element_type != i1 or condition.get_shape() != type.get_shape():
            raise VerifyException(f"the condition of a choice of {type} is i1 of its shape, not {condition}")
        return [type]

    def compute(self, condition: Array, on_true: Array, on_false: Array) -> Array:
        return np.where(condition, on_true, on_false)

    def vjp(self, cotangents: Cotangents, build: Builder) -> Gradients:
        condition, g = formulas(build, self.condition, *cotangents)
        zero = g.lift(0.0)
        return [None, condition.select(g, zero).value, condition.select(zero, g).value]

    def forwarded(self) -> SSAValue | None:
        if self.on_true is self.on_false:
            return self.on_true
        condition = uniform_value(self.condition)
        return None if condition is None else self.on_true if condition else self.on_false

    def scalar(self, condition: Scalar, on_true: Scalar, on_false: Scalar) -> Scalar:
        return condition.select(on_true, on_false)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample([(2, 3)] * 3, types=[i1, f32, f32], ranges=[(-2, 2)])
        yield Sample([()] * 3, types=[i1, i32, i32], ranges=[(-2, 2)])
        yield Sample([(4, 1)] * 3, types=[i1, i1, i1], ranges=[(-2, 2)])


@irdl_op_definition
class ConvertOp(ElementwiseOp):
    """The same numbers as another element type.

    Floats become integers by truncation, saturating, NaN as 0; integers wrap; i1 is whether a number is not 0.
    """

    name = "prim.convert"
    VJP_TOLERANCE: ClassVar[float] = 1e-6

    operand = operand_def(base(TensorType))
    element_type = prop_def(TypeAttribute)
    result = result_def(base(TensorType))
    assembly_format = "$operand `to` $element_type attr-dict `:` type($operand) `->` type($result)"

    def __init__(self, operand: SSAValue | Operation, *, element_type: Attribute):
        super().__init__([operand], {"element_type": element_type})

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        dtype_of(properties["element_type"])
        if codes := [t for t in (operands[0].element_type, properties["element_type"]) if is_stored(t)]:
            raise VerifyException(f"{codes[0]} is a stored format; its numbers are made by prim.decode and prim.encode")
        return [tensor(operands[0].get_shape(), properties["element_type"])]

    def compute(self, x: Array) -> Array:
        dtype = dtype_of(self.element_type)
        if dtype.kind == "f":
            # an operand wider than its type asks for a wider result
            wider = x.dtype if x.dtype.kind == "f" and x.dtype != dtype_of(self.operand.type) else dtype
            return x.astype(np.promote_types(dtype, wider))
        if dtype == np.bool_ or x.dtype.kind != "f":
            return x.astype(dtype)
        return _saturated(x, dtype)

    def vjp(self, cotangents: Cotangents, build: Builder) -> Gradients:
        source = self.operand.type.element_type  # pyright: ignore[reportAttributeAccessIssue]
        if source not in FLOATS or self.element_type not in FLOATS:
            return [None]
        [g] = formulas(build, *cotangents)
        return [g.convert(source).value]

    def forwarded(self) -> SSAValue | None:
        return self.operand if self.operand.type == self.result.type else None

    def scalar(self, x: Scalar) -> Scalar:
        if self.element_type == i1 and x.is_float:
            return x.compare("ne", 0)
        from tstorch.dialects import loop

        if x.is_float and (bounds := narrow_bounds(self.element_type)):
            x = x.maximum(bounds[0]).minimum(bounds[1])
        return x.cast(loop.register_type(self.element_type) or self.element_type)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        edge = floats([1e20, -1e20, np.nan, np.inf, -np.inf, 2.9, -2.9, 0.0, -0.0, 300.0])
        for element_type in (i32, ui8, ui32, i8, i64, i1):
            yield Sample(arrays=[edge], properties={"element_type": element_type})
        yield Sample([(2, 3)], properties={"element_type": f64})
        yield Sample([(2, 3)], types=[f64], properties={"element_type": f64})
        yield Sample(arrays=[SPECIAL], properties={"element_type": f16}, smooth=False)
        yield Sample([(5,)], types=[i64], ranges=[(-300, 300)], properties={"element_type": i8})
        yield Sample([(5,)], types=[i1], properties={"element_type": f32})
        yield Sample([()], types=[ui8], ranges=[(0, 255)], properties={"element_type": i32})


def narrow_bounds(type: Attribute) -> tuple[int, int] | None:
    """The least and the greatest integer of a type that takes less than a word; None for others."""
    dtype = dtype_of(type)
    if dtype.kind not in "iu" or dtype.itemsize >= 4:
        return None
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def _saturated(x: Array, dtype: np.dtype) -> Array:
    """Floats as integers: the bounds of a 64-bit type are no floats, so it is compared, not clipped."""
    bounds = np.iinfo(dtype)
    low, high = float(bounds.min), float(bounds.max)
    wide = np.where(np.isnan(x), 0.0, x.astype(np.float64))
    inside = (wide > low) & (wide < high)
    most, least = np.array(bounds.max, dtype), np.array(bounds.min, dtype)
    return np.where(inside, np.where(inside, wide, 0).astype(dtype), np.where(wide > 0, most, least))


@irdl_op_definition
class BitcastOp(ElementwiseOp):
    """The same bits as another element type of the same width."""

    name = "prim.bitcast"
    vjp = NON_DIFFERENTIABLE("bits carry no gradient")

    operand = operand_def(base(TensorType))
    element_type = prop_def(TypeAttribute)
    result = result_def(base(TensorType))
    assembly_format = "$operand `to` $element_type attr-dict `:` type($operand) `->` type($result)"

    def __init__(self, operand: SSAValue | Operation, *, element_type: Attribute):
        super().__init__([operand], {"element_type": element_type})

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        [operand], element_type = operands, properties["element_type"]
        if i1 in (operand.element_type, element_type) or bits_of(operand.element_type) != bits_of(element_type):
            raise VerifyException(f"prim.bitcast keeps the width: {operand} does not fit {element_type}")
        return [tensor(operand.get_shape(), element_type)]

    def compute(self, x: Array) -> Array:
        return np.ascontiguousarray(x).view(dtype_of(self.element_type)).reshape(x.shape)

    def forwarded(self) -> SSAValue | None:
        inner = self.operand.owner
        origin = inner.operand if isinstance(inner, BitcastOp) else self.operand
        return origin if origin.type == self.result.type else None

    def scalar(self, x: Scalar) -> Scalar:
        from tstorch.dialects import loop

        return x.bitcast(loop.register_type(self.element_type) or self.element_type)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(arrays=[SPECIAL], properties={"element_type": i32})
        yield Sample([(2, 3)], properties={"element_type": ui32})
        yield Sample([()], types=[i32], ranges=[(0, 2**30)], properties={"element_type": f32})
        yield Sample([(3,)], types=[ui8], ranges=[(0, 255)], properties={"element_type": i8})
