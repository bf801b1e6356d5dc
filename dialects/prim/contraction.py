"""Primitives that sum products: general matrix products and convolutions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np
from xdsl.builder import Builder
from xdsl.dialects.builtin import BoolAttr, DenseArrayBase, IntegerAttr, StringAttr, TensorType, f16, i32, i64
from xdsl.ir import Operation, SSAValue
from xdsl.irdl import base, irdl_op_definition, operand_def, prop_def, result_def
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.base import Array, ContractionOp, Cotangents, Gradients, Properties, elements
from tstorch.dialects.prim.operands import require, shape_of
from tstorch.dialects.prim.product import ConvProduct, DotProduct, Product
from tstorch.dialects.prim.reduction import spread_array, window_view, windows
from tstorch.dialects.prim.sample import Sample
from tstorch.dialects.prim.shape import TransposeOp, inverse
from tstorch.dialects.prim.types import NUMBERS, array_attr, int_attr, integer, ints, tensor

_LISTS = ("lhs_batch", "rhs_batch", "lhs_contract", "rhs_contract")


def _check_elements(lhs: TensorType, rhs: TensorType) -> None:
    if lhs.element_type != rhs.element_type or lhs.element_type not in NUMBERS:
        raise VerifyException(f"products of {lhs} and {rhs}: expected one element type, a number")


def _matmul(x: Array, y: Array) -> Array:
    """Batched matrix product; halves are summed in float32, integers wrap."""
    wide = np.float32 if x.dtype == np.float16 else x.dtype
    with np.errstate(all="ignore"):
        return np.matmul(x.astype(wide, copy=False), y.astype(wide, copy=False)).astype(x.dtype, copy=False)


@irdl_op_definition
class DotGeneralOp(ContractionOp):
    """Sums products over the contracted dimensions, for each index of the batch dimensions.

    The result's dimensions are the batch ones, then the left operand's free ones, then the right one's.
    """

    name = "prim.dot_general"
    lhs = operand_def(base(TensorType))
    rhs = operand_def(base(TensorType))
    lhs_batch = prop_def(DenseArrayBase.constr(i64))
    rhs_batch = prop_def(DenseArrayBase.constr(i64))
    lhs_contract = prop_def(DenseArrayBase.constr(i64))
    rhs_contract = prop_def(DenseArrayBase.constr(i64))
    result = result_def(base(TensorType))
    assembly_format = (
        "$lhs `,` $rhs `,` `batch` `=` $lhs_batch `x` $rhs_batch `,` `contract` `=` $lhs_contract `x` $rhs_contract "
        "attr-dict `:` type($lhs) `,` type($rhs) `->` type($result)"
    )

    def __init__(
        self,
        lhs: SSAValue | Operation,
        rhs: SSAValue | Operation,
        *,
        lhs_batch: Sequence[int] = (),
        rhs_batch: Sequence[int] = (),
        lhs_contract: Sequence[int],
        rhs_contract: Sequence[int],
    ):
        lists = zip(_LISTS, (lhs_batch, rhs_batch, lhs_contract, rhs_contract), strict=True)
        super().__init__([lhs, rhs], {key: array_attr(values) for key, values in lists})

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        lhs, rhs = operands
        lhs_batch, rhs_batch, lhs_contract, rhs_contract = (ints(properties[key]) for key in _LISTS)
        _check_elements(lhs, rhs)
        left, right = lhs.get_shape(), rhs.get_shape()
        for type, used in ((lhs, lhs_batch + lhs_contract), (rhs, rhs_batch + rhs_contract)):
            require(
                len(set(used)) == len(used) and all(0 <= axis < len(type.get_shape()) for axis in used),
                f"batch and contracted dimensions {list(used)} are not different dimensions of {type}",
            )
        for what, mine, theirs in (("batch", lhs_batch, rhs_batch), ("contract", lhs_contract, rhs_contract)):
            require(
                [left[axis] for axis in mine] == [right[axis] for axis in theirs],
                f"{what} dimensions {list(mine)} of {lhs} and {list(theirs)} of {rhs} differ in size",
            )
        shape = [left[axis] for axis in lhs_batch]
        shape += [left[axis] for axis in free(len(left), lhs_batch, lhs_contract)]
        shape += [right[axis] for axis in free(len(right), rhs_batch, rhs_contract)]
        return [tensor(shape, lhs.element_type)]

    def dimensions(self) -> tuple[tuple[int, ...], ...]:
        """(lhs_batch, rhs_batch, lhs_contract, rhs_contract, lhs_free, rhs_free)."""
        lists = tuple(ints(self.properties[key]) for key in _LISTS)
        ranks = len(shape_of(self.lhs)), len(shape_of(self.rhs))
        return (*lists, *(free(rank, lists[side], lists[2 + side]) for side, rank in enumerate(ranks)))

    def product(self) -> Product:
        lists = (ints(self.properties[key]) for key in _LISTS)
        return DotProduct.of(shape_of(self.lhs), shape_of(self.rhs), *lists)

    def reference(self, x: Array, y: Array) -> Sequence[Array]:
        lhs_batch, rhs_batch, lhs_contract, rhs_contract, lhs_free, rhs_free = self.dimensions()
        batch = [x.shape[axis] for axis in lhs_batch]
        rows, columns = [x.shape[axis] for axis in lhs_free], [y.shape[axis] for axis in rhs_free]
        inner = prod(x.shape[axis] for axis in lhs_contract)
        left = x.transpose(lhs_batch + lhs_free + lhs_contract).reshape(prod(batch), prod(rows), inner)
        right = y.transpose(rhs_batch + rhs_contract + rhs_free).reshape(prod(batch), inner, prod(columns))
        return [_matmul(left, right).reshape((*batch, *rows, *columns))]

    def vjp(self, cotangents: Cotangents, build: Builder) -> Gradients:
        [g] = cotangents
        lhs_batch, rhs_batch, lhs_contract, rhs_contract, lhs_free, rhs_free = self.dimensions()
        shared = range(len(lhs_batch))
        rows = range(len(shared), len(shared) + len(lhs_free))
        columns = range(rows.stop, rows.stop + len(rhs_free))
        to_lhs = DotGeneralOp(
            g, self.rhs, lhs_batch=shared, rhs_batch=rhs_batch, lhs_contract=columns, rhs_contract=rhs_free
        )
        to_rhs = DotGeneralOp(
            g, self.lhs, lhs_batch=shared, rhs_batch=lhs_batch, lhs_contract=rows, rhs_contract=lhs_free
        )
        # What was contracted comes back in the other operand's order.
        return [
            _restored(to_lhs, lhs_batch + lhs_free + _paired(rhs_contract, lhs_contract), build),
            _restored(to_rhs, rhs_batch + rhs_free + _paired(lhs_contract, rhs_contract), build),
        ]

    def flops(self) -> int:
        shape = shape_of(self.lhs)
        return 2 * elements(self.result) * prod(shape[axis] for axis in ints(self.lhs_contract))

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample([(3, 5), (5, 2)], {"lhs_contract": (1,), "rhs_contract": (0,)})
        yield Sample([(5, 3), (2, 5)], {"lhs_contract": (0,), "rhs_contract": (1,)}, types=[f16])
        yield Sample(
            [(2, 3, 4, 5), (3, 5, 2, 7)],
            {"lhs_batch": (1, 0), "rhs_batch": (0, 2), "lhs_contract": (3,), "rhs_contract": (1,)},
        )
        yield Sample([(2, 3, 4), (4, 5, 2)], {"lhs_contract": (0, 2), "rhs_contract": (2, 0)})
        yield Sample([(2,), (3,)], {"lhs_contract": (), "rhs_contract": ()})
        yield Sample([(4,), (4,)], {"lhs_contract": (0,), "rhs_contract": (0,)})
        yield Sample([(1, 4), (4, 1)], {"lhs_contract": (1,), "rhs_contract": (0,)}, types=[i32], ranges=[(-9, 9)])


def free(rank: int, batch: Sequence[int], contract: Sequence[int]) -> tuple[int, ...]:
    """The dimensions that are neither batch nor contracted."""
    return tuple(axis for axis in range(rank) if axis not in batch and axis not in contract)


def _paired(own: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    """`other`'s dimensions in the ascending order of the partners they are contracted with."""
    return tuple(other[own.index(axis)] for axis in sorted(own))


