"""Tensor values that compute like arrays: a conversion rule reads as the formula of its operator."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from xdsl.dialects.builtin import LocationAttr, TensorType
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.elementwise import (
    AddOp,
    CompareOp,
    ConvertOp,
    DecodeOp,
    DivOp,
    EncodeOp,
    MaximumOp,
    MinimumOp,
    MulOp,
    NegOp,
    SelectOp,
    SubOp,
)
from tstorch.dialects.prim.generator import ConstantOp
from tstorch.dialects.prim.kinds import ReduceKind, identity
from tstorch.dialects.prim.reduction import ReduceOp
from tstorch.dialects.prim.shape import (
    BroadcastInDimOp,
    ConcatenateOp,
    PadOp,
    ReshapeOp,
    ReverseOp,
    SliceOp,
    TransposeOp,
)
from tstorch.dialects.prim.stored import format_of
from tstorch.dialects.prim.stored_ops import number_type
from tstorch.dialects.prim.types import dtype_of, is_float, is_stored


def common_shape(*shapes: Sequence[int]) -> tuple[int, ...]:
    """What shapes broadcast to, as NumPy's do. Raises VerifyException where they do not."""
    try:
        return np.broadcast_shapes(*map(tuple, shapes))
    except ValueError as error:
        listed = " and ".join(str(list(shape)) for shape in shapes)
        raise VerifyException(f"shapes {listed} do not broadcast to one") from error


def _places(small: Sequence[int], large: Sequence[int]) -> list[int] | None:
    """Where the dimensions of one shape stand in another that only has more of size 1; None where it has others."""
    places: list[int] = []
    for at, size in enumerate(large):
        if len(places) < len(small) and size == small[len(places)]:
            places.append(at)
        elif size != 1:
            return None
    return places if len(places) == len(small) else None


class Emitter:
    """Appends primitives to a block; all that one node emits gets that node's location."""

    def __init__(self, block: Block, location: LocationAttr):
        self.block = block
        self.location = location
        self.emitted: list[Operation] = []

    def insert(self, op: Operation) -> Operation:
        """Appends the op."""
        op.location = self.location
        self.block.add_op(op)
        self.emitted.append(op)
        return op

    def value(self, op: Operation) -> Value:
        """Appends the op and gives its only result."""
        return Value(self.insert(op).results[0], self)

    def constant(self, array: np.ndarray | np.generic) -> Value:
        """Up to 64 numbers."""
        return self.value(ConstantOp(np.asarray(array)))

    def full(self, number: float | np.generic, shape: Sequence[int], element: Attribute) -> Value:
        """A tensor of equal numbers: a scalar, broadcast."""
        return self.value(ConstantOp.scalar(number, element)).broadcast_to(shape)  # pyright: ignore[reportArgumentType]


