"""Replaces element types that the device has no arithmetic or no storage for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import (
    UNKNOWN_LOC,
    ArrayAttr,
    DenseArrayBase,
    DictionaryAttr,
    FunctionType,
    LocationAttr,
    ModuleOp,
    StringAttr,
    TensorType,
    f64,
    i1,
    i32,
    i64,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Operation, SSAValue

from tstorch.diagnostics import DiagnosticError
from tstorch.dialects.prim.elementwise import ConvertOp
from tstorch.dialects.prim.generator import ConstantOp, IotaOp
from tstorch.dialects.prim.operands import element_of, shape_of
from tstorch.dialects.prim.reduction import ArgReduceOp
from tstorch.dialects.prim.shape import ReshapeOp, SliceOp
from tstorch.dialects.prim.types import dtype_of, integer, tensor, ui8, ui32
from tstorch.dialects.prim.values import ValuesAttr
from tstorch.dialects.prim.weight import WeightOp
from tstorch.dialects.program import control_of
from tstorch.levels import Level
from tstorch.locations import node_ids
from tstorch.passes.base import TSTorchPass
from tstorch.passes.convert.arg_reduce import expand_arg_reduce
from tstorch.passes.convert.integer_ranges import HOST, WIDE, WORD, Range, all_of, is_wide, passed_in
from tstorch.passes.convert.storage_formats import host_name, store_codes
from tstorch.passes.convert.wide_integers import WideIntegers, has_form
from tstorch.passes.convert.wide_ranges import Widths, widths_of
from tstorch.remarks import RemarkSink

Notes = dict[str, Attribute]


@dataclass(frozen=True)
class LegalizeTypesPass(TSTorchPass):
    """Replaces element types that the device has no arithmetic or no storage for.

    64-bit integers become 32-bit ones where every value provably fits: constants, shapes and positions do. Of what only
    says where to look an input is narrowed by the host, which checks each value, a float saturates, and a weight's
    lower words are read. All others are pairs of words (`wide_integers.py`), of which arithmetic is exact; an input, a
    weight or a result of such has one more dimension of 2, the low word first. What goes from segment to segment of a
    program is always pairs: no segment knows how the next one uses it. Truth values that cross the function's
    border become words of 0 and 1. Of stored types (bfloat16, those of 8 and fewer bits) the codes are kept,
    as bytes or halves of words. The caller still passes and gets what the model says (`tst.dtype`).

    Refuses, by node: float64; what has no form on pairs, where its values may not fit a word.

        // before
        func.func @main(%x: tensor<9xf32>, %i: tensor<2xi64> {tst.name = "i"}) -> tensor<2xf32> {
          %c = prim.constant dense<7> : tensor<2xi64> loc("/add")
          %0 = prim.add %i, %c : tensor<2xi64> loc("/add")
          %1 = prim.gather %x, %0, offset_dims = [], collapsed_slice_dims = [0], start_index_map = [0],
              index_vector_dim = 1, slice_sizes = [1] : tensor<9xf32>, tensor<2xi64> -> tensor<2xf32>
          func.return %1 : tensor<2xf32>
        }
        // after
        func.func @main(%x: tensor<9xf32>, %i: tensor<2xi32> {
            tst.name = "i", tst.dtype = "int64", tst.range = array<i64: -536870912, 536870911>}) -> tensor<2xf32> {
          %c = prim.constant dense<7> : tensor<2xi32> loc("/add")
          %0 = prim.add %i, %c : tensor<2xi32> loc("/add")
          %1 = prim.gather %x, %0, offset_dims = [], collapsed_slice_dims = [0], start_index_map = [0],
              index_vector_dim = 1, slice_sizes = [1] : tensor<9xf32>, tensor<2xi32> -> tensor<2xf32>
          func.return %1 : tensor<2xf32>
        }
    """

    name = "legalize-types"
    requires = ensures = Level.PRIM

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        functions = [op for op in module.body.block.ops if isinstance(op, FuncOp)]
        _refuse_double(functions)
        uniform = "tst.segment" in module.attributes or control_of(module) is not None
        with self.remarks(module) as remarks:
            for func in functions:
                notes = _Border(func)
                store_codes(func.body.block)
                between: dict[SSAValue, Range] = {
                    arg: all_of(arg) for arg in func.body.block.args if uniform and is_wide(arg)
                }
                _narrow(func.body.block, between, remarks, uniform=uniform)
                notes.bool_to_words()
                notes.write()


def _refuse_double(functions: Sequence[FuncOp]) -> None:
    """Led by the first node; weights and graphs without nodes have none."""
    ops = [op for func in functions for op in func.walk() if any(map(_is_double, (*op.operands, *op.results)))]
    if not ops:
        return
    nodes = list(dict.fromkeys(node for op in ops for node in node_ids(op)))
    more = f" (and {len(nodes) - 1} other nodes)" if len(nodes) > 1 else ""
    raise DiagnosticError(
        f"element type float64 has no WebGPU form{more}; expected one of float32, float16, integers, bool; "
        "convert the model, or run with --demote-f64",
        node=next(iter(nodes), ops[0].name),
    )


def _is_double(value: SSAValue) -> bool:
    return isinstance(value.type, TensorType) and value.type.element_type == f64


class _Border:
    """What a function takes and gives, as its caller knows it."""

    def __init__(self, func: FuncOp) -> None:
        self._func = func
        self._block = func.body.block
        terminator = self._block.last_op
        assert isinstance(terminator, ReturnOp)
        self._return = terminator
        self._args = [_notes(arg.type, taken=True) for arg in self._block.args]
        self._results = [_notes(value.type, taken=False) for value in terminator.operands]

    def bool_to_words(self) -> None:
        """Puts a conversion behind each truth-value argument and ahead of each such result."""
        for arg in self._block.args:
            if element_of(arg) == i1:
                self._unpack(arg)
        self._return.operands = [self._packed(value) for value in self._return.operands]

    def write(self) -> None:
        """Puts types and notes on the function."""
        func = self._func
        types = [arg.type for arg in self._block.args], [value.type for value in self._return.operands]
        func.function_type = FunctionType.from_lists(*types)
        for arg, notes in zip(self._block.args, self._args, strict=True):
            if "tst.range" in notes and element_of(arg) == ui32:
                del notes["tst.range"]  # pairs of words hold whatever the caller passes
        if any(self._args):
            func.arg_attrs = _merged(func.arg_attrs, self._args)
        if any(self._results):
            func.res_attrs = _merged(func.res_attrs, self._results)

    def _unpack(self, arg: SSAValue) -> None:
        users = [use.operation for use in arg.uses if use.operation is not self._return]
        _retype(arg, ui32)
        if not users:
            return
        convert = ConvertOp(arg, element_type=i1)
        convert.location = users[0].location
        first = self._block.first_op
        assert first is not None
        self._block.insert_op_before(convert, first)
        arg.replace_uses_with_if(convert.result, lambda use: use.operation in users)

    def _packed(self, value: SSAValue) -> SSAValue:
        if element_of(value) != i1:
            return value
        convert = ConvertOp(value, element_type=ui32)
        if isinstance(value.owner, Operation):
            convert.location = value.owner.location
        self._block.insert_op_before(convert, self._return)
        return convert.result


def _notes(type: Attribute, *, taken: bool) -> Notes:
    """What the caller must still be told of an argument or result."""
    assert isinstance(type, TensorType)
    if type.element_type == i1:
        return {"tst.dtype": StringAttr("bool")}
    if (host := host_name(type.element_type)) is not None:
        return {"tst.dtype": StringAttr(host)}
    if type.element_type in WIDE:
        limits = HOST if type.element_type == i64 else (0, HOST[1])
        checked: Notes = {"tst.range": DenseArrayBase.from_list(i64, limits)} if taken else {}
        return {"tst.dtype": StringAttr(dtype_of(type).name), **checked}
    return {}


def _merged(old: ArrayAttr[DictionaryAttr] | None, new: Sequence[Notes]) -> ArrayAttr[DictionaryAttr]:
    before = old.data if old is not None else [DictionaryAttr({})] * len(new)
    return ArrayAttr([DictionaryAttr({**entry.data, **notes}) for entry, notes in zip(before, new, strict=True)])


def _narrow(block: Block, given: Mapping[SSAValue, Range], remarks: RemarkSink, *, uniform: bool = False) -> None:
    """Turns all 64-bit integers of a block into words or pairs of them; `given` are the ranges of its arguments.

    `uniform` makes pairs of all that the block returns.
    """
    positions = _expand_arg_reduces(block)
    widths = widths_of(block, {**given, **positions}, has_form)
    ranges, wide = widths.ranges, WideIntegers(widths, remarks)
    _take_arguments(block, widths, wide)
    end = block.last_op
    returned = [is_wide(value) for value in end.operands] if isinstance(end, ReturnOp) else []
    for op in list(block.ops):
        if widths.involves(op) and not isinstance(op, ReturnOp):
            if isinstance(op, WeightOp):
                wide.take(op.result, _stored_as(op, tensor([*shape_of(op.result), 2], ui32)))
                wide.drop(op)
            else:
                wide.expand(op)
            continue
        for region in op.regions:
            _narrow(region.block, passed_in(op, ranges), remarks)
        if isinstance(op, WeightOp):
            _narrow_weight(op)
        elif isinstance(op, ArgReduceOp):
            _replace(op, expand_arg_reduce(op), op.location)
        elif any(is_wide(result) for result in op.results):
            _narrow_op(op, remarks)
    if end is not None and returned:
        values = zip(end.operands, returned, strict=True)
        end.operands = [
            wide.joined(value, end) if value in widths.pairs or (uniform and long) else value for value, long in values
        ]
    wide.finish()
    for arg in [arg for arg in block.args if arg in widths.pairs]:
        block.erase_arg(arg)


def _expand_arg_reduces(block: Block) -> dict[SSAValue, Range]:
    """Those of 64-bit integers become ops that pairs have; gives the ranges of the positions found."""
    ranges: dict[SSAValue, Range] = {}
    for op in [op for op in block.ops if isinstance(op, ArgReduceOp) and is_wide(op.operand)]:
        ops = expand_arg_reduce(op)
        position = ConvertOp(ops[-1], element_type=i64)
        ranges[position.result] = 0, shape_of(op.operand)[integer(op.dimension)]
        _replace(op, [*ops, position], op.location)
    return ranges


def _take_arguments(block: Block, widths: Widths, wide: WideIntegers) -> None:
    """Gives 64-bit arguments the types that they have on the device."""
    for arg in [arg for arg in block.args if is_wide(arg)]:
        if arg not in widths.pairs:
            _retype(arg, i32)
            continue
        whole = block.insert_arg(tensor([*shape_of(arg), 2], ui32), arg.index)
        whole.name_hint = arg.name_hint
        wide.take(arg, whole)


def _narrow_op(op: Operation, remarks: RemarkSink) -> None:
    match op:
        case ConstantOp():
            values = np.clip(op.value.array(), *WORD).astype(np.int32)
            op.properties["value"] = ValuesAttr.of(values)
        case IotaOp():
            op.properties["type"] = tensor(shape_of(op.result), i32)
        case ConvertOp():
            op.properties["element_type"] = i32
            if dtype_of(element_of(op.operand)).kind == "f":
                remarks.analysis(node_ids(op), "TST-T001", "floats become 32-bit integers: beyond 2**31 they saturate")
    for result in op.results:
        if is_wide(result):
            _retype(result, i32)


def _narrow_weight(op: WeightOp) -> None:
    """Reads the lower words of 64-bit integers, and bytes where truth values are stored."""
    type, shape = op.result.type, shape_of(op.result)
    assert isinstance(type, TensorType)
    if type.element_type in WIDE:
        words = _stored_as(op, tensor([*shape, 2], i32))
        low = SliceOp(words, start=[0] * (len(shape) + 1), limit=[*shape, 1], stride=[1] * (len(shape) + 1))
        _replace_weight(op, [low, ReshapeOp(low.result, shape=shape)])
    elif type.element_type == i1:
        _replace_weight(op, [ConvertOp(_stored_as(op, tensor(shape, ui8)), element_type=i1)])


def _stored_as(op: WeightOp, type: TensorType) -> SSAValue:
    stored = WeightOp(file=op.file.data, key=op.key.data, digest=op.digest.data, type=type)
    block = op.parent
    assert block is not None
    block.insert_op_before(stored, op)
    return stored.result


def _replace_weight(op: WeightOp, new: list[Operation]) -> None:
    """An initializer has no node of its own: what reads it in another form then serves its first user's."""
    user = next((use.operation for use in op.result.uses), op)
    _replace(op, new, user.location if op.location == UNKNOWN_LOC else op.location)


def _replace(op: Operation, new: Sequence[Operation], location: LocationAttr) -> None:
    """Puts ops in the place of one; the last one's result stands for its own."""
    block = op.parent
    assert block is not None
    for each in new:
        each.location = location
        block.insert_op_before(each, op)
    op.results[0].replace_all_uses_with(new[-1].results[0])
    op.detach()
    op.erase()


def _retype(value: SSAValue, element: Attribute) -> None:
    value._type = tensor(shape_of(value), element)  # pyright: ignore[reportAttributeAccessIssue]