def _restored(product: DotGeneralOp, axes: tuple[int, ...], build: Builder) -> SSAValue:
    """The product with its dimensions, which stand for `axes`, put in order."""
    result = build.insert(product).result
    if list(axes) == sorted(axes):
        return result
    return build.insert(TransposeOp(result, permutation=inverse(axes))).result


_NUMBERS = ("window_strides", "padding_low", "padding_high", "lhs_dilation", "rhs_dilation")
_LAYOUTS = ("input_layout", "kernel_layout", "output_layout")


@irdl_op_definition
class ConvOp(ContractionOp):
    """Slides a kernel over the spatial dimensions and sums products over it and the input's channels.

    `lhs_dilation` spreads the input and `rhs_dilation` the kernel with zeros; padding may be negative. Layouts name
    each dimension: N and C, or O and I, and the spatial ones by D, H, W. With `feature_group_count` the kernel's O
    is cut into groups that see one part of the input's C each; with `batch_group_count`, one part of its N each.
    """

    name = "prim.conv"
    lhs = operand_def(base(TensorType))
    rhs = operand_def(base(TensorType))
    window_strides = prop_def(DenseArrayBase.constr(i64))
    padding_low = prop_def(DenseArrayBase.constr(i64))
    padding_high = prop_def(DenseArrayBase.constr(i64))
    lhs_dilation = prop_def(DenseArrayBase.constr(i64))
    rhs_dilation = prop_def(DenseArrayBase.constr(i64))
    feature_group_count = prop_def(IntegerAttr.constr(i64))
    batch_group_count = prop_def(IntegerAttr.constr(i64))
    input_layout = prop_def(StringAttr)
    kernel_layout = prop_def(StringAttr)
    output_layout = prop_def(StringAttr)
    reverse_window = prop_def(BoolAttr)
    result = result_def(base(TensorType))
    assembly_format = (
        "$lhs `,` $rhs `,` `layout` `=` $input_layout `x` $kernel_layout `to` $output_layout `,` "
        "`window_strides` `=` $window_strides `,` `padding_low` `=` $padding_low `,` `padding_high` `=` $padding_high "
        "`,` `lhs_dilation` `=` $lhs_dilation `,` `rhs_dilation` `=` $rhs_dilation `,` "
        "`feature_group_count` `=` $feature_group_count `,` `batch_group_count` `=` $batch_group_count `,` "
        "`reverse_window` `=` $reverse_window attr-dict `:` type($lhs) `,` type($rhs) `->` type($result)"
    )

    def __init__(
        self,
        lhs: SSAValue | Operation,
        rhs: SSAValue | Operation,
        *,
        window_strides: Sequence[int],
        padding_low: Sequence[int],
        padding_high: Sequence[int],
        lhs_dilation: Sequence[int] | None = None,
        rhs_dilation: Sequence[int] | None = None,
        feature_group_count: int = 1,
        batch_group_count: int = 1,
        input_layout: str = "NCHW",
        kernel_layout: str = "OIHW",
        output_layout: str = "NCHW",
        reverse_window: bool = False,
    ):
        ones = [1] * len(window_strides)
        lists = (window_strides, padding_low, padding_high, lhs_dilation or ones, rhs_dilation or ones)
        layouts = (input_layout, kernel_layout, output_layout)
        super().__init__(
            [lhs, rhs],
            {
                **{key: array_attr(values) for key, values in zip(_NUMBERS, lists, strict=True)},
                **{key: StringAttr(layout) for key, layout in zip(_LAYOUTS, layouts, strict=True)},
                "feature_group_count": int_attr(feature_group_count),
                "batch_group_count": int_attr(batch_group_count),
                "reverse_window": BoolAttr.from_bool(reverse_window),
            },
        )

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        lhs, rhs = operands
        _check_elements(lhs, rhs)
        lists = [ints(properties[key]) for key in _NUMBERS]
        layouts = [properties[key].data for key in _LAYOUTS]  # pyright: ignore[reportAttributeAccessIssue]
        spatial = "DHW"[3 - len(lists[0]) :]
        for layout, letters, type in zip(layouts, ("NC", "OI", "NC"), (lhs, rhs, None), strict=True):
            require(
                sorted(layout) == sorted(letters + spatial) and (type is None or len(type.get_shape()) == len(layout)),
                f"layout {layout} of {type or 'the result'} is no order of the letters {letters}{spatial}",
            )
        require(
            all(len(values) == len(spatial) for values in lists), f"prim.conv over {spatial} needs lists of that length"
        )
        strides, low, high, spread, dilation = lists
        require(min((*strides, *spread, *dilation), default=1) > 0, "strides and dilations are positive")
        x, w = sizes(lhs.get_shape(), layouts[0]), sizes(rhs.get_shape(), layouts[1])
        result = {"N": _groups(x, w, lhs, rhs, properties), "C": w["O"]}
        for axis, letter in enumerate(spatial):
            numbers = strides[axis], low[axis], high[axis], dilation[axis], spread[axis]
            result[letter] = windows(x[letter], w[letter], *numbers)
        return [tensor([result[letter] for letter in layouts[2]], lhs.element_type)]

    def product(self) -> Product:
        strides, low, _, spread, dilation = (ints(self.properties[key]) for key in _NUMBERS)
        kernel = sizes(shape_of(self.rhs), self.kernel_layout.data)
        result = sizes(shape_of(self.result), self.output_layout.data)
        groups = integer(self.feature_group_count) * integer(self.batch_group_count)
        spatial = self.spatial()
        taps = tuple(kernel[letter] for letter in spatial)
        return ConvProduct(
            groups=(groups,),
            rows=(result["N"], *(result[letter] for letter in spatial)),
            columns=(kernel["O"] // groups,),
            steps=(*taps, kernel["I"]),
            input_shape=shape_of(self.lhs),
            input_layout=self.input_layout.data,
            kernel_layout=self.kernel_layout.data,
            output_layout=self.output_layout.data,
            strides=strides,
            padding_low=low,
            lhs_dilation=spread,
            rhs_dilation=dilation,
            kernel_spatial=taps,
            batch_grouped=integer(self.batch_group_count) > 1,
            reverse_window=bool(self.reverse_window.value.data),
        )

    def reference(self, x: Array, w: Array) -> Sequence[Array]:
        strides, low, high, spread, dilation = (ints(self.properties[key]) for key in _NUMBERS)
        spatial = self.spatial()
        x = np.transpose(x, order(self.input_layout.data, "NC" + spatial))
        w = np.transpose(w, order(self.kernel_layout.data, "OI" + spatial))
        if self.reverse_window.value.data:
            w = np.flip(w, tuple(range(2, w.ndim)))
        both = (0, 0)
        x = spread_array(x, (1, 1, *spread), (*both, *low), (*both, *high), np.zeros((), x.dtype))
        view = window_view(x, (1, 1, *w.shape[2:]), (1, 1, *strides), (1, 1, *dilation))
        places = view.shape[2 : x.ndim]
        result = self._grouped_product(view.reshape(*view.shape[: x.ndim], *w.shape[2:]), w, places)
        return [np.transpose(result, order("NC" + spatial, self.output_layout.data))]

    def _grouped_product(self, view: Array, w: Array, places: tuple[int, ...]) -> Array:
        """(N, C, places..., window...) times (O, I, window...) as one matrix product per group."""
        features, batches = integer(self.feature_group_count), integer(self.batch_group_count)
        groups, rank = features * batches, len(places)
        n, c = view.shape[:2]
        split = view.reshape(batches, n // batches, features, c // features, *view.shape[2:])
        at = range(4, 4 + rank)
        # one group per (batch group, feature group): of these two counts one is 1
        axes = (0, 2, 1, *at, 3, *range(4 + rank, 4 + 2 * rank))
        inner = w[0].size
        left = split.transpose(axes).reshape(groups, n // batches * prod(places), inner)
        right = w.reshape(groups, w.shape[0] // groups, inner).transpose(0, 2, 1)
        product = _matmul(left, right).reshape(groups, n // batches, *places, w.shape[0] // groups)
        return product.transpose(1, 0, 2 + rank, *range(2, 2 + rank)).reshape(n // batches, w.shape[0], *places)

    def of(self, lhs: SSAValue, rhs: SSAValue, *, groups: int | None = None, layouts: Sequence[str] = ()) -> ConvOp:
        """The same convolution of other operands; in other layouts (input, kernel, result) or groups where given."""
        x, w, y = layouts or (self.input_layout.data, self.kernel_layout.data, self.output_layout.data)
        strides, low, high, spread, dilation = (ints(self.properties[key]) for key in _NUMBERS)
        return ConvOp(
            lhs,
            rhs,
            window_strides=strides,
            padding_low=low,
            padding_high=high,
            lhs_dilation=spread,
            rhs_dilation=dilation,
            feature_group_count=integer(self.feature_group_count) if groups is None else groups,
            batch_group_count=integer(self.batch_group_count),
            input_layout=x,
            kernel_layout=w,
            output_layout=y,
            reverse_window=bool(self.reverse_window.value.data),
        )

    def spatial(self) -> str:
        """The letters of the spatial dimensions, in the order of the lists."""
        return "DHW"[3 - len(ints(self.window_strides)) :]

    def vjp(self, cotangents: Cotangents, build: Builder) -> Gradients:
        from tstorch.dialects.prim.conv_gradient import input_gradient, kernel_gradient

        [g] = cotangents
        return [input_gradient(self, g, build), kernel_gradient(self, g, build)]

    def flops(self) -> int:
        w = sizes(shape_of(self.rhs), self.kernel_layout.data)
        return 2 * elements(self.result) * prod(size for letter, size in w.items() if letter != "O")

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        plain = {"window_strides": (1, 1), "padding_low": (0, 0), "padding_high": (0, 0)}
        same = {"window_strides": (1, 1), "padding_low": (1, 1), "padding_high": (1, 1)}
        yield Sample([(2, 3, 5, 6), (4, 3, 3, 2)], plain)
        yield Sample([(1, 2, 7, 5), (3, 2, 3, 3)], {**same, "window_strides": (2, 3), "padding_low": (1, 2)})
        yield Sample([(2, 3, 7, 6), (2, 3, 2, 3)], {**plain, "rhs_dilation": (3, 2), "window_strides": (1, 2)})
        yield Sample([(2, 4, 3, 3), (3, 4, 3, 3)], {**same, "lhs_dilation": (2, 3), "reverse_window": True})
        yield Sample([(2, 4, 5, 5), (6, 2, 3, 3)], {**same, "feature_group_count": 2, "window_strides": (2, 2)})
        yield Sample([(1, 3, 4, 4), (3, 1, 3, 3)], {**same, "feature_group_count": 3})
        yield Sample([(4, 3, 4, 4), (6, 3, 3, 3)], {**same, "batch_group_count": 2})
        nhwc = {"input_layout": "NHWC", "kernel_layout": "HWIO", "output_layout": "NHWC"}
        yield Sample([(2, 5, 6, 3), (3, 2, 3, 4)], {**plain, **nhwc})
        yield Sample([(2, 5, 6, 4), (3, 3, 2, 2)], {**same, **nhwc, "feature_group_count": 2})
        yield Sample([(1, 1, 4, 4), (1, 1, 3, 3)], {**plain, "padding_low": (-1, 2), "padding_high": (1, -1)})
        line = {"input_layout": "NCW", "kernel_layout": "OIW", "output_layout": "CNW"}
        yield Sample(
            [(2, 3, 8), (4, 3, 3)], {"window_strides": (2,), "padding_low": (1,), "padding_high": (0,), **line}
        )
        volume = {"input_layout": "NCDHW", "kernel_layout": "OIDHW", "output_layout": "NCDHW"}
        numbers = {"window_strides": (1, 2, 1), "padding_low": (0, 1, 0), "padding_high": (1, 0, 0)}
        yield Sample([(1, 2, 3, 4, 3), (2, 2, 2, 2, 2)], {**numbers, **volume})
        yield Sample([(1, 2, 4, 4), (3, 2, 3, 3)], same, types=[f16])
        yield Sample([(1, 2, 4, 4), (3, 2, 3, 3)], same, types=[i32], ranges=[(-9, 9)])


def sizes(shape: Sequence[int], layout: str) -> dict[str, int]:
    """The size of each dimension by its letter."""
    return dict(zip(layout, shape, strict=True))


def order(layout: str, wanted: str) -> list[int]:
    """The permutation that takes dimensions from one layout to another."""
    return [layout.index(letter) for letter in wanted]


def _groups(x: dict[str, int], w: dict[str, int], lhs: TensorType, rhs: TensorType, properties: Properties) -> int:
    """The result's batch size; raises VerifyException where groups and channels do not fit."""
    features, batches = (integer(properties[key]) for key in ("feature_group_count", "batch_group_count"))
    require(min(features, batches) == 1, "prim.conv groups features or the batch, not both")
    require(
        x["C"] == w["I"] * features,
        f"{lhs} has {x['C']} channels, the kernel {rhs} takes {w['I']} in each of {features} groups",
    )
    groups = features * batches
    require(w["O"] % groups == 0, f"{w['O']} output channels of {rhs} cannot be cut into {groups} groups")
    require(x["N"] % batches == 0, f"a batch of {x['N']} cannot be cut into {batches} groups")
    return x["N"] // batches
