"""The grid of positions that an affine map sends a picture's points to."""

from __future__ import annotations

from xdsl.dialects.builtin import f32
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.generator import IotaOp
from tstorch.passes.convert.onnx.linear import dot
from tstorch.passes.convert.onnx.node import Node, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value


@onnx_op("AffineGrid")
def affine_grid(node: Node) -> Value:
    """theta (N, d, d + 1) times each point's coordinates, the last dimension's first, and 1: (N, ..., d). ONNX's own
    definition does not stand a batch of one."""
    theta, size = node.input(0), node.constant(1)
    _, _, *sizes = [] if size is None else size.tolist()
    rank = len(sizes)
    if rank not in (2, 3) or theta.shape[1:] != (rank, rank + 1) or theta.shape[0] != size[0]:  # pyright: ignore[reportOptionalSubscript]
        raise VerifyException(f"size is {size}, theta of shape {theta.shape}; expected (N, C, D, H, W) and (N, 3, 4)")
    aligned = bool(node.attribute("align_corners"))
    points = [_coordinate(node, sizes, axis, aligned) for axis in reversed(range(rank))]
    ones = node.emit.full(1, [*sizes, 1], f32)
    grid = dot(points[0].concatenate([*points[1:], ones], rank), theta.convert(f32), contract=(rank, 2))
    return grid.transpose([rank, *range(rank), rank + 1]).convert(theta.element)


def _coordinate(node: Node, sizes: list[int], axis: int, aligned: bool) -> Value:
    """Each point's coordinate along an axis, from -1 to 1: the centres of the outer elements, or their outer edges."""
    step = 0 if aligned and sizes[axis] == 1 else 2 / (sizes[axis] - aligned)
    place = node.emit.value(IotaOp(shape=[*sizes, 1], dimension=axis, element_type=f32))
    return place * step + (-1 if aligned else step / 2 - 1)


RULES = rules_of(globals())
