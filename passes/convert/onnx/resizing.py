"""Resampling along axes: each element is chosen, or weighed with its neighbours, one axis after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import floor

import numpy as np
from xdsl.dialects.builtin import f32
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.elementwise import AbsOp, AndOp
from tstorch.passes.convert.onnx.image import counted
from tstorch.passes.convert.onnx.indexing import looked_up
from tstorch.passes.convert.onnx.node import Node, normalized_axes, onnx_op, rules_of
from tstorch.passes.convert.onnx.tables import Ramp, table
from tstorch.passes.convert.onnx.value import Emitter, Value

_REACH = {"nearest": 0, "linear": 1, "cubic": 2}
"""How far the neighbours lie that a mode weighs."""
MOST_TERMS = 4
"""So many neighbours are added one by one."""
MOST_ALONG = 2**24
"""An axis is not scaled to more elements: their positions are computed one by one."""


@dataclass(frozen=True)
class Axis:
    """How one axis is resampled: from `size` to `target` elements, by a factor that need not be their quotient."""

    size: int
    target: int
    scale: float
    roi: tuple[float, float]


@onnx_op("Upsample")
def upsample(node: Node) -> Value:
    """Scales are an attribute up to opset 8, an input in 9. Positions scale from 0, the nearest lies below."""
    return _upsampled(node)


def _upsampled(node: Node) -> Value:
    value, scales = node.input(0), node.setting("scales", 1)
    if scales is None or len(scales) != value.rank:
        raise VerifyException(f"scales are {scales}; expected one for each of {value.rank} axes")
    axes = [Axis(size, _scaled(size, scale), scale, (0, 1)) for size, scale in zip(value.shape, scales, strict=True)]
    return _resampled(value, axes, _Sampler(_mode(node), "asymmetric", "floor"))


@onnx_op("Resize")
def resize_by_scales(node: Node) -> Value:
    """Opset 10: as Upsample."""
    return _upsampled(node)


@onnx_op("Resize", since=11)
def resize(node: Node) -> Value:
    """To the sizes or by the scales given; where positions come from, and what lies between, the attributes say."""
    value = node.input(0)
    sampler = _Sampler(
        _mode(node),
        node.attribute("coordinate_transformation_mode"),
        node.attribute("nearest_mode"),
        node.attribute("cubic_coeff_a"),
        bool(node.attribute("exclude_outside")),
        bool(node.attribute("antialias")),
        node.attribute("extrapolation_value"),
    )
    return _resampled(value, _axes(node, value), sampler)


def _mode(node: Node) -> str:
    """Up to opset 8 "bilinear" is a name for linear."""
    mode = {"bilinear": "linear"}.get(node.attribute("mode"), node.attribute("mode"))
    if mode not in _REACH:
        raise VerifyException(f"mode is {mode}; expected one of {', '.join(_REACH)}")
    return mode


def _axes(node: Node, value: Value) -> list[Axis]:
    given = node.attribute("axes")
    places = normalized_axes(range(value.rank) if given is None else given, value.rank)
    scales, sizes = node.constant(2), node.constant(3)
    roi = np.asarray([0.0] * len(places) + [1.0] * len(places))
    if node.attribute("coordinate_transformation_mode") == "tf_crop_and_resize":
        roi = np.asarray(node.constant(1), np.float64)
    extents = [value.shape[place] for place in places]
    if given := [list(each) for each in (scales, sizes) if each is not None and each.size not in (0, len(places))]:
        raise VerifyException(f"{given[0]} for {len(places)} axes; expected one for each")
    if sizes is not None and sizes.size:
        targets, factors = _by_sizes(sizes.tolist(), extents, node.attribute("keep_aspect_ratio_policy") or "stretch")
    elif scales is not None and scales.size:
        factors = scales.astype(np.float64).tolist()
        targets = [_scaled(size, factor) for size, factor in zip(extents, factors, strict=True)]
    else:
        raise VerifyException("neither scales nor sizes are given")
    axes = [Axis(size, size, 1.0, (0, 1)) for size in value.shape]
    for at, place in enumerate(places):
        axes[place] = Axis(extents[at], targets[at], factors[at], (float(roi[at]), float(roi[at + len(places)])))
    return axes


def _scaled(size: int, factor: float) -> int:
    """As ONNX's own shape inference: in f32, where 20 * 3.3 is 66. Raises VerifyException for what scales nothing."""
    if size and not 0 < factor * size <= MOST_ALONG:
        raise VerifyException(f"{size} elements are scaled by {factor}; expected a positive number that a device holds")
    return floor(np.float32(size) * np.float32(factor))


