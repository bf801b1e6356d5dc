"""Regions of an image, cut into bins: RoiAlign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from xdsl.dialects.builtin import f32, i32
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.elementwise import AbsOp, AndOp, CeilOp, FloorOp
from tstorch.passes.convert.onnx.image import Image, Tap, counted, whole
from tstorch.passes.convert.onnx.indexing import looked_up
from tstorch.passes.convert.onnx.linear import dot
from tstorch.passes.convert.onnx.node import Node, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value

MOST_READS = 64
"""So many elements a kernel may read for one of the result; beyond that, matrices of weights sum them."""
NEAR = 6
"""So many samples, at most, lie within one element of another, where they stand half an element apart or more."""


@onnx_op("RoiAlign")
def region_align(node: Node) -> Value:
    """Each region cut into bins, and each bin the mean or the maximum of samples that are spread over it.

    Up to opset 15 regions are not moved by half an element. sampling_ratio 0 takes as many samples as elements.
    """
    regions = _Regions.of(node)
    mode, ratio = node.attribute("mode"), node.attribute("sampling_ratio")
    if mode not in ("avg", "max") or ratio < 0:
        raise VerifyException(f"mode is {mode}, sampling_ratio {ratio}; expected avg or max, and 0 or more")
    if mode == "avg" and (ratio == 0 or 4 * ratio * ratio > MOST_READS):
        return regions.weighed(ratio)
    if ratio == 0:
        raise VerifyException("mode max with sampling_ratio 0 takes as many samples as data says; expected 1 or more")
    return regions.sampled(ratio, mode)


@dataclass(frozen=True)
class _Axis:
    """One axis of all regions, (regions,) each: where they begin and how large their bins are."""

    size: int
    bins: int
    begin: Value
    extent: Value

    def positions(self, sample: Value | float, samples: Value | int, bin: Value) -> Value:
        """Where a sample of a bin lies: `begin` and `extent` broadcast to the bins' shape."""
        width = self.extent.along(0, bin.shape) / self.bins
        return self.begin.along(0, bin.shape) + bin * width + width * ((sample + 0.5) / samples)

    def inside(self, place: Value) -> Value:
        """Which samples count: those at most one element outside."""
        return place.compare("ge", -1).apply(AndOp, place.compare("le", self.size))


@dataclass(frozen=True)
class _Regions:
    """What the node says of its regions; `axes` are height and width."""

    node: Node
    image: Value
    batch: Value
    axes: tuple[_Axis, _Axis]

    @classmethod
    def of(cls, node: Node) -> _Regions:
        """The regions, in elements of the image."""
        image, corners, batch = node.input(0), node.input(1).convert(f32), node.input(2)
        if image.rank != 4 or corners.rank != 2 or corners.shape[1] != 4:
            raise VerifyException(f"an image of shape {image.shape} and regions {corners.shape}; expected 4 corners")
        half = node.version >= 16 and node.attribute("coordinate_transformation_mode") == "half_pixel"
        left, top, right, bottom = (
            corners.take(1, at, at + 1).reshape(corners.shape[:1]) * node.attribute("spatial_scale") - 0.5 * half
            for at in range(4)
        )
        axes = []
        for at, (begin, end, name) in enumerate(((top, bottom, "output_height"), (left, right, "output_width"))):
            extent = end - begin if half else (end - begin).maximum(1)
            axes.append(_Axis(image.shape[2 + at], node.attribute(name), begin, extent))
        return cls(node, image, batch.convert(i32), (axes[0], axes[1]))

    def sampled(self, ratio: int, mode: str) -> Value:
        """ratio * ratio samples for each bin, each weighing its four neighbours."""
        combine = Value.__add__ if mode == "avg" else Value.maximum
        image = Image(self.image.convert(f32))
        parts = [
            image.sample([self._taps(0, row, ratio), self._taps(1, column, ratio)], combine, self.batch)
            for row in range(ratio)
            for column in range(ratio)
        ]
        total = reduce(combine, parts)
        return (total / (ratio * ratio) if mode == "avg" else total).convert(self.image.element)

    def _taps(self, at: int, sample: int, ratio: int) -> Sequence[Tap]:
        """The two neighbours of a sample along one axis, for all (regions, bins, bins)."""
        axis, shape = self.axes[at], [self.batch.shape[0], self.axes[0].bins, self.axes[1].bins]
        place = axis.positions(sample, ratio, counted(self.image.emit, shape, 1 + at).convert(f32))
        inside, place = axis.inside(place), place.maximum(0).minimum(axis.size - 1)
        below = place.apply(FloorOp)
        weights = 1 - (place - below), place - below
        return [Tap(whole(below + far, axis.size), weight, inside) for far, weight in enumerate(weights)]

    def weighed(self, ratio: int) -> Value:
        """As many samples as wanted, or as there are elements: summed up to one weight for each row and column."""
        (rows, high), (columns, wide) = (self._matrix(axis, ratio) for axis in self.axes)
        images = self.image.convert(f32)
        if images.shape[0] == 1:
            across = dot(images.reshape(images.shape[1:]), columns, contract=(2, 2)).transpose([2, 0, 1, 3])
        else:
            across = dot(looked_up(images, self.batch, 0), columns, batches=1, contract=(3, 2))
        total = dot(across, rows, batches=1, contract=(2, 2)).transpose([0, 1, 3, 2])
        return (total / (high * wide).maximum(1).along(0, total.shape)).convert(self.image.element)

    def _matrix(self, axis: _Axis, ratio: int) -> tuple[Value, Value]:
        """(regions, bins, elements): how much each element weighs in each bin; and how many samples a bin has.

        Of as many samples as elements only some near an element weigh: the first of them is computed.
        """
        samples = axis.extent.full(ratio) if ratio else (axis.extent / axis.bins).apply(CeilOp)
        shape = [self.batch.shape[0], axis.bins, axis.size, ratio or NEAR]
        bin, element, near = (counted(self.image.emit, shape, at).convert(f32) for at in (1, 2, 3))
        spread = samples.along(0, shape)
        step = axis.extent.along(0, shape) / axis.bins / spread
        begin = axis.positions(0, spread, bin)
        sample = near if ratio else near + ((element - 1 - begin) / step).apply(FloorOp).maximum(0)
        place = begin + sample * step
        counts = axis.inside(place).apply(AndOp, sample.compare("lt", spread))
        weight = (1 - (place.maximum(0).minimum(axis.size - 1) - element).apply(AbsOp)).maximum(0)
        return counts.where(weight, weight.full(0)).reduce("add", [3]), samples


RULES = rules_of(globals())
