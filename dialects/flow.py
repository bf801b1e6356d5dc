"""What is one dispatch: kernels with a prim body, and the host body that launches them.

    flow.kernel @conv_0 (%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x3x3xf32>) -> (tensor<1x4x6x6xf32>)
        attributes {schedule = #flow.schedule<contraction, {tile = array<i64: 4, 9>}>} {
      %0 = prim.conv ...  loc("0")
      flow.yield %0 : tensor<1x4x6x6xf32>
    }
    %r = flow.dispatch @conv_0(%x, %w) {nodes = [loc("/conv1/Conv")], label = "conv", flops = ...} : (...) -> (...)

A kernel knows no ONNX nodes, for identical kernels are one symbol: its ops carry their local index as location, and
each dispatch says which nodes a local op serves there.
"""

from collections.abc import Sequence
from enum import auto
from functools import cache

from xdsl.dialects.builtin import (
    ArrayAttr,
    BoolAttr,
    DenseArrayBase,
    DictionaryAttr,
    FlatSymbolRefAttrConstr,
    FunctionType,
    IntegerAttr,
    LocationAttr,
    ModuleOp,
    NameLoc,
    NoneAttr,
    StringAttr,
    SymbolNameConstraint,
    SymbolRefAttr,
    TensorType,
    i64,
)
from xdsl.dialects.utils import parse_func_op_like, print_func_op_like
from xdsl.ir import Attribute, Block, Dialect, Operation, ParametrizedAttribute, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    base,
    irdl_attr_definition,
    irdl_op_definition,
    lazy_traits_def,
    opt_prop_def,
    prop_def,
    region_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.parser import AttrParser, Parser
from xdsl.printer import Printer
from xdsl.traits import (
    HasParent,
    IsolatedFromAbove,
    IsTerminator,
    Pure,
    SingleBlockImplicitTerminator,
    SymbolOpInterface,
    SymbolUserOpInterface,
    ensure_terminator,
)
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum

from tstorch.dialects.prim.types import ints

NOT_TIED = -1


class KernelKind(StrEnum):
    """The loop nest a kernel becomes. Chosen from the kind of its ops, never from their names."""

    MAP = auto()
    ROW_REDUCTION = auto()
    CONTRACTION = auto()
    WINDOW = auto()
    INDEXED = auto()
    SORT = auto()
    SCAN = auto()
    RECURRENCE = auto()


