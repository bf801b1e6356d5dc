"""Scalar and vector code that arith and math lack.

arith and math serve on f32, i32, ui32 and vectors of 4 of them (arith ops do not look at the sign of a type: choose
divsi or divui). Their casts and select refuse vectors, so those are ops of our own.
"""

from collections.abc import Sequence
from enum import auto
from typing import ClassVar

from xdsl.dialects.builtin import (
    IntegerAttr,
    VectorType,
    f32,
    i1,
    i32,
    i64,
)
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import Attribute, SpacedOpaqueSyntaxAttribute, SSAValue
from xdsl.irdl import (
    AnyAttr,
    IRDLOperation,
    VarConstraint,
    base,
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum

from tstorch.dialects.loop.access import LANES
from tstorch.dialects.loop.types import (
    condition_type,
    float_value,
    is_register_type,
    is_vector,
    scalar_of,
    ui32,
    vector_of,
)


class ConversionOp(IRDLOperation):
    """One operand, one result of another type, lane by lane."""

    value = operand_def()
    result = result_def()

    traits = traits_def(Pure())
    assembly_format = "$value attr-dict `:` type($value) `->` type($result)"

    def __init__(self, value: SSAValue, type: Attribute) -> None:
        super().__init__(operands=[value], result_types=[type])

    def verify_(self) -> None:
        for type in (self.value.type, self.result.type):
            if not is_register_type(type):
                raise VerifyException(
                    f"{type} is no register type; expected f32, i32, ui32, i1 or a vector of 4 of them"
                )
        if is_vector(self.value.type) != is_vector(self.result.type):
            raise VerifyException(f"{self.value.type} to {self.result.type}: one is a vector, the other is not")


@irdl_op_definition
class CastOp(ConversionOp):
    """The same value in another type: floats to integers round towards zero and saturate, i1 becomes 0 or 1, a number
    becomes i1 by != 0, i32 and ui32 keep their bits.

    %f = loop.cast %n : i32 -> f32
    """

    name = "loop.cast"


@irdl_op_definition
class BitcastOp(ConversionOp):
    """The same 32 bits as another type.

    %bits = loop.bitcast %x : f32 -> ui32
    """

    name = "loop.bitcast"

    def verify_(self) -> None:
        super().verify_()
        if i1 in (scalar_of(self.value.type), scalar_of(self.result.type)):
            raise VerifyException("i1 has no bits to reinterpret")


@irdl_op_definition
class RoundHalfOp(IRDLOperation):
    """The nearest number that a half holds, ties to even: what computing in f16 would give.

    %r = loop.round_half %x : f32
    """

    name = "loop.round_half"

    T: ClassVar = VarConstraint("T", float_value)

    value = operand_def(T)
    result = result_def(T)

    traits = traits_def(Pure())
    assembly_format = "$value attr-dict `:` type($result)"

    def __init__(self, value: SSAValue) -> None:
        super().__init__(operands=[value], result_types=[value.type])


class FloatTestOp(IRDLOperation):
    """A test of each lane's bits: GPUs may fold `x != x` away."""

    value = operand_def(float_value)
    result = result_def()

    traits = traits_def(Pure())
    assembly_format = "$value attr-dict `:` type($value) `->` type($result)"

    def __init__(self, value: SSAValue) -> None:
        super().__init__(operands=[value], result_types=[vector_of(i1) if is_vector(value.type) else i1])

    def verify_(self) -> None:
        expected = vector_of(i1) if is_vector(self.value.type) else i1
        if self.result.type != expected:
            raise VerifyException(f"a test of {self.value.type} gives {self.result.type}; expected {expected}")


@irdl_op_definition
class IsNanOp(FloatTestOp):
    """%c = loop.is_nan %x : f32 -> i1"""

    name = "loop.is_nan"


@irdl_op_definition
class IsInfOp(FloatTestOp):
    """Of either sign.

    %c = loop.is_inf %x : f32 -> i1
    """

    name = "loop.is_inf"


@irdl_op_definition
class SelectOp(IRDLOperation):
    """`then` where the condition holds, else `otherwise`. A vector may be chosen lane by lane or as a whole.

    %v = loop.select %c, %a, %b : i1, f32
    %v = loop.select %c, %a, %b : vector<4xi1>, vector<4xf32>
    """

    name = "loop.select"

    T: ClassVar = VarConstraint("T", AnyAttr())

    condition = operand_def(condition_type)
    then = operand_def(T)
    otherwise = operand_def(T)
    result = result_def(T)

    traits = traits_def(Pure())
    assembly_format = "$condition `,` $then `,` $otherwise attr-dict `:` type($condition) `,` type($result)"

    def __init__(self, condition: SSAValue, then: SSAValue, otherwise: SSAValue) -> None:
        super().__init__(operands=[condition, then, otherwise], result_types=[then.type])

    def verify_(self) -> None:
        if is_vector(self.condition.type) and not is_vector(self.result.type):
            raise VerifyException("a vector of conditions chooses between vectors only")


class Comparison(StrEnum):
    """How two values are compared; by the sign of their type."""

    EQ = auto()
    NE = auto()
    LT = auto()
    LE = auto()
    GT = auto()
    GE = auto()


@irdl_attr_definition
class ComparisonAttr(EnumAttribute[Comparison], SpacedOpaqueSyntaxAttribute):
    name = "loop.comparison"


@irdl_op_definition
class CompareOp(IRDLOperation):
    """A comparison, lane by lane; arith's serve on scalars only. With a NaN the result is not defined.

    %c = loop.compare lt %a, %b : vector<4xf32>
    """

    name = "loop.compare"

    T: ClassVar = VarConstraint("T", AnyAttr())

    comparison = prop_def(ComparisonAttr)
    lhs = operand_def(T)
    rhs = operand_def(T)
    result = result_def(condition_type)

    traits = traits_def(Pure())

    def __init__(self, comparison: Comparison, lhs: SSAValue, rhs: SSAValue) -> None:
        super().__init__(
            operands=[lhs, rhs],
            properties={"comparison": ComparisonAttr(comparison)},
            result_types=[vector_of(i1) if is_vector(lhs.type) else i1],
        )

    def verify_(self) -> None:
        if scalar_of(self.lhs.type) not in (f32, i32, ui32) or not is_register_type(self.lhs.type):
            raise VerifyException(f"compares {self.lhs.type}; expected f32, i32, ui32 or 4 lanes of one")
        if is_vector(self.lhs.type) != is_vector(self.result.type):
            raise VerifyException(f"a comparison of {self.lhs.type} gives no {self.result.type}")

    def print(self, printer: Printer) -> None:
        printer.print_string(f" {self.comparison.data} ")
        printer.print_list([self.lhs, self.rhs], printer.print_ssa_value)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.lhs.type)

    @classmethod
    def parse(cls, parser: Parser) -> "CompareOp":
        comparison = parser.parse_str_enum(Comparison)
        lhs = parser.parse_unresolved_operand()
        parser.parse_punctuation(",")
        rhs = parser.parse_unresolved_operand()
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        type = parser.parse_type()
        op = cls(comparison, parser.resolve_operand(lhs, type), parser.resolve_operand(rhs, type))
        op.attributes = attributes
        return op


