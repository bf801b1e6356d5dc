"""The two gradients of a convolution, which are convolutions themselves.

Along one spatial dimension, with the input spread by b, padding p, stride s and kernel dilation d,

    out[o] = sum over k of x[(o * s + k * d - p) / b] * w[k]

so x's gradient slides the reversed kernel over the cotangent spread by s, and w's gradient slides the cotangent,
dilated by s, over the input spread by b with stride d. Groups change places: what are feature groups going forward are
batch groups in the kernel's gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.builder import Builder
from xdsl.ir import SSAValue

from tstorch.dialects.prim.contraction import ConvOp, sizes
from tstorch.dialects.prim.operands import shape_of
from tstorch.dialects.prim.shape import ReshapeOp, ReverseOp, TransposeOp
from tstorch.dialects.prim.types import integer, ints


class _Geometry:
    """The numbers of a convolution, per spatial dimension."""

    def __init__(self, conv: ConvOp):
        self.letters = conv.spatial()
        self.strides, self.low = ints(conv.window_strides), ints(conv.padding_low)
        self.spread, self.dilation = ints(conv.lhs_dilation), ints(conv.rhs_dilation)
        self.size = self._spatial(conv.lhs, conv.input_layout.data)
        self.window = self._spatial(conv.rhs, conv.kernel_layout.data)
        self.places = self._spatial(conv.result, conv.output_layout.data)

    def _spatial(self, value: SSAValue, layout: str) -> list[int]:
        named = sizes(shape_of(value), layout)
        return [named[letter] for letter in self.letters]

    def extent(self, count: Sequence[int], step: Sequence[int]) -> list[int]:
        """From the first to the last of `count` elements `step` apart."""
        return [(n - 1) * s + 1 for n, s in zip(count, step, strict=True)]


def input_gradient(conv: ConvOp, g: SSAValue, build: Builder) -> SSAValue:
    """The cotangent of the input from that of the result."""
    if (batches := integer(conv.batch_group_count)) > 1:
        gradient = input_gradient(_as_features(conv, build), g, build)
        return _split(gradient, conv.input_layout.data, "C", "N", batches, build)
    at = _Geometry(conv)
    reach = [e - 1 for e in at.extent(at.window, at.dilation)]
    low = [r - p for r, p in zip(reach, at.low, strict=True)]
    needed = zip(at.extent(at.size, at.spread), reach, low, at.extent(at.places, at.strides), strict=True)
    high = [e + r - a - seen for e, r, a, seen in needed]
    groups = integer(conv.feature_group_count)
    kernel, layout = _swapped_kernel(conv, groups, build)
    op = ConvOp(
        g, kernel, window_strides=at.spread, padding_low=low, padding_high=high, lhs_dilation=at.strides,
        rhs_dilation=at.dilation, feature_group_count=groups, input_layout=conv.output_layout.data,
        kernel_layout=layout, output_layout=conv.input_layout.data, reverse_window=not conv.reverse_window.value.data,
    )  # fmt: skip
    return build.insert(op).result


def kernel_gradient(conv: ConvOp, g: SSAValue, build: Builder) -> SSAValue:
    """The cotangent of the kernel from that of the result."""
    if integer(conv.batch_group_count) > 1:
        return kernel_gradient(_as_features(conv, build), g, build)
    at = _Geometry(conv)
    reach = zip(at.extent(at.window, at.dilation), at.extent(at.places, at.strides), strict=True)
    needed = [k + o - 1 for k, o in reach]
    high = [n - e - p for n, e, p in zip(needed, at.extent(at.size, at.spread), at.low, strict=True)]
    op = ConvOp(
        conv.lhs, g, window_strides=at.dilation, padding_low=at.low, padding_high=high, lhs_dilation=at.spread,
        rhs_dilation=at.strides, batch_group_count=integer(conv.feature_group_count),
        input_layout=_renamed(conv.input_layout.data, "NC", "CN"),
        kernel_layout=_renamed(conv.output_layout.data, "NC", "IO"),
        output_layout=_renamed(conv.kernel_layout.data, "OI", "CN"),
    )  # fmt: skip
    gradient = build.insert(op).result
    if not conv.reverse_window.value.data:
        return gradient
    axes = sorted(conv.kernel_layout.data.index(letter) for letter in at.letters)
    return build.insert(ReverseOp(gradient, dimensions=axes)).result


def _renamed(layout: str, old: str, new: str) -> str:
    return layout.translate(str.maketrans(old, new))


def _swapped_kernel(conv: ConvOp, groups: int, build: Builder) -> tuple[SSAValue, str]:
    """The kernel with its two channel dimensions in each other's place, group by group, and its layout."""
    layout = conv.kernel_layout.data
    if groups == 1:
        return conv.rhs, _renamed(layout, "OI", "IO")
    # (groups * o, i) becomes (groups * i, o): a transpose within each group
    kernel = _split(conv.rhs, layout, "O", "I", groups, build)
    return kernel, _renamed(layout, "OI", "IO")


def _split(value: SSAValue, layout: str, source: str, target: str, groups: int, build: Builder) -> SSAValue:
    """Moves an outer factor `groups` from dimension `source` to dimension `target`, as its outer factor."""
    shape, take, give = list(shape_of(value)), layout.index(source), layout.index(target)
    apart = [*shape[:take], groups, shape[take] // groups, *shape[take + 1 :]]
    spread = build.insert(ReshapeOp(value, shape=apart)).result
    rest = [axis for axis in range(len(apart)) if axis != take]
    permutation = [*rest[:give], take, *rest[give:]]
    moved = build.insert(TransposeOp(spread, permutation=permutation)).result
    shape[take] //= groups
    shape[give] *= groups
    return build.insert(ReshapeOp(moved, shape=shape)).result


def _as_features(conv: ConvOp, build: Builder) -> ConvOp:
    """The same convolution with the groups of its batch as groups of channels."""
    batches = integer(conv.batch_group_count)
    keywords = {
        key: ints(conv.properties[key])
        for key in ("window_strides", "padding_low", "padding_high", "lhs_dilation", "rhs_dilation")
    }
    layouts = {key: conv.properties[key].data for key in ("input_layout", "kernel_layout", "output_layout")}  # pyright: ignore[reportAttributeAccessIssue]
    moved = _split(conv.lhs, conv.input_layout.data, "N", "C", batches, build)
    flipped = bool(conv.reverse_window.value.data)
    op = ConvOp(moved, conv.rhs, feature_group_count=batches, reverse_window=flipped, **keywords, **layouts)
    return build.insert(op)
