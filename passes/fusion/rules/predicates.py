"""What `where` may ask. A plugin adds its own by name: see `Plugin.predicates`."""

from collections.abc import Callable, Mapping

from xdsl.dialects.builtin import AnyFloat, ArrayAttr, DenseArrayBase, FloatAttr, IntegerAttr, StringAttr, TensorType
from xdsl.ir import Attribute, SSAValue

from tstorch.dialects.prim.base import GeneratorOp, PrimOp
from tstorch.dialects.prim.contraction import ConvOp
from tstorch.dialects.prim.shape import BroadcastInDimOp
from tstorch.dialects.prim.types import ints
from tstorch.dialects.prim.weight import ExternalOp, WeightOp
from tstorch.passes.simplify.constants import constant_numbers, is_filled, source
from tstorch.plugins import Extensions

Predicate = Callable[..., bool]


def is_constant(value: SSAValue) -> bool:
    """Whether the value's numbers stand in the text."""
    return constant_numbers(value) is not None


def is_zero(value: SSAValue) -> bool:
    """Whether all of the value's numbers are 0."""
    return is_filled(value, 0)


def is_one(value: SSAValue) -> bool:
    """Whether all of the value's numbers are 1."""
    return is_filled(value, 1)


def is_number(value: SSAValue, number: float) -> bool:
    """Whether all of the value's numbers are `number`, to the precision of its type."""
    return is_filled(value, number)


def is_weight(value: SSAValue) -> bool:
    """Whether the value is known at load: an untrained weight, a constant, or computed from such alone."""
    pending, seen = [value], set[SSAValue]()
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        op = current.owner
        if not isinstance(op, PrimOp) or (isinstance(op, WeightOp) and op.trainable is not None):
            return False
        pending.extend(op.operands)
    return any(isinstance(current.owner, ExternalOp | GeneratorOp) for current in seen)


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


def filters_first(convolution: SSAValue) -> bool:
    """Whether a convolution's result has its channels in dimension 1 and its kernel its filters in dimension 0."""
    op = convolution.owner
    if not isinstance(op, ConvOp) or plain(op.batch_group_count) != 1:
        return False
    return op.kernel_layout.data.startswith("O") and op.output_layout.data.startswith("NC")


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
        filters_first,
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
            return list(ints(value))
        case ArrayAttr():
            return [plain(item) for item in value]
    return value