@irdl_op_definition
class FRemOp(IRDLOperation):
    """lhs - rhs * trunc(lhs / rhs), as C's fmod.

    %r = loop.frem %a, %b : f32
    """

    name = "loop.frem"

    T: ClassVar = VarConstraint("T", float_value)

    lhs = operand_def(T)
    rhs = operand_def(T)
    result = result_def(T)

    traits = traits_def(Pure())
    assembly_format = "$lhs `,` $rhs attr-dict `:` type($result)"

    def __init__(self, lhs: SSAValue, rhs: SSAValue) -> None:
        super().__init__(operands=[lhs, rhs], result_types=[lhs.type])


@irdl_op_definition
class SplatOp(IRDLOperation):
    """One scalar in all 4 lanes.

    %v = loop.splat %x : f32 -> vector<4xf32>
    """

    name = "loop.splat"

    value = operand_def()
    result = result_def(base(VectorType))

    traits = traits_def(Pure())
    assembly_format = "$value attr-dict `:` type($value) `->` type($result)"

    def __init__(self, value: SSAValue) -> None:
        super().__init__(operands=[value], result_types=[vector_of(value.type)])

    def verify_(self) -> None:
        if self.result.type != vector_of(self.value.type):
            raise VerifyException(f"{self.value.type} in 4 lanes is no {self.result.type}")


