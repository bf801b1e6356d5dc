"""Concatenations of more tensors than a kernel can bind become trees of concatenations."""

from collections.abc import Sequence

from xdsl.dialects.func import FuncOp
from xdsl.ir import SSAValue

from tstorch.dialects.prim.shape import ConcatenateOp
from tstorch.dialects.prim.types import integer
from tstorch.passes.fusion.partition import Partition


def split_wide_concatenations(func: FuncOp, max_bindings: int) -> None:
    """Cuts what no kernel could read at once into parts of one kernel each.

    What costs no kernel, since its parts' producers write it, is left.
    """
    wide = [op for op in func.body.block.ops if isinstance(op, ConcatenateOp) and len(op.operands) >= max_bindings]
    if not wide:
        return
    partition = Partition(func)
    for op in wide:
        group = partition.group_of[op]
        if not group.host and len(group.reads) + 1 > max_bindings:
            _split(op, max_bindings - 1)


def _split(op: ConcatenateOp, most: int) -> None:
    """Puts a tree in the place of the op: each of its concatenations has at most so many operands."""
    block = op.parent
    assert block is not None
    parts: Sequence[SSAValue] = list(op.operands)
    while len(parts) > 1:
        parts = [_joined(op, parts[at : at + most]) for at in range(0, len(parts), most)]
    parts[0].name_hint = op.result.name_hint
    op.result.replace_all_uses_with(parts[0])
    op.detach()
    op.erase()


def _joined(op: ConcatenateOp, parts: Sequence[SSAValue]) -> SSAValue:
    if len(parts) == 1:
        return parts[0]
    part = ConcatenateOp(*parts, dimension=integer(op.properties["dimension"]))
    part.location = op.location
    block = op.parent
    assert block is not None
    block.insert_op_before(part, op)
    return part.result
