"""Moving elements: reshapes, permutations, cuts, joins and padding."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from xdsl.dialects.builtin import i1, i32
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.generator import IotaOp
from tstorch.passes.convert.onnx.node import Node, normalized, normalized_axes, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value, common_shape


@onnx_op("Identity")
def identity(node: Node) -> Value:
    return node.input(0)


@onnx_op("Dropout")
def dropout(node: Node) -> Sequence[Value]:
    """Nothing, for inference or a ratio of 0; the mask says that all is kept: in numbers, up to opset 9."""
    value, training = node.input(0), node.constant(2)
    if training is not None and training.item():
        ratio = node.constant(1)
        if ratio is None or ratio.item() > 0:
            raise VerifyException("training_mode is true, which drops at random; export the model for inference")
    if not node.is_used(1):
        return [value]
    return [value, value.emit.full(True, value.shape, i1 if node.version >= 10 else value.element)]


@onnx_op("Reshape")
def reshape(node: Node) -> Value:
    """0 copies a dimension (unless allowzero), -1 takes what is left."""
    value, wanted = node.input(0), node.setting("shape", 1)
    keep = not node.attribute("allowzero")
    shape = [_kept(value, at) if size == 0 and keep else size for at, size in enumerate(wanted)]
    if shape.count(-1) == 1:
        rest = prod(size for size in shape if size != -1)
        shape[shape.index(-1)] = prod(value.shape) // rest if rest else 0
    return value.reshape(shape)


def _kept(value: Value, at: int) -> int:
    if at >= value.rank:
        raise VerifyException(f"shape has a 0 at {at}, which copies a dimension that {value.shape} does not have")
    return value.shape[at]


@onnx_op("Flatten")
def flatten(node: Node) -> Value:
    value = node.input(0)
    axis = node.attribute("axis")
    at = value.rank if axis == value.rank else normalized(axis, value.rank)
    return value.reshape([prod(value.shape[:at]), prod(value.shape[at:])])


@onnx_op("Transpose")
def transpose(node: Node) -> Value:
    value = node.input(0)
    return value.transpose(node.attribute("perm") or range(value.rank)[::-1])


@onnx_op("Squeeze")
def squeeze(node: Node) -> Value:
    value, given = node.input(0), node.setting("axes", 1)
    if given is None:
        axes = [at for at, size in enumerate(value.shape) if size == 1]
    else:
        axes = normalized_axes(given, value.rank)
    return value.reshape([size for at, size in enumerate(value.shape) if at not in axes])


@onnx_op("Unsqueeze")
def unsqueeze(node: Node) -> Value:
    value = node.input(0)
    given = node.setting("axes", 1)
    given = [given] if isinstance(given, int) else given
    rank = value.rank + len(given)
    axes, sizes = normalized_axes(given, rank), iter(value.shape)
    return value.reshape([1 if at in axes else next(sizes) for at in range(rank)])


@onnx_op("Concat")
def concat(node: Node) -> Value:
    first, *others = [value for value in node.inputs if value.shape != (0,)] or node.inputs[:1]
    axis = normalized(node.attribute("axis"), first.rank)
    return first.concatenate(others, axis) if others else first


@onnx_op("Split")
def split(node: Node) -> list[Value]:
    """Parts of the sizes given, else equal ones, the last of which may be smaller."""
    value, axis = node.input(0), node.axis()
    sizes, size = node.setting("split", 1), value.shape[axis]
    if sizes is None:
        part = -(-size // (node.attribute("num_outputs") or node.outputs))
        sizes = [max(min(part, size - start), 0) for start in range(0, part * node.outputs, part or 1)]
    if sum(sizes) != size or len(sizes) < node.outputs:
        raise VerifyException(f"split {list(sizes)} of an axis of size {size} into {node.outputs} outputs")
    ends = np.cumsum(sizes).tolist()
    return [value.take(axis, end - part, end) for part, end in zip(sizes, ends, strict=True)]


@onnx_op("Slice")
def cut(node: Node) -> Value:
    """Starts, ends, axes and steps are attributes up to opset 9, inputs since."""
    value = node.input(0)
    starts, ends, axes, steps = (
        node.setting(name, at) for at, name in enumerate(("starts", "ends", "axes", "steps"), 1)
    )
    axes = normalized_axes(range(len(starts)) if axes is None else axes, value.rank)
    for start, end, axis, step in zip(starts, ends, axes, steps or [1] * len(starts), strict=True):
        value = _cut_along(value, axis, start, end, step)
    return value


def _cut_along(value: Value, axis: int, start: int, end: int, step: int) -> Value:
    if step == 0:
        raise VerifyException("a step of 0")
    positions = range(value.shape[axis])[slice(start, end, step)]
    if not positions:
        return value.take(axis, 0, 0)
    first, last = min(positions), max(positions)
    taken = value.take(axis, first, last + 1, abs(step))
    return taken.reverse([axis]) if step < 0 else taken


@onnx_op("Expand")
def expand(node: Node) -> Value:
    value, wanted = node.input(0), node.constant(1)
    return value.broadcast_to(common_shape(value.shape, () if wanted is None else wanted.tolist()))


@onnx_op("Tile")
def tile(node: Node) -> Value:
    """Each dimension stands behind a new one that counts its copies, and both become one."""
    value, repeats = node.input(0), node.setting("repeats", 1)
    if len(repeats) != value.rank:
        raise VerifyException(f"{len(repeats)} repeats of a tensor of rank {value.rank}")
    apart = value.reshape([part for size in value.shape for part in (1, size)])
    copied = apart.broadcast_to([part for pair in zip(repeats, value.shape, strict=True) for part in pair])
    return copied.reshape([count * size for count, size in zip(repeats, value.shape, strict=True)])


@onnx_op("Pad")
def pad(node: Node) -> Value:
    """Pads of the axes given, else of all; negative ones crop."""
    value, pads = node.input(0), node.setting("pads", 1)
    axes = node.constant(3)
    axes = normalized_axes(range(value.rank) if axes is None else axes.tolist(), value.rank)
    if len(pads) != 2 * len(axes):
        raise VerifyException(f"{len(pads)} pads for {len(axes)} axes; expected two for each")
    low, high = [0] * value.rank, [0] * value.rank
    for at, axis in enumerate(axes):
        low[axis], high[axis] = pads[at], pads[len(axes) + at]
    mode = node.attribute("mode")
    if mode == "constant":
        fill = node.optional(2)
        return value.pad(low, high, (node.attribute("value") or 0) if fill is None else fill.reshape(()))
    for axis in axes:
        value = _extended(value, axis, low[axis], high[axis], mode)
    return value


def _extended(value: Value, axis: int, low: int, high: int, mode: str) -> Value:
    """Elements of the tensor itself put before and behind: which ones, the mode says."""
    size = value.shape[axis]
    positions = np.arange(-low, size + high)
    match mode:
        case "edge":
            positions = positions.clip(0, size - 1)
        case "wrap":
            positions = positions % size
        case "reflect":
            period = max(2 * size - 2, 1)
            positions = np.abs((positions + size - 1) % period - (size - 1)) if size > 1 else positions * 0
        case _:
            raise VerifyException(f"mode is {mode}; expected constant, reflect, edge or wrap")
    pieces = [_piece(value, axis, run) for run in _runs(positions.tolist())]
    return pieces[0].concatenate(pieces[1:], axis) if len(pieces) > 1 else pieces[0]


def _runs(positions: Sequence[int]) -> list[list[int]]:
    """The positions cut where they stop going on by one step in one direction."""
    runs: list[list[int]] = []
    for position in positions:
        run = runs[-1] if runs else []
        step = run[1] - run[0] if len(run) > 1 else position - run[0] if run else 0
        if run and step in (-1, 0, 1) and position == run[-1] + step:
            run.append(position)
        else:
            runs.append([position])
    return runs


def _piece(value: Value, axis: int, run: Sequence[int]) -> Value:
    taken = value.take(axis, min(run), max(run) + 1)
    if len(run) > 1 and run[0] == run[1]:
        shape = list(value.shape)
        shape[axis] = len(run)
        return taken.broadcast_to(shape)
    return taken.reverse([axis]) if run[0] > run[-1] else taken


@onnx_op("DepthToSpace")
def depth_to_space(node: Node) -> Value:
    value, block = node.input(0), node.attribute("blocksize")
    batch, channels, height, width = value.shape
    if block < 1 or channels % (block * block):
        raise VerifyException(f"blocksize is {block}, of {channels} channels; expected one whose square divides them")
    inner = channels // (block * block)
    if node.attribute("mode") == "CRD":
        apart = value.reshape([batch, inner, block, block, height, width]).transpose([0, 1, 4, 2, 5, 3])
    else:
        apart = value.reshape([batch, block, block, inner, height, width]).transpose([0, 3, 4, 1, 5, 2])
    return apart.reshape([batch, inner, height * block, width * block])


@onnx_op("SpaceToDepth")
def space_to_depth(node: Node) -> Value:
    value, block = node.input(0), node.attribute("blocksize")
    batch, channels, height, width = value.shape
    if block < 1 or height % block or width % block:
        raise VerifyException(f"blocksize is {block}, of {height}x{width}; expected one that divides both")
    apart = value.reshape([batch, channels, height // block, block, width // block, block])
    return apart.transpose([0, 1, 3, 5, 2, 4] if node.attribute("mode") == "CRD" else [0, 3, 5, 1, 2, 4]).reshape(
        [batch, channels * block * block, height // block, width // block]
    )


@onnx_op("Trilu")
def triangle(node: Node) -> Value:
    """The upper or lower triangle, above or below a diagonal; zero elsewhere."""
    value, offset = node.input(0), node.constant(1)
    diagonal = 0 if offset is None else max(min(int(offset.item()), value.shape[-1]), -value.shape[-2])
    row, column = (
        value.emit.value(IotaOp(shape=value.shape, dimension=value.rank - back, element_type=i32)) for back in (2, 1)
    )
    inside = (column - row).compare("ge" if node.attribute("upper") else "le", diagonal)
    return inside.where(value, value.full(0))


RULES = rules_of(globals())
