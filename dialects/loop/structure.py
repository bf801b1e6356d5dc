"""Kernels, loops, private and workgroup memory, barriers."""

from collections.abc import Mapping, Sequence
from enum import auto

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    IntegerAttr,
    MemRefType,
    StringAttr,
    SymbolNameConstraint,
    TensorType,
    UnitAttr,
    i1,
    i64,
)
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import Attribute, Block, Operation, Region, SpacedOpaqueSyntaxAttribute, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
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
from xdsl.traits import HasParent, IsolatedFromAbove, NoTerminator, OpTrait, SymbolOpInterface
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum

from tstorch.dialects.indexing import Index
from tstorch.dialects.loop.access import i64_array, index_type
from tstorch.dialects.loop.types import packed_per_word, register_type

_NOTES = ("kind", "ops", "iterations")


class WaitsForWorkgroup(OpTrait):
    """An op that all invocations of a workgroup must reach."""


class Id(StrEnum):
    """What a parallel index is: the workgroup's or the invocation's position along an axis."""

    WG_X = "wg.x"
    WG_Y = "wg.y"
    WG_Z = "wg.z"
    LID_X = "lid.x"
    LID_Y = "lid.y"
    LID_Z = "lid.z"

    @property
    def is_workgroup(self) -> bool:
        return self.value.startswith("wg")

    @property
    def axis(self) -> int:
        """0, 1, 2 for x, y, z."""
        return "xyz".index(self.value[-1])


class MemorySpace(StrEnum):
    """Who shares an allocation: nobody, or the invocations of a workgroup."""

    PRIVATE = auto()
    WORKGROUP = auto()


@irdl_attr_definition
class MemorySpaceAttr(EnumAttribute[MemorySpace], SpacedOpaqueSyntaxAttribute):
    name = "loop.space"


