"""Putting what windows hold back where it came from: Col2Im and MaxUnpool."""

from __future__ import annotations

from functools import reduce
from math import prod

from xdsl.dialects.builtin import i32
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.indexing import ScatterOp
from tstorch.dialects.prim.shape import PadOp
from tstorch.passes.convert.onnx.convolution import Windows, windows
from tstorch.passes.convert.onnx.node import Node, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value


@onnx_op("Col2Im")
def columns_to_image(node: Node) -> Value:
    """The elements of all windows, (N, C * window, windows), added up where the windows lie; axis by axis."""
    value, image, block = node.input(0), node.constant(1), node.constant(2)
    if image is None or block is None or value.rank != 3:
        raise VerifyException(f"columns of shape {value.shape}; expected rank 3, image_shape and block_shape")
    placed = windows(node, block.tolist(), image.tolist())
    sizes = list(zip(image.tolist(), placed.low, placed.high, placed.extents, placed.strides, strict=True))
    counts = [(size + low + high - extent) // stride + 1 for size, low, high, extent, stride in sizes]
    if min(counts) < 1 or prod(counts) != value.shape[2] or value.shape[1] % prod(placed.kernel):
        raise VerifyException(f"columns of shape {value.shape}; windows of {block.tolist()} lie at {counts} places")
    result = value.reshape([value.shape[0], value.shape[1] // prod(placed.kernel), *placed.kernel, *counts])
    for at, size in enumerate(image.tolist()):
        result = _folded(result, placed, at, size)
    return result


def _folded(value: Value, placed: Windows, at: int, size: int) -> Value:
    """One axis: the foremost of the windows' goes, and that of the places becomes the image's."""
    axis, terms = 1 + placed.rank, []
    for within in range(placed.kernel[at]):
        part = value.take(2, within, within + 1).reshape([*value.shape[:2], *value.shape[3:]])
        low, high, interior = ([0] * part.rank for _ in range(3))
        interior[axis] = placed.strides[at] - 1
        low[axis] = within * placed.dilations[at] - placed.low[at]
        high[axis] = size - low[axis] - (part.shape[axis] - 1) * placed.strides[at] - 1
        terms.append(part.emit.value(PadOp(part.ssa, part.lift(0).ssa, low=low, high=high, interior=interior)))
    return reduce(Value.__add__, terms)


@onnx_op("MaxUnpool")
def max_unpool(node: Node) -> Value:
    """The maxima at the positions that MaxPool found, zeros elsewhere; a larger output_shape puts zeros behind."""
    value, indices, wanted = node.input(0), node.input(1), node.constant(2)
    placed = windows(node, node.attribute("kernel_shape"), value.shape[2:])
    space = [
        (size - 1) * stride - low - high + kernel
        for size, stride, low, high, kernel in zip(
            value.shape[2:], placed.strides, placed.low, placed.high, placed.kernel, strict=True
        )
    ]
    shape, count = [*value.shape[:2], *space], prod(value.shape)
    flat = node.emit.value(
        ScatterOp(
            value.emit.full(0, [prod(shape)], value.element).ssa,
            indices.convert(i32).reshape([count, 1]).ssa,
            value.reshape([count]).ssa,
            kind="assign",
            update_window_dims=[],
            inserted_window_dims=[0],
            scatter_dims_to_operand_dims=[0],
            index_vector_dim=1,
        )
    ).reshape(shape)
    if wanted is None:
        return flat
    more = [int(size) - own for size, own in zip(wanted, shape, strict=True)]
    if min(more) < 0:
        raise VerifyException(f"output_shape is {wanted.tolist()}; the windows span {shape}")
    return flat.pad([0] * len(shape), more)


RULES = rules_of(globals())
