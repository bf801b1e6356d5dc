"""The position of an extreme element, in 32-bit arithmetic."""

from xdsl.dialects.builtin import TensorType, i32
from xdsl.ir import Operation

from tstorch.dialects.prim.elementwise import CompareOp, IsNanOp, OrOp, SelectOp
from tstorch.dialects.prim.generator import ConstantOp, IotaOp
from tstorch.dialects.prim.kinds import ReduceKind
from tstorch.dialects.prim.reduction import ArgReduceOp, ReduceOp
from tstorch.dialects.prim.shape import BroadcastInDimOp
from tstorch.dialects.prim.types import integer, is_float


def expand_arg_reduce(op: ArgReduceOp) -> list[Operation]:
    """The least position at which the extreme stands: two reductions over the same rows, so one kernel.

    A NaN is the extreme wherever there is one, and equals nothing: it is looked for as such.
    """
    type, axis = op.operand.type, integer(op.dimension)
    assert isinstance(type, TensorType)
    shape = type.get_shape()
    kept = [d for d in range(len(shape)) if d != axis]
    kind = "max" if op.kind.data is ReduceKind.MAX else "min"
    extreme = ReduceOp(op.operand, dimensions=[axis], kind=kind)
    spread = BroadcastInDimOp(extreme, shape=shape, dimensions=kept)
    found: Operation = CompareOp(op.operand, spread, direction="eq")
    ops: list[Operation] = [extreme, spread, found]
    if is_float(type.element_type):
        nan = IsNanOp(op.operand)
        found = OrOp(found, nan)
        ops += [nan, found]
    position = IotaOp(shape=shape, dimension=axis, element_type=i32)
    number = ConstantOp.scalar(shape[axis], i32)
    behind = BroadcastInDimOp(number, shape=shape, dimensions=[])
    candidates = SelectOp(found, position, behind)
    first = ReduceOp(candidates, dimensions=[axis], kind="min")
    return [*ops, position, number, behind, candidates, first]
