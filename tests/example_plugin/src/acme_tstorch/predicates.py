"""What the plugin's rules may ask."""

from xdsl.dialects.builtin import TensorType
from xdsl.ir import SSAValue

NARROW = 64


def is_narrow(value: SSAValue) -> bool:
    """Whether the value has at most 64 columns."""
    return isinstance(value.type, TensorType) and value.type.get_shape()[-1] <= NARROW