@irdl_op_definition
class KernelOp(IRDLOperation):
    """One device function: the bindings are its arguments, `grid` workgroups of `workgroup` invocations run it.

        loop.kernel @scale(%x: memref<64x4xf32>, %out: memref<64x4xf32>) grid [1, 1, 1] workgroup [64, 1, 1]
            attributes {kind = "map", ops = ["prim.mul"]} {
          loop.parallel %t = lid.x {
            ...
          }
        }

    A binding that is stored to is written, all others are only read. `ops` names the prim ops of the kernel; the
    location of an op in the body is their index as a name (`loc("0")`, `loc(fused["0", "2"])`). `iterations` is the
    most iterations of serial loops that one invocation runs; `bound-trip-counts` sets it.
    """

    name = "loop.kernel"

    sym_name = prop_def(SymbolNameConstraint())
    grid = prop_def(DenseArrayBase.constr(i64))
    workgroup = prop_def(DenseArrayBase.constr(i64))
    kind = opt_prop_def(StringAttr)
    ops = opt_prop_def(ArrayAttr[StringAttr])
    iterations = opt_prop_def(IntegerAttr)
    body = region_def("single_block")

    traits = traits_def(IsolatedFromAbove(), NoTerminator(), SymbolOpInterface())

    def __init__(
        self,
        name: str,
        bindings: Sequence[MemRefType],
        grid: Sequence[int],
        workgroup: Sequence[int],
        *,
        kind: str | None = None,
        ops: Sequence[str] | None = None,
        attributes: Mapping[str, Attribute] | None = None,
    ) -> None:
        super().__init__(
            properties={
                "sym_name": StringAttr(name),
                "grid": i64_array(grid),
                "workgroup": i64_array(workgroup),
                "kind": None if kind is None else StringAttr(kind),
                "ops": None if ops is None else ArrayAttr([StringAttr(op) for op in ops]),
            },
            attributes=dict(attributes or {}),
            regions=[Region(Block(arg_types=bindings))],
        )

    @property
    def grid_size(self) -> tuple[int, ...]:
        return tuple(int(n) for n in self.grid.get_values())

    @property
    def workgroup_size(self) -> tuple[int, ...]:
        return tuple(int(n) for n in self.workgroup.get_values())

    @property
    def bindings(self) -> Sequence[SSAValue]:
        return self.body.block.args

    @property
    def parallel(self) -> "ParallelOp":
        """The loop over all invocations."""
        return next(op for op in self.body.block.ops if isinstance(op, ParallelOp))

    @property
    def serial_iterations(self) -> int:
        """The most iterations of serial loops that one invocation runs, of all loops together."""
        return _serial_iterations(self.body.block, 1)

    def extent(self, id: Id) -> int:
        """How many values the id takes."""
        return (self.grid_size if id.is_workgroup else self.workgroup_size)[id.axis]

    def verify_(self) -> None:
        for label, sizes in (("grid", self.grid_size), ("workgroup", self.workgroup_size)):
            if len(sizes) != 3 or min(sizes) < 1:
                raise VerifyException(
                    f"kernel @{self.sym_name.data}: {label} {list(sizes)}; expected three sizes from 1"
                )
        for number, binding in enumerate(self.bindings):
            _verify_memory(f"kernel @{self.sym_name.data}: binding {number}", binding.type)
        ops = list(self.body.block.ops)
        if len(ops) != 1 or not isinstance(ops[0], ParallelOp):
            raise VerifyException(f"kernel @{self.sym_name.data}: the body is not one loop.parallel")
        for op in self.walk():
            if tensor := next((v for v in (*op.operands, *op.results) if isinstance(v.type, TensorType)), None):
                raise VerifyException(f"'{op.name}' has a value of type {tensor.type}; loop kernels hold no tensors")

    def print(self, printer: Printer) -> None:
        def print_binding(binding: SSAValue) -> None:
            printer.print_ssa_value(binding)
            printer.print_string(": ")
            printer.print_attribute(binding.type)

        printer.print_string(" ")
        printer.print_symbol_name(self.sym_name.data)
        printer.print_string("(")
        printer.print_list(self.bindings, print_binding)
        printer.print_string(f") grid {list(self.grid_size)} workgroup {list(self.workgroup_size)}")
        notes = {key: self.properties[key] for key in _NOTES if key in self.properties}
        if notes or self.attributes:
            printer.print_string(" attributes ")
            printer.print_attr_dict(notes | self.attributes)
        printer.print_string(" ")
        printer.print_region(self.body, print_entry_block_args=False, print_empty_block=False)

    @classmethod
    def parse(cls, parser: Parser) -> "KernelOp":
        name = parser.parse_symbol_name()
        arguments = parser.parse_comma_separated_list(parser.Delimiter.PAREN, parser.parse_argument)
        parser.parse_keyword("grid")
        grid = _parse_sizes(parser)
        parser.parse_keyword("workgroup")
        workgroup = _parse_sizes(parser)
        attributes: dict[str, Attribute] = {}
        if parser.parse_optional_keyword("attributes"):
            attributes = dict(parser.parse_optional_attr_dict())
        notes = {key: attributes.pop(key) for key in _NOTES if key in attributes}
        sizes = {"grid": i64_array(grid), "workgroup": i64_array(workgroup)}
        return cls.create(
            properties={"sym_name": name, **sizes, **notes},
            attributes=attributes,
            regions=[parser.parse_region(arguments)],
        )


@irdl_op_definition
class ParallelOp(IRDLOperation):
    """The body of a kernel, run by every invocation; its arguments are the ids that are more than one.

    loop.parallel %gx = wg.x, %gy = wg.y, %x = lid.x {
      ...
    }
    """

    name = "loop.parallel"

    ids = prop_def(ArrayAttr[StringAttr])
    body = region_def("single_block")

    traits = traits_def(NoTerminator(), HasParent(KernelOp))

    def __init__(self, ids: Sequence[Id]) -> None:
        super().__init__(
            properties={"ids": ArrayAttr([StringAttr(id.value) for id in ids])},
            regions=[Region(Block(arg_types=[index_type] * len(ids)))],
        )

    @property
    def id_list(self) -> list[Id]:
        return [Id(id.data) for id in self.ids]

    @property
    def kernel(self) -> KernelOp:
        parent = self.parent_op()
        if not isinstance(parent, KernelOp):
            raise VerifyException("'loop.parallel' stands outside a loop.kernel")
        return parent

    def verify_(self) -> None:
        names = [id.data for id in self.ids]
        if unknown := [name for name in names if name not in set(Id)]:
            raise VerifyException(f"unknown id {unknown[0]!r}; expected one of {', '.join(Id)}")
        if len(set(names)) != len(names) or len(names) != len(self.body.block.args):
            raise VerifyException(f"ids {', '.join(names)}: expected each once, one per argument")
        for id in Id:
            if self.kernel.extent(id) > 1 and id.value not in names:
                raise VerifyException(
                    f"kernel @{self.kernel.sym_name.data} runs {self.kernel.extent(id)} along {id.value}, "
                    "but loop.parallel does not bind it: all of them would do the same work"
                )

    def print(self, printer: Printer) -> None:
        def print_one(pair: tuple[SSAValue, Id]) -> None:
            printer.print_ssa_value(pair[0])
            printer.print_string(f" = {pair[1].value}")

        printer.print_string(" ")
        printer.print_list(list(zip(self.body.block.args, self.id_list, strict=True)), print_one)
        printer.print_string(" " if self.ids.data else "")
        printer.print_op_attributes(self.attributes)
        printer.print_region(self.body, print_entry_block_args=False, print_empty_block=False)

    @classmethod
    def parse(cls, parser: Parser) -> "ParallelOp":
        arguments: list[Parser.Argument] = []
        ids: list[StringAttr] = []
        while (argument := parser.parse_optional_argument(expect_type=False)) is not None:
            arguments.append(argument.resolve(index_type))
            parser.parse_punctuation("=")
            ids.append(StringAttr(parser.parse_identifier()))
            if parser.parse_optional_punctuation(",") is None:
                break
        return cls.create(properties={"ids": ArrayAttr(ids)}, regions=[parser.parse_region(arguments)])


