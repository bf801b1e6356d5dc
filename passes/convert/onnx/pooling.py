"""Pooling: a reduction under each window, or over all of space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from xdsl.dialects.builtin import i32, i64
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.elementwise import AbsOp, OrOp, PowOp
from tstorch.dialects.prim.generator import IotaOp
from tstorch.dialects.prim.kinds import ReduceKind, identity
from tstorch.dialects.prim.reduction import ReduceWindowOp
from tstorch.passes.convert.onnx.convolution import Windows, windows
from tstorch.passes.convert.onnx.node import Node, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value


@dataclass(frozen=True)
class Pool:
    """The windows of a pooling node; `beyond` is what ceil_mode adds behind the padding."""

    placed: Windows
    beyond: tuple[int, ...]

    @classmethod
    def of(cls, node: Node) -> Pool:
        """The windows of the node over its first operand."""
        shape = node.input(0).shape[2:]
        kernel = node.attribute("kernel_shape")
        if len(kernel) != len(shape):
            raise VerifyException(f"kernel_shape has {len(kernel)} entries; the input has {len(shape)} dimensions")
        placed = windows(node, kernel, shape)
        if node.attribute("ceil_mode"):
            return cls(placed, tuple(_beyond(placed, at, size) for at, size in enumerate(shape)))
        return cls(placed, (0,) * placed.rank)

    def reduce(self, value: Value, kind: str, *, padded: bool = True) -> Value:
        """Combines what lies under each window; `padded` says whether the value still needs the node's own pads."""
        none = (0,) * self.placed.rank
        low, high = (self.placed.low, self.placed.high) if padded else (none, none)
        return value.emit.value(
            ReduceWindowOp(
                value.ssa,
                kind=kind,
                window=(1, 1, *self.placed.kernel),
                strides=(1, 1, *self.placed.strides),
                padding_low=(0, 0, *low),
                padding_high=(0, 0, *(pad + more for pad, more in zip(high, self.beyond, strict=True))),
                window_dilation=(1, 1, *self.placed.dilations),
                base_dilation=(1,) * (2 + self.placed.rank),
            )
        )

    def positions(self, value: Value, numbers: Value) -> Value:
        """Which of the numbers stands where the first maximum under each window is; axis by axis, the last one first.

        An element of the padding has a number below 0, and any other goes before it.
        """
        best, found = value, numbers
        for at in range(self.placed.rank - 1, -1, -1):
            seen = list(zip(self._places(best, at, lowest(best)), self._places(found, at, -1), strict=True))
            best, found = seen[0]
            for element, number in seen[1:]:
                better = element.compare("gt", best).apply(OrOp, found.compare("lt", 0))
                best, found = better.where(element, best), better.where(number, found)
        return found

    def _places(self, value: Value, at: int, beyond: float) -> list[Value]:
        """What stands at each place of a window, along one axis."""
        axis, placed, none = 2 + at, self.placed, [0] * value.rank
        low, high = list(none), list(none)
        low[axis], high[axis] = placed.low[at], placed.high[at] + self.beyond[at]
        padded = value.pad(low, high, beyond)
        count = (padded.shape[axis] - placed.extents[at]) // placed.strides[at] + 1
        starts = [place * placed.dilations[at] for place in range(placed.kernel[at])]
        reach = (count - 1) * placed.strides[at] + 1
        return [padded.take(axis, start, start + reach, placed.strides[at]) for start in starts]

    def counts(self, value: Value, include_padding: bool) -> Value | float:
        """How many elements lie under each window: a number where that is the same everywhere."""
        low, high, none = self.placed.low, self.placed.high, (0,) * self.placed.rank
        counted_all = include_padding or (low == none and high == none)
        if counted_all and self.beyond == none:
            size = 1
            for length in self.placed.kernel:
                size *= length
            return size
        ones = value.emit.full(1, (1, 1, *value.shape[2:]), value.element)
        if include_padding:
            ones = ones.pad((0, 0, *low), (0, 0, *high), 1)
        return self.reduce(ones, "add", padded=not include_padding)


def _beyond(placed: Windows, at: int, size: int) -> int:
    """How far the last window reaches behind the padding; a window must begin before the padding at the end does."""
    padded = size + placed.low[at] + placed.high[at]
    extent, stride = placed.extents[at], placed.strides[at]
    count = -(-(padded - extent) // stride) + 1
    if (count - 1) * stride >= size + placed.low[at]:
        count -= 1
    return max((count - 1) * stride + extent - padded, 0)


@onnx_op("MaxPool")
def max_pool(node: Node) -> Sequence[Value]:
    """The maxima and, since opset 8, where in the whole tensor each was found: counted by rows or by columns."""
    value, pool = node.input(0), Pool.of(node)
    result = pool.reduce(value, "max")
    if not node.is_used(1):
        return [result]
    return [result, pool.positions(value, _numbered(value, bool(node.attribute("storage_order")))).convert(i64)]


def _numbered(value: Value, by_columns: bool) -> Value:
    """The number of each element, as i32: within an image the last axis counts fastest, or the first."""
    batch, space = value.shape[:2], value.shape[2:]
    order = [*batch, *(space[::-1] if by_columns else space)]
    numbers = value.emit.value(IotaOp(shape=[prod(order)], dimension=0, element_type=i32)).reshape(order)
    return numbers.transpose([0, 1, *range(value.rank - 1, 1, -1)]) if by_columns else numbers


def lowest(value: Value) -> float:
    """What is no greater than any element."""
    return identity(ReduceKind.MAX, value.element)


@onnx_op("AveragePool")
def average_pool(node: Node) -> Value:
    value, pool = node.input(0), Pool.of(node)
    return pool.reduce(value, "add") / pool.counts(value, bool(node.attribute("count_include_pad")))


@onnx_op("LpPool")
def lp_pool(node: Node) -> Value:
    power = node.attribute("p")
    return _root(Pool.of(node).reduce(_power(node.input(0), power), "add"), power)


@onnx_op("GlobalAveragePool")
def global_average_pool(node: Node) -> Value:
    value = node.input(0)
    return value.mean(range(2, value.rank), keep=True)


@onnx_op("GlobalMaxPool")
def global_max_pool(node: Node) -> Value:
    value = node.input(0)
    return value.reduce("max", range(2, value.rank), keep=True)


@onnx_op("GlobalLpPool")
def global_lp_pool(node: Node) -> Value:
    value, power = node.input(0), node.attribute("p")
    return _root(_power(value, power).reduce("add", range(2, value.rank), keep=True), power)


def _power(value: Value, power: int) -> Value:
    if power == 2:
        return value * value
    magnitude = value.apply(AbsOp)
    return magnitude if power == 1 else magnitude.apply(PowOp, power)


def _root(value: Value, power: int) -> Value:
    return value if power == 1 else value.apply(PowOp, 1 / power)


RULES = rules_of(globals())
