"""Convolutions, and how windows are placed: pads, strides, dilations and auto_pad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.contraction import ConvOp
from tstorch.passes.convert.onnx.node import Node, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value

SPATIAL = "DHW"


@dataclass(frozen=True)
class Windows:
    """Where windows lie along each spatial dimension."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]

    @property
    def rank(self) -> int:
        return len(self.kernel)

    @property
    def extents(self) -> tuple[int, ...]:
        """What one window spans, holes included."""
        return tuple((size - 1) * dilation + 1 for size, dilation in zip(self.kernel, self.dilations, strict=True))


def windows(node: Node, kernel: Sequence[int], shape: Sequence[int]) -> Windows:
    """The windows of a node's attributes over an input of that spatial shape."""
    rank = len(kernel)
    if rank != len(shape):
        raise VerifyException(f"a kernel of {rank} dimensions over {len(shape)}")
    strides = _per_dimension(node, "strides", rank, 1)
    dilations = _per_dimension(node, "dilations", rank, 1)
    pads = _per_dimension(node, "pads", 2 * rank, 0)
    if min([*strides, *dilations, *kernel], default=1) < 1:
        raise VerifyException(f"strides {strides}, dilations {dilations}, kernel {list(kernel)}; expected 1 or more")
    placed = Windows(tuple(kernel), strides, dilations, pads[:rank], pads[rank:])
    mode = node.attribute("auto_pad") or "NOTSET"
    if mode == "VALID":
        return _fitting(Windows(placed.kernel, strides, dilations, (0,) * rank, (0,) * rank), shape)
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        return _same(placed, shape, mode == "SAME_LOWER")
    if mode != "NOTSET":
        raise VerifyException(f"auto_pad is {mode}; expected NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    return _fitting(placed, shape)


def _fitting(placed: Windows, shape: Sequence[int]) -> Windows:
    """The windows, where one fits into what is padded. Raises VerifyException; an input without elements has none."""
    for size, low, high, extent in zip(shape, placed.low, placed.high, placed.extents, strict=True):
        if size and size + low + high < extent:
            raise VerifyException(f"a window of {extent} over {size} elements padded by {low} and {high}")
    return placed


def _same(placed: Windows, shape: Sequence[int], odd_first: bool) -> Windows:
    """As many windows as strides fit; of an odd padding the larger half stands at the end, or first."""
    low, high = [], []
    for size, stride, extent in zip(shape, placed.strides, placed.extents, strict=True):
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
        halves = total // 2, total - total // 2
        low.append(halves[odd_first])
        high.append(halves[not odd_first])
    return Windows(placed.kernel, placed.strides, placed.dilations, tuple(low), tuple(high))


def _per_dimension(node: Node, name: str, count: int, default: int) -> tuple[int, ...]:
    values = tuple(node.attribute(name) or (default,) * count)
    if len(values) != count:
        raise VerifyException(f"{name} has {len(values)} entries; expected {count}")
    return values


def layouts(rank: int, channels: str = "OI") -> dict[str, Any]:
    """ONNX's order of dimensions: batch and channels, then space."""
    if rank not in (1, 2, 3):
        raise VerifyException(f"{rank} spatial dimensions; expected 1, 2 or 3")
    space = SPATIAL[-rank:]
    return {"input_layout": f"NC{space}", "kernel_layout": f"{channels}{space}", "output_layout": f"NC{space}"}


@onnx_op("Conv")
def convolution(node: Node) -> Value:
    bias, result = node.optional(2), convolved(node, node.input(0), node.input(1))
    return result if bias is None else result + bias.along(1, result.shape)


def convolved(node: Node, image: Value, kernel: Value) -> Value:
    """The convolution that the node's attributes describe."""
    given = node.attribute("kernel_shape")
    if given and tuple(given) != kernel.shape[2:]:
        raise VerifyException(f"kernel_shape is {given}, the kernel's is {list(kernel.shape[2:])}")
    placed = windows(node, kernel.shape[2:], image.shape[2:])
    return image.emit.value(
        ConvOp(
            image.ssa,
            kernel.ssa,
            window_strides=placed.strides,
            padding_low=placed.low,
            padding_high=placed.high,
            lhs_dilation=(1,) * placed.rank,
            rhs_dilation=placed.dilations,
            feature_group_count=node.attribute("group"),
            **layouts(placed.rank),
        )
    )


@onnx_op("ConvTranspose")
def transposed_convolution(node: Node) -> Value:
    """The gradient of a convolution: the image is spread by the strides, the window reversed."""
    image, kernel, bias = node.input(0), node.input(1), node.optional(2)
    group = node.attribute("group")
    placed = windows_of_transposed(node, kernel.shape[2:], image.shape[2:])
    result = image.emit.value(
        ConvOp(
            image.ssa,
            (kernel if group == 1 else _swapped(kernel, group)).ssa,
            window_strides=(1,) * placed.rank,
            padding_low=tuple(extent - 1 - pad for extent, pad in zip(placed.extents, placed.low, strict=True)),
            padding_high=tuple(extent - 1 - pad for extent, pad in zip(placed.extents, placed.high, strict=True)),
            lhs_dilation=placed.strides,
            rhs_dilation=placed.dilations,
            feature_group_count=group,
            reverse_window=True,
            **layouts(placed.rank, "IO" if group == 1 else "OI"),
        )
    )
    return result if bias is None else result + bias.along(1, result.shape)


def _swapped(kernel: Value, group: int) -> Value:
    """From (channels in, channels out of a group, ...) to (channels out, channels in of a group, ...)."""
    inputs, outputs, *space = kernel.shape
    if group < 1 or inputs % group:
        raise VerifyException(f"{inputs} input channels in {group} groups; expected a divisor")
    grouped = kernel.reshape([group, inputs // group, outputs, *space])
    swapped = grouped.transpose([0, 2, 1, *range(3, grouped.rank)])
    return swapped.reshape([group * outputs, inputs // group, *space])


def windows_of_transposed(node: Node, kernel: Sequence[int], shape: Sequence[int]) -> Windows:
    """The windows of ConvTranspose: `output_shape` or auto_pad say what is cut off, or put behind; else the pads do."""
    rank = len(kernel)
    strides, dilations = (_per_dimension(node, name, rank, 1) for name in ("strides", "dilations"))
    extra, pads = _per_dimension(node, "output_padding", rank, 0), _per_dimension(node, "pads", 2 * rank, 0)
    placed = Windows(tuple(kernel), strides, dilations, pads[:rank], pads[rank:])
    full = [(size - 1) * stride + extent for size, stride, extent in zip(shape, strides, placed.extents, strict=True)]
    mode, wanted = node.attribute("auto_pad") or "NOTSET", node.attribute("output_shape")
    if wanted is None and mode in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [size * stride for size, stride in zip(shape, strides, strict=True)]
    if wanted is None:
        low = placed.low if mode == "NOTSET" else (0,) * rank
        high = placed.high if mode == "NOTSET" else (0,) * rank
    else:
        cut = [size + more - want for size, more, want in zip(full, extra, wanted[-rank:], strict=True)]
        low = tuple(max(total // 2 if mode == "SAME_UPPER" else total - total // 2, 0) for total in cut)
        high = tuple(total - first for total, first in zip(cut, low, strict=True))
    return Windows(placed.kernel, strides, dilations, low, tuple(h - more for h, more in zip(high, extra, strict=True)))


RULES = rules_of(globals())
