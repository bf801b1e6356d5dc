"""Reductions of a private tile, and over the invocations of a workgroup. How it is done appears at conversion."""

from collections.abc import Sequence
from enum import auto

from xdsl.dialects.builtin import AffineMapAttr, ArrayAttr, MemRefType, StringAttr
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import SpacedOpaqueSyntaxAttribute, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    base,
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import MemoryReadEffect, MemoryWriteEffect
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum

from tstorch.dialects.indexing import Index
from tstorch.dialects.loop.access import AccessSyntax, IndexMaps
from tstorch.dialects.loop.memory import IndexedOp
from tstorch.dialects.loop.structure import AllocOp, Id, WaitsForWorkgroup, is_static_index
from tstorch.dialects.loop.types import number


class ReduceKind(StrEnum):
    """What combines two values."""

    ADD = auto()
    MAX = auto()
    MIN = auto()
    MUL = auto()


@irdl_attr_definition
class ReduceKindAttr(EnumAttribute[ReduceKind], SpacedOpaqueSyntaxAttribute):
    name = "loop.kind"


@irdl_op_definition
class ReduceTileOp(IndexedOp):
    """All elements of private memory combined; or of one row of it, where leading indices are given.

    %s = loop.reduce_tile add %acc[] : memref<4x8xf32> -> f32
    %s = loop.reduce_tile max %acc[%i] : memref<4x8xf32> -> f32
    """

    name = "loop.reduce_tile"

    kind = prop_def(ReduceKindAttr)
    memory = operand_def(base(MemRefType))
    leading = prop_def(AffineMapAttr)
    result = result_def(number)

    traits = traits_def(MemoryReadEffect())

    def __init__(self, kind: ReduceKind, memory: SSAValue, leading: Sequence[Index] = ()) -> None:
        """Raises VerifyException where `memory` is no memref."""
        if not isinstance(memory.type, MemRefType):
            raise VerifyException(f"loop.reduce_tile of {memory.type}; expected a memref")
        found = IndexMaps.of(leading)
        super().__init__(
            operands=[memory, found.operands],
            properties={"kind": ReduceKindAttr(kind), "leading": found.maps[0]},
            result_types=[memory.type.element_type],
        )

    @property
    def leading_list(self) -> list[Index]:
        """The leading indices."""
        return self.expressions_of(self.leading)

    def verify_(self) -> None:
        owner = self.memory.owner
        if not isinstance(owner, AllocOp) or not owner.is_private:
            raise VerifyException("reduces memory that is not private")
        if self.result.type != owner.memory.type.element_type:
            raise VerifyException(f"a reduction of {owner.memory.type} is no {self.result.type}")
        if len(self.leading.data.results) > len(owner.memory.type.get_shape()):
            raise VerifyException(f"{len(self.leading.data.results)} leading indices into {owner.memory.type}")
        if not all(is_static_index(value) for value in self.used):
            raise VerifyException("private memory is indexed by unrolled loops and constants only")

    def print(self, printer: Printer) -> None:
        printer.print_string(f" {self.kind.data} ")
        printer.print_ssa_value(self.memory)
        AccessSyntax.print_indices(printer, self.leading, self.used)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.memory.type)
        printer.print_string(" -> ")
        printer.print_attribute(self.result.type)

    @classmethod
    def parse(cls, parser: Parser) -> "ReduceTileOp":
        kind = ReduceKindAttr(parser.parse_str_enum(ReduceKind))
        memory = parser.parse_unresolved_operand()
        indices = AccessSyntax(parser)
        exprs = indices.indices()
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        operand = parser.resolve_operand(memory, parser.parse_type())
        parser.parse_punctuation("->")
        return cls.create(
            operands=[operand, *indices.operands()],
            properties={"kind": kind, "leading": indices.map_attr(exprs)},
            attributes=attributes,
            result_types=[parser.parse_type()],
        )


@irdl_op_definition
class ReduceWorkgroupOp(IRDLOperation):
    """The values of the invocations of a workgroup combined; every one of them gets the result.

        %s = loop.reduce_workgroup add %x : f32
        %s = loop.reduce_workgroup max %x over [lid.x] : f32

    `over` limits it to the invocations that differ in these ids only, which must be the first of lid.x, lid.y, lid.z: a
    workgroup [32, 4, 1] reduces 4 rows of 32 with `over [lid.x]`. All invocations must reach it: not inside `loop.if`.
    """

    name = "loop.reduce_workgroup"

    kind = prop_def(ReduceKindAttr)
    value = operand_def(number)
    over = prop_def(ArrayAttr[StringAttr])
    result = result_def(number)

    traits = traits_def(WaitsForWorkgroup(), MemoryReadEffect(), MemoryWriteEffect())

    def __init__(self, kind: ReduceKind, value: SSAValue, over: Sequence[Id] = (Id.LID_X, Id.LID_Y, Id.LID_Z)) -> None:
        super().__init__(
            operands=[value],
            properties={"kind": ReduceKindAttr(kind), "over": ArrayAttr([StringAttr(id.value) for id in over])},
            result_types=[value.type],
        )

    @property
    def axes(self) -> int:
        """Over how many of lid.x, lid.y, lid.z it goes."""
        return len(self.over)

    def verify_(self) -> None:
        names = [id.data for id in self.over]
        if not names or names != [id.value for id in (Id.LID_X, Id.LID_Y, Id.LID_Z)][: len(names)]:
            raise VerifyException(f"over [{', '.join(names)}]; expected the first of lid.x, lid.y, lid.z")
        if self.result.type != self.value.type:
            raise VerifyException(f"a reduction of {self.value.type} is no {self.result.type}")

    def print(self, printer: Printer) -> None:
        printer.print_string(f" {self.kind.data} ")
        printer.print_ssa_value(self.value)
        if self.axes < 3:
            printer.print_string(f" over [{', '.join(id.data for id in self.over)}]")
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.value.type)

    @classmethod
    def parse(cls, parser: Parser) -> "ReduceWorkgroupOp":
        kind = parser.parse_str_enum(ReduceKind)
        value = parser.parse_unresolved_operand()
        over = ["lid.x", "lid.y", "lid.z"]
        if parser.parse_optional_keyword("over"):
            over = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, parser.parse_identifier)
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        type = parser.parse_type()
        return cls.create(
            operands=[parser.resolve_operand(value, type)],
            properties={"kind": ReduceKindAttr(kind), "over": ArrayAttr([StringAttr(name) for name in over])},
            attributes=attributes,
            result_types=[type],
        )
