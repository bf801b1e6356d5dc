"""Cuts sums over much that have few results, so that more of a device works on each."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, f16, f32
from xdsl.dialects.func import FuncOp
from xdsl.ir import SSAValue

from tstorch.dialects.prim.contraction import ConvOp, DotGeneralOp, sizes
from tstorch.dialects.prim.elementwise import ConvertOp, MulOp
from tstorch.dialects.prim.operands import element_of, shape_of
from tstorch.dialects.prim.reduction import ReduceOp
from tstorch.dialects.prim.shape import BroadcastInDimOp, ReshapeOp, TransposeOp
from tstorch.dialects.prim.types import integer, ints
from tstorch.levels import Level
from tstorch.passes.base import TSTorchPass
from tstorch.passes.rewrite import Pattern, Rewriter, apply_patterns
from tstorch.passes.rewrite_log import rewrite_log
from tstorch.target import get_target

# A workgroup's part of the result, and how many workgroups a unit keeps busy: measured on a card of 132 units.
_TILE = 64
_WORKGROUPS_PER_UNIT = 3.3
_ENOUGH_PER_UNIT = 0.75
_SHORT_SUM = 256
_LEAST_STEPS = 96
_ROUND = 16
_ROWS = (256, 192, 128, 96, 64, 48, 32)
_PARTS = (32, 24, 18, 16, 12, 9, 8, 6, 4, 3, 2)


@dataclass(frozen=True)
class SplitReductionPass(TSTorchPass):
    """Cuts products that sum over much and have few results: each part becomes a group of its own, then they are added.

    How many parts: as many as keep the device's units busy, while each still sums over enough. A convolution is cut by
    its input channels, into groups whose weights are rearranged, at load where they are weights; a matrix product by
    the dimension it sums over; a matrix with a vector becomes one sum a row; a sum or extreme of a whole tensor one of
    each of its rows, and one of these. The sum of the parts is a reduction, which carries what follows. Declines on a
    device whose units are not known, results that fill it anyway, sums that cannot be cut evenly, and types other than
    f32 and f16, whose parts are f32.

        // before, with {units=8}
        func.func @main(%x: tensor<4x1024xf32>, %w: tensor<1024x8xf32>) -> tensor<4x8xf32> {
          %r = prim.dot_general %x, %w, batch = [] x [], contract = [1] x [0]
              : tensor<4x1024xf32>, tensor<1024x8xf32> -> tensor<4x8xf32> loc("/fc")
          func.return %r : tensor<4x8xf32>
        }
        // after
        func.func @main(%x: tensor<4x1024xf32>, %w: tensor<1024x8xf32>) -> tensor<4x8xf32> {
          %0 = prim.reshape %x, shape = [4, 8, 128] : tensor<4x1024xf32> -> tensor<4x8x128xf32> loc("/fc")
          %1 = prim.reshape %w, shape = [8, 128, 8] : tensor<1024x8xf32> -> tensor<8x128x8xf32> loc("/fc")
          %2 = prim.dot_general %0, %1, batch = [1] x [0], contract = [2] x [1]
              : tensor<4x8x128xf32>, tensor<8x128x8xf32> -> tensor<8x4x8xf32> loc("/fc")
          %r = prim.reduce add %2, dimensions = [0] : tensor<8x4x8xf32> -> tensor<4x8xf32> loc("/fc")
          func.return %r : tensor<4x8xf32>
        }
    """

    name = "split-reduction"
    requires = ensures = Level.PRIM

    units: int = 0
    """Compute units of the device; 0 asks the target."""

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        units = self.units or get_target(module).units
        if units > 1:
            apply_patterns(
                module,
                [SplitConv(units), SumAlongRows(), SplitDot(units), SplitWhole(units)],
                pass_name=self.name,
                log=rewrite_log(ctx),
            )


def parts(rows: int, columns: int, steps: int, length: int, units: int, groups: int = 1) -> int:
    """Into how many parts to cut a sum over `steps`, of which a dimension of `length` can be cut; 1 leaves it whole."""
    workgroups = ceil(rows / _TILE) * ceil(columns / _TILE) * groups
    if workgroups >= _ENOUGH_PER_UNIT * units and steps <= _SHORT_SUM:
        return 1
    fitting = [
        count
        for count in _PARTS
        if workgroups * count <= _WORKGROUPS_PER_UNIT * units
        and steps / count >= _LEAST_STEPS
        and length % (4 * count) == 0
    ]
    # Parts of whole rounds pass through workgroup memory; they are few times fewer, if at all.
    rounds = [count for count in fitting if length % (_ROUND * count) == 0 and 2 * count >= fitting[0]]
    return next(iter((*rounds, *fitting)), 1)


@dataclass(frozen=True)
class SplitConv(Pattern):
    """A convolution, cut by its input channels: the parts are groups of one convolution."""

    units: int

    def match_and_rewrite(self, op: ConvOp, rewriter: Rewriter, /) -> None:
        groups = integer(op.feature_group_count) * integer(op.batch_group_count)
        if groups > 1 or not _is_splittable(op):
            return
        product, channels = op.product(), sizes(shape_of(op.rhs), op.kernel_layout.data)["I"]
        shape = prod(product.rows), prod(product.columns), prod(product.steps)
        count = parts(*shape, channels, self.units)
        if count == 1:
            return
        build = rewriter.builder(op)
        kernel = _single(_grouped_kernel(op, count, build), build)
        wide = build.insert(op.of(_single(op.lhs, build), kernel, groups=count)).result
        at = op.output_layout.data.index("C")
        whole = list(shape_of(op.result))
        cut = build.insert(ReshapeOp(wide, shape=[*whole[:at], count, *whole[at:]])).result
        rewriter.passed(op, "TST-F040", f"{count} parts: its {shape[0] * shape[1]} results do not fill the device")
        total = build.insert(ReduceOp(cut, dimensions=[at], kind="add")).result
        return rewriter.replace(op, _as(op.result, total, build))


def _grouped_kernel(op: ConvOp, count: int, build: Builder) -> SSAValue:
    """The kernel with its input channels in `count` parts, each part's output channels one behind the other."""
    layout, shape = op.kernel_layout.data, shape_of(op.rhs)
    inner, outer = layout.index("I"), layout.index("O")
    split = _cut(op.rhs, inner, count, build)
    order = [axis for axis in range(len(shape) + 1) if axis != inner]
    order.insert(order.index(outer + (outer > inner)), inner)
    moved = build.insert(TransposeOp(split, permutation=order)).result
    merged = list(shape)
    merged[inner], merged[outer] = shape[inner] // count, shape[outer] * count
    return build.insert(ReshapeOp(moved, shape=merged)).result