@irdl_attr_definition
class ScheduleAttr(ParametrizedAttribute):
    """How a kernel is laid out on the GPU: a kind and its parameters; none of them changes what is computed.

    workgroup  [x, y, z] invocations of one workgroup                           every kind
    vector     elements along the last dimension that an invocation handles     map, row_reduction, window, indexed
    threads    invocations that share one row                                   row_reduction, scan
    tile       [m, n] results of one invocation                                 contraction
    k_step     contracted elements between two loads of a tile                  contraction
    together   runs that one workgroup sorts side by side                       sort
    staged     whether tiles pass through workgroup memory                      contraction
    held       whether a row stays in registers between its reductions          row_reduction
    """

    name = "flow.schedule"
    kind: StringAttr
    params: DictionaryAttr

    @classmethod
    def of(cls, kind: KernelKind, **params: int | bool | Sequence[int]) -> "ScheduleAttr":
        """The schedule with these parameters as attributes."""
        return cls(StringAttr(str(kind)), DictionaryAttr({key: _attribute(value) for key, value in params.items()}))

    @property
    def kernel_kind(self) -> KernelKind:
        return KernelKind(self.kind.data)

    @property
    def workgroup(self) -> tuple[int, int, int]:
        x, y, z = self.integers("workgroup", (64, 1, 1))
        return x, y, z

    @property
    def tile(self) -> tuple[int, int]:
        m, n = self.integers("tile", (1, 1))
        return m, n

    @property
    def vector(self) -> int:
        return self.integer("vector", 1)

    @property
    def threads(self) -> int:
        return self.integer("threads", 1)

    @property
    def together(self) -> int:
        return self.integer("together", 1)

    @property
    def k_step(self) -> int:
        return self.integer("k_step", 1)

    @property
    def staged(self) -> bool:
        return bool(self.integer("staged", 0))

    @property
    def held(self) -> bool:
        return bool(self.integer("held", 0))

    def integer(self, key: str, default: int) -> int:
        """One integer or boolean parameter."""
        found = self.params.data.get(key)
        return found.value.data if isinstance(found, IntegerAttr) else default

    def integers(self, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """A list of integers."""
        found = self.params.data.get(key)
        return tuple(int(v) for v in found.get_values()) if isinstance(found, DenseArrayBase) else default

    def verify(self) -> None:
        if self.kind.data not in {kind.value for kind in KernelKind}:
            raise VerifyException(f"unknown kernel kind {self.kind.data!r}; one of {', '.join(KernelKind)}")

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string(self.kind.data)
            printer.print_string(", ")
            printer.print_attribute(self.params)

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            kind = parser.parse_identifier()
            parser.parse_punctuation(",")
            return StringAttr(kind), DictionaryAttr(parser.parse_optional_dictionary_attr_dict())


def _attribute(value: int | bool | Sequence[int]) -> Attribute:
    if isinstance(value, bool):
        return BoolAttr.from_bool(value)
    if isinstance(value, int):
        return IntegerAttr(value, i64)
    return DenseArrayBase.from_list(i64, value)


@irdl_op_definition
class YieldOp(IRDLOperation):
    """The results of a kernel."""

    name = "flow.yield"
    arguments = var_operand_def(base(TensorType))
    assembly_format = "attr-dict ($arguments^ `:` type($arguments))?"
    traits = lazy_traits_def(lambda: (IsTerminator(), HasParent(KernelOp), Pure()))

    def __init__(self, *arguments: SSAValue):
        super().__init__(operands=[arguments])


@irdl_op_definition
class KernelOp(IRDLOperation):
    """One device function: prim ops from operands to results, run by one grid of workgroups.

    `tied[i]` is the operand that result i updates in place (one read_write binding), or -1.
    """

    name = "flow.kernel"
    sym_name = prop_def(SymbolNameConstraint())
    function_type = prop_def(FunctionType)
    schedule = opt_prop_def(ScheduleAttr)
    tied = opt_prop_def(DenseArrayBase.constr(i64))
    body = region_def("single_block")
    traits = traits_def(IsolatedFromAbove(), SymbolOpInterface(), SingleBlockImplicitTerminator(YieldOp))

    def __init__(
        self,
        name: str,
        body: Region,
        results: Sequence[Attribute],
        schedule: ScheduleAttr | None = None,
        tied: Sequence[int] | None = None,
    ):
        properties: dict[str, Attribute | None] = {
            "sym_name": StringAttr(name),
            "function_type": FunctionType.from_lists(body.block.arg_types, results),
            "schedule": schedule,
            "tied": DenseArrayBase.from_list(i64, tied) if tied is not None else None,
        }
        super().__init__(properties=properties, regions=[body])

    @property
    def block(self) -> Block:
        return self.body.block

    @property
    def yielded(self) -> Sequence[SSAValue]:
        terminator = self.block.last_op
        return terminator.operands if isinstance(terminator, YieldOp) else ()

    @property
    def tied_operands(self) -> tuple[int, ...]:
        """For each result, the operand it updates in place, or -1."""
        return _tied(self.tied, len(self.function_type.outputs))

    @property
    def ops(self) -> list[Operation]:
        """The computing ops in local order: all but the terminator."""
        return [op for op in self.block.ops if not isinstance(op, YieldOp)]

    def verify_(self) -> None:
        inputs, outputs = self.function_type.inputs.data, self.function_type.outputs.data
        if inputs != tuple(self.block.arg_types):
            raise VerifyException("the block's arguments differ from the kernel's operand types")
        if outputs != tuple(value.type for value in self.yielded):
            raise VerifyException("the yielded types differ from the kernel's result types")
        tied = self.tied_operands
        if len(tied) != len(outputs):
            raise VerifyException(f"tied names {len(tied)} results, the kernel has {len(outputs)}")
        for result, operand in enumerate(tied):
            if operand != NOT_TIED and not 0 <= operand < len(inputs):
                raise VerifyException(f"result {result} is tied to operand {operand} of {len(inputs)}")
            if operand != NOT_TIED and inputs[operand] != outputs[result]:
                raise VerifyException(f"result {result} is tied to operand {operand} of another type")

    def print(self, printer: Printer) -> None:
        shown = {key: value for key in ("schedule", "tied") if (value := self.properties.get(key)) is not None}
        print_func_op_like(
            printer, self.sym_name, self.function_type, self.body, shown | self.attributes, reserved_attr_names=()
        )

    @classmethod
    def parse(cls, parser: Parser) -> "KernelOp":
        name, _, results, body, attributes, _, _ = parse_func_op_like(parser, reserved_attr_names=("sym_name",))
        rest = dict(attributes.data) if attributes is not None else {}
        kernel = KernelOp(name, body, results)
        for key in ("schedule", "tied"):
            if key in rest:
                kernel.properties[key] = rest.pop(key)
        kernel.attributes |= rest
        ensure_terminator(kernel, SingleBlockImplicitTerminator(YieldOp))
        return kernel


def _symbol(op: Operation, name: str) -> Operation | None:
    """What has that name in the op's module. xDSL's own search takes a millisecond in a module of 500 kernels."""
    module: Operation | None = op
    while module is not None and not isinstance(module, ModuleOp):
        module = module.parent_op()
    for symbol in module.body.block.ops if module is not None else ():
        found = symbol.properties.get("sym_name")
        if isinstance(found, StringAttr) and found.data == name:
            return symbol
    return None


class _KernelExists(SymbolUserOpInterface):
    """A dispatch's kernel exists and has the dispatch's types."""

    def verify(self, op: Operation) -> None:
        if not isinstance(op, DispatchOp):
            return
        kernel = _symbol(op, op.kernel_name)
        if kernel is None:
            raise VerifyException(f"no kernel @{op.kernel_name}")
        if not isinstance(kernel, KernelOp):  # lowered already: its bindings are memory, not tensors
            return
        if kernel.tied_operands != op.tied_operands:
            raise VerifyException(f"results are tied otherwise than those of @{op.kernel_name}")
        if kernel.function_type.inputs.data != tuple(op.operand_types):
            raise VerifyException(f"operand types differ from those of @{op.kernel_name}")
        if kernel.function_type.outputs.data != tuple(op.result_types):
            raise VerifyException(f"result types differ from those of @{op.kernel_name}")


@irdl_op_definition
class DispatchOp(IRDLOperation):
    """One launch of a kernel: for each local op, the nodes (with roles) that it serves here, and the flops it takes.

    `unread` are bytes of its operands that it need not read, as of a table in which it looks up a few rows.
    """

    name = "flow.dispatch"
    kernel = prop_def(FlatSymbolRefAttrConstr)
    nodes = prop_def(ArrayAttr[LocationAttr])
    label = prop_def(StringAttr)
    flops = prop_def(DenseArrayBase.constr(i64))
    unread = opt_prop_def(IntegerAttr.constr(i64))
    tied = opt_prop_def(DenseArrayBase.constr(i64))
    arguments = var_operand_def(base(TensorType))
    outputs = var_result_def(base(TensorType))
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$kernel `(` $arguments `)` attr-dict `:` functional-type($arguments, $outputs)"
    traits = traits_def(Pure(), _KernelExists())

    def __init__(
        self,
        kernel: str,
        arguments: Sequence[SSAValue],
        results: Sequence[Attribute],
        nodes: Sequence[LocationAttr],
        label: str,
        flops: Sequence[int],
        tied: Sequence[int] | None = None,
        unread: int = 0,
    ):
        properties: dict[str, Attribute | None] = {
            "kernel": SymbolRefAttr(kernel),
            "nodes": ArrayAttr(nodes),
            "label": StringAttr(label),
            "flops": DenseArrayBase.from_list(i64, flops),
            "unread": IntegerAttr(unread, i64) if unread else None,
            "tied": DenseArrayBase.from_list(i64, tied) if tied is not None else None,
        }
        super().__init__(operands=[arguments], result_types=[results], properties=properties)

    @property
    def kernel_name(self) -> str:
        return self.kernel.root_reference.data

    @property
    def tied_operands(self) -> tuple[int, ...]:
        """For each result, the operand it is written over, or -1: as the kernel says."""
        return _tied(self.tied, len(self.outputs))

    def verify_(self) -> None:
        if len(self.nodes) != len(self.flops):
            raise VerifyException(f"nodes of {len(self.nodes)} local ops, flops of {len(self.flops)}")


def _tied(attribute: DenseArrayBase | None, results: int) -> tuple[int, ...]:
    return (NOT_TIED,) * results if attribute is None else ints(attribute)


@cache
def local_location(index: int) -> NameLoc:
    """The location of a kernel's op number `index`."""
    return NameLoc(StringAttr(str(index)), NoneAttr())


Flow = Dialect("flow", [KernelOp, DispatchOp, YieldOp], [ScheduleAttr])
