"""Primitives that combine elements: along whole dimensions, or under a sliding window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod

import numpy as np
from xdsl.builder import Builder
from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, TensorType, f16, i1, i32, i64
from xdsl.ir import Operation, SSAValue
from xdsl.irdl import base, irdl_op_definition, operand_def, prop_def, result_def

from tstorch.dialects.prim.base import (
    NON_DIFFERENTIABLE,
    Array,
    Cotangents,
    Gradients,
    Properties,
    ReductionOp,
    WindowOp,
    elements,
)
from tstorch.dialects.prim.elementwise import AndOp, CompareOp, NotOp, OrOp, SelectOp
from tstorch.dialects.prim.formula import Formula, filled
from tstorch.dialects.prim.generator import ConstantOp
from tstorch.dialects.prim.kinds import ReduceKind, ReduceKindAttr, check_kind, identity, reduce_array
from tstorch.dialects.prim.operands import check_dimensions, require, shape_of, zero
from tstorch.dialects.prim.sample import Sample, floats
from tstorch.dialects.prim.shape import BroadcastInDimOp, PadOp, SliceOp
from tstorch.dialects.prim.types import NUMBERS, array_attr, int_attr, integer, ints, tensor, ui8


def _kind(properties: Properties) -> ReduceKind:
    kind = properties["kind"]
    require(isinstance(kind, ReduceKindAttr), f"{kind} is no kind of reduction")
    return kind.data  # pyright: ignore[reportAttributeAccessIssue]


@irdl_op_definition
class ReduceOp(ReductionOp):
    """Combines the elements along `dimensions`, which the result no longer has."""

    name = "prim.reduce"
    operand = operand_def(base(TensorType))
    kind = prop_def(ReduceKindAttr)
    dimensions = prop_def(DenseArrayBase.constr(i64))
    result = result_def(base(TensorType))
    assembly_format = "$kind $operand `,` `dimensions` `=` $dimensions attr-dict `:` type($operand) `->` type($result)"

    def __init__(self, operand: SSAValue | Operation, *, dimensions: Sequence[int], kind: str):
        properties = {"kind": ReduceKindAttr(ReduceKind(kind)), "dimensions": array_attr(sorted(dimensions))}
        super().__init__([operand], properties)

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        [operand], dimensions = operands, ints(properties["dimensions"])
        check_kind(_kind(properties), operand.element_type)
        check_dimensions(dimensions, operand)
        kept = [size for axis, size in enumerate(operand.get_shape()) if axis not in dimensions]
        return [tensor(kept, operand.element_type)]

    def reference(self, x: Array) -> Sequence[Array]:
        return [reduce_array(self.kind.data, x, ints(self.dimensions), self.operand.type.element_type)]  # pyright: ignore[reportAttributeAccessIssue]

    def vjp(self, cotangents: Cotangents, build: Builder) -> Gradients:
        x = Formula(self.operand, build)
        g, y = (self._spread(Formula(value, build)) for value in (*cotangents, self.result))
        match self.kind.data:
            case ReduceKind.ADD:
                return [g.value]
            case ReduceKind.MUL:
                return [self._product_gradient(g, x).value]
            case ReduceKind.MAX | ReduceKind.MIN:
                chosen = x.compare("eq", y).convert(x.type.element_type)
                return [(g * chosen / self._spread(self._sum(chosen))).value]
            case _:
                return [None]

    def forwarded(self) -> SSAValue | None:
        return None if ints(self.dimensions) else self.operand

    def _product_gradient(self, g: Formula, x: Formula) -> Formula:
        """g times the product of the other elements, where some may be 0: the rest's product without them."""
        is_zero = x.compare("eq", 0.0)
        zeros = self._spread(self._sum(is_zero.convert(x.type.element_type)))
        rest = is_zero.select(1.0, x)
        others = self._spread(rest.apply(ReduceOp, dimensions=ints(self.dimensions), kind="mul")) / rest
        alone = zeros.compare("eq", is_zero.convert(x.type.element_type))
        return g * alone.select(others, others.lift(0.0))

    def _sum(self, x: Formula) -> Formula:
        return x.apply(ReduceOp, dimensions=ints(self.dimensions), kind="add")

    def _spread(self, reduced: Formula) -> Formula:
        """A value of the result's shape, repeated along the dimensions that were reduced."""
        shape = shape_of(self.operand)
        kept = [axis for axis in range(len(shape)) if axis not in ints(self.dimensions)]
        return reduced.apply(BroadcastInDimOp, shape=shape, dimensions=kept)

    def flops(self) -> int:
        return elements(self.operand)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for kind in ("add", "mul", "max", "min"):
            yield Sample([(2, 3, 5)], {"dimensions": (0, 2), "kind": kind})
            yield Sample([(4, 7)], {"dimensions": (1,), "kind": kind}, types=[i32], ranges=[(-9, 9)])
            yield Sample([(3, 1)], {"dimensions": (1,), "kind": kind}, types=[f16])
            yield Sample([()], {"dimensions": (), "kind": kind})
        yield Sample(properties={"dimensions": (0,), "kind": "mul"}, arrays=[floats([[2, 0, 0], [3, 5, 0]]).T])
        yield Sample(properties={"dimensions": (0,), "kind": "max"}, arrays=[floats([1, np.nan, 2])], smooth=False)
        yield Sample([(0, 3)], {"dimensions": (0,), "kind": "max"}, smooth=False)
        yield Sample([(2, 5)], {"dimensions": (0, 1), "kind": "and"}, types=[i1])
        yield Sample([(2, 5)], {"dimensions": (1,), "kind": "or"}, types=[i1])
        yield Sample([(2, 5)], {"dimensions": (1,), "kind": "and"}, types=[ui8], ranges=[(0, 255)])


