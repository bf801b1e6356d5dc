"""Gives convolutions their channels last, and moves the transposes out of the way of everything else."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from xdsl.context import Context
from xdsl.dialects.builtin import UNKNOWN_LOC, ModuleOp, UnitAttr
from xdsl.ir import Operation, SSAValue

from tstorch.dialects.prim.base import ElementwiseOp
from tstorch.dialects.prim.contraction import ConvOp, DotGeneralOp
from tstorch.dialects.prim.operands import shape_of
from tstorch.dialects.prim.reduction import ReduceOp, ReduceWindowOp
from tstorch.dialects.prim.shape import (
    BroadcastInDimOp,
    ConcatenateOp,
    PadOp,
    ReshapeOp,
    SliceOp,
    TransposeOp,
    inverse,
)
from tstorch.dialects.prim.types import integer, ints
from tstorch.levels import Level
from tstorch.passes.base import TSTorchPass
from tstorch.passes.rewrite import Pattern, Rewriter, fused_location

Permutation = tuple[int, ...]
LANES = 4
MADE_HERE = "made_here"
"""Marks, while the pass runs, the transposes behind convolutions: the model knows nothing of them."""


class ConvChannelsLast(Pattern):
    """A convolution of channels first reads and writes channels last, between transposes."""

    def match_and_rewrite(self, op: ConvOp, rewriter: Rewriter) -> None:
        spatial = op.spatial()
        layouts = (op.input_layout.data, op.kernel_layout.data, op.output_layout.data)
        if layouts != ("NC" + spatial, "OI" + spatial, "NC" + spatial):
            return
        rank = len(spatial) + 2
        last = (0, *range(2, rank), 1)
        build = rewriter.builder(op)
        x = build.insert(TransposeOp(op.lhs, permutation=last)).result
        w = build.insert(TransposeOp(op.rhs, permutation=(*range(2, rank), 1, 0))).result
        conv = build.insert(op.of(x, w, layouts=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C")))
        back = TransposeOp(conv.result, permutation=inverse(last))
        back.attributes[MADE_HERE] = UnitAttr()
        rewriter.replace(op, back)


class ConvOfPatches(Pattern):
    """A convolution that cuts its input into patches, of channels too few to be read side by side, is a product."""

    def match_and_rewrite(self, op: ConvOp, rewriter: Rewriter) -> None:
        if (patch := _patch(op)) is None:
            return
        build = rewriter.builder(op)
        batch, channels, *image = shape_of(op.lhs)
        cut = [part for size, side in zip(image, patch, strict=True) for part in (size // side, side)]
        axes = range(2, 2 + len(cut), 2)
        moved = [0, *axes, 1, *(axis + 1 for axis in axes)]
        pixels, places = [size // side for size, side in zip(image, patch, strict=True)], channels * prod(patch)
        split = build.insert(ReshapeOp(op.lhs, shape=[batch, channels, *cut])).result
        ordered = build.insert(TransposeOp(split, permutation=moved)).result
        rows = build.insert(ReshapeOp(ordered, shape=[batch * prod(pixels), places])).result
        outputs = shape_of(op.rhs)[0]
        kernel = build.insert(ReshapeOp(op.rhs, shape=[outputs, places])).result
        columns = build.insert(TransposeOp(kernel, permutation=[1, 0])).result
        product = DotGeneralOp(rows, columns, lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[0])
        last = build.insert(ReshapeOp(build.insert(product).result, shape=[batch, *pixels, outputs])).result
        back = TransposeOp(last, permutation=[0, len(patch) + 1, *range(1, len(patch) + 1)])
        back.attributes[MADE_HERE] = UnitAttr()
        rewriter.replace(op, back)


def _patch(op: ConvOp) -> tuple[int, ...] | None:
    """The sides of the patches that a convolution of few channels first cuts its input into; None for any other."""
    spatial, sides = op.spatial(), shape_of(op.rhs)[2:]
    layouts = (op.input_layout.data, op.kernel_layout.data, op.output_layout.data)
    plain = layouts == ("NC" + spatial, "OI" + spatial, "NC" + spatial) and not op.reverse_window.value.data
    groups = integer(op.feature_group_count) * integer(op.batch_group_count)
    padding = (*ints(op.padding_low), *ints(op.padding_high))
    dilation = (*ints(op.lhs_dilation), *ints(op.rhs_dilation))
    apart = ints(op.window_strides) == sides and not any(padding) and set(dilation) == {1}
    whole = not any(size % side for size, side in zip(shape_of(op.lhs)[2:], sides, strict=True))
    few = shape_of(op.lhs)[1] % LANES != 0 and prod(sides) >= LANES
    return sides if plain and groups == 1 and apart and whole and few else None


class SinkBelowElementwise(Pattern):
    """Elementwise ops of transposed operands work on what was transposed, and their result is transposed."""

    root = ElementwiseOp

    def match_and_rewrite(self, op: ElementwiseOp, rewriter: Rewriter) -> None:
        permutation = next((p for value in op.operands if (p := moved_by(value))), None)
        if permutation is None:
            return
        if stranger := next((v for v in op.operands if not _follows(v, permutation)), None):
            return rewriter.missed(
                op,
                "TST-L001",
                f"the transpose ahead of it stays there: another operand, {stranger.type}, comes in its own order",
                suggest="export both operands of the node in one layout",
            )
        operands = [_before(value, permutation, op, rewriter) for value in op.operands]
        again = op.create(
            operands=operands,
            result_types=[type(op).infer_types([v.type for v in operands], op.properties)[0]],  # pyright: ignore[reportArgumentType]
            properties=dict(op.properties),
        )
        _replace(op, again, permutation, rewriter)


class SinkBelowWindow(Pattern):
    """A window slides over what was transposed."""

    def match_and_rewrite(self, op: ReduceWindowOp, rewriter: Rewriter) -> None:
        if permutation := moved_by(op.operand):
            lists = ("window", "strides", "padding_low", "padding_high", "window_dilation", "base_dilation")
            moved = {key: _back(ints(op.properties[key]), permutation) for key in lists}
            again = ReduceWindowOp(source(op.operand), kind=op.kind.data.value, **moved)
            _replace(op, again, permutation, rewriter)


class SinkBelowReduce(Pattern):
    """What was transposed is reduced; the dimensions left over are put in order."""

    def match_and_rewrite(self, op: ReduceOp, rewriter: Rewriter) -> None:
        if not (permutation := moved_by(op.operand)):
            return
        dropped = ints(op.dimensions)
        reduced = sorted(permutation[axis] for axis in dropped)
        kept = [permutation[axis] for axis in range(len(permutation)) if axis not in dropped]
        again = ReduceOp(source(op.operand), dimensions=reduced, kind=op.kind.data.value)
        left = sorted(kept)
        _replace(op, again, tuple(left.index(axis) for axis in kept), rewriter)


class SinkBelowConcatenate(Pattern):
    """What was transposed alike is joined, along the dimension that became the joined one."""

    def match_and_rewrite(self, op: ConcatenateOp, rewriter: Rewriter) -> None:
        permutations = {moved_by(value) for value in op.inputs}
        if len(permutations) == 1 and (permutation := permutations.pop()):
            axis = permutation[integer(op.dimension)]
            _replace(op, ConcatenateOp(*map(source, op.inputs), dimension=axis), permutation, rewriter)


class SinkBelowCut(Pattern):
    """What was transposed is cut or padded."""

    root = (SliceOp, PadOp)

    def match_and_rewrite(self, op: SliceOp | PadOp, rewriter: Rewriter) -> None:
        if not (permutation := moved_by(op.operand)):
            return
        if isinstance(op, SliceOp):
            lists = {key: _back(ints(op.properties[key]), permutation) for key in ("start", "limit", "stride")}
            again: Operation = SliceOp(source(op.operand), **lists)
        else:
            lists = {key: _back(ints(op.properties[key]), permutation) for key in ("low", "high", "interior")}
            again = PadOp(source(op.operand), op.value, **lists)
        _replace(op, again, permutation, rewriter)


class TransposeAsReshape(Pattern):
    """A transpose that only moves dimensions of size 1 is a reshape, which costs nothing."""

    def match_and_rewrite(self, op: TransposeOp, rewriter: Rewriter) -> None:
        shape = shape_of(op.operand)
        order = [axis for axis in ints(op.permutation) if shape[axis] > 1]
        if order == sorted(order):
            view = ReshapeOp(op.operand, shape=shape_of(op.result))
            view.attributes.update(op.attributes)
            rewriter.replace(op, view)


@dataclass(frozen=True)
class PropagateLayoutPass(TSTorchPass):
    """Gives convolutions their channels last, and moves the transposes out of the way of everything else.

    With channels last, neighbouring invocations read and write neighbouring words whatever the stride, and transposed
    weights are made once, at load. Between two convolutions the transposes cancel; what is left over stands at
    the model's edges. A convolution of few channels that cuts its input into patches becomes a product. Declines where
    an elementwise op also reads something in an order of its own.

        // before
        func.func @main(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x1x1xf32>) -> tensor<1x4x8x8xf32> {
          %c = prim.conv %x, %w, layout = "NCHW" x "OIHW" to "NCHW",
              window_strides = [1, 1], padding_low = [0, 0], padding_high = [0, 0], lhs_dilation = [1, 1],
              rhs_dilation = [1, 1], feature_group_count = 1, batch_group_count = 1, reverse_window = false
              : tensor<1x3x8x8xf32>, tensor<4x3x1x1xf32> -> tensor<1x4x8x8xf32>
          %r = prim.exp %c : tensor<1x4x8x8xf32>
          func.return %r : tensor<1x4x8x8xf32>
        }
        // after
        func.func @main(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x1x1xf32>) -> tensor<1x4x8x8xf32> {
          %0 = prim.transpose %x, permutation = [0, 2, 3, 1] : tensor<1x3x8x8xf32> -> tensor<1x8x8x3xf32>
          %1 = prim.transpose %w, permutation = [2, 3, 1, 0] : tensor<4x3x1x1xf32> -> tensor<1x1x3x4xf32>
          %c = prim.conv %0, %1, layout = "NHWC" x "HWIO" to "NHWC",
              window_strides = [1, 1], padding_low = [0, 0], padding_high = [0, 0], lhs_dilation = [1, 1],
              rhs_dilation = [1, 1], feature_group_count = 1, batch_group_count = 1, reverse_window = false
              : tensor<1x8x8x3xf32>, tensor<1x1x3x4xf32> -> tensor<1x8x8x4xf32>
          %r = prim.exp %c : tensor<1x8x8x4xf32>
          %2 = prim.transpose %r, permutation = [0, 3, 1, 2] : tensor<1x8x8x4xf32> -> tensor<1x4x8x8xf32>
          func.return %2 : tensor<1x4x8x8xf32>
        }
    """

    name = "propagate-layout"
    requires = ensures = Level.PRIM
    patterns = (
        ConvOfPatches,
        ConvChannelsLast,
        TransposeAsReshape,
        SinkBelowElementwise,
        SinkBelowWindow,
        SinkBelowReduce,
        SinkBelowConcatenate,
        SinkBelowCut,
    )

    def apply(self, ctx: Context, module: ModuleOp) -> None:
        super().apply(ctx, module)
        for op in module.walk():
            if op.attributes.pop(MADE_HERE, None):
                # Where it ends up it is work for whoever wants the first order again, not for the convolution.
                readers = fused_location(use.operation.location for use in op.results[0].uses)
                op.location = op.location if readers == UNKNOWN_LOC else readers


def moved_by(value: SSAValue) -> Permutation | None:
    """The permutation of the transpose that makes the value; None for any other value."""
    return ints(value.owner.permutation) if isinstance(value.owner, TransposeOp) else None


def source(value: SSAValue) -> SSAValue:
    """What a transposed value was before."""
    return value.owner.operands[0] if isinstance(value.owner, TransposeOp) else value


def _follows(value: SSAValue, permutation: Permutation) -> bool:
    return moved_by(value) == permutation or isinstance(value.owner, BroadcastInDimOp)


def _before(value: SSAValue, permutation: Permutation, op: Operation, rewriter: Rewriter) -> SSAValue:
    """The operand as it is in the order before the transpose; a broadcast spreads along the moved dimensions."""
    owner = value.owner
    if not isinstance(owner, BroadcastInDimOp):
        return source(value)
    shape = _back(shape_of(value), permutation)
    dimensions = [permutation[axis] for axis in ints(owner.dimensions)]
    spread = BroadcastInDimOp(owner.operand, shape=shape, dimensions=dimensions)
    spread.location = owner.location
    return rewriter.builder(op).insert(spread).result


def _back(numbers: Sequence[int], permutation: Permutation) -> list[int]:
    """One number per dimension, in the order before the transpose."""
    return [numbers[axis] for axis in inverse(permutation)]


def _replace(op: Operation, again: Operation, permutation: Permutation, rewriter: Rewriter) -> None:
    """`op` becomes the transposed result of `again`. It keeps its name, and so does a transpose of the model."""
    moved = [value.owner for value in op.operands if moved_by(value)]
    named = [each for each in moved if isinstance(each, Operation) and MADE_HERE not in each.attributes]
    again.location = op.location
    rewriter.insert_before(op, again)
    transpose = TransposeOp(again.results[0], permutation=permutation)
    transpose.location = fused_location(each.location for each in named or moved if isinstance(each, Operation))
    if not named:
        transpose.attributes[MADE_HERE] = UnitAttr()
    rewriter.replace(op, transpose)
