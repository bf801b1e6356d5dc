"""What the host does between graphs, step by step: the ops that a program entry may hold.

    %x = program.input "x" : tensor<4x32xf32>
    %c = program.run @main.0(%x) : (tensor<4x32xf32>) -> tensor<i1>
    %y = program.if %c : (tensor<i1>) -> tensor<4x8xf32> then {
      %t = program.run @main.1(%x) : (tensor<4x32xf32>) -> tensor<4x8xf32>
      program.yield %t : tensor<4x8xf32>
    } else {
      ...
    }
    program.output "y", %y : tensor<4x8xf32>

Values stay on the GPU. What a step looks at (a condition, a count, what shapes follow from) comes to the host, and is
all that does: each such look is a synchronisation.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    DenseArrayBase,
    FlatSymbolRefAttrConstr,
    IntegerAttr,
    StringAttr,
    SymbolNameConstraint,
    SymbolRefAttr,
    TensorType,
    i1,
    i64,
)
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import (
    AnyAttr,
    AttrSizedOperandSegments,
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import IsolatedFromAbove, IsTerminator, NoTerminator, SymbolOpInterface
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.onnx_values import AnyType
from tstorch.dialects.prim.types import ints
from tstorch.dialects.prim.values import ValuesAttr


class StepOp(IRDLOperation):
    """One thing that the host does. Its values are tensors, whose sizes may be open."""

    def verify_(self) -> None:
        for type in [*self.operand_types, *self.result_types]:
            if not isinstance(type, TensorType | AnyType):
                raise VerifyException(f"a value between segments is a tensor, not {type}")


def is_open(type: Attribute) -> bool:
    """Whether only a run tells a value's shape."""
    return not isinstance(type, TensorType) or DYNAMIC_INDEX in type.get_shape()


@irdl_op_definition
class InputOp(StepOp):
    """What the caller gives under a name; `law` says how it is drawn where he gives nothing."""

    name = "program.input"
    label = prop_def(StringAttr)
    law = opt_prop_def()
    result = result_def(AnyAttr())
    assembly_format = "$label attr-dict (`law` $law^)? `:` type($result)"

    def __init__(self, label: str, type: Attribute, law: Attribute | None = None):
        super().__init__(result_types=[type], properties={"label": StringAttr(label), "law": law})


@irdl_op_definition
class OutputOp(StepOp):
    """What the caller gets under a name."""

    name = "program.output"
    label = prop_def(StringAttr)
    value = operand_def(AnyAttr())
    assembly_format = "$label `,` $value attr-dict `:` type($value)"

    def __init__(self, label: str, value: SSAValue):
        super().__init__(operands=[value], properties={"label": StringAttr(label)})


@irdl_op_definition
class ConstantOp(StepOp):
    """Numbers that are known before any run."""

    name = "program.constant"
    value = prop_def(ValuesAttr)
    result = result_def(AnyAttr())

    def __init__(self, value: ValuesAttr):
        super().__init__(result_types=[value.type], properties={"value": value})

    def print(self, printer: Printer) -> None:
        printer.print_op_attributes(self.attributes)
        printer.print_string(" dense")
        self.value.print_parameters(printer)

    @classmethod
    def parse(cls, parser: Parser) -> ConstantOp:
        attributes = parser.parse_optional_attr_dict()
        parser.parse_keyword("dense")
        op = cls(ValuesAttr(*ValuesAttr.parse_parameters(parser)))  # pyright: ignore[reportArgumentType]
        op.attributes.update(attributes)
        return op