_WINDOW = ("window", "strides", "padding_low", "padding_high", "window_dilation", "base_dilation")


@irdl_op_definition
class ReduceWindowOp(WindowOp):
    """Combines the elements under a window that slides over all dimensions.

    The lists have one entry per dimension. The operand is first spread by `base_dilation` and padded with the kind's
    identity; of several equal maxima the first takes the gradient.
    """

    name = "prim.reduce_window"
    operand = operand_def(base(TensorType))
    kind = prop_def(ReduceKindAttr)
    window = prop_def(DenseArrayBase.constr(i64))
    strides = prop_def(DenseArrayBase.constr(i64))
    padding_low = prop_def(DenseArrayBase.constr(i64))
    padding_high = prop_def(DenseArrayBase.constr(i64))
    window_dilation = prop_def(DenseArrayBase.constr(i64))
    base_dilation = prop_def(DenseArrayBase.constr(i64))
    result = result_def(base(TensorType))
    assembly_format = (
        "$kind $operand `,` `window` `=` $window `,` `strides` `=` $strides `,` `padding_low` `=` $padding_low `,` "
        "`padding_high` `=` $padding_high `,` `window_dilation` `=` $window_dilation `,` "
        "`base_dilation` `=` $base_dilation attr-dict `:` type($operand) `->` type($result)"
    )

    def __init__(
        self,
        operand: SSAValue | Operation,
        *,
        kind: str,
        window: Sequence[int],
        strides: Sequence[int] | None = None,
        padding_low: Sequence[int] | None = None,
        padding_high: Sequence[int] | None = None,
        window_dilation: Sequence[int] | None = None,
        base_dilation: Sequence[int] | None = None,
    ):
        ones, zeros = [1] * len(window), [0] * len(window)
        lists = (
            window, strides or ones, padding_low or zeros, padding_high or zeros, window_dilation or ones,
            base_dilation or ones,
        )  # fmt: skip
        properties = {key: array_attr(values) for key, values in zip(_WINDOW, lists, strict=True)}
        super().__init__([operand], {"kind": ReduceKindAttr(ReduceKind(kind)), **properties})

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        [operand] = operands
        lists = [ints(properties[key]) for key in _WINDOW]
        check_kind(_kind(properties), operand.element_type)
        require(_kind(properties) is not ReduceKind.MUL, "prim.reduce_window does not multiply")
        rank = len(operand.get_shape())
        require(
            all(len(values) == rank for values in lists),
            f"prim.reduce_window of {operand} needs lists of {rank} numbers",
        )
        window, strides, low, high, dilation, spread = lists
        require(
            min((*window, *strides, *dilation, *spread), default=1) > 0 and min((*low, *high), default=0) >= 0,
            "a window, its strides and dilations are positive, and its padding is not negative",
        )
        sizes = [
            windows(n, *numbers)
            for n, *numbers in zip(operand.get_shape(), window, strides, low, high, dilation, spread, strict=True)
        ]
        return [tensor(sizes, operand.element_type)]

    def reference(self, x: Array) -> Sequence[Array]:
        window, strides, low, high, dilation, spread = (ints(self.properties[key]) for key in _WINDOW)
        element_type = self.operand.type.element_type  # pyright: ignore[reportAttributeAccessIssue]
        start = np.asarray(identity(self.kind.data, element_type)).astype(x.dtype)
        padded = spread_array(x, spread, low, high, start)
        view = window_view(padded, window, strides, dilation)
        axes = tuple(range(x.ndim, 2 * x.ndim))
        return [reduce_array(self.kind.data, view, axes, element_type)]

    def vjp(self, cotangents: Cotangents, build: Builder) -> Gradients:
        match self.kind.data:
            case ReduceKind.ADD:
                return [self._sum_gradient(cotangents[0], build)]
            case ReduceKind.MAX | ReduceKind.MIN:
                return [self._extremum_gradient(cotangents[0], build)]
            case _:
                return [None]

    def _sum_gradient(self, g: SSAValue, build: Builder) -> SSAValue:
        """Each element takes the cotangents of the windows it stood in: a window sum over the spread cotangent."""
        window, strides, low, _, dilation, spread = (ints(self.properties[key]) for key in _WINDOW)
        reach = [(k - 1) * d for k, d in zip(window, dilation, strict=True)]
        before = [r - a for r, a in zip(reach, low, strict=True)]
        after = [
            (n - 1) * b + r - a - (m - 1) * s
            for n, b, r, a, m, s in zip(
                shape_of(self.operand), spread, reach, before, shape_of(g), strides, strict=True
            )
        ]
        padded = build.insert(
            PadOp(g, zero(g, build), low=before, high=after, interior=[s - 1 for s in strides])
        ).result
        return build.insert(
            ReduceWindowOp(padded, kind="add", window=window, strides=spread, window_dilation=dilation)
        ).result

    def _extremum_gradient(self, g: SSAValue, build: Builder) -> SSAValue:
        """Window place by window place: the first one that equals the result takes its cotangent."""
        window, strides, low, high, dilation, spread = (ints(self.properties[key]) for key in _WINDOW)
        element_type = self.operand.type.element_type  # pyright: ignore[reportAttributeAccessIssue]
        least = build.insert(ConstantOp.scalar(identity(self.kind.data, element_type), element_type)).result
        between = [b - 1 for b in spread]
        padded = build.insert(PadOp(self.operand, least, low=low, high=high, interior=between)).result
        nothing, total, taken = filled(0, g.type, build), None, None  # pyright: ignore[reportArgumentType]
        for place in product(*map(range, window)):
            start = [p * d for p, d in zip(place, dilation, strict=True)]
            limit = [a + (m - 1) * s + 1 for a, m, s in zip(start, shape_of(g), strides, strict=True)]
            seen = build.insert(SliceOp(padded, start=start, limit=limit, stride=strides)).result
            hit = build.insert(CompareOp(seen, self.result, direction="eq")).result
            if taken is None:
                first, taken = hit, hit
            else:
                first = build.insert(AndOp(hit, build.insert(NotOp(taken)).result)).result
                taken = build.insert(OrOp(taken, hit)).result
            part = build.insert(SelectOp(first, g, nothing)).result
            after = [n - b for n, b in zip(shape_of(padded), limit, strict=True)]
            back = build.insert(
                PadOp(part, zero(g, build), low=start, high=after, interior=[s - 1 for s in strides])
            ).result
            total = back if total is None else (Formula(total, build) + Formula(back, build)).value
        cut = build.insert(PadOp(total, zero(g, build), low=[-a for a in low], high=[-b for b in high])).result  # pyright: ignore[reportArgumentType]
        return build.insert(SliceOp(cut, start=[0] * len(low), limit=shape_of(cut), stride=spread)).result

    def flops(self) -> int:
        return elements(self.result) * prod(ints(self.window))

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        pool = {
            "window": (1, 1, 3, 2),
            "strides": (1, 1, 2, 2),
            "padding_low": (0, 0, 1, 0),
            "padding_high": (0, 0, 1, 1),
        }
        for kind in ("max", "add", "min"):
            yield Sample([(1, 2, 7, 5)], {"kind": kind, **pool})
            yield Sample([(6,)], {"kind": kind, "window": (2,), "window_dilation": (2,), "padding_low": (1,)})
            yield Sample([(3, 4)], {"kind": kind, "window": (2, 3), "base_dilation": (2, 1), "padding_high": (1, 0)})
            yield Sample([(4, 4)], {"kind": kind, "window": (2, 2), "strides": (3, 1)}, types=[i32], ranges=[(-9, 9)])
        yield Sample([(4,)], {"kind": "add", "window": (1,), "padding_low": (3,), "strides": (2,)})
        yield Sample(properties={"kind": "max", "window": (2,)}, arrays=[floats([2, 2, 1, 1])], smooth=False)
        yield Sample([(5,)], {"kind": "or", "window": (3,)}, types=[i1])


