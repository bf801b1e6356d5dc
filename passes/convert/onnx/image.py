"""Images of which single elements are read, at positions that are computed for each point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod

from xdsl.dialects.builtin import i32

from tstorch.dialects.prim.elementwise import AndOp
from tstorch.dialects.prim.generator import IotaOp
from tstorch.dialects.prim.indexing import GatherOp
from tstorch.passes.convert.onnx.value import Emitter, Value

Combine = Callable[[Value, Value], Value]


@dataclass(frozen=True)
class Tap:
    """An element along one axis that a sample reads: where (i32, inside the axis), and how much it weighs.

    None stands for a weight of 1; `inside` (i1) says where the element counts: elsewhere it is 0.
    """

    place: Value
    weight: Value | None = None
    inside: Value | None = None


class Image:
    """An image (N, C, space...), sampled at points (N, points...)."""

    def __init__(self, value: Value):
        self.space = value.shape[2:]
        self._flat = value.reshape([*value.shape[:2], prod(self.space)])

    def sample(
        self, axes: Sequence[Sequence[Tap]], combine: Combine = Value.__add__, batch: Value | None = None
    ) -> Value:
        """(N, C, points...): what the taps of each axis read, weighed axis by axis and combined.

        `batch` (i32, points' first dimension) says which image each point reads, by default that of its own number.
        """
        return self._along(axes, (), combine, batch)

    def _along(
        self, axes: Sequence[Sequence[Tap]], chosen: tuple[Tap, ...], combine: Combine, batch: Value | None
    ) -> Value:
        if not axes:
            return self._at(chosen, batch)
        terms = []
        for tap in axes[0]:
            term = self._along(axes[1:], (*chosen, tap), combine, batch)
            terms.append(term if tap.weight is None else term * _of_channels(tap.weight.convert(term.element)))
        return reduce(combine, terms)

    def _at(self, taps: Sequence[Tap], batch: Value | None) -> Value:
        """The elements at one place on each axis, 0 where one of them does not count."""
        place = taps[0].place
        for tap, size in zip(taps[1:], self.space[1:], strict=True):
            place = place * size + tap.place
        found = self._read(place, counted(place.emit, place.shape[:1], 0) if batch is None else batch)
        inside = [tap.inside for tap in taps if tap.inside is not None]
        if not inside:
            return found
        return _of_channels(reduce(lambda left, right: left.apply(AndOp, right), inside)).where(found, found.full(0))

    def _read(self, place: Value, batch: Value) -> Value:
        shape = [*place.shape, 1]
        vectors = batch.along(0, place.shape).reshape(shape).concatenate([place.reshape(shape)], place.rank)
        return place.emit.value(
            GatherOp(
                self._flat.ssa,
                vectors.ssa,
                offset_dims=[1],
                collapsed_slice_dims=[0, 2],
                start_index_map=[0, 2],
                index_vector_dim=place.rank,
                slice_sizes=[1, self._flat.shape[1], 1],
            )
        )


def counted(emit: Emitter, shape: Sequence[int], dimension: int) -> Value:
    """Each element's own position along a dimension, as i32."""
    return emit.value(IotaOp(shape=list(shape), dimension=dimension, element_type=i32))


def inner_taps(low: Value, weights: Sequence[Value], size: int) -> list[Tap]:
    """Taps at a place (f32, whole) and those that follow it, none of which counts outside of 0 to size - 1."""
    taps = []
    for offset, weight in enumerate(weights):
        place = low + offset
        inside = place.compare("ge", 0).apply(AndOp, place.compare("lt", size))
        taps.append(Tap(whole(place, size), weight, inside))
    return taps


def whole(place: Value, size: int) -> Value:
    """A whole number as a place inside."""
    return place.maximum(0).minimum(size - 1).convert(i32)


def _of_channels(value: Value) -> Value:
    """Of points (N, points...): the same for each channel."""
    return value.reshape([value.shape[0], 1, *value.shape[1:]])
