"""Makes float32 of all float64: the way out where a model asks for a precision that no WebGPU device has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects.builtin import (
    UNKNOWN_LOC,
    ArrayAttr,
    DictionaryAttr,
    FunctionType,
    ModuleOp,
    StringAttr,
    TensorType,
    f32,
    f64,
)
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.rewriter import InsertPoint

from tstorch.diagnostics import DiagnosticError
from tstorch.dialects.prim.elementwise import BitcastOp, ConvertOp
from tstorch.dialects.prim.formula import Formula
from tstorch.dialects.prim.generator import ConstantOp
from tstorch.dialects.prim.operands import shape_of
from tstorch.dialects.prim.shape import ReshapeOp, SliceOp
from tstorch.dialects.prim.types import tensor, ui32
from tstorch.dialects.prim.values import ValuesAttr
from tstorch.dialects.prim.weight import WeightOp
from tstorch.levels import Level
from tstorch.locations import node_ids
from tstorch.passes.base import TSTorchPass
from tstorch.passes.convert.double_words import single_bits
from tstorch.remarks import RemarkSink

REMARK = "TST-T002"
MOST = float(np.finfo(np.float32).max)
_STATE = "tst.state"


@dataclass(frozen=True)
class DemoteDoublesPass(TSTorchPass):
    """Makes float32 of all float64, which no WebGPU device computes with.

    Takes part only where it is asked for (`--demote-f64`), ahead of `legalize-types`, which refuses float64. Constants
    and weights are rounded, weights on the device, once; what float32 cannot hold becomes its largest number, of
    either sign. The caller still passes and gets float64 (`tst.dtype`). What was computed ahead of any run, shapes
    above all, was computed in float64.

    Refuses, by node: to look at the bits of a float64. To train in float64: states are kept as they are stored.

        // before
        func.func @main(%x: tensor<3xf64> {tst.name = "x"}) -> tensor<3xf64> {
          %c = prim.constant dense<0.1> : tensor<3xf64> loc("/add")
          %0 = prim.add %x, %c : tensor<3xf64> loc("/add")
          func.return %0 : tensor<3xf64>
        }
        // after
        func.func @main(%x: tensor<3xf32> {tst.name = "x", tst.dtype = "float64"}) -> (
            tensor<3xf32> {tst.dtype = "float64"}) {
          %c = prim.constant dense<0.1> : tensor<3xf32> loc("/add")
          %0 = prim.add %x, %c : tensor<3xf32> loc("/add")
          func.return %0 : tensor<3xf32>
        }
    """

    name = "demote-doubles"
    requires = ensures = Level.PRIM

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        with self.remarks(module) as remarks:
            for func in [op for op in module.body.block.ops if isinstance(op, FuncOp)]:
                _demote(func, remarks)


def _demote(func: FuncOp, remarks: RemarkSink) -> None:
    _note_border(func)
    doubles = {value: op for op in func.walk() for value in _made_by(op) if _is_double(value.type)}
    if not doubles:
        return
    _refuse_bits(func)
    for op in list(func.walk()):
        _demote_op(op)
    for value in doubles:
        value._type = tensor(shape_of(value), f32)  # pyright: ignore[reportAttributeAccessIssue]
    _drop_casts(func, remarks)
    end = func.body.block.last_op
    results = [value.type for value in end.operands] if end is not None else []
    func.function_type = FunctionType.from_lists([arg.type for arg in func.body.block.args], results)
    nodes = dict.fromkeys(node for op in doubles.values() for node in node_ids(op))
    reason = f"float64 is computed as float32 ({len(doubles)} tensors): results hold about 7 digits, not 16"
    remarks.analysis(nodes, REMARK, reason, metric={"tensors": len(doubles)})


def _made_by(op: Operation) -> list[SSAValue]:
    return [*op.results, *(arg for region in op.regions for arg in region.block.args)]


def _refuse_bits(func: FuncOp) -> None:
    for op in func.walk():
        if isinstance(op, BitcastOp) and any(_is_double(value.type) for value in (*op.operands, *op.results)):
            raise DiagnosticError(
                "looks at the bits of float64, which --demote-f64 changes; convert the model",
                node=next(iter(node_ids(op)), op.name),
            )


def _drop_casts(func: FuncOp, remarks: RemarkSink) -> None:
    """Between float32 and what was float64."""
    for op in [op for op in func.walk() if isinstance(op, ConvertOp) and op.forwarded() is not None]:
        op.result.replace_all_uses_with(op.operand)
        remarks.elide(node_ids(op), "identity: float64 is computed as float32")
        op.detach()
        op.erase()


def _is_double(type: Attribute) -> bool:
    return isinstance(type, TensorType) and type.element_type == f64


def _note_border(func: FuncOp) -> None:
    """Keeps in mind what the caller passes and gets."""
    inputs, outputs = func.function_type.inputs.data, func.function_type.outputs.data
    taken = func.arg_attrs.data if func.arg_attrs is not None else [DictionaryAttr({})] * len(inputs)
    given = func.res_attrs.data if func.res_attrs is not None else [DictionaryAttr({})] * len(outputs)
    if any(_is_double(type) and _STATE in notes.data for type, notes in zip(inputs, taken, strict=True)):
        raise DiagnosticError("a state of float64 cannot be trained; convert the model to float32 first")
    if any(map(_is_double, inputs)):
        func.arg_attrs = ArrayAttr(map(_noted, inputs, taken))
    if any(map(_is_double, outputs)):
        func.res_attrs = ArrayAttr(map(_noted, outputs, given))


def _noted(type: Attribute, notes: DictionaryAttr) -> DictionaryAttr:
    return DictionaryAttr({**notes.data, "tst.dtype": StringAttr("float64")}) if _is_double(type) else notes


def _demote_op(op: Operation) -> None:
    """Constants, weights, and the types that ops carry as properties."""
    if isinstance(op, WeightOp) and _is_double(op.result.type):
        _demote_weight(op)
    elif isinstance(op, ConstantOp) and _is_double(op.value.type):
        op.properties["value"] = ValuesAttr.of(demoted(op.value.array()))
    else:
        for name, value in op.properties.items():
            if name == "element_type" and value == f64:
                op.properties[name] = f32
            elif name == "type" and _is_double(value):
                op.properties[name] = tensor(value.get_shape(), f32)  # pyright: ignore[reportAttributeAccessIssue]


def demoted(array: np.ndarray) -> np.ndarray:
    """Rounded to float32; a finite number stays finite."""
    return np.where(np.isinf(array), array, np.clip(array, -MOST, MOST)).astype(np.float32)


def _demote_weight(op: WeightOp) -> None:
    """Reads the two words of each number, and makes a float32 of them."""
    block, shape, users = op.parent, shape_of(op.result), list(op.result.uses)
    assert block is not None
    if not users:
        return
    build = Builder(InsertPoint.before(op))
    first = op.prev_op
    words = WeightOp(file=op.file.data, key=op.key.data, digest=op.digest.data, type=tensor([*shape, 2], ui32))
    stored = build.insert(words).result
    low, high = (_word(stored, place, build) for place in (0, 1))
    single = single_bits(low, high).apply(BitcastOp, element_type=f32)
    location = users[0].operation.location if op.location == UNKNOWN_LOC else op.location
    new = first.next_op if first is not None else block.first_op
    while new is not None and new is not op:
        if not isinstance(new, WeightOp):
            new.location = location
        new = new.next_op
    op.result.replace_all_uses_with(single.value)
    op.detach()
    op.erase()


def _word(stored: SSAValue, place: int, build: Builder) -> Formula:
    *shape, _ = shape_of(stored)
    start, limit = [0] * len(shape), list(shape)
    part = SliceOp(stored, start=[*start, place], limit=[*limit, place + 1], stride=[1] * (len(shape) + 1))
    return Formula(build.insert(ReshapeOp(build.insert(part).results[0], shape=shape)).results[0], build)
