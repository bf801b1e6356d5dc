"""What `where` may ask. A plugin adds its own by name: see `Plugin.predicates`."""

from collections.abc import Callable, Mapping

import numpy as np
from xdsl.dialects.builtin import AnyFloat, ArrayAttr, DenseArrayBase, FloatAttr, IntegerAttr, StringAttr, TensorType
from xdsl.ir import Attribute, SSAValue

from tstorch.dialects.prim.generator import constant_value
from tstorch.dialects.prim.shape import BroadcastInDimOp
from tstorch.dialects.prim.weight import DerivedOp, WeightOp
from tstorch.plugins import Extensions

Predicate = Callable[..., bool]


def source(value: SSAValue) -> SSAValue:
    """The value that `value` repeats: broadcasts are looked through."""
    while isinstance(op := value.owner, BroadcastInDimOp):
        value = op.operand
    return value


def is_constant(value: SSAValue) -> bool:
    """Whether the value's numbers stand in the text."""
    return constant_value(source(value)) is not None


def is_zero(value: SSAValue) -> bool:
    """Whether all of the value's numbers are 0."""
    return _all(value, 0)


def is_one(value: SSAValue) -> bool:
    """Whether all of the value's numbers are 1."""
    return _all(value, 1)


def is_number(value: SSAValue, number: float) -> bool:
    """Whether all of the value's numbers are `number`, to the precision of its type."""
    return _all(value, number)


def is_weight(value: SSAValue) -> bool:
    """Whether the value is known before any input: a weight, or derived from weights at load."""
    return isinstance(source(value).owner, WeightOp | DerivedOp)


def is_float(value: SSAValue) -> bool:
    """Whether the value's elements are floats."""
    return isinstance(value.type, TensorType) and isinstance(value.type.element_type, AnyFloat)


def has_rank(value: SSAValue, rank: int) -> bool:
    """Whether the value has so many dimensions."""
    return isinstance(value.type, TensorType) and len(value.type.get_shape()) == rank


def same_type(first: SSAValue, second: SSAValue) -> bool:
    """Whether two values have one shape and element type."""
    return first.type == second.type


def varies_along(value: SSAValue, dimension: int) -> bool:
    """Whether the value is a vector spread along one dimension, or a number: a bias has its channel alone."""
    if not isinstance(op := value.owner, BroadcastInDimOp):
        return False
    sizes = source(value).type
    if not isinstance(sizes, TensorType) or sizes != op.operand.type:
        return False
    dimensions = integers(op.dimensions)
    return all(size == 1 or at == dimension for size, at in zip(sizes.get_shape(), dimensions, strict=True))


def equal(first: object, second: object) -> bool:
    """Whether a property equals a number, a string, a list or another property."""
    return plain(first) == plain(second)


PREDICATES: Mapping[str, Predicate] = {
    predicate.__name__: predicate
    for predicate in (
        is_constant,
        is_zero,
        is_one,
        is_number,
        is_weight,
        is_float,
        has_rank,
        same_type,
        varies_along,
        equal,
    )
}


def predicate_named(name: str, extensions: Extensions) -> Predicate | None:
    """The predicate, ours or a plugin's; None where there is none of that name."""
    if name in PREDICATES:
        return PREDICATES[name]
    factory = extensions.predicates.get(name)
    return factory() if factory else None


def integers(attribute: Attribute) -> list[int]:
    """The numbers of a property that is a list of integers."""
    values = plain(attribute)
    return [int(value) for value in values] if isinstance(values, list) else []


def plain(value: object) -> object:
    """A property as Python sees it: numbers, strings and lists; what else there is stays as it is."""
    match value:
        case IntegerAttr() | FloatAttr():
            return value.value.data
        case StringAttr():
            return value.data
        case DenseArrayBase():
            return list(value.get_values())
        case ArrayAttr():
            return [plain(item) for item in value]
    return value


def _all(value: SSAValue, number: float) -> bool:
    numbers = constant_value(source(value))
    return numbers is not None and bool(np.all(numbers == np.asarray(number, numbers.dtype)))
