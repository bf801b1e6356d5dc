"""Looking up by computed positions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from xdsl.dialects.builtin import i32
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.elementwise import AndOp, RemOp
from tstorch.dialects.prim.generator import IotaOp
from tstorch.dialects.prim.indexing import GatherOp
from tstorch.passes.convert.onnx.image import counted
from tstorch.passes.convert.onnx.node import Node, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value


@onnx_op("Gather")
def gather(node: Node) -> Value:
    """Slices along an axis; known positions that are a range are cut out instead."""
    value, indices, axis = node.input(0), node.input(1), node.axis()
    known, size = node.known(1), value.shape[axis]
    if known is not None and known.size and not -size <= known.min() <= known.max() < size:
        raise VerifyException(f"indices from {known.min()} to {known.max()} into an axis of size {size}")
    if known is not None and (part := _range(known, size)) is not None:
        cut = value.take(axis, part.start, part.stop)
        return cut.reshape([*value.shape[:axis], *known.shape, *value.shape[axis + 1 :]])
    return looked_up(value, from_front(indices, size), axis)


def looked_up(value: Value, indices: Value, axis: int) -> Value:
    """Slices along an axis, at positions counted from the front: their shape takes the place of the axis."""
    shape = [*value.shape[:axis], *indices.shape, *value.shape[axis + 1 :]]
    if (empty := _empty(value, shape)) is not None:
        return empty
    slice_sizes = [1 if at == axis else extent for at, extent in enumerate(value.shape)]
    before, behind = range(axis), range(axis + indices.rank, value.rank - 1 + indices.rank)
    return value.emit.value(
        GatherOp(
            value.ssa,
            indices.ssa,
            offset_dims=[*before, *behind],
            collapsed_slice_dims=[axis],
            start_index_map=[axis],
            index_vector_dim=indices.rank,
            slice_sizes=slice_sizes,
        )
    )


def _empty(value: Value, shape: Sequence[int]) -> Value | None:
    """What is looked up where that is nothing. Raises VerifyException where there is nothing to look it up in."""
    if 0 in shape:
        return value.emit.full(0, shape, value.element)
    if 0 in value.shape:
        raise VerifyException(f"it looks up {prod(shape)} elements in {value.type}, which has none")
    return None


@onnx_op("GatherElements")
def gather_elements(node: Node) -> Value:
    """Element by element: positions along one axis are given, those along the others are the result's own."""
    value, indices, axis = node.input(0), node.input(1), node.axis()
    return elements_at(value, element_positions(indices, value.shape, axis))


@onnx_op("GatherND")
def gather_nd(node: Node) -> Value:
    """The last dimension of the indices holds positions in the leading dimensions behind the batch's."""
    value, indices, batch = node.input(0), node.input(1), node.attribute("batch_dims") or 0
    depth = indices.shape[-1]
    window = [1] * (batch + depth) + list(value.shape[batch + depth :])
    count = indices.rank - 1
    if (empty := _empty(value, [*indices.shape[:-1], *value.shape[batch + depth :]])) is not None:
        return empty
    return node.emit.value(
        GatherOp(
            value.ssa,
            positions_of(indices, value.shape, batch).ssa,
            offset_dims=range(count, count + value.rank - batch - depth),
            collapsed_slice_dims=range(batch + depth),
            start_index_map=range(batch + depth),
            index_vector_dim=count,
            slice_sizes=window,
        )
    )


@onnx_op("TensorScatter")
def tensor_scatter(node: Node) -> Value:
    """Updates written into a cache, one behind the other along an axis, from a position that each batch entry has.

    The other way round: each place of the cache looks whether an update, and which, is for it.
    """
    cache, updates, first, axis = node.input(0), node.input(1), node.optional(2), node.axis()
    mode, size, count = node.attribute("mode"), cache.shape[axis], updates.shape[axis]
    if mode not in ("linear", "circular") or not axis or count > size:
        raise VerifyException(f"mode is {mode}, {count} updates along axis {axis} of {cache.shape}")
    places = counted(cache.emit, [cache.shape[0], size], 1)
    if first is not None:
        places = places - first.convert(i32).along(0, places.shape)
    if mode == "circular":
        places = places.apply(RemOp, size)
        places = places.compare("lt", 0).where(places + size, places)
    written = places.compare("ge", 0).apply(AndOp, places.compare("lt", count))
    found = _picked(updates, (0, axis), places.maximum(0).minimum(count - 1))
    spread = written.reshape([cache.shape[0], *[1] * (axis - 1), size, *[1] * (cache.rank - 1 - axis)])
    return spread.where(found, cache)