@dataclass(frozen=True)
class SplitDot(Pattern):
    """Matrix products, cut along the one dimension that they sum over: the parts are further batches."""

    units: int

    def match_and_rewrite(self, op: DotGeneralOp, rewriter: Rewriter, /) -> None:
        if (summed := _summed(op)) is None:
            return
        lhs, rhs = summed
        product, length = op.product(), shape_of(op.lhs)[lhs]
        groups = prod(product.groups)
        count = parts(prod(product.rows), prod(product.columns), length, length, self.units, groups)
        if count == 1:
            return
        build = rewriter.builder(op)
        left, right = (_single(_cut(side, at, count, build), build) for side, at in ((op.lhs, lhs), (op.rhs, rhs)))
        wide = DotGeneralOp(
            left,
            right,
            lhs_batch=[*_shifted(ints(op.lhs_batch), lhs), lhs],
            rhs_batch=[*_shifted(ints(op.rhs_batch), rhs), rhs],
            lhs_contract=[lhs + 1],
            rhs_contract=[rhs + 1],
        )
        total = build.insert(ReduceOp(build.insert(wide).result, dimensions=[len(product.groups)], kind="add")).result
        results = prod(shape_of(op.result))
        rewriter.passed(op, "TST-F040", f"{count} parts: its {results} results do not fill the device")
        return rewriter.replace(op, _as(op.result, total, build))


def _shifted(dimensions: Sequence[int], cut: int) -> list[int]:
    """Where dimensions stand behind one that was cut in two."""
    return [each + (each > cut) for each in dimensions]


