"""Modules, bindings, the function, and the statements that hold others."""

import re
from collections.abc import Iterator, Sequence
from enum import auto
from math import prod
from typing import TypeVar

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    DictionaryAttr,
    IntegerAttr,
    MemRefType,
    StringAttr,
    SymbolNameConstraint,
    UnitAttr,
    VectorType,
    i1,
    i64,
)
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import Attribute, Block, Operation, Region, SpacedOpaqueSyntaxAttribute, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    base,
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import HasParent, IsolatedFromAbove, NoTerminator, SymbolOpInterface
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum

from tstorch.dialects.loop.access import i64_array
from tstorch.dialects.loop.types import ui32
from tstorch.dialects.wgsl.base import BodyOp, Excess, StatementOp
from tstorch.dialects.wgsl.spelling import SpellingOf, Text, is_wgsl_type, join, name_of, type_name
from tstorch.dialects.wgsl.words import RESERVED

_NAME = re.compile(r"(?!__)[A-Za-z][A-Za-z0-9_]*")


class Access(StrEnum):
    """What a kernel does with a binding."""

    READ = auto()
    READ_WRITE = auto()


@irdl_attr_definition
class AccessAttr(EnumAttribute[Access], SpacedOpaqueSyntaxAttribute):
    name = "wgsl.access"


@irdl_op_definition
class ModuleOp(IRDLOperation):
    """One shader module: its bindings and workgroup variables, then the function.

        wgsl.module @scale grid [1, 1, 1] attributes {kind = "map", ops = ["prim.mul"], iterations = 0} {
          %x = wgsl.binding @b0 at 0 read : memref<64xvector<4xf32>>
          %out = wgsl.binding @b1 at 1 read_write : memref<64xvector<4xf32>>
          wgsl.function @main workgroup [64, 1, 1] (%wg, %lid) { ... }
        }

    `ops` names what the locations inside number; `iterations` is the most loop iterations that one invocation runs;
    `limits` (names as in a target) are WebGPU's defaults where absent.
    """

    name = "wgsl.module"

    sym_name = prop_def(SymbolNameConstraint())
    grid = prop_def(DenseArrayBase.constr(i64))
    kind = opt_prop_def(StringAttr)
    ops = opt_prop_def(ArrayAttr[StringAttr])
    iterations = opt_prop_def(IntegerAttr)
    limits = opt_prop_def(DictionaryAttr)
    body = region_def("single_block")

    traits = traits_def(IsolatedFromAbove(), NoTerminator(), SymbolOpInterface())

    @property
    def function(self) -> "FunctionOp":
        return next(op for op in self.body.block.ops if isinstance(op, FunctionOp))

    @property
    def bindings(self) -> list["BindingOp"]:
        return [op for op in self.body.block.ops if isinstance(op, BindingOp)]

    def limit(self, name: str, default: int) -> int:
        """One of the target's limits."""
        found = self.limits.data.get(name) if self.limits is not None else None
        return found.value.data if isinstance(found, IntegerAttr) else default

    def verify_(self) -> None:
        ops = list(self.body.block.ops)
        if sum(isinstance(op, FunctionOp) for op in ops) != 1:
            raise VerifyException(f"module @{self.sym_name.data}: expected exactly one wgsl.function")
        if stray := next((op for op in ops if not isinstance(op, FunctionOp | BindingOp | WorkgroupOp)), None):
            raise VerifyException(f"module @{self.sym_name.data}: '{stray.name}' stands outside the function")
        if (numbers := [binding.number.value.data for binding in self.bindings]) != list(range(len(numbers))):
            raise VerifyException(f"module @{self.sym_name.data}: bindings are numbered {numbers}; expected 0, 1, ...")
        names = [op.sym_name.data for op in ops if isinstance(op, BindingOp | WorkgroupOp | FunctionOp)]
        if len(set(names)) != len(names):
            raise VerifyException(f"module @{self.sym_name.data}: names {', '.join(names)}; expected each once")
        if problem := self.excess():
            raise VerifyException(f"kernel @{self.sym_name.data}: {problem}")

    def excess(self) -> Excess | None:
        """The first limit of the target that the module goes beyond; None where it fits."""
        sizes = self.function.workgroup_size
        needs = [
            ("max_compute_workgroup_storage_size", 16384, self.workgroup_bytes, "bytes of workgroup memory"),
            ("max_compute_invocations_per_workgroup", 256, prod(sizes), "invocations in a workgroup"),
            ("max_compute_workgroup_size_x", 256, sizes[0], "invocations of a workgroup along x"),
            ("max_compute_workgroup_size_y", 256, sizes[1], "invocations of a workgroup along y"),
            ("max_compute_workgroup_size_z", 64, sizes[2], "invocations of a workgroup along z"),
            ("max_storage_buffers_per_shader_stage", 8, len(self.bindings), "bindings"),
            ("max_compute_workgroups_per_dimension", 65535, max(self.grid.get_values()), "workgroups along one axis"),
        ]
        found = (Excess(rule, value, self.limit(rule, default), what) for rule, default, value, what in needs)
        return next((each for each in found if each.value > each.limit), None)

    @property
    def workgroup_bytes(self) -> int:
        """What the invocations of a workgroup share."""
        return sum(op.bytes for op in self.body.block.ops if isinstance(op, WorkgroupOp))

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_symbol_name(self.sym_name.data)
        printer.print_string(f" grid {list(self.grid.get_values())}")
        notes = {key: self.properties[key] for key in _NOTES if key in self.properties}
        if notes or self.attributes:
            printer.print_string(" attributes ")
            printer.print_attr_dict(notes | self.attributes)
        printer.print_string(" ")
        printer.print_region(self.body, print_empty_block=False)

    @classmethod
    def parse(cls, parser: Parser) -> "ModuleOp":
        name = parser.parse_symbol_name()
        parser.parse_keyword("grid")
        properties: dict[str, Attribute] = {"sym_name": name, "grid": i64_array(_parse_sizes(parser))}
        attributes: dict[str, Attribute] = {}
        if parser.parse_optional_keyword("attributes"):
            attributes = dict(parser.parse_optional_attr_dict())
        properties |= {key: attributes.pop(key) for key in _NOTES if key in attributes}
        return cls.create(properties=properties, attributes=attributes, regions=[parser.parse_region()])