def windows(size: int, window: int, stride: int, low: int, high: int, dilation: int, spread: int) -> int:
    """How many places a window has along one dimension."""
    extent = max(0, (size - 1) * spread + 1) + low + high
    return max(0, (extent - (window - 1) * dilation - 1) // stride + 1)


def spread_array(x: Array, spread: Sequence[int], low: Sequence[int], high: Sequence[int], value: Array) -> Array:
    """`x` with `value` between (`spread` - 1 times) and around its elements; negative padding cuts."""
    shape = [
        max(0, (n - 1) * b + 1) + max(0, a) + max(0, c) for n, b, a, c in zip(x.shape, spread, low, high, strict=True)
    ]
    wide = np.full(shape, value, x.dtype)
    if x.size:
        inside = [
            slice(max(0, a), max(0, a) + (n - 1) * b + 1, b) for n, b, a in zip(x.shape, spread, low, strict=True)
        ]
        wide[tuple(inside)] = x
    return wide[tuple(slice(max(0, -a), n - max(0, -c)) for a, c, n in zip(low, high, shape, strict=True))]


def window_view(x: Array, window: Sequence[int], strides: Sequence[int], dilation: Sequence[int]) -> Array:
    """A view of shape (places..., window...) of the windows over the last len(window) dimensions' places."""
    extent = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    if any(n < e for n, e in zip(x.shape, extent, strict=True)):
        places = [max(0, (n - e) // s + 1) for n, e, s in zip(x.shape, extent, strides, strict=True)]
        return np.zeros((*places, *window), x.dtype)
    view = np.lib.stride_tricks.sliding_window_view(x, tuple(extent))  # pyright: ignore[reportCallIssue, reportArgumentType]
    return view[tuple(slice(None, None, step) for step in (*strides, *dilation))]


@irdl_op_definition
class ArgReduceOp(ReductionOp):
    """Where along a dimension the largest or smallest element stands, as i64: the first of several."""

    name = "prim.arg_reduce"
    vjp = NON_DIFFERENTIABLE("its result is no float")

    operand = operand_def(base(TensorType))
    kind = prop_def(ReduceKindAttr)
    dimension = prop_def(IntegerAttr.constr(i64))
    result = result_def(base(TensorType))
    assembly_format = "$kind $operand `,` `dimension` `=` $dimension attr-dict `:` type($operand) `->` type($result)"

    def __init__(self, operand: SSAValue | Operation, *, dimension: int, kind: str):
        super().__init__([operand], {"kind": ReduceKindAttr(ReduceKind(kind)), "dimension": int_attr(dimension)})

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        [operand], axis, shape = operands, integer(properties["dimension"]), list(operands[0].get_shape())
        require(_kind(properties) in (ReduceKind.MAX, ReduceKind.MIN), "prim.arg_reduce finds a max or a min")
        require(operand.element_type in NUMBERS, f"{operand.element_type} has no order")
        require(0 <= axis < len(shape), f"there is no dimension {axis} in {operand}")
        require(shape[axis] > 0, f"there is no element to find along dimension {axis} of {operand}")
        return [tensor([*shape[:axis], *shape[axis + 1 :]], i64)]

    def reference(self, x: Array) -> Sequence[Array]:
        find = np.argmax if self.kind.data is ReduceKind.MAX else np.argmin
        return [np.asarray(find(x, axis=integer(self.dimension)))]

    def flops(self) -> int:
        return elements(self.operand)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for kind in ("max", "min"):
            yield Sample([(3, 5)], {"dimension": 1, "kind": kind})
            yield Sample([(4, 2, 3)], {"dimension": 0, "kind": kind}, types=[i32], ranges=[(0, 2)])
            yield Sample([(1,)], {"dimension": 0, "kind": kind})
            yield Sample(properties={"dimension": 0, "kind": kind}, arrays=[floats([1, 3, 3, -2, -2, np.inf])])
