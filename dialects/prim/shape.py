"""Primitives that move elements and compute nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import prod
from typing import ClassVar

import numpy as np
from xdsl.builder import Builder
from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, TensorType, f16, i1, i32, i64
from xdsl.ir import Operation, SSAValue
from xdsl.irdl import VarConstraint, base, irdl_op_definition, operand_def, prop_def, result_def, var_operand_def
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.indexing import Index, delinearize, linearize
from tstorch.dialects.prim.base import Array, Cotangents, Gradients, IndexMapOp, Properties, Source, constant_of
from tstorch.dialects.prim.operands import check_dimensions, require, shape_of, zero
from tstorch.dialects.prim.sample import Sample
from tstorch.dialects.prim.types import array_attr, int_attr, integer, ints, tensor


class RearrangeOp(IndexMapOp):
    """Moves the elements of one operand."""

    operand = operand_def(base(TensorType))
    result = result_def(base(TensorType))

    def is_identity(self) -> bool:
        """Whether every element stays where it is."""
        return self.operand.type == self.result.type

    def undoes(self, inner: Operation) -> bool:
        """Whether this op takes back what the op before it did."""
        return False

    def forwarded(self) -> SSAValue | None:
        if self.is_identity():
            return self.operand
        inner = self.operand.owner
        if isinstance(inner, RearrangeOp) and inner.operand.type == self.result.type and self.undoes(inner):
            return inner.operand
        return None


def uniform_value(value: SSAValue) -> np.generic | None:
    """The number that all elements of a value are, looking through what only moves elements; None where unknown."""
    while isinstance(value.owner, RearrangeOp):
        value = value.owner.operand
    numbers = constant_of(value)
    return numbers.array().flat[0] if numbers is not None and numbers.is_splat() else None


@irdl_op_definition
class ReshapeOp(RearrangeOp):
    """The same elements in row-major order under another shape."""

    name = "prim.reshape"
    shape = prop_def(DenseArrayBase.constr(i64))
    assembly_format = "$operand `,` `shape` `=` $shape attr-dict `:` type($operand) `->` type($result)"

    def __init__(self, operand: SSAValue | Operation, *, shape: Sequence[int]):
        super().__init__([operand], {"shape": array_attr(shape)})

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        [operand], shape = operands, ints(properties["shape"])
        if min(shape, default=0) < 0 or prod(shape) != prod(operand.get_shape()):
            raise VerifyException(
                f"prim.reshape cannot make shape {list(shape)} of {operand}: other number of elements"
            )
        return [tensor(shape, operand.element_type)]

    def reference(self, x: Array) -> Sequence[Array]:
        return [x.reshape(ints(self.shape))]

    def vjp(self, cotangents: Cotangents, build: Builder) -> Gradients:
        return [build.insert(ReshapeOp(*cotangents, shape=shape_of(self.operand))).result]

    def sources(self, index: Sequence[Index]) -> Sequence[Source]:
        position = linearize(index, shape_of(self.result))
        return [Source(0, tuple(delinearize(position, shape_of(self.operand))))]

    def undoes(self, inner: Operation) -> bool:
        return isinstance(inner, ReshapeOp)

    def forward(self, index: Sequence[Index]) -> tuple[Index, ...]:
        return tuple(delinearize(linearize(index, shape_of(self.operand)), shape_of(self.result)))

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample([(2, 6)], {"shape": (3, 4)})
        yield Sample([(4, 6)], {"shape": (8, 3)})
        yield Sample([(1, 1)], {"shape": ()})
        yield Sample([()], {"shape": (1, 1, 1)}, types=[f16])
        yield Sample([(2, 3, 4)], {"shape": (6, 1, 4)}, types=[i64], ranges=[(-9, 9)])


@irdl_op_definition
class TransposeOp(RearrangeOp):
    """The dimensions in another order: result dimension i is operand dimension permutation[i]."""

    name = "prim.transpose"
    permutation = prop_def(DenseArrayBase.constr(i64))
    assembly_format = "$operand `,` `permutation` `=` $permutation attr-dict `:` type($operand) `->` type($result)"

    def __init__(self, operand: SSAValue | Operation, *, permutation: Sequence[int]):
        super().__init__([operand], {"permutation": array_attr(permutation)})

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        [operand], permutation = operands, ints(properties["permutation"])
        shape = operand.get_shape()
        if sorted(permutation) != list(range(len(shape))):
            raise VerifyException(f"{list(permutation)} is no permutation of the dimensions of {operand}")
        return [tensor([shape[axis] for axis in permutation], operand.element_type)]

    def reference(self, x: Array) -> Sequence[Array]:
        return [np.transpose(x, ints(self.permutation))]

    def vjp(self, cotangents: Cotangents, build: Builder) -> Gradients:
        return [build.insert(TransposeOp(*cotangents, permutation=inverse(ints(self.permutation)))).result]

    def sources(self, index: Sequence[Index]) -> Sequence[Source]:
        return [Source(0, tuple(index[axis] for axis in inverse(ints(self.permutation))))]

    def forward(self, index: Sequence[Index]) -> tuple[Index, ...]:
        return tuple(index[axis] for axis in ints(self.permutation))

    def is_identity(self) -> bool:
        """Whether only dimensions of size 1 change places."""
        shape = shape_of(self.operand)
        moved = [axis for axis in ints(self.permutation) if shape[axis] != 1]
        return moved == sorted(moved) and self.operand.type == self.result.type

    def undoes(self, inner: Operation) -> bool:
        return isinstance(inner, TransposeOp) and list(ints(self.permutation)) == inverse(ints(inner.permutation))

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample([(2, 3, 4)], {"permutation": (1, 2, 0)})
        yield Sample([()], {"permutation": ()})
        yield Sample([(1, 5)], {"permutation": (1, 0)}, types=[i1])


def inverse(permutation: Sequence[int]) -> list[int]:
    """The permutation that undoes one."""
    return [permutation.index(axis) for axis in range(len(permutation))]


@irdl_op_definition
class BroadcastInDimOp(RearrangeOp):
    """Repeats elements: operand dimension i is result dimension dimensions[i], of equal size or 1."""

    name = "prim.broadcast_in_dim"
    shape = prop_def(DenseArrayBase.constr(i64))
    dimensions = prop_def(DenseArrayBase.constr(i64))
    assembly_format = (
        "$operand `,` `shape` `=` $shape `,` `dimensions` `=` $dimensions "
        "attr-dict `:` type($operand) `->` type($result)"
    )

    def __init__(self, operand: SSAValue | Operation, *, shape: Sequence[int], dimensions: Sequence[int]):
        super().__init__([operand], {"shape": array_attr(shape), "dimensions": array_attr(dimensions)})

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        [operand], shape, dimensions = operands, ints(properties["shape"]), ints(properties["dimensions"])
        placed = (
            len(dimensions) == len(operand.get_shape())
            and len(set(dimensions)) == len(dimensions)
            and all(0 <= axis < len(shape) for axis in dimensions)
        )
        if not placed:
            raise VerifyException(f"dimensions {list(dimensions)} do not place {operand} in shape {list(shape)}")
        for size, axis in zip(operand.get_shape(), dimensions, strict=True):
            if size not in (1, shape[axis]):  # not `require`: spelling a type costs more than all the rest
                sizes = f"size {size} against {shape[axis]} in dimension {axis}"
                raise VerifyException(f"{operand} does not broadcast to {list(shape)}: {sizes}")
        return [tensor(shape, operand.element_type)]

    def reference(self, x: Array) -> Sequence[Array]:
        shape, dimensions = ints(self.shape), ints(self.dimensions)
        order = sorted(range(len(dimensions)), key=dimensions.__getitem__)
        kept = {axis: size for axis, size in zip(dimensions, x.shape, strict=True)}
        aligned = np.transpose(x, order).reshape([kept.get(axis, 1) for axis in range(len(shape))])
        return [np.broadcast_to(aligned, shape)]

    def vjp(self, cotangents: Cotangents, build: Builder) -> Gradients:
        from tstorch.dialects.prim.reduction import ReduceOp

        shape, placed = ints(self.shape), ints(self.dimensions)
        same = {axis for axis, size in zip(placed, shape_of(self.operand), strict=True) if size == shape[axis]}
        summed = [axis for axis in range(len(shape)) if axis not in same]
        g = build.insert(ReduceOp(*cotangents, dimensions=summed, kind="add")).result if summed else cotangents[0]
        left = sorted(same)
        order = [left.index(axis) for axis in placed if axis in same]
        if order != sorted(order):
            g = build.insert(TransposeOp(g, permutation=order)).result
        return [build.insert(ReshapeOp(g, shape=shape_of(self.operand))).result]

    def sources(self, index: Sequence[Index]) -> Sequence[Source]:
        sizes = zip(ints(self.dimensions), shape_of(self.operand), strict=True)
        return [Source(0, tuple(index[axis] if size > 1 else Index() for axis, size in sizes))]

    def is_identity(self) -> bool:
        dimensions = ints(self.dimensions)
        return super().is_identity() and list(dimensions) == sorted(dimensions)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample([(3,)], {"shape": (2, 3), "dimensions": (1,)})
        yield Sample([(2, 1)], {"shape": (2, 3, 4), "dimensions": (0, 2)})
        yield Sample([(4, 2)], {"shape": (2, 3, 4), "dimensions": (2, 0)})
        yield Sample([()], {"shape": (2, 2), "dimensions": ()})
        yield Sample([(1,)], {"shape": (1,), "dimensions": (0,)}, types=[i32], ranges=[(-9, 9)])


@irdl_op_definition
class SliceOp(RearrangeOp):
    """Every stride-th element from start to before limit, in each dimension."""

    name = "prim.slice"
    start = prop_def(DenseArrayBase.constr(i64))
    limit = prop_def(DenseArrayBase.constr(i64))
    stride = prop_def(DenseArrayBase.constr(i64))
    assembly_format = (
        "$operand `,` `start` `=` $start `,` `limit` `=` $limit `,` `stride` `=` $stride "
        "attr-dict `:` type($operand) `->` type($result)"
    )

    def __init__(
        self,
        operand: SSAValue | Operation,
        *,
        start: Sequence[int],
        limit: Sequence[int],
        stride: Sequence[int] | None = None,
    ):
        stride = [1] * len(start) if stride is None else stride
        lists = {"start": start, "limit": limit, "stride": stride}
        super().__init__([operand], {key: array_attr(values) for key, values in lists.items()})

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        [operand] = operands
        start, limit, stride = (ints(properties[key]) for key in ("start", "limit", "stride"))
        shape = operand.get_shape()
        require(
            len(start) == len(limit) == len(stride) == len(shape)
            and all(0 <= a <= b <= n and s > 0 for a, b, s, n in zip(start, limit, stride, shape, strict=True)),
            f"no slice from {list(start)} to {list(limit)} by {list(stride)} in {operand}: "
            "expected 0 <= start <= limit <= size and a positive stride in each dimension",
        )
        return [tensor([-((a - b) // s) for a, b, s in zip(start, limit, stride, strict=True)], operand.element_type)]

    def reference(self, x: Array) -> Sequence[Array]:
        return [x[(*map(slice, ints(self.start), ints(self.limit), ints(self.stride)), ...)]]

    def vjp(self, cotangents: Cotangents, build: Builder) -> Gradients:
        [g] = cotangents
        start, stride = ints(self.start), ints(self.stride)
        ends = [a + max(0, (n - 1) * s + 1) for a, n, s in zip(start, shape_of(self.result), stride, strict=True)]
        high = [size - end for size, end in zip(shape_of(self.operand), ends, strict=True)]
        pad = PadOp(g, zero(g, build), low=start, high=high, interior=[s - 1 for s in stride])
        return [build.insert(pad).result]

    def sources(self, index: Sequence[Index]) -> Sequence[Source]:
        steps = zip(index, ints(self.start), ints(self.stride), strict=True)
        return [Source(0, tuple(i * s + a for i, a, s in steps))]

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample([(5, 7)], {"start": (1, 0), "limit": (4, 7), "stride": (1, 3)})
        yield Sample([(5, 7)], {"start": (1, 1), "limit": (5, 6), "stride": (2, 2)})
        yield Sample([(3, 1)], {"start": (2, 0), "limit": (3, 1), "stride": (1, 1)}, types=[i64], ranges=[(-9, 9)])
        yield Sample([()], {"start": (), "limit": (), "stride": ()})


@irdl_op_definition
class ReverseOp(RearrangeOp):
    """Some dimensions backwards."""

    name = "prim.reverse"
    T: ClassVar = VarConstraint("T", base(TensorType))
    operand = operand_def(T)
    result = result_def(T)
    dimensions = prop_def(DenseArrayBase.constr(i64))
    assembly_format = "$operand `,` `dimensions` `=` $dimensions attr-dict `:` type($result)"

    def __init__(self, operand: SSAValue | Operation, *, dimensions: Sequence[int]):
        super().__init__([operand], {"dimensions": array_attr(dimensions)})

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        [operand], dimensions = operands, ints(properties["dimensions"])
        check_dimensions(dimensions, operand)
        return [operand]

    def reference(self, x: Array) -> Sequence[Array]:
        return [np.flip(x, ints(self.dimensions))]

    def vjp(self, cotangents: Cotangents, build: Builder) -> Gradients:
        return [build.insert(ReverseOp(*cotangents, dimensions=ints(self.dimensions))).result]

    def sources(self, index: Sequence[Index]) -> Sequence[Source]:
        return [Source(0, self.forward(index))]

    def forward(self, index: Sequence[Index]) -> tuple[Index, ...]:
        shape, flipped = shape_of(self.operand), ints(self.dimensions)
        return tuple(shape[axis] - 1 - i if axis in flipped else i for axis, i in enumerate(index))

    def is_identity(self) -> bool:
        return all(shape_of(self.operand)[axis] == 1 for axis in ints(self.dimensions))

    def undoes(self, inner: Operation) -> bool:
        return isinstance(inner, ReverseOp) and self.dimensions == inner.dimensions

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample([(2, 3, 4)], {"dimensions": (0, 2)})
        yield Sample([(5,)], {"dimensions": ()})
        yield Sample([(1, 3)], {"dimensions": (1,)}, types=[i1])


@irdl_op_definition
class PadOp(IndexMapOp):
    """Puts `value` around and between elements; a negative `low` or `high` cuts elements off instead."""

    name = "prim.pad"
    operand = operand_def(base(TensorType))
    value = operand_def(base(TensorType))
    low = prop_def(DenseArrayBase.constr(i64))
    high = prop_def(DenseArrayBase.constr(i64))
    interior = prop_def(DenseArrayBase.constr(i64))
    result = result_def(base(TensorType))
    assembly_format = (
        "$operand `,` $value `,` `low` `=` $low `,` `high` `=` $high `,` `interior` `=` $interior "
        "attr-dict `:` type($operand) `,` type($value) `->` type($result)"
    )

    def __init__(
        self,
        operand: SSAValue | Operation,
        value: SSAValue | Operation,
        *,
        low: Sequence[int],
        high: Sequence[int],
        interior: Sequence[int] | None = None,
    ):
        interior = [0] * len(low) if interior is None else interior
        lists = {"low": low, "high": high, "interior": interior}
        super().__init__([operand, value], {key: array_attr(values) for key, values in lists.items()})

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        operand, value = operands
        low, high, interior = (ints(properties[key]) for key in ("low", "high", "interior"))
        shape = operand.get_shape()
        require(
            value.get_shape() == () and value.element_type == operand.element_type,
            f"{operand} is padded with a scalar of its element type, not with {value}",
        )
        require(
            len(low) == len(high) == len(interior) == len(shape) and min(interior, default=0) >= 0,
            f"padding {list(low)}, {list(high)}, interior {list(interior)} does not fit {operand}",
        )
        sizes = [
            a + b + n + max(0, n - 1) * between for a, b, between, n in zip(low, high, interior, shape, strict=True)
        ]
        require(min(sizes, default=0) >= 0, f"padding {list(low)}, {list(high)} cuts more off {operand} than it has")
        return [tensor(sizes, operand.element_type)]

    def reference(self, x: Array, value: Array) -> Sequence[Array]:
        low, high, interior = ints(self.low), ints(self.high), ints(self.interior)
        shape = [
            n + max(0, n - 1) * between + max(0, a) + max(0, b)
            for n, between, a, b in zip(x.shape, interior, low, high, strict=True)
        ]
        padded = np.full(shape, value, x.dtype)
        spread = zip(low, x.shape, interior, strict=True)
        padded[tuple(slice(max(0, a), max(0, a) + n * (k + 1) - k if n else 0, k + 1) for a, n, k in spread)] = x
        cuts = zip(low, high, shape, strict=True)
        return [padded[(*(slice(max(0, -a), n - max(0, -b)) for a, b, n in cuts), ...)]]

    def vjp(self, cotangents: Cotangents, build: Builder) -> Gradients:
        from tstorch.dialects.prim.elementwise import SubOp
        from tstorch.dialects.prim.reduction import ReduceOp

        [g] = cotangents
        low, high, interior = ints(self.low), ints(self.high), ints(self.interior)
        whole = PadOp(g, zero(g, build), low=[-a for a in low], high=[-b for b in high])
        spread = build.insert(whole).result
        start, stride = [0] * len(low), [between + 1 for between in interior]
        taken = build.insert(SliceOp(spread, start=start, limit=shape_of(spread), stride=stride)).result
        sums = [build.insert(ReduceOp(v, dimensions=range(len(low)), kind="add")).result for v in (g, taken)]
        return [taken, build.insert(SubOp(*sums)).result]

    def sources(self, index: Sequence[Index]) -> Sequence[Source]:
        places, mask = [], []
        for i, a, between, size in zip(index, ints(self.low), ints(self.interior), shape_of(self.operand), strict=True):
            shifted = i - a
            places.append(shifted // (between + 1))
            mask.append((places[-1], size))
            if between:
                mask.append((shifted % (between + 1), 1))
        return [Source(0, tuple(places), tuple(mask)), Source(1, ())]

    def forwarded(self) -> SSAValue | None:
        nothing = not any((*ints(self.low), *ints(self.high)))
        return self.operand if nothing and self.operand.type == self.result.type else None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample([(2, 3), ()], {"low": (1, 0), "high": (0, 2), "interior": (0, 1)})
        yield Sample([(4, 5), ()], {"low": (-1, 2), "high": (1, -3), "interior": (2, 0)})
        yield Sample([(5, 3), ()], {"low": (-2, -1), "high": (-1, 0), "interior": (1, 0)})
        yield Sample([(), ()], {"low": (), "high": (), "interior": ()})
        yield Sample([(1, 3), ()], {"low": (0, 0), "high": (2, 1)}, types=[i32], ranges=[(-9, 9)])


@irdl_op_definition
class ConcatenateOp(IndexMapOp):
    """Its operands one after the other along a dimension."""

    name = "prim.concatenate"
    inputs = var_operand_def(base(TensorType))
    dimension = prop_def(IntegerAttr.constr(i64))
    result = result_def(base(TensorType))
    assembly_format = "$inputs `dimension` `=` $dimension attr-dict `:` type($inputs) `->` type($result)"

    def __init__(self, *operands: SSAValue | Operation, dimension: int):
        super().__init__(operands, {"dimension": int_attr(dimension)})

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        axis = integer(properties["dimension"])
        require(len(operands) > 0, "prim.concatenate needs an operand")
        first = operands[0]
        shape = list(first.get_shape())
        require(0 <= axis < len(shape), f"there is no dimension {axis} in {first} to concatenate along")
        for other in operands[1:]:
            sizes = list(other.get_shape())
            require(
                other.element_type == first.element_type
                and sizes[:axis] + sizes[axis + 1 :] == shape[:axis] + shape[axis + 1 :],
                f"{first} and {other} differ in more than dimension {axis}",
            )
        shape[axis] = sum(type.get_shape()[axis] for type in operands)
        return [tensor(shape, first.element_type)]

    def reference(self, *operands: Array) -> Sequence[Array]:
        return [np.concatenate(operands, integer(self.dimension))]

    def vjp(self, cotangents: Cotangents, build: Builder) -> Gradients:
        axis, shape = integer(self.dimension), shape_of(self.result)
        gradients = []
        for offset, operand in zip(self.offsets(), self.inputs, strict=True):
            start, limit = [0] * len(shape), list(shape)
            start[axis], limit[axis] = offset, offset + shape_of(operand)[axis]
            gradients.append(build.insert(SliceOp(*cotangents, start=start, limit=limit)).result)
        return gradients

    def forwarded(self) -> SSAValue | None:
        return self.inputs[0] if len(self.inputs) == 1 else None

    def offsets(self) -> list[int]:
        """Where each operand begins along the dimension."""
        sizes = [shape_of(operand)[integer(self.dimension)] for operand in self.inputs]
        return list(accumulate(sizes, initial=0))[:-1]

    def sources(self, index: Sequence[Index]) -> Sequence[Source]:
        axis, found = integer(self.dimension), []
        for number, (offset, operand) in enumerate(zip(self.offsets(), self.inputs, strict=True)):
            place = index[axis] - offset
            found.append(
                Source(number, (*index[:axis], place, *index[axis + 1 :]), ((place, shape_of(operand)[axis]),))
            )
        return found

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample([(2, 3), (2, 1), (2, 4)], {"dimension": 1})
        yield Sample([(3,), (2,)], {"dimension": 0}, types=[i1])
        yield Sample([(1, 2, 3)], {"dimension": 2}, types=[f16])
