"""The steps of a run: uploads, dispatches, copies, readbacks."""

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    DictionaryAttr,
    FlatSymbolRefAttrConstr,
    IntegerAttr,
    LocationAttr,
    StringAttr,
    SymbolRefAttr,
    i64,
)
from xdsl.ir import (
    Attribute,
    SSAValue,
)
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_op_definition,
    lazy_traits_def,
    operand_def,
    opt_prop_def,
    prop_def,
    var_operand_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import HasParent
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.buf.types import (
    Access,
    ViewType,
    integer,
    view_bytes,
)


class Command(IRDLOperation):
    """One step of a run. `touched` says what it does to which view."""

    traits = lazy_traits_def(lambda: (HasParent(_entry()),))

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


_SHOWN = ("id", "label", "nodes", "flops", "unread")


@irdl_op_definition
class DispatchOp(Command):
    """One launch of a kernel; its views stand in binding order, each with what the kernel does to it.

    For each local op of the kernel, `nodes` says which ONNX nodes it serves here and `flops` what it must compute.
    `unread` are bytes of what it reads that it need not touch, as of a table in which it looks up a few rows.
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
    unread = opt_prop_def(IntegerAttr.constr(i64))

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
        unread: IntegerAttr | None = None,
    ):
        properties: dict[str, Attribute | None] = {
            "kernel": SymbolRefAttr(kernel),
            "access": ArrayAttr([StringAttr(str(access)) for _, access in bindings]),
            "grid": DenseArrayBase.from_list(i64, grid),
            "id": integer(id),
            "label": label,
            "nodes": nodes,
            "flops": flops,
            "unread": unread,
        }
        super().__init__(operands=[[view for view, _ in bindings]], properties=properties)

    @property
    def kernel_name(self) -> str:
        return self.kernel.root_reference.data

    @property
    def accesses(self) -> list[Access]:
        return [Access(word.data) for word in self.access]

    @property
    def moved_bytes(self) -> int:
        """The least that it must read and write."""
        unread = self.unread.value.data if self.unread is not None else 0
        return sum(view_bytes(view) * (1 + (use is Access.INOUT)) for view, use in self.touched) - unread

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
        shown = {key: self.properties[key] for key in _SHOWN if key in self.properties}
        printer.print_op_attributes(shown | self.attributes)

    @classmethod
    def parse(cls, parser: Parser) -> "DispatchOp":
        kernel = parser.parse_symbol_name().data
        bindings = parser.parse_comma_separated_list(parser.Delimiter.PAREN, lambda: _parse_binding(parser))
        parser.parse_keyword("grid")
        grid = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, parser.parse_integer)
        attributes = parser.parse_optional_attr_dict()
        properties = {key: attributes.pop(key) for key in _SHOWN if key in attributes}
        properties["kernel"] = SymbolRefAttr(kernel)
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


def _entry() -> type[IRDLOperation]:
    """The entry, which knows the ops here and cannot be known to them at import."""
    from tstorch.dialects.buf.entry import EntryOp

    return EntryOp
