"""Reading images between their elements: GridSample and DeformConv."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from xdsl.dialects.builtin import f32
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.contraction import ConvOp
from tstorch.dialects.prim.elementwise import AbsOp, FloorOp, OrOp, RemOp, RoundOp
from tstorch.passes.convert.onnx.convolution import Windows, layouts, windows
from tstorch.passes.convert.onnx.image import Image, Tap, counted, inner_taps, whole
from tstorch.passes.convert.onnx.node import Node, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value

_MODES = {"bilinear": "linear", "bicubic": "cubic", "linear": "linear", "cubic": "cubic", "nearest": "nearest"}
_PADDINGS = ("zeros", "border", "reflection")
CUBIC = -0.75
"""The slope of GridSample's cubic kernel."""


@onnx_op("GridSample")
def grid_sample(node: Node) -> Value:
    """The image at positions from -1 to 1, whose last dimension names the axes from the last to the first."""
    value, grid = node.input(0), node.input(1).convert(f32)
    space, points = value.shape[2:], grid.shape[:-1]
    mode, padding = _MODES.get(node.attribute("mode")), node.attribute("padding_mode")
    if mode is None or padding not in _PADDINGS:
        raise VerifyException(
            f"mode is {node.attribute('mode')}, padding_mode {padding}; expected one of {', '.join(_MODES)} and of "
            f"{', '.join(_PADDINGS)}"
        )
    if len(points) != value.rank - 1 or grid.shape[-1] != len(space):
        raise VerifyException(f"a grid of shape {grid.shape} for an image of shape {value.shape}")
    if mode != "nearest" and not value.is_float:
        raise VerifyException(f"mode {mode} of {value.element}; expected floats, or mode nearest")
    taps = []
    for at, size in enumerate(space):
        place = grid.take(grid.rank - 1, len(space) - 1 - at, len(space) - at).reshape(points)
        taps.append(_Axis(size, bool(node.attribute("align_corners")), mode, padding).taps(place))
    source = value.convert(f32) if value.is_float else value
    return Image(source).sample(taps).convert(value.element)


@dataclass(frozen=True)
class _Axis:
    """How GridSample reads along one axis."""

    size: int
    corners: bool
    mode: str
    padding: str

    @property
    def ends(self) -> tuple[float, float]:
        """Where the image begins and ends."""
        return (0.0, self.size - 1.0) if self.corners else (-0.5, self.size - 0.5)

    def taps(self, normal: Value) -> list[Tap]:
        """The elements to weigh for positions from -1 to 1."""
        place = (normal + 1) / 2 * (self.size - 1) if self.corners else ((normal + 1) * self.size - 1) / 2
        if self.mode == "nearest":
            return [self._tap(self._brought_in(place.apply(RoundOp)), None)]
        place = self._brought_in(place)
        below = place.apply(FloorOp)
        if self.mode == "linear":
            ratio = place - below
            return [self._tap(below, 1 - ratio), self._tap(below + 1, ratio)]
        return [self._tap(below + at, _cubic(place - below - at)) for at in (-1, 0, 1, 2)]

    def _brought_in(self, place: Value) -> Value:
        """A position outside of the image moved to its border, or mirrored."""
        low, high = self.ends
        if self.padding == "zeros":
            return place
        if self.padding == "reflection":
            return self._mirrored(place)
        outside = place.compare("lt", low).apply(OrOp, place.compare("gt", high))
        return outside.where(place.maximum(0).minimum(self.size - 1), place)

    def _mirrored(self, place: Value) -> Value:
        """Mirrored at the ends until it lies between them."""
        low, high = self.ends
        if low == high:
            return place.full(low)
        distance = (place - low).apply(AbsOp)
        times = (distance / (high - low)).apply(FloorOp)
        rest = distance - times * (high - low)
        return (times - (times / 2).apply(FloorOp) * 2).compare("eq", 1).where(high - rest, rest + low)

    def _tap(self, place: Value, weight: Value | None) -> Tap:
        """An element that may lie outside."""
        if self.padding == "zeros":
            [tap] = inner_taps(place, [place], self.size)
            return Tap(tap.place, weight, tap.inside)
        return Tap(whole(self._mirrored(place) if self.padding == "reflection" else place, self.size), weight)


def _cubic(offset: Value) -> Value:
    """Keys' cubic convolution kernel at a distance of at most 2."""
    x = offset.apply(AbsOp)
    near = ((x * (CUBIC + 2) - (CUBIC + 3)) * x) * x + 1
    far = ((x * CUBIC - 5 * CUBIC) * x + 8 * CUBIC) * x - 4 * CUBIC
    return x.compare("le", 1).where(near, far)


@onnx_op("DeformConv")
def deformable_convolution(node: Node) -> Value:
    """A convolution whose kernel reads each element at an offset, between elements, times a mask.

    The elements read stand side by side, (N, C, kernel, output), where a convolution of that kernel sums them.
    """
    value, kernel, offset = node.input(0), node.input(1), node.input(2)
    bias, mask = node.optional(3), node.optional(4)
    placed, groups = windows(node, kernel.shape[2:], value.shape[2:]), node.attribute("offset_group")
    batch, channels, *space = value.shape
    count, output = prod(placed.kernel), offset.shape[2:]
    if offset.shape[:2] != (batch, groups * count * placed.rank) or channels % groups:
        raise VerifyException(f"offsets of shape {offset.shape} for {groups} groups of {count} elements of a kernel")
    offsets = offset.convert(f32).reshape([batch * groups, count, placed.rank, *output])
    taps = []
    for at, size in enumerate(space):
        shift = offsets.take(2, at, at + 1).reshape([batch * groups, count, *output])
        place = shift + _kernel_places(shift, placed, at)
        below = place.apply(FloorOp)
        taps.append(inner_taps(below, [1 - (place - below), place - below], size))
    read = Image(value.reshape([batch * groups, channels // groups, *space]).convert(f32)).sample(taps)
    if mask is not None:
        read = read * mask.convert(f32).reshape([batch * groups, 1, count, *output])
    read = read.convert(value.element).reshape([batch, channels, count, prod(output)])
    summed = value.emit.value(
        ConvOp(
            read.ssa,
            kernel.reshape([*kernel.shape[:2], count, 1]).ssa,
            window_strides=(1, 1),
            padding_low=(0, 0),
            padding_high=(0, 0),
            lhs_dilation=(1, 1),
            rhs_dilation=(1, 1),
            feature_group_count=node.attribute("group"),
            **layouts(2),
        )
    ).reshape([batch, kernel.shape[0], *output])
    return summed if bias is None else summed + bias.along(1, summed.shape)


def _kernel_places(like: Value, placed: Windows, at: int) -> Value:
    """Where the elements of each window stand along an axis, for (N, kernel, output...)."""
    number = counted(like.emit, like.shape, 1)
    within = (number / prod(placed.kernel[at + 1 :])).apply(RemOp, placed.kernel[at])
    first = counted(like.emit, like.shape, 2 + at) * placed.strides[at] - placed.low[at]
    return (within * placed.dilations[at] + first).convert(f32)


RULES = rules_of(globals())
