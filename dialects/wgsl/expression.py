"""Expressions: constants, operators, calls, and index arithmetic."""

from collections.abc import Mapping, Sequence
from enum import auto
from typing import ClassVar, Self

from xdsl.dialects.builtin import AffineMapAttr, FloatAttr, IntegerAttr, VectorType, i64
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import Attribute, SpacedOpaqueSyntaxAttribute, SSAValue
from xdsl.irdl import (
    AnyAttr,
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

from tstorch.dialects.indexing import Index, to_affine_map
from tstorch.dialects.loop.types import scalar_of, ui32
from tstorch.dialects.wgsl.base import ExpressionOp, WgslIndexSyntax
from tstorch.dialects.wgsl.memory import COMPONENTS
from tstorch.dialects.wgsl.spelling import (
    Level,
    SpellingOf,
    Text,
    call,
    join,
    literal,
    spell_index,
    type_name,
)
from tstorch.dialects.wgsl.structure import is_static


class Operator(StrEnum):
    """An operator between two values of one type."""

    ADD = auto()
    SUB = auto()
    MUL = auto()
    DIV = auto()
    REM = auto()
    AND = auto()
    OR = auto()
    XOR = auto()
    SHL = auto()
    SHR = auto()
    LT = auto()
    LE = auto()
    GT = auto()
    GE = auto()
    EQ = auto()
    NE = auto()
    BOTH = auto()

    @property
    def symbol(self) -> str:
        return _OPERATORS[self][0]

    @property
    def level(self) -> Level:
        return _OPERATORS[self][1]

    @property
    def compares(self) -> bool:
        return self.level is Level.COMPARE


_OPERATORS = {
    Operator.ADD: ("+", Level.ADD),
    Operator.SUB: ("-", Level.ADD),
    Operator.MUL: ("*", Level.MULTIPLY),
    Operator.DIV: ("/", Level.MULTIPLY),
    Operator.REM: ("%", Level.MULTIPLY),
    Operator.AND: ("&", Level.BITWISE),
    Operator.OR: ("|", Level.BITWISE),
    Operator.XOR: ("^", Level.BITWISE),
    Operator.SHL: ("<<", Level.SHIFT),
    Operator.SHR: (">>", Level.SHIFT),
    Operator.LT: ("<", Level.COMPARE),
    Operator.LE: ("<=", Level.COMPARE),
    Operator.GT: (">", Level.COMPARE),
    Operator.GE: (">=", Level.COMPARE),
    Operator.EQ: ("==", Level.COMPARE),
    Operator.NE: ("!=", Level.COMPARE),
    Operator.BOTH: ("&&", Level.LOGICAL),
}

# How tightly the left and the right operand must bind; WGSL refuses to mix shifts, bits and comparisons.
_OPERAND_LEVELS = {
    Level.MULTIPLY: (Level.MULTIPLY, Level.UNARY),
    Level.ADD: (Level.ADD, Level.MULTIPLY),
    Level.SHIFT: (Level.UNARY, Level.UNARY),
    Level.BITWISE: (Level.UNARY, Level.UNARY),
    Level.COMPARE: (Level.ADD, Level.ADD),
    Level.LOGICAL: (Level.COMPARE, Level.COMPARE),
}


class Prefix(StrEnum):
    """An operator on one value."""

    NEGATE = auto()
    NOT = auto()
    COMPLEMENT = auto()

    @property
    def symbol(self) -> str:
        return {Prefix.NEGATE: "-", Prefix.NOT: "!", Prefix.COMPLEMENT: "~"}[self]


class Builtin(StrEnum):
    """A built-in function; its value is the name in snake case."""

    ABS = auto()
    ACOS = auto()
    ACOSH = auto()
    ASIN = auto()
    ASINH = auto()
    ATAN = auto()
    ATAN2 = auto()
    ATANH = auto()
    CEIL = auto()
    CLAMP = auto()
    COS = auto()
    COSH = auto()
    COUNT_LEADING_ZEROS = auto()
    COUNT_ONE_BITS = auto()
    COUNT_TRAILING_ZEROS = auto()
    EXP = auto()
    EXP2 = auto()
    FLOOR = auto()
    FMA = auto()
    INVERSE_SQRT = auto()
    LOG = auto()
    LOG2 = auto()
    MAX = auto()
    MIN = auto()
    PACK2X16FLOAT = auto()
    PACK_4X_I8 = auto()
    PACK_4X_U8 = auto()
    POW = auto()
    ROUND = auto()
    SELECT = auto()
    SIGN = auto()
    SIN = auto()
    SINH = auto()
    SQRT = auto()
    TAN = auto()
    TANH = auto()
    TRUNC = auto()
    UNPACK2X16FLOAT = auto()
    UNPACK_4X_I8 = auto()
    UNPACK_4X_U8 = auto()

    @property
    def function(self) -> str:
        """Its WGSL name: snake case without the underscores, words after the first with a capital."""
        first, *rest = str(self).split("_")
        return first + "".join(word if word[0].isdigit() else word.capitalize() for word in rest)


@irdl_attr_definition
class OperatorAttr(EnumAttribute[Operator], SpacedOpaqueSyntaxAttribute):
    name = "wgsl.operator"


@irdl_attr_definition
class PrefixAttr(EnumAttribute[Prefix], SpacedOpaqueSyntaxAttribute):
    name = "wgsl.prefix"


@irdl_attr_definition
class BuiltinAttr(EnumAttribute[Builtin], SpacedOpaqueSyntaxAttribute):
    name = "wgsl.builtin"


@irdl_op_definition
class ConstantOp(ExpressionOp):
    """A finite number, or a truth value.

    %c = wgsl.constant 1.0 : f32
    """

    name = "wgsl.constant"

    value = prop_def(FloatAttr | IntegerAttr)

    traits = traits_def(Pure())

    def __init__(self, value: FloatAttr | IntegerAttr) -> None:
        super().__init__(properties={"value": value}, result_types=[value.type])

    def verify_(self) -> None:
        super().verify_()
        try:
            self.spell(lambda _: Text(("",)))
        except ValueError as error:
            raise VerifyException(str(error)) from error

    def spell(self, of: SpellingOf) -> Text:
        value = self.value.value.data
        return literal(value, self.result.type)

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_attribute(self.value)
        printer.print_op_attributes(self.attributes)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        value = parser.parse_attribute()
        if not isinstance(value, FloatAttr | IntegerAttr):
            parser.raise_error("expected a number with its type")
        op = cls(value)
        op.attributes = parser.parse_optional_attr_dict()
        return op


@irdl_op_definition
class BinaryOp(ExpressionOp):
    """An operator between two values. A scalar beside a vector stands for all lanes (arithmetic only).

    %s = wgsl.binary add %a, %b : f32, f32 -> f32
    """

    name = "wgsl.binary"

    operator = prop_def(OperatorAttr)
    lhs = operand_def()
    rhs = operand_def()

    traits = traits_def(Pure())
    assembly_format = "$operator $lhs `,` $rhs attr-dict `:` type($lhs) `,` type($rhs) `->` type($result)"

    @classmethod
    def of(cls, operator: Operator, lhs: SSAValue, rhs: SSAValue, type: Attribute) -> Self:
        return cls.create(operands=[lhs, rhs], properties={"operator": OperatorAttr(operator)}, result_types=[type])

    def spell(self, of: SpellingOf) -> Text:
        operator = self.operator.data
        left, right = _OPERAND_LEVELS[operator.level]
        return join(of(self.lhs).within(left), f" {operator.symbol} ", of(self.rhs).within(right)).at(operator.level)


@irdl_op_definition
class UnaryOp(ExpressionOp):
    """An operator on one value.

    %n = wgsl.unary negate %a : f32
    """

    name = "wgsl.unary"

    T: ClassVar = VarConstraint("T", AnyAttr())

    prefix = prop_def(PrefixAttr)
    value = operand_def(T)
    result = result_def(T)

    traits = traits_def(Pure())
    assembly_format = "$prefix $value attr-dict `:` type($result)"

    @classmethod
    def of(cls, prefix: Prefix, value: SSAValue) -> Self:
        return cls.create(operands=[value], properties={"prefix": PrefixAttr(prefix)}, result_types=[value.type])

    def spell(self, of: SpellingOf) -> Text:
        return join(self.prefix.data.symbol, of(self.value).within(Level.PRIMARY)).at(Level.UNARY)


@irdl_op_definition
class CallOp(ExpressionOp):
    """A built-in function.

    %m = wgsl.call max(%a, %b) : (f32, f32) -> f32
    """

    name = "wgsl.call"

    builtin = prop_def(BuiltinAttr)
    arguments = var_operand_def()

    traits = traits_def(Pure())
    assembly_format = "$builtin `(` $arguments `)` attr-dict `:` functional-type($arguments, $result)"

    @classmethod
    def of(cls, builtin: Builtin, arguments: Sequence[SSAValue], type: Attribute) -> Self:
        return cls.create(operands=arguments, properties={"builtin": BuiltinAttr(builtin)}, result_types=[type])

    def spell(self, of: SpellingOf) -> Text:
        return call(self.builtin.data.function, [of(argument) for argument in self.arguments])


@irdl_op_definition
class ConvertOp(ExpressionOp):
    """A value of its result's type made of others: converted, repeated in all lanes, or put together from lanes.

    %f = wgsl.convert %n : (i32) -> f32
    %v = wgsl.convert %x : (f32) -> vector<4xf32>
    %v = wgsl.convert %a, %b, %c, %d : (f32, f32, f32, f32) -> vector<4xf32>
    """

    name = "wgsl.convert"

    arguments = var_operand_def()

    traits = traits_def(Pure())
    assembly_format = "$arguments attr-dict `:` functional-type($arguments, $result)"

    @classmethod
    def of(cls, arguments: Sequence[SSAValue], type: Attribute) -> Self:
        return cls.create(operands=arguments, result_types=[type])

    def verify_(self) -> None:
        super().verify_()
        lanes = sum(_lanes(argument.type) for argument in self.arguments)
        if lanes not in (1, _lanes(self.result.type)):
            raise VerifyException(f"{lanes} lanes for a value of type {self.result.type}")

    def spell(self, of: SpellingOf) -> Text:
        return call(type_name(self.result.type), [of(argument) for argument in self.arguments])


@irdl_op_definition
class BitcastOp(ExpressionOp):
    """The same bits as another type.

    %u = wgsl.bitcast %x : f32 -> ui32
    """

    name = "wgsl.bitcast"

    value = operand_def()

    traits = traits_def(Pure())
    assembly_format = "$value attr-dict `:` type($value) `->` type($result)"

    @classmethod
    def of(cls, value: SSAValue, type: Attribute) -> Self:
        return cls.create(operands=[value], result_types=[type])

    def spell(self, of: SpellingOf) -> Text:
        return call(f"bitcast<{type_name(self.result.type)}>", [of(self.value)])


@irdl_op_definition
class ComponentOp(ExpressionOp):
    """One lane of a vector.

    %x = wgsl.component %lid at 0 : vector<3xui32> -> ui32
    """

    name = "wgsl.component"

    value = operand_def(base(VectorType))
    lane = prop_def(IntegerAttr.constr(i64))

    traits = traits_def(Pure())
    assembly_format = "$value `at` $lane attr-dict `:` type($value) `->` type($result)"

    @classmethod
    def of(cls, value: SSAValue, lane: int) -> Self:
        return cls.create(
            operands=[value], properties={"lane": IntegerAttr(lane, i64)}, result_types=[scalar_of(value.type)]
        )

    def verify_(self) -> None:
        super().verify_()
        if not 0 <= self.lane.value.data < _lanes(self.value.type):
            raise VerifyException(f"lane {self.lane.value.data} of {self.value.type}")

    def spell(self, of: SpellingOf) -> Text:
        return join(of(self.value).within(Level.PRIMARY), f".{COMPONENTS[self.lane.value.data]}")


@irdl_op_definition
class IndexOp(ExpressionOp):
    """Index arithmetic on u32. Indices of static loops and constants become one number.

    %a = wgsl.index [%base + %i * 128 + 1]
    """

    name = "wgsl.index"

    used = var_operand_def(ui32)
    index = prop_def(AffineMapAttr)

    traits = traits_def(Pure())

    @classmethod
    def of(cls, index: Index, values: Mapping[object, SSAValue]) -> Self:
        """`values` gives the u32 value of each dimension by its key."""
        keys = [dim.key for dim in index.dims]
        return cls.create(
            operands=[values[key] for key in keys],
            properties={"index": AffineMapAttr(to_affine_map([index], keys))},
            result_types=[ui32],
        )

    @property
    def is_trivial(self) -> bool:
        """Whether spelling it twice costs nothing: a number, or a value as it is."""
        dynamic = [value for value in self.used if not is_static(value)]
        return not dynamic

    def spell(self, of: SpellingOf) -> Text:
        return spell_index(self.index.data.results[0], self.used, of, is_static)

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        WgslIndexSyntax.print_indices(printer, self.index, self.used)
        printer.print_op_attributes(self.attributes)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        syntax = WgslIndexSyntax(parser)
        exprs = syntax.indices()
        return cls.create(
            operands=syntax.operands(),
            properties={"index": syntax.map_attr(exprs)},
            attributes=parser.parse_optional_attr_dict(),
            result_types=[ui32],
        )


def _lanes(type: Attribute) -> int:
    return type.get_shape()[0] if isinstance(type, VectorType) else 1