_NOTES = ("kind", "ops", "iterations", "limits")


def _verify_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name in RESERVED:
        raise VerifyException(f"name {name!r} is reserved or no name in WGSL")


def _verify_array(type: Attribute) -> None:
    if not isinstance(type, MemRefType) or len(type.get_shape()) != 1 or not is_wgsl_type(type.element_type):
        raise VerifyException(f"an array of type {type}; expected a memref of one dimension with a WGSL type")


@irdl_op_definition
class BindingOp(StatementOp):
    """A storage buffer, group 0.

    %x = wgsl.binding @b0 at 0 read : memref<64xvector<4xf32>>
    %y = wgsl.binding @b1 at 1 read_write shared : memref<64xui32>

    The words of a `shared` one are atomic: several invocations write a part of one each.
    """

    name = "wgsl.binding"

    sym_name = prop_def(SymbolNameConstraint())
    number = prop_def(IntegerAttr.constr(i64))
    access = prop_def(AccessAttr)
    shared = opt_prop_def(UnitAttr)
    memory = result_def(base(MemRefType))

    assembly_format = "$sym_name `at` $number $access (`shared` $shared^)? attr-dict `:` type($memory)"

    def __init__(self, name: str, number: int, access: Access, type: MemRefType, *, shared: bool = False) -> None:
        super().__init__(
            properties={
                "sym_name": StringAttr(name),
                "number": IntegerAttr(number, i64),
                "access": AccessAttr(access),
                "shared": UnitAttr() if shared else None,
            },
            result_types=[type],
        )

    def verify_(self) -> None:
        _verify_name(self.sym_name.data)
        _verify_array(self.memory.type)
        element = self.memory.type.element_type
        if (element.element_type if isinstance(element, VectorType) else element) == i1:
            raise VerifyException("bool has no place in a buffer; store words of 0 and 1")
        if self.shared and (element != ui32 or self.access.data is not Access.READ_WRITE):
            raise VerifyException(f"shared words are ui32 and written; got {element}, {self.access.data}")

    def spell_lines(self, of: SpellingOf) -> Sequence[Text]:
        element = type_name(self.memory.type.element_type)
        element = f"atomic<{element}>" if self.shared else element
        place = f"@group(0) @binding({self.number.value.data}) var<storage, {self.access.data}>"
        return [Text((f"{place} {self.sym_name.data}: array<{element}>;",))]


@irdl_op_definition
class WorkgroupOp(StatementOp):
    """An array that the invocations of a workgroup share. It holds nothing definite at the start.

    %tile = wgsl.workgroup @w0 : memref<256xf32>
    """

    name = "wgsl.workgroup"

    sym_name = prop_def(SymbolNameConstraint())
    memory = result_def(base(MemRefType))

    assembly_format = "$sym_name attr-dict `:` type($memory)"

    def __init__(self, name: str, type: MemRefType) -> None:
        super().__init__(properties={"sym_name": StringAttr(name)}, result_types=[type])

    @property
    def bytes(self) -> int:
        """What it takes of the workgroup's memory."""
        element = self.memory.type.element_type
        return self.memory.type.get_shape()[0] * (16 if isinstance(element, VectorType) else 4)

    def verify_(self) -> None:
        _verify_name(self.sym_name.data)
        _verify_array(self.memory.type)

    def spell_lines(self, of: SpellingOf) -> Sequence[Text]:
        (size,) = self.memory.type.get_shape()
        element = type_name(self.memory.type.element_type)
        return [Text((f"var<workgroup> {self.sym_name.data}: array<{element}, {size}>;",))]


