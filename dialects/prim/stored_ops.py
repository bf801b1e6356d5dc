"""Numbers from the codes of a stored type, and codes from numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from xdsl.dialects.builtin import BoolAttr, Float4E2M1FNType, TensorType, bf16, f32, f64, i32
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import Attribute, Operation, SpacedOpaqueSyntaxAttribute, SSAValue, TypeAttribute
from xdsl.irdl import base, irdl_attr_definition, irdl_op_definition, operand_def, prop_def, result_def
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum

from tstorch.dialects.prim.base import NON_DIFFERENTIABLE, Array, ElementwiseOp, Properties
from tstorch.dialects.prim.sample import Sample, floats
from tstorch.dialects.prim.scalar import Scalar
from tstorch.dialects.prim.stored import FORMATS, Format, codes_of
from tstorch.dialects.prim.stored_scalar import decoded, encoded
from tstorch.dialects.prim.types import code_type, dtype_of, tensor


class Rounding(StrEnum):
    """What becomes of a number between two that a format has."""

    NEAREST = "nearest"
    UP = "up"
    DOWN = "down"


@irdl_attr_definition
class RoundingAttr(EnumAttribute[Rounding], SpacedOpaqueSyntaxAttribute):
    name = "prim.rounding"


class StoredOp(ElementwiseOp):
    """A function between numbers and the codes of a format.

    Codes are elements of the stored type itself, or the plain unsigned integers that `legalize-types` makes of it.
    """

    operand = operand_def(base(TensorType))
    format = prop_def(TypeAttribute)
    result = result_def(base(TensorType))

    @property
    def facts(self) -> Format:
        """The format's row."""
        return _row(self.format)


@irdl_op_definition
class DecodeOp(StoredOp):
    """The numbers that codes stand for, exactly: f32, or i32 of an integer format."""

    name = "prim.decode"
    vjp = NON_DIFFERENTIABLE("codes carry no gradient")
    assembly_format = "$operand `from` $format attr-dict `:` type($operand) `->` type($result)"

    def __init__(self, operand: SSAValue | Operation, *, format: Attribute):
        super().__init__([operand], {"format": format})

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        row = _row(properties["format"])
        _check_codes(row, operands[0].element_type)
        return [tensor(operands[0].get_shape(), number_type(row))]

    def compute(self, x: Array) -> Array:
        return self.facts.decode(codes_of(x))

    def forwarded(self) -> SSAValue | None:
        return None

    def scalar(self, x: Scalar) -> Scalar:
        return decoded(x, self.facts)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for row in FORMATS.values():
            every = np.arange(1 << row.bits).astype(row.codes)
            yield Sample(arrays=[every[:: 64 if row.bits > 8 else 1]], properties={"format": row.type})
        yield Sample(arrays=[np.array(0x3F80, np.uint16)], properties={"format": bf16})


@irdl_op_definition
class EncodeOp(StoredOp):
    """The codes nearest to numbers, the even one of two; of an integer format, their low bits.

    What is too large becomes the greatest number with `saturate`, else infinite, else NaN, as far as the format has
    them. A format without mantissa rounds a tie up, and may round up or down throughout.
    """

    name = "prim.encode"
    vjp = NON_DIFFERENTIABLE("its result is no float")
    saturate = prop_def(BoolAttr)
    rounding = prop_def(RoundingAttr)
    element_type = prop_def(TypeAttribute)
    assembly_format = (
        "$operand `to` $format `as` $element_type `,` `saturate` `=` $saturate `,` `rounding` `=` $rounding "
        "attr-dict `:` type($operand) `->` type($result)"
    )
    DIRECTED: ClassVar = (Rounding.UP, Rounding.DOWN)

    def __init__(
        self,
        operand: SSAValue | Operation,
        *,
        format: Attribute,
        saturate: bool = True,
        rounding: str = "nearest",
        element_type: Attribute | None = None,
    ):
        """`element_type` is the type of the codes: the format's own by default."""
        properties: dict[str, Attribute] = {
            "format": format,
            "element_type": format if element_type is None else element_type,
            "saturate": BoolAttr.from_bool(saturate),
            "rounding": RoundingAttr(Rounding(rounding)),
        }
        super().__init__([operand], properties)

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        row, rounding = _row(properties["format"]), properties["rounding"]
        _check_codes(row, properties["element_type"])
        if operands[0].element_type not in (number_type(row), *((f64,) if row.is_float else ())):
            raise VerifyException(f"{row.type} is made of {number_type(row)}, not of {operands[0].element_type}")
        mantissa = row.facts is None or row.facts.mantissa_bits
        if mantissa and isinstance(rounding, RoundingAttr) and rounding.data in cls.DIRECTED:
            raise VerifyException(f"{row.type} rounds to the nearest, not {rounding.data}")
        return [tensor(operands[0].get_shape(), properties["element_type"])]

    def compute(self, x: Array) -> Array:
        codes = self.facts.encode(x, saturate=bool(self.saturate.value.data), rounding=self.rounding.data.value)
        return codes.view(dtype_of(self.element_type)).reshape(x.shape)

    def forwarded(self) -> SSAValue | None:
        inner = self.operand.owner
        same = isinstance(inner, DecodeOp) and inner.format == self.format
        return inner.operand if same and inner.operand.type == self.result.type else None  # pyright: ignore[reportAttributeAccessIssue]

    def scalar(self, x: Scalar) -> Scalar:
        return encoded(x, self.facts, saturate=bool(self.saturate.value.data), rounding=self.rounding.data.value)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for row in FORMATS.values():
            for saturate in (True, False) if row.is_float else (True,):
                facts: dict[str, Any] = {"format": row.type, "saturate": saturate, "element_type": code_type(row)}
                yield Sample(arrays=[_edges(row)], properties=facts)
                if row.facts is not None and not row.facts.mantissa_bits:
                    yield from (Sample(arrays=[_edges(row)], properties=facts | {"rounding": r}) for r in cls.DIRECTED)
        yield Sample([(2, 3)], properties={"format": bf16, "element_type": code_type(FORMATS[bf16])})
        yield Sample([()], properties={"format": Float4E2M1FNType(), "element_type": code_type(_F4)})


_F4 = FORMATS[Float4E2M1FNType()]


def number_type(row: Format) -> Attribute:
    """The element type of the numbers that a format's codes stand for."""
    return f32 if row.is_float else i32


def _row(format: Attribute) -> Format:
    if (row := FORMATS.get(format)) is None:
        raise VerifyException(f"{format} is no stored format; expected one of {', '.join(map(str, FORMATS))}")
    return row


def _check_codes(row: Format, element: Attribute) -> None:
    if element not in (row.type, code_type(row)):
        raise VerifyException(f"the codes of {row.type} are {row.type} or {code_type(row)}, not {element}")


def _edges(row: Format) -> Array:
    """Numbers that rounding goes wrong on: each number of the format, what lies halfway, and what lies beyond."""
    if not row.is_float:
        return np.arange(-20, 20, dtype=np.int32)
    values = row.positive[:: len(row.positive) // 40 + 1].astype(np.float32)
    values = values[values >= 2.0**-126]  # devices may take smaller ones for 0
    halfway = (values[1:] + values[:-1]) / 2
    greatest, first_beyond = row.positive[-2:]
    beyond = floats([greatest, min(first_beyond * 1.0001, 3.4e38), np.inf, np.nan])
    sizes = np.concatenate([values, halfway, np.nextafter(halfway, np.float32(np.inf)), beyond])
    return np.concatenate([sizes, -sizes]) if row.facts is not None and row.facts.has_sign else sizes