def _by_sizes(sizes: Sequence[int], extents: Sequence[int], policy: str) -> tuple[list[int], list[float]]:
    """Sizes and factors; a policy that keeps the aspect ratio takes one factor for all."""
    factors = [wanted / size for wanted, size in zip(sizes, extents, strict=True)]
    choose = {"stretch": None, "not_larger": min, "not_smaller": max}.get(policy, policy)
    if isinstance(choose, str):
        raise VerifyException(f"keep_aspect_ratio_policy is {policy}; expected stretch, not_larger or not_smaller")
    if choose is None:
        return list(sizes), factors
    factor = choose(factors)
    return [floor(size * factor + 0.5) for size in extents], [factor] * len(extents)


@dataclass(frozen=True)
class _Sampler:
    """What a Resize's attributes say of one axis."""

    mode: str
    transformation: str
    nearest: str
    cubic: float = -0.75
    excludes_outside: bool = False
    antialias: bool = False
    beyond: float = 0.0

    def positions(self, axis: Axis) -> np.ndarray:
        """Where each element of the result lies in the axis, (target,): in f32, as every runtime computes it.

        3 / 0.6 is 5 there, and less in f64, where the scale's own rounding shows.
        """
        row, scale, half = np.arange(axis.target, dtype=np.float32), np.float32(axis.scale), np.float32(0.5)
        length, last = np.float32(axis.scale * axis.size), np.float32(axis.size - 1)
        match self.transformation:
            case "half_pixel":
                return (row + half) / scale - half
            case "pytorch_half_pixel":
                return (row + half) / scale - half if axis.target > 1 else row
            case "tf_half_pixel_for_nn":
                return (row + half) / scale
            case "half_pixel_symmetric":
                centre = np.float32(axis.size / 2) * (1 - np.float32(axis.target) / length)
                return centre + (row + half) / scale - half
            case "asymmetric":
                return row / scale
            case "align_corners":
                return row * last / (length - 1) if length != 1 else row * 0
            case "tf_crop_and_resize":
                step = row / (length - 1) if length != 1 else row + half
                start, end = (np.float32(place) for place in axis.roi)
                return (start + (end - start) * step) * last
        raise VerifyException(f"coordinate_transformation_mode is {self.transformation}")

    def outside(self, axis: Axis) -> np.ndarray:
        """Which elements of the result lie outside and become `beyond`."""
        positions = self.positions(axis)
        return ((positions < 0) | (positions > axis.size - 1)) & (self.transformation == "tf_crop_and_resize")

    def chosen(self, axis: Axis) -> np.ndarray:
        """The nearest element of each of the result."""
        positions = self.positions(axis)
        below = np.floor(positions)
        ratio = positions - below
        match self.nearest:
            case "round_prefer_floor":
                found = below + (ratio > 0.5)
            case "round_prefer_ceil":
                found = below + (ratio >= 0.5)
            case "floor":
                found = below
            case "ceil":
                found = np.ceil(positions)
            case _:
                raise VerifyException(f"nearest_mode is {self.nearest}")
        return found.clip(0, axis.size - 1).astype(np.int32)

    def weighed(self, emit: Emitter, axis: Axis) -> tuple[Value, Value]:
        """Which elements each of the result weighs (i32), and how much (f32); both (target, neighbours)."""
        stretch = min(axis.scale, 1.0) if self.antialias else 1.0
        below, ratio = _split(emit, self.positions(axis), axis.size)
        first = floor(-_REACH[self.mode] / stretch) + 1
        shape = [axis.target, 2 - 2 * first]
        offset = counted(emit, shape, 1) + first
        place = offset + below.along(0, shape)
        weight = self._kernel((offset.convert(f32) - ratio.along(0, shape)).apply(AbsOp) * stretch)
        if self.excludes_outside:
            inside = place.compare("ge", 0).apply(AndOp, place.compare("lt", axis.size))
            weight = inside.where(weight, weight.full(0))
        if self.excludes_outside or self.antialias:
            weight = weight / weight.reduce("add", [1], keep=True)
        return place.maximum(0).minimum(axis.size - 1), weight

    def _kernel(self, distance: Value) -> Value:
        if self.mode == "linear":
            return (1 - distance).maximum(0)
        a, far = self.cubic, distance.minimum(2)
        near = (distance * (a + 2) - (a + 3)) * distance * distance + 1
        return distance.compare("le", 1).where(near, ((far * a - 5 * a) * far + 8 * a) * far - 4 * a)


