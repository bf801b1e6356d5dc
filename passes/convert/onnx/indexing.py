"""Looking up by computed positions."""

from __future__ import annotations

import numpy as np

from tstorch.dialects.prim.indexing import GatherOp
from tstorch.passes.convert.onnx.node import Node, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value


@onnx_op("Gather")
def gather(node: Node) -> Value:
    """Slices along an axis; known positions that are a range are cut out instead."""
    value, indices, axis = node.input(0), node.input(1), node.axis()
    known, size = node.known(1), value.shape[axis]
    if known is not None and (part := _range(known, size)) is not None:
        cut = value.take(axis, part.start, part.stop)
        return cut.reshape([*value.shape[:axis], *known.shape, *value.shape[axis + 1 :]])
    slice_sizes = [1 if at == axis else extent for at, extent in enumerate(value.shape)]
    before, behind = range(axis), range(axis + indices.rank, value.rank - 1 + indices.rank)
    return node.emit.value(
        GatherOp(
            value.ssa,
            _from_front(indices, size).ssa,
            offset_dims=[*before, *behind],
            collapsed_slice_dims=[axis],
            start_index_map=[axis],
            index_vector_dim=indices.rank,
            slice_sizes=slice_sizes,
        )
    )


def _range(known: np.ndarray, size: int) -> range | None:
    """The consecutive positions that the indices are; None where they are not."""
    flat = np.where(known < 0, known + size, known).ravel()
    if flat.size and 0 <= flat[0] and flat[-1] < size and (np.diff(flat) == 1).all():
        return range(int(flat[0]), int(flat[-1]) + 1)
    return None


def _from_front(indices: Value, size: int) -> Value:
    """Negative indices count from the end."""
    return indices.compare("lt", 0).where(indices + size, indices)


RULES = rules_of(globals())
