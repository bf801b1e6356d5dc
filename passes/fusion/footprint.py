"""What a kernel reads of its operands: a look-up or a slice reads no more of a table than it gives."""

from math import prod

from xdsl.ir import Block, Operation, SSAValue

from tstorch.dialects.buf import storage_bytes
from tstorch.dialects.prim.base import ElementwiseOp, IndexMapOp
from tstorch.dialects.prim.indexing import GatherOp
from tstorch.dialects.prim.operands import shape_of
from tstorch.dialects.prim.types import TensorType


def unread_bytes(body: Block) -> int:
    """Bytes of a kernel's operands that no invocation reads, whatever the data: at least so many."""
    needed: dict[SSAValue, int] = {}
    unread = 0
    for argument in body.args:
        elements, read = prod(shape_of(argument)), _read(argument, needed)
        if isinstance(argument.type, TensorType) and read < elements:
            unread += storage_bytes(argument.type) * (elements - read) // elements
    return unread


def _read(value: SSAValue, needed: dict[SSAValue, int]) -> int:
    """How many elements of a value are needed, at most."""
    if value not in needed:
        most = prod(shape_of(value))
        needed[value] = min(most, sum(_read_by(use.operation, value, most, needed) for use in value.uses))
    return needed[value]


def _read_by(op: Operation, value: SSAValue, most: int, needed: dict[SSAValue, int]) -> int:
    looks_up = isinstance(op, GatherOp) and value is op.operand and value is not op.indices
    moves = isinstance(op, IndexMapOp) or (isinstance(op, ElementwiseOp) and bool(op.operands))
    return _read(op.results[0], needed) if looks_up or moves else most