@irdl_op_definition
class ForOp(IRDLOperation):
    """A loop over 0, step, 2 * step, ... below its extent.

    loop.for %k < 512 step 4 { ... }            serial: a loop at run time
    loop.for %k < 512 until %n { ... }          serial; ends before %n (index), which all invocations agree on
    loop.for unroll %i < 8 { ... }              static: expanded in the WGSL text; only these index private memory
    """

    name = "loop.for"

    until = opt_operand_def(index_type)
    extent = prop_def(IntegerAttr)
    step = prop_def(IntegerAttr)
    unroll = opt_prop_def(UnitAttr)
    body = region_def("single_block")

    traits = traits_def(NoTerminator())

    def __init__(self, extent: int, step: int = 1, *, unroll: bool = False, until: SSAValue | None = None) -> None:
        super().__init__(
            operands=[until],
            properties={
                "extent": IntegerAttr(extent, i64),
                "step": IntegerAttr(step, i64),
                "unroll": UnitAttr() if unroll else None,
            },
            regions=[Region(Block(arg_types=[index_type]))],
        )

    @property
    def iv(self) -> SSAValue:
        return self.body.block.args[0]

    @property
    def is_static(self) -> bool:
        return self.unroll is not None

    @property
    def size(self) -> int:
        return self.extent.value.data

    @property
    def stride(self) -> int:
        return self.step.value.data

    @property
    def trips(self) -> int:
        """The number of iterations (at most)."""
        return -(-self.size // self.stride)

    def verify_(self) -> None:
        if self.size < 1 or self.stride < 1:
            raise VerifyException(f"extent {self.size} and step {self.stride}: expected both from 1")
        if [arg.type for arg in self.body.block.args] != [index_type]:
            raise VerifyException("expected one argument of type index")
        if self.is_static and self.until is not None:
            raise VerifyException("an unrolled loop has no run-time end")

    def print(self, printer: Printer) -> None:
        printer.print_string(" unroll " if self.is_static else " ")
        printer.print_ssa_value(self.iv)
        printer.print_string(f" < {self.size} ")
        if self.until is not None:
            printer.print_string("until ")
            printer.print_ssa_value(self.until)
            printer.print_string(" ")
        if self.stride != 1:
            printer.print_string(f"step {self.stride} ")
        if self.attributes:
            printer.print_string("attributes ")
            printer.print_attr_dict(self.attributes)
            printer.print_string(" ")
        printer.print_region(self.body, print_entry_block_args=False, print_empty_block=False)

    @classmethod
    def parse(cls, parser: Parser) -> "ForOp":
        unroll = parser.parse_optional_keyword("unroll") is not None
        iv = parser.parse_argument(expect_type=False).resolve(index_type)
        parser.parse_punctuation("<")
        extent = parser.parse_integer(allow_boolean=False)
        until = parser.parse_operand(index_type) if parser.parse_optional_keyword("until") else None
        step = parser.parse_integer(allow_boolean=False) if parser.parse_optional_keyword("step") else 1
        attributes = parser.parse_optional_attr_dict_with_keyword()
        op = cls(extent, step, unroll=unroll, until=until)
        op.attributes = dict(attributes.data) if attributes else {}
        op.detach_region(op.body)
        op.add_region(parser.parse_region([iv]))
        return op


@irdl_op_definition
class IfOp(IRDLOperation):
    """Runs its body where the condition holds. No barrier or workgroup reduction may stand inside.

    loop.if %condition { ... }
    """

    name = "loop.if"

    condition = operand_def(i1)
    body = region_def("single_block")

    traits = traits_def(NoTerminator())

    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$condition $body attr-dict"

    def __init__(self, condition: SSAValue) -> None:
        super().__init__(operands=[condition], regions=[Region(Block())])

    def verify_(self) -> None:
        for op in self.walk():
            if op.has_trait(WaitsForWorkgroup):
                raise VerifyException(f"'{op.name}' inside loop.if: not all invocations would reach it")


@irdl_op_definition
class AllocOp(IRDLOperation):
    """Memory of one invocation (registers) or of a workgroup. It holds nothing definite until stored to.

        %acc = loop.alloc private : memref<2x8xf32>
        %tile = loop.alloc workgroup : memref<16x64xf32>

    `zero` fills it first, in workgroup memory by all invocations together and before a barrier.
    Private memory is indexed by static loops and constants only. It lives in the block where it stands: each iteration
    of a loop has its own.
    """

    name = "loop.alloc"

    space = prop_def(MemorySpaceAttr)
    zero = opt_prop_def(UnitAttr)
    memory = result_def(base(MemRefType))

    assembly_format = "$space (`zero` $zero^)? attr-dict `:` type($memory)"

    def __init__(self, space: MemorySpace, type: MemRefType, *, zero: bool = False) -> None:
        super().__init__(
            properties={"space": MemorySpaceAttr(space), "zero": UnitAttr() if zero else None}, result_types=[type]
        )

    @property
    def is_private(self) -> bool:
        return self.space.data is MemorySpace.PRIVATE

    def verify_(self) -> None:
        type = self.memory.type
        _verify_memory("loop.alloc", type)
        if packed_per_word(type.element_type) != 1:
            raise VerifyException(f"element type {type.element_type} is packed; allocate the type it widens to")
        if not self.is_private and not isinstance(self.parent_op(), ParallelOp):
            raise VerifyException("workgroup memory is allocated in loop.parallel itself, not inside a loop")


@irdl_op_definition
class BarrierOp(IRDLOperation):
    """Waits for all invocations of the workgroup, and makes their stores to workgroup memory visible.

    loop.barrier
    """

    name = "loop.barrier"
    traits = traits_def(WaitsForWorkgroup())
    assembly_format = "attr-dict"


def dim_of(value: SSAValue) -> Index:
    """The dimension that an index value is, with the range that its definition gives.

    Raises ValueError for a value that is no loop index and not the result of `loop.to_index`.
    """
    owner = value.owner
    if isinstance(owner, Operation):
        bound = getattr(owner, "bound", None)
        if isinstance(bound, IntegerAttr):
            return Index.dim(value, bound.value.data)
    else:
        parent = owner.parent_op()
        if isinstance(parent, ForOp):
            return Index.dim(value, parent.size, parent.stride)
        if isinstance(parent, ParallelOp):
            id = parent.id_list[owner.args.index(value)]  # pyright: ignore[reportArgumentType]
            return Index.dim(value, parent.kernel.extent(id))
    raise ValueError(f"index value of {owner} is neither a loop index nor a loop.to_index")


def is_static_index(value: SSAValue) -> bool:
    """Whether the value is the index of an unrolled loop."""
    parent = value.owner.parent_op() if isinstance(value.owner, Block) else None
    return isinstance(parent, ForOp) and parent.is_static


def _serial_iterations(block: Block, times: int) -> int:
    total = 0
    for op in block.ops:
        inner = times * op.trips if isinstance(op, ForOp) else times
        total += inner if isinstance(op, ForOp) and not op.is_static else 0
        total += sum(_serial_iterations(body, inner) for region in op.regions for body in region.blocks)
    return total


def _verify_memory(what: str, type: Attribute) -> None:
    if not isinstance(type, MemRefType) or min(type.get_shape(), default=0) < 0:
        raise VerifyException(f"{what} has type {type}; expected a memref of static shape")
    if register_type(type.element_type) is None:
        raise VerifyException(
            f"{what} has element type {type.element_type}; expected f32, i32, ui32, i1, or a packed 8- or 16-bit type"
        )


def _parse_sizes(parser: Parser) -> list[int]:
    return parser.parse_comma_separated_list(
        parser.Delimiter.SQUARE, lambda: parser.parse_integer(allow_boolean=False, allow_negative=False)
    )
