"""Tensors made of nothing but properties: constants and index ramps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from xdsl.builder import Builder
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, IntegerAttr, TensorType, bf16, f32, i32, i64
from xdsl.ir import Attribute
from xdsl.irdl import (
    AnyAttr,
    ParamAttrConstraint,
    VarConstraint,
    base,
    irdl_op_definition,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import ConstantLike
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.base import MAX_CONSTANT, Array, Cotangents, GeneratorOp, Gradients, Properties
from tstorch.dialects.prim.sample import Sample
from tstorch.dialects.prim.types import NUMBERS, array_of, dtype_of, int_attr, integer, tensor
from tstorch.dialects.prim.values import ValuesAttr


class SourceOp(GeneratorOp):
    """A generator, whose result type is a property of its own."""

    T: ClassVar = VarConstraint("T", base(TensorType))

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        return [properties["type"]]  # pyright: ignore[reportReturnType]

    def vjp(self, cotangents: Cotangents, build: Builder) -> Gradients:
        return []


@irdl_op_definition
class ConstantOp(SourceOp):
    """Up to 64 numbers that stand in the text."""

    name = "prim.constant"
    value = prop_def(ParamAttrConstraint(ValuesAttr, (SourceOp.T, AnyAttr())))
    result = result_def(SourceOp.T)
    assembly_format = "`dense` `` $value attr-dict"
    traits = traits_def(ConstantLike())

    def __init__(self, value: ValuesAttr | DenseIntOrFPElementsAttr | np.ndarray):
        super().__init__([], {"value": ValuesAttr.of(value)})

    @classmethod
    def scalar(cls, number: float, element_type: Attribute) -> ConstantOp:
        """One number as a tensor of rank 0."""
        return cls(array_of(number, element_type))

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        value = properties["value"]
        if not isinstance(value, ValuesAttr):
            raise VerifyException(f"prim.constant holds no numbers: {value}")
        if len(value) > MAX_CONSTANT and not value.is_splat():
            raise VerifyException(
                f"prim.constant has {len(value)} elements, at most {MAX_CONSTANT} may stand in the text; "
                "make it a prim.weight, or broadcast a smaller one"
            )
        return [value.type]

    def reference(self) -> Sequence[Array]:
        return [self.value.array()]

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for value in (
            np.arange(6, dtype=np.float32).reshape(2, 3),
            np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45, 1 / 3, 3.4028235e38, 50331651.0], np.float32),
            np.array([0.1, 65504, -np.inf], np.float16),
            np.array(2.5, np.float32),
            np.array([True, False]),
            np.array([[-(2**63), 2**63 - 1]]),
            np.array([0, 255], np.uint8),
            np.full((5, 7, 9), 0.1, np.float32),
            np.zeros((0, 3), np.float32),
            array_of([1.0, -0.5, np.inf], bf16),
        ):
            yield Sample(properties={"value": value})


@irdl_op_definition
class IotaOp(SourceOp):
    """0, 1, 2 ... along one dimension, the same along all others."""

    name = "prim.iota"
    dimension = prop_def(IntegerAttr.constr(i64))
    type = prop_def(SourceOp.T)
    result = result_def(SourceOp.T)
    assembly_format = "`dimension` `=` $dimension attr-dict `:` $type"

    def __init__(self, *, shape: Sequence[int], dimension: int, element_type: Attribute):
        super().__init__([], {"dimension": int_attr(dimension), "type": tensor(shape, element_type)})

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        [type] = super().infer_types(operands, properties)
        dimension = integer(properties["dimension"])
        if not 0 <= dimension < len(type.get_shape()):
            raise VerifyException(f"prim.iota counts along dimension {dimension}, but {type} has none of that number")
        if type.element_type not in NUMBERS:
            raise VerifyException(f"prim.iota counts in numbers, not in {type.element_type}")
        return [type]

    def reference(self) -> Sequence[Array]:
        type, dimension = self.result.type, integer(self.dimension)
        shape = type.get_shape()
        ramp = np.arange(shape[dimension], dtype=dtype_of(type))
        return [np.broadcast_to(np.expand_dims(ramp, [d for d in range(len(shape)) if d != dimension]), shape)]

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(properties={"shape": (2, 3), "dimension": 1, "element_type": i64})
        yield Sample(properties={"shape": (3, 1, 2), "dimension": 0, "element_type": f32})
        yield Sample(properties={"shape": (1,), "dimension": 0, "element_type": i32})