@irdl_op_definition
class FunctionOp(BodyOp):
    """The entry point. Its arguments are the positions of the workgroup and, in it, of the invocation.

    wgsl.function @main workgroup [64, 1, 1] (%wg, %lid) { ... }
    """

    name = "wgsl.function"

    sym_name = prop_def(SymbolNameConstraint())
    workgroup = prop_def(DenseArrayBase.constr(i64))
    body = region_def("single_block")

    traits = traits_def(NoTerminator(), HasParent(ModuleOp))

    def __init__(self, name: str, workgroup: Sequence[int]) -> None:
        super().__init__(
            properties={"sym_name": StringAttr(name), "workgroup": i64_array(workgroup)},
            regions=[Region(Block(arg_types=[id_type, id_type]))],
        )
        self.body.block.args[0].name_hint = "wg"
        self.body.block.args[1].name_hint = "lid"

    @property
    def workgroup_size(self) -> tuple[int, int, int]:
        x, y, z = (int(n) for n in self.workgroup.get_values())
        return x, y, z

    def verify_(self) -> None:
        _verify_name(self.sym_name.data)
        if [arg.type for arg in self.body.block.args] != [id_type, id_type]:
            raise VerifyException("expected two arguments of three ui32 each: the ids of workgroup and invocation")
        if len(self.workgroup) != 3 or min(self.workgroup.get_values()) < 1:
            raise VerifyException(f"workgroup {list(self.workgroup.get_values())}; expected 3 sizes from 1")

    def spell_opening(self, of: SpellingOf) -> Sequence[Text]:
        x, y, z = self.workgroup_size
        arguments = "@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) lid: vec3<u32>"
        return [
            Text((f"@compute @workgroup_size({x}, {y}, {z})",)),
            Text((f"fn {self.sym_name.data}({arguments}) {{",)),
        ]

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_symbol_name(self.sym_name.data)
        printer.print_string(f" workgroup {list(self.workgroup_size)} (")
        printer.print_list(self.body.block.args, printer.print_ssa_value)
        printer.print_string(") ")
        printer.print_region(self.body, print_entry_block_args=False, print_empty_block=False)

    @classmethod
    def parse(cls, parser: Parser) -> "FunctionOp":
        name = parser.parse_symbol_name()
        parser.parse_keyword("workgroup")
        sizes = _parse_sizes(parser)
        arguments = parser.parse_comma_separated_list(
            parser.Delimiter.PAREN, lambda: parser.parse_argument(expect_type=False).resolve(id_type)
        )
        return cls.create(
            properties={"sym_name": name, "workgroup": i64_array(sizes)}, regions=[parser.parse_region(arguments)]
        )


id_type = VectorType(ui32, [3])


class RangeOp(BodyOp):
    """A loop over 0, step, 2 * step, ... below its extent."""

    extent = prop_def(IntegerAttr.constr(i64))
    step = prop_def(IntegerAttr.constr(i64))
    body = region_def("single_block")

    traits = traits_def(NoTerminator())

    @property
    def iv(self) -> SSAValue:
        return self.body.block.args[0]

    @property
    def values(self) -> range:
        """What the index runs through."""
        return range(0, self.extent.value.data, self.step.value.data)

    def verify_(self) -> None:
        if self.extent.value.data < 1 or self.step.value.data < 1:
            raise VerifyException(f"extent {self.extent.value.data}, step {self.step.value.data}; expected both from 1")
        if [arg.type for arg in self.body.block.args] != [ui32]:
            raise VerifyException("expected one argument of type ui32")


