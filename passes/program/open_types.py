"""Types of which a run tells the rest."""

from __future__ import annotations

from xdsl.dialects.builtin import DYNAMIC_INDEX, TensorType
from xdsl.ir import Attribute

from tstorch.dialects.onnx_values import AnyType


def open_along(type: TensorType, axis: int) -> TensorType:
    """The type with one size left open."""
    sizes = list(type.get_shape())
    sizes[axis] = DYNAMIC_INDEX
    return TensorType(type.element_type, sizes)


def joined(one: Attribute, other: Attribute) -> Attribute:
    """What a value is that may be of either type."""
    if one == other:
        return one
    if not isinstance(one, TensorType) or not isinstance(other, TensorType):
        return AnyType()
    if one.element_type != other.element_type or len(one.get_shape()) != len(other.get_shape()):
        return AnyType()
    pairs = zip(one.get_shape(), other.get_shape(), strict=True)
    return TensorType(one.element_type, [a if a == b else DYNAMIC_INDEX for a, b in pairs])


def stacked(element: Attribute) -> Attribute:
    """The type of any number of elements, one behind the other."""
    if not isinstance(element, TensorType):
        return AnyType()
    return TensorType(element.element_type, [DYNAMIC_INDEX, *element.get_shape()])