@irdl_op_definition
class ExtractOp(IRDLOperation):
    """One lane of a vector.

    %x = loop.extract %v lane 2 : vector<4xf32> -> f32
    """

    name = "loop.extract"

    value = operand_def(base(VectorType))
    lane = prop_def(IntegerAttr)
    result = result_def()

    traits = traits_def(Pure())

    def __init__(self, value: SSAValue, lane: int) -> None:
        super().__init__(
            operands=[value], properties={"lane": IntegerAttr(lane, i64)}, result_types=[scalar_of(value.type)]
        )

    def verify_(self) -> None:
        if not 0 <= self.lane.value.data < LANES:
            raise VerifyException(f"lane {self.lane.value.data}; expected 0 to {LANES - 1}")
        if self.result.type != scalar_of(self.value.type):
            raise VerifyException(f"a lane of {self.value.type} is no {self.result.type}")

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.value)
        printer.print_string(f" lane {self.lane.value.data}")
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.value.type)
        printer.print_string(" -> ")
        printer.print_attribute(self.result.type)

    @classmethod
    def parse(cls, parser: Parser) -> "ExtractOp":
        value = parser.parse_unresolved_operand()
        parser.parse_keyword("lane")
        lane = IntegerAttr(parser.parse_integer(allow_boolean=False), i64)
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        operand = parser.resolve_operand(value, parser.parse_type())
        parser.parse_punctuation("->")
        return cls.create(
            operands=[operand], properties={"lane": lane}, attributes=attributes, result_types=[parser.parse_type()]
        )


class Packing(StrEnum):
    """How narrow elements stand in a 32-bit word, first element in the lowest bits."""

    U8 = auto()
    I8 = auto()
    U16 = auto()
    I16 = auto()
    F16 = auto()
    BF16 = auto()

    @property
    def per_word(self) -> int:
        """Elements of one word."""
        return 4 if self in (Packing.U8, Packing.I8) else 2

    @property
    def scalar(self) -> Attribute:
        """The register type of an element."""
        if self in (Packing.F16, Packing.BF16):
            return f32
        return ui32 if self in (Packing.U8, Packing.U16) else i32


@irdl_attr_definition
class PackingAttr(EnumAttribute[Packing], SpacedOpaqueSyntaxAttribute):
    name = "loop.packing"


@irdl_op_definition
class UnpackOp(IRDLOperation):
    """The elements of words: one word of four 8-bit elements, or two words of two 16-bit elements each.

    %v = loop.unpack u8 %word : ui32 -> vector<4xui32>
    %v = loop.unpack f16 %low, %high : ui32, ui32 -> vector<4xf32>
    """

    name = "loop.unpack"

    packing = prop_def(PackingAttr)
    words = var_operand_def(ui32)
    result = result_def(base(VectorType))

    traits = traits_def(Pure())
    assembly_format = "$packing $words attr-dict `:` type($words) `->` type($result)"

    def __init__(self, packing: Packing, words: Sequence[SSAValue]) -> None:
        super().__init__(
            operands=[words], properties={"packing": PackingAttr(packing)}, result_types=[vector_of(packing.scalar)]
        )

    def verify_(self) -> None:
        packing = self.packing.data
        if len(self.words) * packing.per_word != LANES or self.result.type != vector_of(packing.scalar):
            raise VerifyException(f"{len(self.words)} words of {packing} make no {self.result.type}")


@irdl_op_definition
class PackOp(IRDLOperation):
    """One word of the narrow elements of a vector: of all 4 lanes (8 bits each), or of lanes 0-1 or 2-3 (16 bits).

    %word = loop.pack u8 %v word 0 : vector<4xui32>
    %high = loop.pack f16 %v word 1 : vector<4xf32>
    """

    name = "loop.pack"

    packing = prop_def(PackingAttr)
    value = operand_def(base(VectorType))
    word = prop_def(IntegerAttr.constr(i64))
    result = result_def(ui32)

    traits = traits_def(Pure())

    def __init__(self, packing: Packing, value: SSAValue, word: int = 0) -> None:
        super().__init__(
            operands=[value],
            properties={"packing": PackingAttr(packing), "word": IntegerAttr(word, i64)},
            result_types=[ui32],
        )

    def verify_(self) -> None:
        packing = self.packing.data
        if self.value.type != vector_of(packing.scalar) or not 0 <= self.word.value.data < LANES // packing.per_word:
            raise VerifyException(f"word {self.word.value.data} of {packing} elements of {self.value.type}")

    def print(self, printer: Printer) -> None:
        printer.print_string(f" {self.packing.data} ")
        printer.print_ssa_value(self.value)
        printer.print_string(f" word {self.word.value.data}")
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.value.type)

    @classmethod
    def parse(cls, parser: Parser) -> "PackOp":
        packing = PackingAttr(parser.parse_str_enum(Packing))
        value = parser.parse_unresolved_operand()
        parser.parse_keyword("word")
        word = IntegerAttr(parser.parse_integer(allow_boolean=False), i64)
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        return cls.create(
            operands=[parser.resolve_operand(value, parser.parse_type())],
            properties={"packing": packing, "word": word},
            attributes=attributes,
            result_types=[ui32],
        )