class Value:
    """A tensor and where ops on it are appended. Arithmetic broadcasts as NumPy's; a number takes the tensor's type."""

    __slots__ = ("emit", "ssa")

    def __init__(self, ssa: SSAValue, emit: Emitter):
        self.ssa = ssa
        self.emit = emit

    @property
    def type(self) -> TensorType:
        return self.ssa.type  # pyright: ignore[reportReturnType]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.get_shape()

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def element(self) -> Attribute:
        return self.type.element_type

    @property
    def is_float(self) -> bool:
        return is_float(self.element)

    @property
    def dtype(self) -> np.dtype:
        return dtype_of(self.element)

    def apply(self, kind: type[Operation], *others: Value | float, **properties: object) -> Value:
        """`kind(self, *others)`, all broadcast to one shape."""
        operands = [self, *(self.lift(other) for other in others)]
        shape = common_shape(*(operand.shape for operand in operands))
        broadcast = [operand.broadcast_to(shape).ssa for operand in operands]
        return self.emit.value(kind(*broadcast, **properties))

    def lift(self, other: Value | float) -> Value:
        """A number as a scalar tensor of this one's element type."""
        if isinstance(other, Value):
            return other
        return self.emit.value(ConstantOp.scalar(other, self.element))

    def full(self, number: float) -> Value:
        """A tensor of this one's type, filled."""
        return self.emit.full(number, self.shape, self.element)

    def __add__(self, other: Value | float) -> Value:
        return self.apply(AddOp, other)

    def __sub__(self, other: Value | float) -> Value:
        return self.apply(SubOp, other)

    def __mul__(self, other: Value | float) -> Value:
        return self.apply(MulOp, other)

    def __truediv__(self, other: Value | float) -> Value:
        return self.apply(DivOp, other)

    def __radd__(self, other: float) -> Value:
        return self.lift(other) + self

    def __rsub__(self, other: float) -> Value:
        return self.lift(other) - self

    def __rmul__(self, other: float) -> Value:
        return self.lift(other) * self

    def __rtruediv__(self, other: float) -> Value:
        return self.lift(other) / self

    def __neg__(self) -> Value:
        return self.apply(NegOp)

    def maximum(self, other: Value | float) -> Value:
        return self.apply(MaximumOp, other)

    def minimum(self, other: Value | float) -> Value:
        return self.apply(MinimumOp, other)

    def compare(self, direction: str, other: Value | float) -> Value:
        """eq, ne, lt, le, gt or ge, as i1."""
        return self.apply(CompareOp, other, direction=direction)

    def where(self, on_true: Value, on_false: Value) -> Value:
        """Elements of `on_true` where this condition holds, else of `on_false`."""
        return self.apply(SelectOp, on_true, on_false)

    def convert(self, element: Attribute, *, saturate: bool = True, rounding: str = "nearest") -> Value:
        """The elements in another type. How they are rounded and cut off can be said for stored types only."""
        if self.element == element:
            return self
        if is_stored(self.element):
            decoded = self.emit.value(DecodeOp(self.ssa, format=self.element))
            return decoded.convert(element, saturate=saturate, rounding=rounding)
        if (format := format_of(element)) is None:
            return self.emit.value(ConvertOp(self.ssa, element_type=element))
        numbers = self.convert(number_type(format)).ssa
        saturate = saturate and format.bits <= 8  # bfloat16 overflows to infinity, as all wider floats
        return self.emit.value(EncodeOp(numbers, format=element, saturate=saturate, rounding=rounding))

    def reshape(self, shape: Sequence[int]) -> Value:
        return self if self.shape == tuple(shape) else self.emit.value(ReshapeOp(self.ssa, shape=list(shape)))

    def transpose(self, permutation: Sequence[int]) -> Value:
        if list(permutation) == list(range(self.rank)):
            return self
        return self.emit.value(TransposeOp(self.ssa, permutation=list(permutation)))

    def broadcast_to(self, shape: Sequence[int]) -> Value:
        """NumPy's broadcast: dimensions are aligned at the end."""
        if self.shape == tuple(shape):
            return self
        source, dimensions = self._without_kept(), range(len(shape) - self.rank, len(shape))
        if (places := _places(source.shape, self.shape)) is not None:
            return self.emit.value(
                BroadcastInDimOp(source.ssa, shape=list(shape), dimensions=[dimensions[place] for place in places])
            )
        return self.emit.value(BroadcastInDimOp(self.ssa, shape=list(shape), dimensions=list(dimensions)))

    def _without_kept(self) -> Value:
        """What this node reshaped to get here: a broadcast can put its dimensions where they belong by itself."""
        owner = self.ssa.owner
        own = isinstance(owner, ReshapeOp) and owner.location is self.emit.location
        return Value(owner.operands[0], self.emit) if own and isinstance(owner, ReshapeOp) else self

    def along(self, axis: int, shape: Sequence[int]) -> Value:
        """A vector broadcast along one axis of a shape; a single number everywhere."""
        if self.rank != 1:
            return self.broadcast_to(shape)
        return self.emit.value(BroadcastInDimOp(self.ssa, shape=list(shape), dimensions=[axis]))

    def slice(self, start: Sequence[int], limit: Sequence[int], stride: Sequence[int] | None = None) -> Value:
        stride = stride or [1] * self.rank
        if not any(start) and tuple(limit) == self.shape and set(stride) <= {1}:
            return self
        return self.emit.value(SliceOp(self.ssa, start=list(start), limit=list(limit), stride=list(stride)))

    def take(self, axis: int, start: int, limit: int, stride: int = 1) -> Value:
        """A range along one axis."""
        starts, limits, strides = [0] * self.rank, list(self.shape), [1] * self.rank
        starts[axis], limits[axis], strides[axis] = start, limit, stride
        return self.slice(starts, limits, strides)

    def reverse(self, dimensions: Sequence[int]) -> Value:
        return self.emit.value(ReverseOp(self.ssa, dimensions=list(dimensions))) if dimensions else self

    def pad(self, low: Sequence[int], high: Sequence[int], value: Value | float = 0) -> Value:
        """Elements of `value` put around; negative widths crop."""
        if not any(low) and not any(high):
            return self
        fill = self.lift(value).ssa
        return self.emit.value(PadOp(self.ssa, fill, low=list(low), high=list(high), interior=[0] * self.rank))

    def concatenate(self, others: Sequence[Value], axis: int) -> Value:
        given = [self, *others]
        full = [value for value in given if value.shape[axis]] or given[:1]
        return (
            full[0]
            if len(full) == 1
            else self.emit.value(ConcatenateOp(*(value.ssa for value in full), dimension=axis))
        )

    def reduce(self, kind: str, axes: Sequence[int], keep: bool = False) -> Value:
        """add, mul, max, min, and, or along axes; `keep` leaves them with size 1."""
        if not axes:
            return self
        kept = [1 if at in axes else size for at, size in enumerate(self.shape)]
        if 0 in self.shape:
            shape = kept if keep else [size for at, size in enumerate(self.shape) if at not in axes]
            return self.emit.full(identity(ReduceKind(kind), self.element), shape, self.element)
        reduced = self.emit.value(ReduceOp(self.ssa, dimensions=sorted(axes), kind=kind))
        return reduced.reshape(kept) if keep else reduced

    def mean(self, axes: Sequence[int], keep: bool = False) -> Value:
        """The sum over the axes divided by how many they are."""
        count = prod(self.shape[axis] for axis in axes)
        return self.reduce("add", axes, keep) / count if axes else self
