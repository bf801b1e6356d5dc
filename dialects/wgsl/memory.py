"""Values by name, registers, and access to arrays."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from xdsl.dialects.builtin import AffineMapAttr, MemRefType, VectorType
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    AnyAttr,
    VarConstraint,
    base,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import MemoryReadEffect, MemoryWriteEffect
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.indexing import Index, to_affine_map
from tstorch.dialects.loop.types import ui32
from tstorch.dialects.wgsl.base import ExpressionOp, StatementOp, WgslIndexSyntax
from tstorch.dialects.wgsl.spelling import (
    Level,
    Scope,
    SpellingOf,
    StaticValue,
    Text,
    join,
    name_of,
    separated,
    static_number,
    type_name,
)
from tstorch.dialects.wgsl.structure import Access, BindingOp, WorkgroupOp, is_static

COMPONENTS = "xyzw"


@irdl_op_definition
class LetOp(StatementOp):
    """Names a value: `let v3 = ...;`. Every other expression is spelled where it is used.

    %v = wgsl.let %e : f32
    """

    name = "wgsl.let"

    T: ClassVar = VarConstraint("T", AnyAttr())

    value = operand_def(T)
    result = result_def(T)

    assembly_format = "$value attr-dict `:` type($result)"

    def __init__(self, value: SSAValue) -> None:
        super().__init__(operands=[value], result_types=[value.type])

    def spell_lines(self, of: SpellingOf) -> Sequence[Text]:
        return [join("let ", name_of(self.result), " = ", of(self.value), ";")]


def _array_text(memory: SSAValue) -> str:
    owner = memory.owner
    if not isinstance(owner, BindingOp | WorkgroupOp):
        raise VerifyException("access to memory that is neither a binding nor a workgroup variable")
    return owner.sym_name.data


def _is_shared(memory: SSAValue) -> bool:
    return isinstance(memory.owner, BindingOp) and memory.owner.shared is not None


def _place_text(memory: SSAValue, index: SSAValue, of: SpellingOf) -> Text:
    """The element; of words that are shared its address, which is what atomic functions take."""
    return join(f"{'&' if _is_shared(memory) else ''}{_array_text(memory)}[", of(index), "]")


def _verify_element(memory: SSAValue, value: Attribute) -> None:
    _array_text(memory)
    if not isinstance(memory.type, MemRefType) or memory.type.element_type != value:
        raise VerifyException(f"an element of type {value} in {memory.type}")


@irdl_op_definition
class LoadOp(ExpressionOp):
    """An element of a binding or of workgroup memory.

    %v = wgsl.load %b0[%i] : memref<64xf32>
    """

    name = "wgsl.load"

    memory = operand_def(base(MemRefType))
    index = operand_def(ui32)

    traits = traits_def(MemoryReadEffect())

    def __init__(self, memory: SSAValue, index: SSAValue) -> None:
        if not isinstance(memory.type, MemRefType):
            raise VerifyException(f"wgsl.load of {memory.type}; expected a memref")
        super().__init__(operands=[memory, index], result_types=[memory.type.element_type])

    def verify_(self) -> None:
        super().verify_()
        _verify_element(self.memory, self.result.type)

    def spell(self, of: SpellingOf) -> Text:
        place = _place_text(self.memory, self.index, of)
        return join("atomicLoad(", place, ")") if _is_shared(self.memory) else place

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.memory)
        printer.print_string("[")
        printer.print_ssa_value(self.index)
        printer.print_string("]")
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.memory.type)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        memory = parser.parse_unresolved_operand()
        parser.parse_punctuation("[")
        index = parser.resolve_operand(parser.parse_unresolved_operand(), ui32)
        parser.parse_punctuation("]")
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        op = cls(parser.resolve_operand(memory, parser.parse_type()), index)
        op.attributes = attributes
        return op


@irdl_op_definition
class StoreOp(StatementOp):
    """Writes an element of a binding or of workgroup memory.

    wgsl.store %v, %b1[%i] : f32, memref<64xf32>
    """

    name = "wgsl.store"

    value = operand_def()
    memory = operand_def(base(MemRefType))
    index = operand_def(ui32)

    traits = traits_def(MemoryWriteEffect())
    assembly_format = "$value `,` $memory `[` $index `]` attr-dict `:` type($value) `,` type($memory)"

    def __init__(self, value: SSAValue, memory: SSAValue, index: SSAValue) -> None:
        super().__init__(operands=[value, memory, index])

    def verify_(self) -> None:
        _verify_element(self.memory, self.value.type)
        owner = self.memory.owner
        if isinstance(owner, BindingOp) and owner.access.data is not Access.READ_WRITE:
            raise VerifyException(f"a store to binding {owner.sym_name.data}, which is only read")

    def spell_lines(self, of: SpellingOf) -> Sequence[Text]:
        place = _place_text(self.memory, self.index, of)
        if _is_shared(self.memory):
            return [join("atomicStore(", place, ", ", of(self.value), ");")]
        return [join(place, " = ", of(self.value), ";")]


@irdl_op_definition
class MergeOp(StatementOp):
    """Clears the bits of a shared word that are not kept, then sets some: no other invocation's bits are lost.

    wgsl.merge %bits keep %keep, %b1[%i] : memref<64xui32>
    """

    name = "wgsl.merge"

    bits = operand_def(ui32)
    keep = operand_def(ui32)
    memory = operand_def(base(MemRefType))
    index = operand_def(ui32)

    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())
    assembly_format = "$bits `keep` $keep `,` $memory `[` $index `]` attr-dict `:` type($memory)"

    def __init__(self, bits: SSAValue, keep: SSAValue, memory: SSAValue, index: SSAValue) -> None:
        super().__init__(operands=[bits, keep, memory, index])

    def verify_(self) -> None:
        _verify_element(self.memory, ui32)
        if not _is_shared(self.memory):
            raise VerifyException(f"a merge into {_array_text(self.memory)}, whose words are not shared")

    def spell_lines(self, of: SpellingOf) -> Sequence[Text]:
        place = _place_text(self.memory, self.index, of)
        return [join("atomicAnd(", place, ", ", of(self.keep), "); atomicOr(", place, ", ", of(self.bits), ");")]


@irdl_op_definition
class RegistersOp(StatementOp):
    """Variables of one invocation, numbered: `r3_0`, `r3_1`, ... They start as 0.

    %r = wgsl.registers : memref<8xvector<4xf32>>
    """

    name = "wgsl.registers"

    memory = result_def(base(MemRefType))

    assembly_format = "attr-dict `:` type($memory)"

    def __init__(self, type: MemRefType) -> None:
        super().__init__(result_types=[type])

    @property
    def count(self) -> int:
        return self.memory.type.get_shape()[0]

    @property
    def element(self) -> Attribute:
        return self.memory.type.element_type

    def spell_lines(self, of: SpellingOf) -> Sequence[Text]:
        return [separated(" ", [self.spell_one(number) for number in range(self.count)])]

    def spell_one(self, number: int) -> Text:
        """The declaration of one of them."""
        name = Text((lambda scope: f"{scope.names[self.memory]}_{number}",))
        return join("var ", name, f": {type_name(self.element)};")


class RegisterAccess:
    """The register that an index over static loops chooses. Elements of vector registers are numbered through, so a
    scalar is a component of one."""

    def __init__(self, memory: SSAValue, index: AffineMapAttr, used: Sequence[SSAValue], type: Attribute) -> None:
        self._memory = memory
        self._number: StaticValue = static_number(index.data.results[0], used)
        element = memory.type.element_type if isinstance(memory.type, MemRefType) else None
        self._lanes = element.get_shape()[0] if isinstance(element, VectorType) else 1
        self._component = self._lanes > 1 and not isinstance(type, VectorType)

    def __call__(self, scope: Scope) -> str:
        number = self._number(scope)
        name = f"{scope.names[self._memory]}_{number // self._lanes}"
        return f"{name}.{COMPONENTS[number % self._lanes]}" if self._component else name


def _verify_register(memory: SSAValue, index: AffineMapAttr, used: Sequence[SSAValue], type: Attribute) -> None:
    owner = memory.owner
    if not isinstance(owner, RegistersOp):
        raise VerifyException("access to memory that is no wgsl.registers")
    element = owner.element
    scalar = element.element_type if isinstance(element, VectorType) else element
    if type not in (element, scalar):
        raise VerifyException(f"a register of type {type} in {memory.type}")
    if not all(is_static(value) for value in used) or len(index.data.results) != 1:
        raise VerifyException("registers are chosen by the indices of static loops only")


def _register_map(index: Index, values: Mapping[object, SSAValue]) -> tuple[list[SSAValue], AffineMapAttr]:
    keys = [dim.key for dim in index.dims]
    return [values[key] for key in keys], AffineMapAttr(to_affine_map([index], keys))


@irdl_op_definition
class ReadOp(ExpressionOp):
    """The value of a register.

    %v = wgsl.read %r[%i * 8 + %j] : memref<16xvector<4xf32>> -> vector<4xf32>
    """

    name = "wgsl.read"

    memory = operand_def(base(MemRefType))
    used = var_operand_def(ui32)
    index = prop_def(AffineMapAttr)

    traits = traits_def(MemoryReadEffect())

    @classmethod
    def at(cls, memory: SSAValue, index: Index, type: Attribute, values: Mapping[object, SSAValue]) -> Self:
        """`index` counts elements; `values` gives the static loop index that each of its dimensions is."""
        used, affine = _register_map(index, values)
        return cls.create(operands=[memory, *used], properties={"index": affine}, result_types=[type])

    def verify_(self) -> None:
        super().verify_()
        _verify_register(self.memory, self.index, self.used, self.result.type)

    def spell(self, of: SpellingOf) -> Text:
        return Text((RegisterAccess(self.memory, self.index, self.used, self.result.type),), Level.PRIMARY)

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.memory)
        WgslIndexSyntax.print_indices(printer, self.index, self.used)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.memory.type)
        printer.print_string(" -> ")
        printer.print_attribute(self.result.type)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        memory = parser.parse_unresolved_operand()
        syntax = WgslIndexSyntax(parser)
        exprs = syntax.indices()
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        operand = parser.resolve_operand(memory, parser.parse_type())
        parser.parse_punctuation("->")
        return cls.create(
            operands=[operand, *syntax.operands()],
            properties={"index": syntax.map_attr(exprs)},
            attributes=attributes,
            result_types=[parser.parse_type()],
        )


@irdl_op_definition
class WriteOp(StatementOp):
    """Sets a register.

    wgsl.write %v, %r[%i * 8 + %j] : vector<4xf32>, memref<16xvector<4xf32>>
    """

    name = "wgsl.write"

    value = operand_def()
    memory = operand_def(base(MemRefType))
    used = var_operand_def(ui32)
    index = prop_def(AffineMapAttr)

    traits = traits_def(MemoryWriteEffect())

    @classmethod
    def at(cls, value: SSAValue, memory: SSAValue, index: Index, values: Mapping[object, SSAValue]) -> Self:
        """`index` counts elements; `values` gives the static loop index that each of its dimensions is."""
        used, affine = _register_map(index, values)
        return cls.create(operands=[value, memory, *used], properties={"index": affine})

    def verify_(self) -> None:
        _verify_register(self.memory, self.index, self.used, self.value.type)

    def spell_lines(self, of: SpellingOf) -> Sequence[Text]:
        target = Text((RegisterAccess(self.memory, self.index, self.used, self.value.type),))
        return [join(target, " = ", of(self.value), ";")]

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.value)
        printer.print_string(", ")
        printer.print_ssa_value(self.memory)
        WgslIndexSyntax.print_indices(printer, self.index, self.used)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_list([self.value.type, self.memory.type], printer.print_attribute)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        value = parser.parse_unresolved_operand()
        parser.parse_punctuation(",")
        memory = parser.parse_unresolved_operand()
        syntax = WgslIndexSyntax(parser)
        exprs = syntax.indices()
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        first = parser.resolve_operand(value, parser.parse_type())
        parser.parse_punctuation(",")
        second = parser.resolve_operand(memory, parser.parse_type())
        return cls.create(
            operands=[first, second, *syntax.operands()],
            properties={"index": syntax.map_attr(exprs)},
            attributes=attributes,
        )
