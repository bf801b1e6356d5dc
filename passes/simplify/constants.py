"""The numbers that a value is known to hold, looked up through broadcasts."""

import numpy as np
from xdsl.ir import SSAValue

from tstorch.dialects.prim.generator import ConstantOp
from tstorch.dialects.prim.shape import BroadcastInDimOp


def source(value: SSAValue) -> SSAValue:
    """The value that `value` repeats: broadcasts are looked through."""
    while isinstance(op := value.owner, BroadcastInDimOp):
        value = op.operand
    return value


def constant_numbers(value: SSAValue) -> np.ndarray | None:
    """The numbers of a constant, or of one that is broadcast (each once); None for any other value."""
    op = source(value).owner
    return op.value.array() if isinstance(op, ConstantOp) else None


def is_filled(value: SSAValue, number: float) -> bool:
    """Whether every element is `number`, to the precision of its type."""
    numbers = constant_numbers(value)
    return numbers is not None and bool(np.all(numbers == np.asarray(number, numbers.dtype)))