class SumAlongRows(Pattern):
    """A matrix with one vector, where the matrix's rows lie along the sum: invocations share each row's sum."""

    def match_and_rewrite(self, op: DotGeneralOp, rewriter: Rewriter, /) -> None:
        if (summed := _summed(op)) is None or ints(op.lhs_batch):
            return None
        lhs, rhs = summed
        steps = shape_of(op.lhs)[lhs]
        for matrix, axis, vector in ((op.rhs, rhs, op.lhs), (op.lhs, lhs, op.rhs)):
            shape = shape_of(matrix)
            if prod(shape_of(vector)) == steps >= _SHORT_SUM // 2 and axis == len(shape) - 1 and prod(shape) > steps:
                build = rewriter.builder(op)
                line = _single(build.insert(ReshapeOp(vector, shape=[steps])).result, build)
                spread = build.insert(BroadcastInDimOp(line, shape=shape, dimensions=[axis])).result
                terms = build.insert(MulOp(spread, _single(matrix, build))).result
                sums = build.insert(ReduceOp(terms, dimensions=[axis], kind="add")).result
                rewriter.passed(op, "TST-F041", f"{prod(shape[:-1])} sums of {steps} products, each shared")
                result = build.insert(ReshapeOp(sums, shape=shape_of(op.result))).result
                return rewriter.replace(op, _as(op.result, result, build))
        return None


@dataclass(frozen=True)
class SplitWhole(Pattern):
    """What all elements of a tensor come to, which is one row: cut into parts, of which each is a row."""

    units: int

    def match_and_rewrite(self, op: ReduceOp, rewriter: Rewriter, /) -> None:
        length, kind = prod(shape_of(op.operand)), op.kind.data.value
        count = next((count for count in _ROWS if length % count == 0 and length >= count * _SHORT_SUM), 1)
        if prod(shape_of(op.result)) > 1 or count == 1 or count > _WORKGROUPS_PER_UNIT * self.units:
            return
        if not _is_splittable(op):
            return
        build = rewriter.builder(op)
        rows = build.insert(ReshapeOp(op.operand, shape=[count, length // count])).result
        whole = _single(rows, build) if kind == "add" else rows
        some = build.insert(ReduceOp(whole, dimensions=[1], kind=kind)).result
        total = build.insert(ReduceOp(some, dimensions=[0], kind=kind)).result
        shaped = build.insert(ReshapeOp(total, shape=shape_of(op.result))).result
        rewriter.passed(op, "TST-F042", f"{count} parts: one row of {length} elements is one workgroup's work")
        rewriter.replace(op, _as(op.result, shaped, build) if kind == "add" else shaped)


def _is_splittable(op: ConvOp | DotGeneralOp | ReduceOp) -> bool:
    """Whether the op is a kernel's own, of floats: what a scan's step or a rule's group holds is left to that."""
    return isinstance(op.parent_op(), FuncOp) and element_of(op.result) in (f16, f32)


def _single(value: SSAValue, build: Builder) -> SSAValue:
    """The value as f32: parts of a sum are kept whole, and only the sum is rounded."""
    return value if element_of(value) == f32 else build.insert(ConvertOp(value, element_type=f32)).result


def _as(like: SSAValue, value: SSAValue, build: Builder) -> SSAValue:
    """The value in the element type of another."""
    return value if element_of(like) == f32 else build.insert(ConvertOp(value, element_type=element_of(like))).result


def _summed(op: DotGeneralOp) -> tuple[int, int] | None:
    """The one dimension of each factor that a splittable product sums over; None for any other."""
    lhs, rhs = ints(op.lhs_contract), ints(op.rhs_contract)
    return (lhs[0], rhs[0]) if len(lhs) == 1 and _is_splittable(op) else None


def _cut(value: SSAValue, axis: int, count: int, build: Builder) -> SSAValue:
    """The value with one dimension as `count` parts, and what is in each."""
    shape = shape_of(value)
    cut = [*shape[:axis], count, shape[axis] // count, *shape[axis + 1 :]]
    return build.insert(ReshapeOp(value, shape=cut)).result