@onnx_op("ReverseSequence")
def reverse_sequence(node: Node) -> Value:
    """The beginning of each batch entry backwards, so many elements along the time axis as its length says."""
    value, axes = node.input(0), (node.attribute("batch_axis"), node.attribute("time_axis"))
    if sorted(axes) != [0, 1]:
        raise VerifyException(f"batch_axis and time_axis are {list(axes)}; expected 0 and 1, in either order")
    batch, time = axes
    lengths = node.input(1).convert(i32).along(batch, value.shape[:2])
    place = counted(value.emit, value.shape[:2], time)
    source = place.compare("lt", lengths).where(lengths - 1 - place, place)
    return _picked(value, (0, 1), source, batch)


def _picked(value: Value, axes: tuple[int, int], places: Value, batch: int = 0) -> Value:
    """Slices along two axes: (of places' shape) there; along the batch's one each element's own, along the other its
    place."""
    own = counted(value.emit, places.shape, batch)
    pair = (own, places) if batch == 0 else (places, own)
    first, second = (part.reshape([*places.shape, 1]) for part in pair)
    return value.emit.value(
        GatherOp(
            value.ssa,
            first.concatenate([second], 2).ssa,
            offset_dims=[at for at in range(value.rank) if at not in axes],
            collapsed_slice_dims=axes,
            start_index_map=axes,
            index_vector_dim=2,
            slice_sizes=[1 if at in axes else size for at, size in enumerate(value.shape)],
        )
    )


def elements_at(value: Value, positions: Value) -> Value:
    """Single elements: the last dimension of the positions holds one for each dimension of the value."""
    if (empty := _empty(value, positions.shape[:-1])) is not None:
        return empty
    return value.emit.value(
        GatherOp(
            value.ssa,
            positions.ssa,
            offset_dims=[],
            collapsed_slice_dims=range(value.rank),
            start_index_map=range(value.rank),
            index_vector_dim=positions.rank - 1,
            slice_sizes=[1] * value.rank,
        )
    )


def element_positions(indices: Value, shape: Sequence[int], axis: int) -> Value:
    """One position for each dimension, last: the indices along an axis, their own place along the others."""
    own = from_front(indices, shape[axis])
    parts = [own if at == axis else _counted(indices, at) for at in range(indices.rank)]
    first, *others = [part.reshape([*indices.shape, 1]) for part in parts]
    return first.concatenate(others, indices.rank) if others else first


def positions_of(indices: Value, shape: Sequence[int], batch: int) -> Value:
    """Index vectors counted from the front, led by the place in the batch."""
    *outer, depth = indices.shape
    sizes = _sizes(indices, shape[batch : batch + depth])
    inner = indices.compare("lt", 0).where(indices + sizes, indices)
    lead = [_counted(indices, at).take(indices.rank - 1, 0, 1) for at in range(batch)]
    first, *others = [*lead, inner]
    return first.concatenate(others, len(outer)) if others else first


def _sizes(indices: Value, sizes: Sequence[int]) -> Value:
    """The sizes as a vector of the indices' type."""
    return indices.emit.constant(np.array(sizes, indices.dtype))


def _counted(like: Value, dimension: int) -> Value:
    """Each element's own position along a dimension."""
    return like.emit.value(IotaOp(shape=like.shape, dimension=dimension, element_type=like.element))


def _range(known: np.ndarray, size: int) -> range | None:
    """The consecutive positions that the indices are; None where they are not."""
    flat = np.where(known < 0, known + size, known).ravel()
    if flat.size and 0 <= flat[0] and flat[-1] < size and (np.diff(flat) == 1).all():
        return range(int(flat[0]), int(flat[-1]) + 1)
    return None


def from_front(indices: Value, size: int) -> Value:
    """Negative indices count from the end."""
    return indices.compare("lt", 0).where(indices + size, indices)


RULES = rules_of(globals())
