"""Resampling along axes: each axis is a product with a matrix of weights, or a choice of positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

import numpy as np
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.generator import MAX_CONSTANT
from tstorch.passes.convert.onnx.linear import dot
from tstorch.passes.convert.onnx.node import Node, normalized_axes, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value

_TAPS = {"nearest": 2, "linear": 2, "cubic": 4}
"""How many neighbours a mode weighs."""


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
    axes = [Axis(size, floor(size * scale), scale, (0, 1)) for size, scale in zip(value.shape, scales, strict=True)]
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
    if mode not in _TAPS:
        raise VerifyException(f"mode is {mode}; expected one of {', '.join(_TAPS)}")
    return mode


def _axes(node: Node, value: Value) -> list[Axis]:
    given = node.attribute("axes")
    places = normalized_axes(range(value.rank) if given is None else given, value.rank)
    scales, sizes = node.constant(2), node.constant(3)
    roi = np.asarray([0.0] * len(places) + [1.0] * len(places))
    if node.attribute("coordinate_transformation_mode") == "tf_crop_and_resize":
        roi = np.asarray(node.constant(1), np.float64)
    extents = [value.shape[place] for place in places]
    if sizes is not None and sizes.size:
        targets, factors = _by_sizes(sizes.tolist(), extents, node.attribute("keep_aspect_ratio_policy") or "stretch")
    elif scales is not None and scales.size:
        factors = scales.astype(np.float64).tolist()
        targets = [floor(size * factor) for size, factor in zip(extents, factors, strict=True)]
    else:
        raise VerifyException("neither scales nor sizes are given")
    axes = [Axis(size, size, 1.0, (0, 1)) for size in value.shape]
    for at, place in enumerate(places):
        axes[place] = Axis(extents[at], targets[at], factors[at], (float(roi[at]), float(roi[at + len(places)])))
    return axes


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

    def matrix(self, axis: Axis) -> np.ndarray:
        """The weight of each element of the axis in each of the result, (target, size)."""
        weights = np.zeros((axis.target, axis.size))
        for row in range(axis.target):
            position = self._position(axis, row)
            below = floor(position)
            ratio = position - below
            if ratio == 0:  # the neighbours lie in front of a position, and on it
                below, ratio = below - 1, 1.0
            offsets, factors = self._neighbours(ratio, axis.scale)
            places = below + offsets
            if self.excludes_outside:
                factors = np.where((places >= 0) & (places < axis.size), factors, 0)
                factors = factors / factors.sum()
            np.add.at(weights[row], places.clip(0, axis.size - 1), factors)
        return weights

    def outside(self, axis: Axis) -> np.ndarray:
        """Which elements of the result lie outside and become `beyond`."""
        positions = np.array([self._position(axis, row) for row in range(axis.target)])
        return ((positions < 0) | (positions > axis.size - 1)) & (self.transformation == "tf_crop_and_resize")

    def _position(self, axis: Axis, row: int) -> float:
        """Where an element of the result lies in the axis."""
        length, (start, end) = axis.scale * axis.size, axis.roi
        match self.transformation:
            case "half_pixel":
                return (row + 0.5) / axis.scale - 0.5
            case "pytorch_half_pixel":
                return (row + 0.5) / axis.scale - 0.5 if length != 1 else -0.5
            case "half_pixel_symmetric":
                return axis.size / 2 * (1 - axis.target / length) + (row + 0.5) / axis.scale - 0.5
            case "asymmetric":
                return row / axis.scale
            case "align_corners":
                return row * (axis.size - 1) / (length - 1) if length != 1 else 0.0
            case "tf_crop_and_resize":
                step = row / (length - 1) if length != 1 else 0.5
                return (start + (end - start) * step) * (axis.size - 1)
        raise VerifyException(f"coordinate_transformation_mode is {self.transformation}")

    def _neighbours(self, ratio: float, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Neighbours, counted from the one below the position, and their weights."""
        if self.mode == "nearest":
            return np.arange(2), np.eye(2)[self._nearer(ratio)]
        stretch = min(scale, 1.0) if self.antialias else 1.0
        reach = _TAPS[self.mode] / 2
        offsets = np.arange(floor(-reach / stretch) + 1, 2 - (floor(-reach / stretch) + 1))
        weights = self._kernel(np.abs(offsets - ratio) * stretch)
        return offsets, weights / weights.sum() if self.antialias else weights

    def _nearer(self, ratio: float) -> int:
        if ratio == 1:
            return 1
        match self.nearest:
            case "round_prefer_floor":
                return int(ratio > 0.5)
            case "round_prefer_ceil":
                return int(ratio >= 0.5)
            case "floor" | "ceil":
                return int(self.nearest == "ceil")
        raise VerifyException(f"nearest_mode is {self.nearest}")

    def _kernel(self, distance: np.ndarray) -> np.ndarray:
        if self.mode == "linear":
            return np.clip(1 - distance, 0, 1)
        a, far = self.cubic, np.clip(distance, 1, 2)
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        return np.where(distance <= 1, near, ((a * far - 5 * a) * far + 8 * a) * far - 4 * a)


def _resampled(value: Value, axes: Sequence[Axis], sampler: _Sampler) -> Value:
    result = value
    for at, axis in enumerate(axes):
        if axis.size != axis.target or axis.scale != 1 or axis.roi != (0, 1):
            result = _along(result, at, axis, sampler)
    return result


def _along(value: Value, at: int, axis: Axis, sampler: _Sampler) -> Value:
    """One axis resampled."""
    weights, outside = sampler.matrix(axis), sampler.outside(axis)
    chosen = weights.argmax(axis=1)
    if sampler.mode == "nearest":
        result = _chosen(value, at, chosen)
    elif weights.size > MAX_CONSTANT:
        raise VerifyException(
            f"mode {sampler.mode} from {axis.size} to {axis.target} elements along axis {at}; "
            f"up to {MAX_CONSTANT} weights have a form here, or mode nearest"
        )
    else:
        matrix = value.emit.constant(weights.astype(value.dtype))
        spread = dot(value, matrix, contract=(at, 1))
        result = spread.transpose([*range(at), value.rank - 1, *range(at, value.rank - 1)])
    if not outside.any():
        return result
    return value.emit.constant(outside).along(at, result.shape).where(result.full(sampler.beyond), result)


def _chosen(value: Value, at: int, places: np.ndarray) -> Value:
    """The elements at ascending places: cut out where each stands once, repeated where all stand equally often."""
    size, count = value.shape[at], len(places)
    if count % size == 0 and (places == np.arange(count) // (count // size)).all():
        apart = [*value.shape[: at + 1], 1, *value.shape[at + 1 :]]
        repeated = [*value.shape[: at + 1], count // size, *value.shape[at + 1 :]]
        return value.reshape(apart).broadcast_to(repeated).reshape([*value.shape[:at], count, *value.shape[at + 1 :]])
    first, *others = [value.take(at, int(place), int(place) + 1) for place in places]
    return first.concatenate(others, at)


RULES = rules_of(globals())
