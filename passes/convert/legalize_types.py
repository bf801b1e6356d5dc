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
from tstorch.dialects.prim.elementwise import CompareOp, ConvertOp, MaximumOp, MinimumOp
from tstorch.dialects.prim.generator import ConstantOp, IotaOp
from tstorch.dialects.prim.reduction import ArgReduceOp
from tstorch.dialects.prim.shape import ReshapeOp, SliceOp
from tstorch.dialects.prim.types import dtype_of, tensor, ui8, ui32
from tstorch.dialects.prim.values import ValuesAttr
from tstorch.dialects.prim.weight import WeightOp
from tstorch.levels import Level
from tstorch.locations import node_ids
from tstorch.passes.base import TSTorchPass
from tstorch.passes.convert.arg_reduce import expand_arg_reduce
from tstorch.passes.convert.integer_ranges import HOST, WIDE, WORD, Range, is_wide, ranges_of
from tstorch.passes.convert.storage_formats import host_name, store_codes
from tstorch.remarks import RemarkSink

Notes = dict[str, Attribute]


@dataclass(frozen=True)
class LegalizeTypesPass(TSTorchPass):
    """Replaces element types that the device has no arithmetic or no storage for.

    64-bit integers become 32-bit ones where every value provably fits: constants, shapes and positions do, an input is
    narrowed by the host, which checks each value, and a weight's lower words are read. Truth values that cross the
    function's border become words of 0 and 1. Of stored types (bfloat16, those of 8 and fewer bits) the codes are kept,
    as bytes or halves of words. The caller still passes and gets what the model says (`tst.dtype`).

    Refuses, by node: float64; 64-bit integers whose values may not fit.

        // before
        func.func @main(%i: tensor<2xi64> {tst.name = "i"}) -> (tensor<2xi64> {tst.name = "o"}) {
          %c = prim.constant dense<7> : tensor<2xi64> loc("/add")
          %0 = prim.add %i, %c : tensor<2xi64> loc("/add")
          func.return %0 : tensor<2xi64>
        }
        // after
        func.func @main(%i: tensor<2xi32> {
            tst.name = "i", tst.dtype = "int64", tst.range = array<i64: -536870912, 536870911>})
            -> (tensor<2xi32> {tst.name = "o", tst.dtype = "int64"}) {
          %c = prim.constant dense<7> : tensor<2xi32> loc("/add")
          %0 = prim.add %i, %c : tensor<2xi32> loc("/add")
          func.return %0 : tensor<2xi32>
        }
    """

    name = "legalize-types"
    requires = ensures = Level.PRIM

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        functions = [op for op in module.body.block.ops if isinstance(op, FuncOp)]
        _refuse_double(functions)
        with self.remarks(module) as remarks:
            for func in functions:
                notes = _Border(func)
                store_codes(func.body.block)
                _narrow(func.body.block, {}, remarks)
                notes.bool_to_words()
                notes.write()


def _refuse_double(functions: Sequence[FuncOp]) -> None:
    found: dict[str, None] = {}
    for func in functions:
        for op in func.walk():
            if any(isinstance(v.type, TensorType) and v.type.element_type == f64 for v in (*op.operands, *op.results)):
                found.update(dict.fromkeys(node_ids(op) or [op.name]))
    if found:
        more = f" (and {len(found) - 1} other nodes)" if len(found) > 1 else ""
        raise DiagnosticError(
            f"element type float64 has no WebGPU form{more}; expected one of float32, float16, integers, bool; "
            "convert the model, or run with --demote-f64",
            node=next(iter(found)),
        )


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
            if _element(arg) == i1:
                self._unpack(arg)
        self._return.operands = [self._packed(value) for value in self._return.operands]

    def write(self) -> None:
        """Puts types and notes on the function."""
        func = self._func
        types = [arg.type for arg in self._block.args], [value.type for value in self._return.operands]
        func.function_type = FunctionType.from_lists(*types)
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
        if _element(value) != i1:
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


def _narrow(block: Block, given: Mapping[SSAValue, Range], remarks: RemarkSink) -> None:
    """Turns all 64-bit integers of a block into 32-bit ones; `given` are the ranges of its arguments."""
    ranges = ranges_of(block, given)
    for op in list(block.ops):
        _check(op, ranges)
        for region in op.regions:
            passed = zip(region.block.args, op.operands, strict=True)
            _narrow(region.block, {arg: ranges[value] for arg, value in passed if value in ranges}, remarks)
        if isinstance(op, WeightOp):
            _narrow_weight(op)
        elif isinstance(op, ArgReduceOp):
            _replace(op, expand_arg_reduce(op), op.location)
        elif any(is_wide(result) for result in op.results):
            _narrow_op(op, remarks)
    for arg in block.args:
        if is_wide(arg):
            _retype(arg, i32)


def _check(op: Operation, ranges: dict[SSAValue, Range]) -> None:
    for result in op.results:
        if not is_wide(result):
            continue
        low, high = ranges[result]
        least = WORD[0] if _element(result) == i64 else 0
        if (low < least or high > WORD[1]) and not _saturates(op):
            raise DiagnosticError(
                f"{op.name} computes 64-bit integers from {low} to {high}; WebGPU has 32 bits, and the values are not "
                "known to fit; use int32 in the model where the values allow it",
                node=next(iter(node_ids(op)), None),
            )


def _saturates(op: Operation) -> bool:
    """Whether a constant is only a limit: cut off at 32 bits, it still limits nothing that fits."""
    users = [use.operation for result in op.results for use in result.uses]
    return isinstance(op, ConstantOp) and all(isinstance(user, MinimumOp | MaximumOp | CompareOp) for user in users)


def _narrow_op(op: Operation, remarks: RemarkSink) -> None:
    match op:
        case ConstantOp():
            values = np.clip(op.value.array(), *WORD).astype(np.int32)
            op.properties["value"] = ValuesAttr.of(values)
        case IotaOp():
            op.properties["type"] = tensor(_shape(op.result), i32)
        case ConvertOp():
            op.properties["element_type"] = i32
            if dtype_of(_element(op.operand)).kind == "f":
                remarks.analysis(node_ids(op), "TST-T001", "floats become 32-bit integers: beyond 2**31 they saturate")
    for result in op.results:
        if is_wide(result):
            _retype(result, i32)


def _narrow_weight(op: WeightOp) -> None:
    """Reads the lower words of 64-bit integers, and bytes where truth values are stored."""
    type, shape = op.result.type, _shape(op.result)
    assert isinstance(type, TensorType)
    if type.element_type == i64:
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
    value._type = tensor(_shape(value), element)  # pyright: ignore[reportAttributeAccessIssue]


def _element(value: SSAValue) -> Attribute:
    assert isinstance(value.type, TensorType)
    return value.type.element_type


def _shape(value: SSAValue) -> tuple[int, ...]:
    assert isinstance(value.type, TensorType)
    return value.type.get_shape()