class _CallOp(StepOp):
    """Runs a segment: `@segment(%inputs) : (types) -> types`; without values where all of them have names."""

    inputs = var_operand_def(AnyAttr())
    segment = prop_def(FlatSymbolRefAttrConstr)
    outputs = var_result_def(AnyAttr())

    @property
    def segment_name(self) -> str:
        return self.segment.root_reference.data

    def _print_call(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_attribute(self.segment)
        if self.operands or self.results:
            with printer.in_parens():
                printer.print_list(self.inputs, printer.print_ssa_value)

    def _print_types(self, printer: Printer) -> None:
        printer.print_op_attributes(self.attributes)
        if self.operands or self.results:
            printer.print_string(" : ")
            printer.print_function_type(self.operand_types, self.result_types)


@irdl_op_definition
class RunOp(_CallOp):
    """Runs a segment that was compiled, from its inputs to its outputs."""

    name = "program.run"

    def __init__(self, segment: str, inputs: Sequence[SSAValue] = (), types: Sequence[Attribute] = ()):
        super().__init__(operands=[inputs], result_types=[types], properties={"segment": SymbolRefAttr(segment)})

    def print(self, printer: Printer) -> None:
        self._print_call(printer)
        self._print_types(printer)

    @classmethod
    def parse(cls, parser: Parser) -> RunOp:
        segment, inputs, _, types, attributes = _parse_call(parser)
        op = cls(segment, inputs, types)
        op.attributes.update(attributes)
        return op


@irdl_op_definition
class SpecialiseOp(_CallOp):
    """Has a segment compiled for the shapes that its inputs turn out to have, once for each, and runs it.

    `known` are the positions of inputs that its shapes follow from: the host looks at their numbers, and they are part
    of what it is compiled for.
    """

    name = "program.specialise"
    known = prop_def(DenseArrayBase)

    def __init__(self, segment: str, inputs: Sequence[SSAValue], types: Sequence[Attribute], known: Sequence[int] = ()):
        super().__init__(
            operands=[inputs],
            result_types=[types],
            properties={"segment": SymbolRefAttr(segment), "known": DenseArrayBase.from_list(i64, list(known))},
        )

    @property
    def known_positions(self) -> list[int]:
        return list(ints(self.known))

    def print(self, printer: Printer) -> None:
        self._print_call(printer)
        if self.known_positions:
            printer.print_string(" known ")
            with printer.in_square_brackets():
                printer.print_list(self.known_positions, lambda at: printer.print_string(str(at)))
        self._print_types(printer)

    @classmethod
    def parse(cls, parser: Parser) -> SpecialiseOp:
        segment, inputs, known, types, attributes = _parse_call(parser)
        op = cls(segment, inputs, types, known)
        op.attributes.update(attributes)
        return op

    def verify_(self) -> None:
        super().verify_()
        if any(not 0 <= at < len(self.inputs) for at in self.known_positions):
            raise VerifyException(f"known inputs {self.known_positions} of {len(self.inputs)}")


@irdl_op_definition
class TakeOp(StepOp):
    """The first `count` elements along an axis of a tensor that has room for more: the host looks at the count."""

    name = "program.take"
    padded = operand_def(AnyAttr())
    count = operand_def(AnyAttr())
    axis = prop_def(IntegerAttr.constr(i64))
    result = result_def(AnyAttr())
    assembly_format = (
        "$padded `,` $count `along` $axis attr-dict `:` `(` type($padded) `,` type($count) `)` `->` type($result)"
    )

    def __init__(self, padded: SSAValue, count: SSAValue, axis: int, type: Attribute):
        super().__init__(operands=[padded, count], result_types=[type], properties={"axis": IntegerAttr(axis, i64)})

    @property
    def position(self) -> int:
        """The axis, as a number."""
        return self.axis.value.data


@irdl_op_definition
class IfOp(StepOp):
    """Runs one of two bodies: the host looks at the condition."""

    name = "program.if"
    condition = operand_def(AnyAttr())
    outputs = var_result_def(AnyAttr())
    then = region_def("single_block")
    otherwise = region_def("single_block")
    assembly_format = "$condition attr-dict `:` functional-type($condition, $outputs) `then` $then `else` $otherwise"

    def __init__(self, condition: SSAValue, types: Sequence[Attribute], then: Region, otherwise: Region):
        super().__init__(operands=[condition], result_types=[types], regions=[then, otherwise])

    def verify_(self) -> None:
        super().verify_()
        for body in (self.then, self.otherwise):
            _check_yield(body, len(self.outputs))


@irdl_op_definition
class WhileOp(StepOp):
    """Runs a body as often as `trips` says, and while its condition holds; the host looks at each condition.

    The body takes the number of the iteration, a truth value and what is carried; it yields whether to go on, what is
    carried on, and an element of each stacked output. Either operand may be absent: nothing ends the loop then.
    """

    name = "program.while"
    trips = opt_operand_def(AnyAttr())
    condition = opt_operand_def(AnyAttr())
    carried = var_operand_def(AnyAttr())
    outputs = var_result_def(AnyAttr())
    body = region_def("single_block")
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    assembly_format = (
        "(`trips` $trips^ `:` type($trips))? (`going` $condition^ `:` type($condition))? `(` $carried `)` attr-dict "
        "`:` functional-type($carried, $outputs) $body"
    )

    def __init__(
        self,
        trips: SSAValue | None,
        condition: SSAValue | None,
        carried: Sequence[SSAValue],
        types: Sequence[Attribute],
        body: Region,
    ):
        super().__init__(operands=[trips, condition, carried], result_types=[types], regions=[body])

    def verify_(self) -> None:
        super().verify_()
        taken = list(self.body.block.args)
        if len(taken) != 2 + len(self.carried):
            raise VerifyException(f"the body takes {len(taken)} values; expected {2 + len(self.carried)}")
        if [taken[0].type, taken[1].type] != [TensorType(i64, []), TensorType(i1, [])]:
            raise VerifyException("the body takes the number of the iteration (i64) and a truth value (i1) first")
        _check_yield(self.body, 1 + len(self.outputs))


@irdl_op_definition
class YieldOp(StepOp):
    """Ends a body with its results."""

    name = "program.yield"
    values = var_operand_def(AnyAttr())
    assembly_format = "($values^ `:` type($values))? attr-dict"
    traits = traits_def(IsTerminator())

    def __init__(self, values: Sequence[SSAValue]):
        super().__init__(operands=[values])


@irdl_op_definition
class SegmentOp(IRDLOperation):
    """A graph whose shapes only a run tells, at level onnx: the function @main of what is compiled then."""

    name = "program.segment"
    sym_name = prop_def(SymbolNameConstraint())
    body = region_def("single_block")
    assembly_format = "$sym_name attr-dict-with-keyword $body"
    traits = traits_def(SymbolOpInterface(), IsolatedFromAbove(), NoTerminator())

    def __init__(self, name: str, graph: FuncOp, attributes: dict[str, Attribute]):
        super().__init__(
            properties={"sym_name": StringAttr(name)}, attributes=attributes, regions=[Region(Block([graph]))]
        )

    @property
    def graph(self) -> FuncOp:
        """The function."""
        op = self.body.block.first_op
        assert isinstance(op, FuncOp)
        return op

    def verify_(self) -> None:
        ops = list(self.body.block.ops)
        if len(ops) != 1 or not isinstance(ops[0], FuncOp):
            raise VerifyException(f"segment @{self.sym_name.data} holds something else than one function")


@irdl_op_definition
class PaddedOp(IRDLOperation):
    """A node's result whose size only a run tells, at level onnx: the largest it can be, and how much of it counts."""

    name = "program.padded"
    operand = operand_def(AnyAttr())
    axis = prop_def(IntegerAttr.constr(i64))
    padded = result_def(AnyAttr())
    count = result_def(AnyAttr())
    assembly_format = "$operand `along` $axis attr-dict `:` type($operand) `->` `(` type($padded) `,` type($count) `)`"

    def __init__(self, operand: SSAValue, axis: int, type: Attribute):
        super().__init__(
            operands=[operand],
            result_types=[type, TensorType(i64, [])],
            properties={"axis": IntegerAttr(axis, i64)},
        )


STEPS: tuple[type[Operation], ...] = (
    InputOp, OutputOp, ConstantOp, RunOp, SpecialiseOp, TakeOp, IfOp, WhileOp, YieldOp, SegmentOp, PaddedOp,
)  # fmt: skip


def _check_yield(body: Region, count: int) -> None:
    end = body.block.last_op
    if not isinstance(end, YieldOp) or len(end.values) != count:
        raise VerifyException(f"a body ends in something else than a program.yield of {count} values")


Call = tuple[str, list[SSAValue], list[int], list[Attribute], dict[str, Attribute]]


def _parse_call(parser: Parser) -> Call:
    """The segment, its inputs, the known ones among them, the outputs' types, and attributes."""
    segment = parser.parse_symbol_name().data
    position = parser.pos
    given = parser.parse_optional_comma_separated_list(parser.Delimiter.PAREN, parser.parse_unresolved_operand)
    known: list[int] = []
    if parser.parse_optional_keyword("known"):
        known = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, parser.parse_integer)
    attributes = parser.parse_optional_attr_dict()
    if given is None:
        return segment, [], known, [], attributes
    parser.parse_punctuation(":")
    types = parser.parse_function_type()
    inputs = parser.resolve_operands(given, types.inputs.data, position)
    return segment, list(inputs), known, list(types.outputs.data), attributes