@irdl_op_definition
class ForOp(RangeOp):
    """A loop at run time. With `until` it ends before that value too, on which all invocations must agree.

    wgsl.for %k < 512 step 4 { ... }
    wgsl.for %k < 512 until %n step 1 { ... }
    """

    name = "wgsl.for"

    until = opt_operand_def(ui32)

    def __init__(self, extent: int, step: int = 1, until: SSAValue | None = None) -> None:
        super().__init__(
            operands=[until],
            properties={"extent": IntegerAttr(extent, i64), "step": IntegerAttr(step, i64)},
            regions=[Region(Block(arg_types=[ui32]))],
        )

    def spell_opening(self, of: SpellingOf) -> Sequence[Text]:
        iv = name_of(self.iv)
        extent, step = self.extent.value.data, self.step.value.data
        end: Text | str = f"{extent}u"
        if self.until is not None:
            end = join("min(", of(self.until), f", {extent}u)")
        return [join("for (var ", iv, " = 0u; ", iv, " < ", end, "; ", iv, f" += {step}u) {{")]

    def print(self, printer: Printer) -> None:
        _print_range(printer, self, self.until)

    @classmethod
    def parse(cls, parser: Parser) -> "ForOp":
        return _parse_range(parser, cls)


@irdl_op_definition
class StaticForOp(RangeOp):
    """A loop that the printer expands: the only unrolling there is. Its index is a number in each copy of the body.

    wgsl.static_for %i < 8 step 4 { ... }
    """

    name = "wgsl.static_for"

    def __init__(self, extent: int, step: int = 1) -> None:
        super().__init__(
            properties={"extent": IntegerAttr(extent, i64), "step": IntegerAttr(step, i64)},
            regions=[Region(Block(arg_types=[ui32]))],
        )

    def spell_opening(self, of: SpellingOf) -> Sequence[Text]:
        return []

    def print(self, printer: Printer) -> None:
        _print_range(printer, self, None)

    @classmethod
    def parse(cls, parser: Parser) -> "StaticForOp":
        return _parse_range(parser, cls)


@irdl_op_definition
class IfOp(BodyOp):
    """Runs its body where the condition holds.

    wgsl.if %condition { ... }
    """

    name = "wgsl.if"

    condition = operand_def(i1)
    body = region_def("single_block")

    traits = traits_def(NoTerminator())
    assembly_format = "$condition $body attr-dict"

    def __init__(self, condition: SSAValue) -> None:
        super().__init__(operands=[condition], regions=[Region(Block())])

    def spell_opening(self, of: SpellingOf) -> Sequence[Text]:
        return [join("if (", of(self.condition), ") {")]


@irdl_op_definition
class BarrierOp(StatementOp):
    """Waits for all invocations of the workgroup. Not all would reach it inside an `if` or a loop whose end they do not
    agree on.

    wgsl.barrier
    """

    name = "wgsl.barrier"
    assembly_format = "attr-dict"

    def spell_lines(self, of: SpellingOf) -> Sequence[Text]:
        return [Text(("workgroupBarrier();",))]

    def verify_(self) -> None:
        for parent in _parents(self):
            if isinstance(parent, IfOp):
                raise VerifyException("a barrier inside wgsl.if: control flow is not uniform")
            if isinstance(parent, ForOp) and parent.until is not None:
                raise VerifyException("a barrier inside a loop with a run-time end, which may differ by invocation")


def is_static(value: SSAValue) -> bool:
    """Whether the value is the index of a static loop, which the printer expands."""
    owner = value.owner
    return isinstance(owner, Block) and isinstance(owner.parent_op(), StaticForOp)


def _parents(op: Operation) -> Iterator[Operation]:
    while (parent := op.parent_op()) is not None:
        yield parent
        op = parent


def _parse_sizes(parser: Parser) -> list[int]:
    return parser.parse_comma_separated_list(
        parser.Delimiter.SQUARE, lambda: parser.parse_integer(allow_boolean=False, allow_negative=False)
    )


def _print_range(printer: Printer, op: RangeOp, until: SSAValue | None) -> None:
    printer.print_string(" ")
    printer.print_ssa_value(op.iv)
    printer.print_string(f" < {op.extent.value.data} ")
    if until is not None:
        printer.print_string("until ")
        printer.print_ssa_value(until)
        printer.print_string(" ")
    if op.step.value.data != 1:
        printer.print_string(f"step {op.step.value.data} ")
    printer.print_region(op.body, print_entry_block_args=False, print_empty_block=False)


RangeT = TypeVar("RangeT", bound=RangeOp)


def _parse_range(parser: Parser, cls: type[RangeT]) -> RangeT:
    iv = parser.parse_argument(expect_type=False).resolve(ui32)
    parser.parse_punctuation("<")
    extent = parser.parse_integer(allow_boolean=False)
    operands = []
    if parser.parse_optional_keyword("until"):
        operands = [parser.resolve_operand(parser.parse_unresolved_operand(), ui32)]
    step = parser.parse_integer(allow_boolean=False) if parser.parse_optional_keyword("step") else 1
    return cls.create(
        operands=operands,
        properties={"extent": IntegerAttr(extent, i64), "step": IntegerAttr(step, i64)},
        regions=[parser.parse_region([iv])],
    )
