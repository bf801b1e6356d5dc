"""One segment's host program: buffers, views into them at offsets, and the commands of one run in order.

    buf.buffer @arena0 : 602112 "activation"
    buf.entry @run {
      %x = buf.view @arena0[0] "image" : !buf.view<tensor<1x3x224x224xf32>>
      %w = buf.weight @weights0[0] <"m.onnx", "conv1.weight", "9f2c"> from 0 of tensor<64x3x7x7xf32> : !buf.view<...>
      %y = buf.view @arena1[0] "/conv1/Conv" : !buf.view<tensor<1x64x112x112xf32>>
      %z = buf.subview %y[0] : !buf.view<tensor<1x64x112x112xf32>> -> !buf.view<tensor<1x802816xf32>>
      buf.upload "image", %x {dtype = "float32", storage = "f32"} : !buf.view<tensor<1x3x224x224xf32>>
      buf.dispatch @conv_0(read %x : ..., read %w : ..., write %y : ...) grid [98, 2, 1] {id = 0, label = "conv", ...}
      buf.readback "logits", %z {dtype = "float32", storage = "f32"} : !buf.view<tensor<1x802816xf32>>
    }

A view is one allocation: its bytes are its own from its first write to its last read. A subview names bytes of another
view (a reshape, a slice of a concatenation, a result written in place). `buf.entry` checks all of it.
"""

from collections.abc import Sequence
from enum import auto
from math import prod

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    DictionaryAttr,
    FlatSymbolRefAttr,
    FlatSymbolRefAttrConstr,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    LocationAttr,
    StringAttr,
    SymbolNameConstraint,
    TensorType,
    i64,
)
from xdsl.ir import (
    Attribute,
    Block,
    Dialect,
    Operation,
    ParametrizedAttribute,
    Region,
    SSAValue,
    TypeAttribute,
)
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_attr_definition,
    irdl_op_definition,
    lazy_traits_def,
    operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.parser import AttrParser, Parser
from xdsl.printer import Printer
from xdsl.traits import HasParent, IsolatedFromAbove, NoTerminator, Pure, SymbolOpInterface
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum

WORD = 4


class Category(StrEnum):
    """What a buffer holds; every byte that we request is in exactly one."""

    WEIGHT = auto()
    INPUT = auto()
    OUTPUT = auto()
    ACTIVATION = auto()
    GRADIENT = auto()
    OPTIMIZER = auto()
    STATE = auto()
    SCRATCH = auto()


class Access(StrEnum):
    """What a dispatch does with a binding. INOUT reads what it then overwrites; WGSL calls both writes `read_write`."""

    READ = auto()
    WRITE = auto()
    INOUT = auto()

    @property
    def writes(self) -> bool:
        return self is not Access.READ

    @property
    def reads(self) -> bool:
        return self is not Access.WRITE


def view_bytes(view: SSAValue) -> int:
    """Bytes that a value of view type names."""
    assert isinstance(view.type, ViewType)
    return view.type.bytes


