"""What rules ask of their operands."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.builder import Builder
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute, SSAValue
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.generator import ConstantOp


def shape_of(value: SSAValue) -> tuple[int, ...]:
    """The shape of a tensor value."""
    return value.type.get_shape()  # pyright: ignore[reportAttributeAccessIssue]


def element_of(value: SSAValue) -> Attribute:
    """The element type of a tensor value."""
    return value.type.element_type  # pyright: ignore[reportAttributeAccessIssue]


def zero(like: SSAValue, build: Builder) -> SSAValue:
    """A scalar 0 of a tensor's element type."""
    return build.insert(ConstantOp.scalar(0, element_of(like))).result


def require(holds: bool, message: str) -> None:
    """Raises VerifyException with the message unless the rule holds."""
    if not holds:
        raise VerifyException(message)


def check_dimensions(dimensions: Sequence[int], type: TensorType) -> None:
    """Raises VerifyException unless they are different dimensions of the type, in order."""
    rank = len(type.get_shape())
    if list(dimensions) != sorted(set(dimensions)) or not all(0 <= axis < rank for axis in dimensions):
        raise VerifyException(f"{list(dimensions)} are not ascending dimensions of {type}")
