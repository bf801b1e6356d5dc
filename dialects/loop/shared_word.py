"""Words of which several invocations write a part each."""

from typing import Self

from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, traits_def
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import MemoryReadEffect, MemoryWriteEffect

from tstorch.dialects.indexing import Index
from tstorch.dialects.loop.access import IndexMaps
from tstorch.dialects.loop.memory import AccessOp, Constraint, access_properties, parse_access, print_access
from tstorch.dialects.loop.types import ui32


@irdl_op_definition
class MergeOp(AccessOp):
    """Writes some bits of a word, and leaves the others as they are: the word becomes `word & keep | bits`.

        loop.merge %bits keep %keep, %out[%t floordiv 4] where (%t < 7) : memref<2xui32>

    Other invocations may write the other bits meanwhile: what is not kept is cleared and set by atomic steps.
    """

    name = "loop.merge"

    bits = operand_def(ui32)
    keep = operand_def(ui32)

    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())

    def __init__(
        self,
        bits: SSAValue,
        keep: SSAValue,
        memory: SSAValue,
        indices: list[Index],
        constraints: list[Constraint] | None = None,
    ) -> None:
        found = IndexMaps.of(indices, [expr for expr, _ in constraints or ()])
        super().__init__(
            operands=[bits, keep, memory, found.operands],
            properties=access_properties(found, constraints or ()),
        )

    @property
    def value_type(self) -> Attribute:
        return self.bits.type

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.bits)
        printer.print_string(" keep ")
        printer.print_ssa_value(self.keep)
        printer.print_string(", ")
        print_access(printer, self)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.memory_type)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        bits = parser.parse_unresolved_operand()
        parser.parse_keyword("keep")
        keep = parser.parse_unresolved_operand()
        parser.parse_punctuation(",")
        memory = parser.parse_unresolved_operand()
        used, properties = parse_access(parser)
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        type = parser.parse_type()
        resolved = [parser.resolve_operand(bits, ui32), parser.resolve_operand(keep, ui32)]
        return cls.create(
            operands=[*resolved, parser.resolve_operand(memory, type), *used],
            properties=properties,
            attributes=attributes,
        )