def storage_bytes(type: TensorType) -> int:
    """Bytes of a tensor in a buffer: whole words; bool takes a word an element."""
    element = type.element_type
    bits = element.width.data if isinstance(element, IntegerType) else getattr(element, "bitwidth", 32)
    bits = 8 * WORD if bits == 1 else bits
    return -(-prod(type.get_shape()) * bits // (8 * WORD)) * WORD


def storage_dtype(type: TensorType) -> str:
    """How the artifact calls a buffer's elements: f32, f16, i32, u32, u8."""
    return str(type.element_type).replace("ui", "u")


@irdl_attr_definition
class ViewType(ParametrizedAttribute, TypeAttribute):
    """Bytes of a buffer that hold a tensor."""

    name = "buf.view"
    tensor: TensorType

    @property
    def bytes(self) -> int:
        return storage_bytes(self.tensor)


@irdl_attr_definition
class WeightRefAttr(ParametrizedAttribute):
    """Where a weight's bytes come from: a file, a key in it, and the sha256 of the raw bytes."""

    name = "buf.weight_ref"
    file: StringAttr
    key: StringAttr
    digest: StringAttr

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_list([self.file, self.key, self.digest], lambda part: printer.print_string_literal(part.data))

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            parts = parser.parse_comma_separated_list(parser.Delimiter.NONE, parser.parse_str_literal)
        if len(parts) != 3:
            parser.raise_error("expected a file, a key and a digest")
        return [StringAttr(part) for part in parts]


def _i64(value: int) -> IntegerAttr:
    return IntegerAttr(value, i64)


@irdl_op_definition
class BufferOp(IRDLOperation):
    """One GPU buffer. With `lifetime = "init"` it is destroyed when the init entry has run."""

    name = "buf.buffer"
    sym_name = prop_def(SymbolNameConstraint())
    size = prop_def(IntegerAttr.constr(i64))
    category = prop_def(StringAttr)
    lifetime = opt_prop_def(StringAttr)
    assembly_format = "$sym_name `:` $size $category (`lifetime` $lifetime^)? attr-dict"
    traits = traits_def(SymbolOpInterface())

    def __init__(self, name: str, size: int, category: Category, lifetime: str | None = None):
        properties: dict[str, Attribute | None] = {
            "sym_name": StringAttr(name),
            "size": _i64(size),
            "category": StringAttr(category.value),
            "lifetime": StringAttr(lifetime) if lifetime else None,
        }
        super().__init__(properties=properties)

    @property
    def bytes(self) -> int:
        return self.size.value.data

    def verify_(self) -> None:
        if self.bytes <= 0 or self.bytes % WORD:
            raise VerifyException(f"buffer @{self.sym_name.data} has {self.bytes} bytes; expected a multiple of {WORD}")
        if self.category.data not in set(Category):
            raise VerifyException(f"category {self.category.data!r}; expected one of {', '.join(Category)}")


class Placed(IRDLOperation):
    """Bytes of a buffer at an offset."""

    buffer = prop_def(FlatSymbolRefAttrConstr)
    offset = prop_def(IntegerAttr.constr(i64))
    result = result_def(ViewType)
    traits = lazy_traits_def(lambda: (Pure(), HasParent(EntryOp)))

    @property
    def buffer_name(self) -> str:
        return self.buffer.root_reference.data

    @property
    def byte_offset(self) -> int:
        return self.offset.value.data

    def place(self, buffer: str, offset: int) -> None:
        """Moves the bytes to another buffer or offset."""
        self.properties["buffer"] = FlatSymbolRefAttr(buffer)
        self.properties["offset"] = _i64(offset)


@irdl_op_definition
class ViewOp(Placed):
    """One allocation, under the name of the tensor that it holds."""

    name = "buf.view"
    label = prop_def(StringAttr)
    assembly_format = "$buffer `[` $offset `]` $label attr-dict `:` type($result)"

    def __init__(self, buffer: str, offset: int, label: str, type: TensorType):
        properties = {"buffer": FlatSymbolRefAttr(buffer), "offset": _i64(offset), "label": StringAttr(label)}
        super().__init__(properties=properties, result_types=[ViewType(type)])


@irdl_op_definition
class WeightOp(Placed):
    """Bytes of a weight, there before the program starts, from byte `source_offset` of the stored tensor `whole` on."""

    name = "buf.weight"
    source = prop_def(WeightRefAttr)
    source_offset = prop_def(IntegerAttr.constr(i64))
    whole = prop_def(TensorType)
    assembly_format = "$buffer `[` $offset `]` $source `from` $source_offset `of` $whole attr-dict `:` type($result)"

    def __init__(
        self, buffer: str, offset: int, source: WeightRefAttr, type: TensorType, whole: TensorType, source_offset: int
    ):
        properties = {
            "buffer": FlatSymbolRefAttr(buffer),
            "offset": _i64(offset),
            "source": source,
            "source_offset": _i64(source_offset),
            "whole": whole,
        }
        super().__init__(properties=properties, result_types=[ViewType(type)])


@irdl_op_definition
class StateOp(Placed):
    """What survives from run to run: it starts as the weight of `start`, or filled with a number."""

    name = "buf.state"
    label = prop_def(StringAttr)
    start = prop_def(WeightRefAttr | FloatAttr)
    assembly_format = "$buffer `[` $offset `]` $label `start` $start attr-dict `:` type($result)"

    def __init__(self, buffer: str, offset: int, label: str, start: WeightRefAttr | FloatAttr, type: TensorType):
        properties: dict[str, Attribute | None] = {
            "buffer": FlatSymbolRefAttr(buffer),
            "offset": _i64(offset),
            "label": StringAttr(label),
            "start": start,
        }
        super().__init__(properties=properties, result_types=[ViewType(type)])


@irdl_op_definition
class DerivedOp(Placed):
    """What the init entry wrote: packed or folded weights."""

    name = "buf.derived"
    label = prop_def(StringAttr)
    assembly_format = "$buffer `[` $offset `]` $label attr-dict `:` type($result)"

    def __init__(self, buffer: str, offset: int, label: str, type: TensorType):
        properties = {"buffer": FlatSymbolRefAttr(buffer), "offset": _i64(offset), "label": StringAttr(label)}
        super().__init__(properties=properties, result_types=[ViewType(type)])


@irdl_op_definition
class SubviewOp(IRDLOperation):
    """Bytes of another view, `offset` bytes from its start, under another type."""

    name = "buf.subview"
    view = operand_def(ViewType)
    offset = prop_def(IntegerAttr.constr(i64))
    result = result_def(ViewType)
    assembly_format = "$view `[` $offset `]` attr-dict `:` type($view) `->` type($result)"
    traits = traits_def(Pure())

    def __init__(self, view: SSAValue, offset: int, type: TensorType):
        super().__init__(operands=[view], properties={"offset": _i64(offset)}, result_types=[ViewType(type)])

    @property
    def byte_offset(self) -> int:
        return self.offset.value.data

    def verify_(self) -> None:
        inner, outer = view_bytes(self.result), view_bytes(self.view)
        if self.byte_offset < 0 or self.byte_offset + inner > outer:
            raise VerifyException(f"{inner} bytes from {self.byte_offset} on leave the {outer} bytes of the view")


class Command(IRDLOperation):
    """One step of a run. `touched` says what it does to which view."""

    traits = lazy_traits_def(lambda: (HasParent(EntryOp),))

    @property
    def touched(self) -> list[tuple[SSAValue, Access]]:
        return []


@irdl_op_definition
class UploadOp(Command):
    """Copies an input from the host. `dtype` is what the caller passes, `law` how it is drawn where he passes none."""

    name = "buf.upload"
    view = operand_def(ViewType)
    label = prop_def(StringAttr)
    dtype = prop_def(StringAttr)
    storage = prop_def(StringAttr)
    law = opt_prop_def(DictionaryAttr)
    range = opt_prop_def(DenseArrayBase.constr(i64))
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$label `,` $view attr-dict `:` type($view)"

    @property
    def touched(self) -> list[tuple[SSAValue, Access]]:
        return [(self.view, Access.WRITE)]


@irdl_op_definition
class ReadbackOp(Command):
    """Copies an output to the host, where it becomes an array of `dtype`."""

    name = "buf.readback"
    view = operand_def(ViewType)
    label = prop_def(StringAttr)
    dtype = prop_def(StringAttr)
    storage = prop_def(StringAttr)
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$label `,` $view attr-dict `:` type($view)"

    @property
    def touched(self) -> list[tuple[SSAValue, Access]]:
        return [(self.view, Access.READ)]


@irdl_op_definition
class CopyOp(Command):
    """Copies one view to another, in another buffer: WebGPU copies nothing within one."""

    name = "buf.copy"
    source = operand_def(ViewType)
    target = operand_def(ViewType)
    assembly_format = "$source `to` $target attr-dict `:` type($source) `to` type($target)"

    def __init__(self, source: SSAValue, target: SSAValue):
        super().__init__(operands=[source, target])

    @property
    def touched(self) -> list[tuple[SSAValue, Access]]:
        return [(self.source, Access.READ), (self.target, Access.WRITE)]

    def verify_(self) -> None:
        if view_bytes(self.source) != view_bytes(self.target):
            raise VerifyException(f"copies {view_bytes(self.source)} bytes to {view_bytes(self.target)}")


@irdl_op_definition
class DispatchOp(Command):
    """One launch of a kernel; its views stand in binding order, each with what the kernel does to it.

    For each local op of the kernel, `nodes` says which ONNX nodes it serves here and `flops` what it must compute.
    """

    name = "buf.dispatch"
    kernel = prop_def(FlatSymbolRefAttrConstr)
    bindings = var_operand_def(ViewType)
    access = prop_def(ArrayAttr[StringAttr])
    grid = prop_def(DenseArrayBase.constr(i64))
    id = prop_def(IntegerAttr.constr(i64))
    label = prop_def(StringAttr)
    nodes = prop_def(ArrayAttr[LocationAttr])
    flops = prop_def(DenseArrayBase.constr(i64))

    def __init__(
        self,
        kernel: str,
        bindings: Sequence[tuple[SSAValue, Access]],
        grid: Sequence[int],
        id: int,
        *,
        label: StringAttr,
        nodes: ArrayAttr[LocationAttr],
        flops: DenseArrayBase,
    ):
        properties: dict[str, Attribute | None] = {
            "kernel": FlatSymbolRefAttr(kernel),
            "access": ArrayAttr([StringAttr(access.value) for _, access in bindings]),
            "grid": DenseArrayBase.from_list(i64, grid),
            "id": _i64(id),
            "label": label,
            "nodes": nodes,
            "flops": flops,
        }
        super().__init__(operands=[[view for view, _ in bindings]], properties=properties)

    @property
    def kernel_name(self) -> str:
        return self.kernel.root_reference.data

    @property
    def accesses(self) -> list[Access]:
        return [Access(word.data) for word in self.access]

    @property
    def touched(self) -> list[tuple[SSAValue, Access]]:
        return list(zip(self.bindings, self.accesses, strict=True))

    def verify_(self) -> None:
        if len(self.access) != len(self.bindings):
            raise VerifyException(f"{len(self.bindings)} bindings, {len(self.access)} of them with an access")
        if len(self.grid) != 3 or any(int(n) <= 0 for n in self.grid.get_values()):
            raise VerifyException(f"grid {list(self.grid.get_values())}; expected three positive numbers")
        if len(self.nodes) != len(self.flops):
            raise VerifyException(f"nodes of {len(self.nodes)} local ops, flops of {len(self.flops)}")

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_symbol_name(self.kernel_name)
        with printer.in_parens():
            printer.print_list(self.touched, lambda pair: _print_binding(printer, *pair))
        printer.print_string(" grid ")
        with printer.in_square_brackets():
            printer.print_list(self.grid.get_values(), lambda n: printer.print_string(str(n)))
        shown = {key: self.properties[key] for key in ("id", "label", "nodes", "flops")}
        printer.print_op_attributes(shown | self.attributes)

    @classmethod
    def parse(cls, parser: Parser) -> "DispatchOp":
        kernel = parser.parse_symbol_name().data
        bindings = parser.parse_comma_separated_list(parser.Delimiter.PAREN, lambda: _parse_binding(parser))
        parser.parse_keyword("grid")
        grid = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, parser.parse_integer)
        attributes = parser.parse_optional_attr_dict()
        properties = {key: attributes.pop(key) for key in ("id", "label", "nodes", "flops") if key in attributes}
        properties["kernel"] = FlatSymbolRefAttr(kernel)
        properties["grid"] = DenseArrayBase.from_list(i64, grid)
        properties["access"] = ArrayAttr([StringAttr(access) for access, _ in bindings])
        return cls.create(operands=[view for _, view in bindings], properties=properties, attributes=attributes)