def _split(emit: Emitter, positions: np.ndarray, size: int) -> tuple[Value, Value]:
    """The whole numbers below positions (i32), and what is left (f32): both within the rounding of f32."""
    wide = positions.astype(np.float64)
    near = 4 * np.finfo(np.float32).eps * (np.abs(wide).max(initial=0) + size)
    if (ramp := Ramp.between(wide - near, wide + near, _slope(wide))) is not None:
        return ramp.parts(emit, len(positions))
    below = np.floor(wide)
    return table(emit, below.astype(np.int32)), table(emit, (wide - below).astype(np.float32))


def _slope(positions: np.ndarray) -> float:
    return float(positions[-1].astype(np.float64) - positions[0]) / max(len(positions) - 1, 1)


def _places(emit: Emitter, places: np.ndarray, size: int, slope: float) -> Value:
    """Known places of about that slope, as a vector; those at the ends may stand for what lies beyond."""
    low = np.where(places == 0, -size, places).astype(np.float64)
    high = np.where(places == size - 1, 2 * size, places + 1).astype(np.float64)
    if (ramp := Ramp.between(low, high, slope)) is None:
        return table(emit, places)
    whole, _ = ramp.parts(emit, len(places))
    return whole.maximum(0).minimum(size - 1)


def _resampled(value: Value, axes: Sequence[Axis], sampler: _Sampler) -> Value:
    """Weighed sums are computed in f32; integers cut off what lies behind the point."""
    result = value if sampler.mode == "nearest" else value.convert(f32)
    for at, axis in enumerate(axes):
        if axis.size != axis.target or axis.scale != 1 or axis.roi != (0, 1):
            result = _along(result, at, axis, sampler)
    return result.convert(value.element)


def _along(value: Value, at: int, axis: Axis, sampler: _Sampler) -> Value:
    """One axis resampled."""
    if sampler.mode == "nearest":
        result = _chosen(value, at, sampler.chosen(axis), _slope(sampler.positions(axis)))
    else:
        result = _summed(value, at, *sampler.weighed(value.emit, axis))
    outside = sampler.outside(axis)
    if not outside.any():
        return result
    mask = table(value.emit, outside.astype(np.int32)).compare("ne", 0)
    return mask.along(at, result.shape).where(result.full(sampler.beyond), result)


def _summed(value: Value, at: int, places: Value, weights: Value) -> Value:
    """The elements at the places times their weights, added up: few at once, more of them as a sum along an axis."""
    target, count = places.shape
    if count > MOST_TERMS:
        found = looked_up(value, places, at)
        spread = weights.reshape([target, count, *[1] * (value.rank - 1 - at)])
        return (found * spread).reduce("add", [at + 1])
    terms = []
    for neighbour in range(count):
        found = looked_up(value, places.take(1, neighbour, neighbour + 1).reshape([target]), at)
        terms.append(found * weights.take(1, neighbour, neighbour + 1).reshape([target]).along(at, found.shape))
    return reduce(Value.__add__, terms)


def _chosen(value: Value, at: int, places: np.ndarray, slope: float) -> Value:
    """The elements at ascending places: repeated where all stand equally often, else looked up."""
    size, count = value.shape[at], len(places)
    if count % size == 0 and (places == np.arange(count) // (count // size)).all():
        apart = [*value.shape[: at + 1], 1, *value.shape[at + 1 :]]
        repeated = [*value.shape[: at + 1], count // size, *value.shape[at + 1 :]]
        return value.reshape(apart).broadcast_to(repeated).reshape([*value.shape[:at], count, *value.shape[at + 1 :]])
    steps = np.diff(places)
    if count and (steps == steps[:1]).all() and steps[:1].all():
        return value.take(at, int(places[0]), int(places[-1]) + 1, int(steps[0]) if count > 1 else 1)
    return looked_up(value, _places(value.emit, places, size, slope), at)


RULES = rules_of(globals())
