"""Takes tensors without elements out of a program: no dispatch could read or write them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation, SSAValue

from tstorch.dialects.prim.base import ContractionOp, PrimOp
from tstorch.dialects.prim.generator import ConstantOp
from tstorch.dialects.prim.indexing import ScatterOp
from tstorch.dialects.prim.kinds import identity
from tstorch.dialects.prim.operands import shape_of
from tstorch.dialects.prim.reduction import ReduceOp, ReduceWindowOp
from tstorch.dialects.prim.shape import BroadcastInDimOp, ConcatenateOp, PadOp
from tstorch.dialects.prim.types import dtype_of, integer
from tstorch.levels import Level
from tstorch.locations import node_ids
from tstorch.passes.base import TSTorchPass
from tstorch.remarks import RemarkSink


@dataclass(frozen=True)
class DropEmptyTensorsPass(TSTorchPass):
    """Takes tensors without elements out of a program.

    Applies to every op that makes such a tensor, which becomes a constant: as a result of the function it needs neither
    a dispatch nor bytes. Applies to ops that read one and make elements nevertheless: a reduction over nothing is the
    number that it starts from, a product of nothing is 0, padding around nothing is padding, a concatenation goes
    without it, a scatter of no updates changes nothing. Declines nothing.

        // before
        func.func @main(%x: tensor<2x3xf32>) -> (tensor<2x0xf32>, tensor<2x3xf32>) {
          %0 = prim.slice %x, start = [0, 0], limit = [2, 0], stride = [1, 1] : tensor<2x3xf32> -> tensor<2x0xf32>
          %1 = prim.concatenate %x, %0 dimension = 1 : tensor<2x3xf32>, tensor<2x0xf32> -> tensor<2x3xf32>
          func.return %0, %1 : tensor<2x0xf32>, tensor<2x3xf32>
        }
        // after
        func.func @main(%x: tensor<2x3xf32>) -> (tensor<2x0xf32>, tensor<2x3xf32>) {
          %0 = prim.constant dense<[[], []]> : tensor<2x0xf32>
          func.return %0, %x : tensor<2x0xf32>, tensor<2x3xf32>
        }
    """

    name = "drop-empty-tensors"
    requires = ensures = Level.PRIM

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        with self.remarks(module) as remarks:
            for func in [op for op in module.body.block.ops if isinstance(op, FuncOp)]:
                _drop(func.body.block, remarks)


def is_empty(value: SSAValue) -> bool:
    """Whether a tensor has no elements."""
    return isinstance(value.type, TensorType) and 0 in value.type.get_shape()


def _drop(block: Block, remarks: RemarkSink) -> None:
    """One walk is enough: operands stand before their users."""
    for op in list(block.ops):
        for region in op.regions:
            _drop(region.block, remarks)
        if isinstance(op, PrimOp) and op.results and all(map(is_empty, op.results)):
            constants = [ConstantOp(np.empty(shape_of(value), dtype_of(value.type))) for value in op.results]
            _replace(op, constants, [constant.result for constant in constants])
            remarks.elide(node_ids(op), "empty: its result has no elements")
        elif isinstance(op, PrimOp) and any(map(is_empty, op.operands)) and not op.regions:
            _without_empty(op, remarks)


def _without_empty(op: PrimOp, remarks: RemarkSink) -> None:
    """Replaces an op that reads a tensor without elements."""
    if isinstance(op, ConcatenateOp):
        kept = [value for value in op.operands if not is_empty(value)]
        if len(kept) > 1:
            joined = ConcatenateOp(*kept, dimension=integer(op.properties["dimension"]))
            joined.location = op.location
            _replace(op, [joined], joined.results)
            return
        _replace(op, [], kept)
    elif isinstance(op, ScatterOp):
        _replace(op, [], [op.operand])
    else:
        new = _uniform(op)
        for each in new:
            each.location = op.location
        _replace(op, new, new[-1].results)
    remarks.elide(node_ids(op), "empty: what it reads has no elements")


def _uniform(op: PrimOp) -> Sequence[Operation]:
    """The ops that make what comes of nothing: the same number everywhere."""
    number: list[Operation] = []
    if isinstance(op, PadOp):
        value = op.value
    else:
        number = [ConstantOp(np.asarray(_start(op), dtype_of(op.results[0].type)))]
        value = number[0].results[0]
    return [*number, BroadcastInDimOp(value, shape=shape_of(op.results[0]), dimensions=[])]


def _start(op: PrimOp) -> float:
    """The sum, product or extremum of nothing. No other primitive may make elements out of none."""
    if isinstance(op, ReduceOp | ReduceWindowOp):
        return identity(op.kind.data, op.result.type.element_type)
    if isinstance(op, ContractionOp):
        return 0
    raise TypeError(f"{op.name} makes elements of a tensor that has none")


def _replace(op: Operation, new: Sequence[Operation], values: Sequence[SSAValue]) -> None:
    block = op.parent
    assert block is not None
    for each in new:
        block.insert_op_before(each, op)
    for old, value in zip(op.results, values, strict=True):
        old.replace_all_uses_with(value)
    op.detach()
    op.erase()