def _print_binding(printer: Printer, view: SSAValue, access: Access) -> None:
    printer.print_string(f"{access} ")
    printer.print_ssa_value(view)
    printer.print_string(" : ")
    printer.print_attribute(view.type)


def _parse_binding(parser: Parser) -> tuple[str, SSAValue]:
    access = parser.parse_identifier()
    if access not in set(Access):
        parser.raise_error(f"access {access!r}; expected one of {', '.join(Access)}")
    view = parser.parse_unresolved_operand()
    parser.parse_punctuation(":")
    return access, parser.resolve_operand(view, parser.parse_type())


@irdl_op_definition
class EntryOp(IRDLOperation):
    """One host program, run from top to bottom: `init` once at load, then `run` or `step` as often as asked."""

    name = "buf.entry"
    sym_name = prop_def(SymbolNameConstraint())
    body = region_def("single_block")
    assembly_format = "$sym_name attr-dict-with-keyword $body"
    traits = traits_def(IsolatedFromAbove(), SymbolOpInterface(), NoTerminator())

    def __init__(self, name: str, block: Block):
        super().__init__(properties={"sym_name": StringAttr(name)}, regions=[Region(block)])

    @property
    def commands(self) -> list[Operation]:
        """What is done, in order: all but the declarations of bytes."""
        return [op for op in self.body.block.ops if not isinstance(op, Placed | SubviewOp)]

    def verify_(self) -> None:
        from tstorch.dialects.memory import verify_memory

        verify_memory(self, buffers_of(self))


def buffers_of(entry: EntryOp) -> dict[str, BufferOp]:
    """The buffers that stand beside the entry, by name."""
    block = entry.parent
    ops = block.ops if block is not None else ()
    return {op.sym_name.data: op for op in ops if isinstance(op, BufferOp)}


Buf = Dialect(
    "buf",
    [BufferOp, ViewOp, WeightOp, StateOp, DerivedOp, SubviewOp, UploadOp, ReadbackOp, CopyOp, DispatchOp, EntryOp],
    [ViewType, WeightRefAttr],
)
