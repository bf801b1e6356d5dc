"""What is added up for one element of a reduction, a window or a contraction, whatever the loops around it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from tstorch.dialects.indexing import Index
from tstorch.dialects.prim.base import ContractionOp, PrimOp, Source
from tstorch.dialects.prim.indexing import ScatterOp
from tstorch.dialects.prim.kinds import identity
from tstorch.dialects.prim.reduction import ReduceOp, ReduceWindowOp
from tstorch.dialects.prim.scalar import Scalar
from tstorch.dialects.prim.types import ints
from tstorch.passes.convert.kernel_to_loop.emit import Emitter
from tstorch.passes.convert.kernel_to_loop.nest import number, registers_of, shape_of, tensor_type
from tstorch.passes.convert.kernel_to_loop.scatter import COMBINE, Landing

Indices = Sequence[Index]


@dataclass(frozen=True)
class Terms:
    """The loops over the terms of one result element, the number to begin with, and how a term joins the sum."""

    sizes: tuple[int, ...]
    start: Callable[[Emitter, Indices], SSAValue]
    """(emitter, index of the result element) -> what the sum begins with"""
    join: Callable[[Emitter, SSAValue, Indices, Indices], SSAValue]
    """(emitter, sum so far, index of the result element, loop indices) -> the sum with this term"""


def terms_of(anchor: PrimOp) -> Terms:
    """The terms of a reduction, a window, a contraction or a scatter. Raises TypeError for any other op."""
    match anchor:
        case ReduceOp():
            sizes = tuple(shape_of(anchor.operand)[axis] for axis in ints(anchor.dimensions))
            return _combined(anchor, sizes, lambda index, at: reduced_element(anchor, index, at))
        case ReduceWindowOp():
            return _combined(anchor, ints(anchor.window), lambda index, at: window_element(anchor, index, at))
        case ContractionOp():
            return _products(anchor)
        case ScatterOp():
            return _updates(anchor)
    raise TypeError(f"'{anchor.name}' adds nothing up")


def start_of(anchor: ReduceOp | ReduceWindowOp) -> float:
    """The element that changes nothing."""
    return identity(anchor.kind.data, tensor_type(anchor.result).element_type)


def combine(anchor: ReduceOp | ReduceWindowOp, emit: Emitter, total: SSAValue, element: SSAValue) -> SSAValue:
    """Two elements as one."""
    return COMBINE[anchor.kind.data](Scalar(total, emit.build), Scalar(element, emit.build)).value


def reduced_element(anchor: ReduceOp, index: Indices, at: Indices) -> Source:
    """The operand's element `at` along the reduced dimensions, `index` along the others."""
    kept, inside, reduced = iter(index), iter(at), ints(anchor.dimensions)
    rank = len(shape_of(anchor.operand))
    return Source(0, tuple(next(inside) if axis in reduced else next(kept) for axis in range(rank)))


def window_element(anchor: ReduceWindowOp, index: Indices, at: Indices) -> Source:
    """The operand's element at place `at` of the window at `index`; none in the padding."""
    lists = (anchor.strides, anchor.window_dilation, anchor.padding_low, anchor.base_dilation)
    places: list[Index] = []
    mask: list[tuple[Index, int]] = []
    for size, i, w, stride, dilation, low, spread in zip(
        shape_of(anchor.operand), index, at, *map(ints, lists), strict=True
    ):
        place = i * stride + w * dilation - low
        if spread > 1:
            mask.append((place % spread, 1))
            place = place // spread
        mask.append((place, size))
        places.append(place)
    return Source(0, tuple(places), tuple(mask))


def multiply_add(emit: Emitter, left: SSAValue, right: SSAValue, total: SSAValue) -> SSAValue:
    """left * right + total."""
    factor, addend = Scalar(left, emit.build), Scalar(total, emit.build)
    product = Scalar(right, emit.build)
    return (factor.fma(product, addend) if factor.is_float else factor * product + addend).value


def _combined(
    anchor: ReduceOp | ReduceWindowOp, sizes: tuple[int, ...], element_at: Callable[[Indices, Indices], Source]
) -> Terms:
    start = start_of(anchor)

    def join(emit: Emitter, total: SSAValue, index: Indices, at: Indices) -> SSAValue:
        return combine(anchor, emit, total, emit.at_source(anchor, element_at(index, at), start))

    return Terms(sizes, _number(anchor, start), join)


def _products(anchor: ContractionOp) -> Terms:
    product = anchor.product()

    def join(emit: Emitter, total: SSAValue, index: Indices, at: Indices) -> SSAValue:
        group, row, column = product.loops_at(index)
        left = emit.at_source(anchor, product.left(group, row, at), 0)
        right = emit.at_source(anchor, product.right(group, column, at), 0)
        return multiply_add(emit, left, right, total)

    return Terms(product.steps, _number(anchor, 0), join)


def _updates(anchor: ScatterOp) -> Terms:
    def start(emit: Emitter, index: Indices) -> SSAValue:
        return emit.at(anchor.operand, index)

    def join(emit: Emitter, total: SSAValue, index: Indices, at: Indices) -> SSAValue:
        return Landing(anchor, emit).joined(total, index, at)

    batch = [size for axis, size in enumerate(shape_of(anchor.updates)) if axis not in ints(anchor.update_window_dims)]
    return Terms(tuple(batch), start, join)


def _number(anchor: PrimOp, value: float) -> Callable[[Emitter, Indices], SSAValue]:
    """A sum that begins with the same number everywhere."""
    return lambda emit, index: number(emit.build, value, registers_of(anchor.results[0]))
