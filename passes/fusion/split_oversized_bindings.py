"""Cuts weights that one binding cannot hold."""

from dataclasses import dataclass
from math import gcd

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, TensorType, i32, i64
from xdsl.ir import SSAValue

from tstorch.dialects.buf import storage_bytes
from tstorch.dialects.prim.contraction import DotGeneralOp
from tstorch.dialects.prim.elementwise import AddOp
from tstorch.dialects.prim.formula import Formula
from tstorch.dialects.prim.indexing import GatherOp
from tstorch.dialects.prim.shape import BroadcastInDimOp, ConcatenateOp, ReshapeOp, SliceOp, TransposeOp
from tstorch.dialects.prim.types import integer, ints, ui32
from tstorch.dialects.prim.weight import WeightOp
from tstorch.levels import Level
from tstorch.passes.base import TSTorchPass
from tstorch.passes.rewrite import Pattern, Rewriter, apply_patterns
from tstorch.passes.rewrite_log import rewrite_log
from tstorch.target import get_target

ALIGNMENT = 256


@dataclass(frozen=True)
class Side:
    """The weight of a product, the other factor, and the dimensions of both."""

    weight: SSAValue
    other: SSAValue
    on_the_right: bool
    batch: tuple[int, ...]
    contract: tuple[int, ...]
    other_contract: tuple[int, ...]

    @classmethod
    def of(cls, op: DotGeneralOp, limit: int) -> "Side | None":
        """The side whose weight is larger than the limit; None where neither is."""
        lists = [ints(each) for each in (op.lhs_batch, op.lhs_contract, op.rhs_batch, op.rhs_contract)]
        lhs_batch, lhs_contract, rhs_batch, rhs_contract = lists
        if _is_oversized(op.rhs, limit):
            return cls(op.rhs, op.lhs, True, rhs_batch, rhs_contract, lhs_contract)
        if _is_oversized(op.lhs, limit):
            return cls(op.lhs, op.rhs, False, lhs_batch, lhs_contract, rhs_contract)
        return None

    def product(self, op: DotGeneralOp, weight: SSAValue, other: SSAValue) -> DotGeneralOp:
        """The same product of other factors."""
        lhs, rhs = (other, weight) if self.on_the_right else (weight, other)
        return DotGeneralOp(
            lhs,
            rhs,
            lhs_batch=ints(op.lhs_batch),
            rhs_batch=ints(op.rhs_batch),
            lhs_contract=ints(op.lhs_contract),
            rhs_contract=ints(op.rhs_contract),
        )


@dataclass(frozen=True)
class SplitProduct(Pattern):
    """A product with a weight that no binding holds: along what it keeps, or along what it sums over."""

    limit: int

    def match_and_rewrite(self, op: DotGeneralOp, rewriter: Rewriter, /) -> None:
        side = Side.of(op, self.limit)
        if side is None:
            return
        pieces = cuts(side.weight, self.limit)
        if 0 in side.batch or pieces is None:
            return rewriter.missed(
                op, "TST-F021", "its weight is cut along its first dimension only, which is a batch or too small"
            )
        build = rewriter.builder(op)
        results: list[SSAValue] = []
        for start, limit in pieces:
            weight = build.insert(slice_of(side.weight, 0, start, limit)).result
            other = side.other
            if 0 in side.contract:
                axis = side.other_contract[side.contract.index(0)]
                other = build.insert(slice_of(other, axis, start, limit)).result
            results.append(build.insert(side.product(op, weight, other)).result)
        if 0 in side.contract:
            whole = results[0]
            for part in results[1:]:
                whole = build.insert(AddOp(whole, part)).result
        else:
            whole = build.insert(ConcatenateOp(*results, dimension=_kept_dimension(op, side))).result
        rewriter.passed(op, "TST-F020", f"{len(pieces)} products: no binding of the target holds the whole weight")
        return rewriter.replace(op, whole)


@dataclass(frozen=True)
class ReadUntransposed(Pattern):
    """A product with the transpose of such a weight, as a tied embedding's: it reads the weight as it stands."""

    limit: int

    def match_and_rewrite(self, op: DotGeneralOp, rewriter: Rewriter, /) -> None:
        for on_the_right, factor in ((True, op.rhs), (False, op.lhs)):
            transpose = factor.owner
            if isinstance(transpose, TransposeOp) and _is_oversized(transpose.operand, self.limit):
                new = _untransposed(op, transpose, on_the_right)
                if new is not None:
                    return rewriter.replace(op, new)
                rewriter.missed(
                    op, "TST-F024", "its weight is transposed, and the product keeps dimensions in that order"
                )
        return None


@dataclass(frozen=True)
class SplitGather(Pattern):
    """Rows looked up in a weight that no binding holds: looked up in each part, and the right one chosen."""

    limit: int

    def match_and_rewrite(self, op: GatherOp, rewriter: Rewriter, /) -> None:
        if not _is_oversized(op.operand, self.limit):
            return
        by_row = ints(op.start_index_map) == (0,) and ints(op.slice_sizes)[0] == 1
        pieces = cuts(op.operand, self.limit) if by_row else None
        if pieces is None:
            return rewriter.missed(
                op, "TST-F022", "its weight is cut along its first dimension only, and it looks up by another"
            )
        build = rewriter.builder(op)
        rows = _wide(Formula(op.indices, build))
        found: Formula | None = None
        for start, limit in pieces:
            part = build.insert(slice_of(op.operand, 0, start, limit)).result
            within = rows if start == 0 else rows - start
            here = Formula(build.insert(_same_gather(op, part, within.value)).result, build)
            found = here if found is None else _from_row(op, rows, start).select(here, found)
        assert found is not None
        rewriter.passed(op, "TST-F023", f"{len(pieces)} look-ups: no binding of the target holds the whole weight")
        return rewriter.replace(op, found.value)


@dataclass(frozen=True)
class SplitOversizedBindingsPass(TSTorchPass):
    """Cuts weights that one binding cannot hold: a matrix product becomes several, each with a part of the weight.

    A part is a run of rows, so it is a view of the stored weight. Where the weight's first dimension is kept, the
    parts' results stand side by side; where it is summed over, they are added up; a transpose on the way is read
    through. Rows that are looked up, as in an
    embedding, are looked up in every part, and the index says which one holds. Other uses of such a weight are left,
    and `convert-flow-to-buf` refuses them by name.

        // before, with {limit=2048}
        func.func @main(%x: tensor<1x64xf32>) -> tensor<1x16xf32> {
          %w = prim.weight<"m.onnx", "fc", "9f2c"> : tensor<16x64xf32>
          %r = prim.dot_general %x, %w, batch = [] x [], contract = [1] x [1]
              : tensor<1x64xf32>, tensor<16x64xf32> -> tensor<1x16xf32> loc("/fc")
          func.return %r : tensor<1x16xf32>
        }
        // after
        func.func @main(%x: tensor<1x64xf32>) -> tensor<1x16xf32> {
          %w = prim.weight<"m.onnx", "fc", "9f2c"> : tensor<16x64xf32>
          %0 = prim.slice %w, start = [0, 0], limit = [8, 64], stride = [1, 1] : tensor<16x64xf32> -> tensor<8x64xf32>
          %1 = prim.dot_general %x, %0, batch = [] x [], contract = [1] x [1]
              : tensor<1x64xf32>, tensor<8x64xf32> -> tensor<1x8xf32> loc("/fc")
          %2 = prim.slice %w, start = [8, 0], limit = [16, 64], stride = [1, 1] : tensor<16x64xf32> -> tensor<8x64xf32>
          %3 = prim.dot_general %x, %2, batch = [] x [], contract = [1] x [1]
              : tensor<1x64xf32>, tensor<8x64xf32> -> tensor<1x8xf32> loc("/fc")
          %r = prim.concatenate %1, %3 dimension = 1 : tensor<1x8xf32>, tensor<1x8xf32> -> tensor<1x16xf32> loc("/fc")
          func.return %r : tensor<1x16xf32>
        }
    """

    name = "split-oversized-bindings"
    requires = ensures = Level.PRIM

    limit: int = 0
    """Bytes of one binding; 0 asks the target."""

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        limit = self.limit or get_target(module).limits.max_storage_buffer_binding_size
        patterns = [ReadUntransposed(limit), SplitProduct(limit), SplitGather(limit)]
        apply_patterns(module, patterns, pass_name=self.name, log=rewrite_log(ctx))


def _untransposed(op: DotGeneralOp, transpose: TransposeOp, on_the_right: bool) -> DotGeneralOp | None:
    """The product with what `transpose` reads; None where its result would have its dimensions in another order."""
    permutation = ints(transpose.permutation)
    batch, contract = (op.rhs_batch, op.rhs_contract) if on_the_right else (op.lhs_batch, op.lhs_contract)
    summed = {*ints(batch), *ints(contract)}
    kept = [place for dimension, place in enumerate(permutation) if dimension not in summed]
    if kept != sorted(kept):
        return None
    moved = [[permutation[dimension] for dimension in ints(each)] for each in (batch, contract)]
    lhs, rhs = (op.lhs, transpose.operand) if on_the_right else (transpose.operand, op.rhs)
    return DotGeneralOp(
        lhs,
        rhs,
        lhs_batch=ints(op.lhs_batch) if on_the_right else moved[0],
        rhs_batch=moved[0] if on_the_right else ints(op.rhs_batch),
        lhs_contract=ints(op.lhs_contract) if on_the_right else moved[1],
        rhs_contract=moved[1] if on_the_right else ints(op.rhs_contract),
    )


def cuts(weight: SSAValue, limit: int) -> list[tuple[int, int]] | None:
    """Runs of rows of at most `limit` bytes that start where bindings may, as even as that allows; None for no way."""
    assert isinstance(weight.type, TensorType)
    rows = weight.type.get_shape()[0]
    row = storage_bytes(weight.type) // rows
    step = ALIGNMENT // gcd(row, ALIGNMENT)
    most = limit // row // step * step
    if most == 0:
        return None
    pieces = -(-rows // most)
    even = min(-(-rows // (pieces * step)) * step, most)
    return [(start, min(start + even, rows)) for start in range(0, rows, even)]


def slice_of(value: SSAValue, axis: int, start: int, limit: int) -> SliceOp:
    """Some indices of one dimension, all of the others."""
    assert isinstance(value.type, TensorType)
    shape = value.type.get_shape()
    low, high = [0] * len(shape), list(shape)
    low[axis], high[axis] = start, limit
    return SliceOp(value, start=low, limit=high, stride=[1] * len(shape))


def _wide(indices: Formula) -> Formula:
    """The indices in a type that can tell any row from any other."""
    return indices if indices.type.element_type in (i32, i64, ui32) else indices.convert(i32)


def _same_gather(op: GatherOp, operand: SSAValue, indices: SSAValue) -> GatherOp:
    """The same look-up in another table."""
    return GatherOp(
        operand,
        indices,
        offset_dims=ints(op.offset_dims),
        collapsed_slice_dims=ints(op.collapsed_slice_dims),
        start_index_map=ints(op.start_index_map),
        index_vector_dim=integer(op.index_vector_dim),
        slice_sizes=ints(op.slice_sizes),
    )


def _from_row(op: GatherOp, rows: Formula, start: int) -> Formula:
    """Which elements of the result come from row `start` or one behind it."""
    assert isinstance(op.result.type, TensorType)
    shape = op.result.type.get_shape()
    batch = [axis for axis in range(len(shape)) if axis not in ints(op.offset_dims)]
    if not batch and not rows.type.get_shape():
        return rows.compare("ge", start).apply(BroadcastInDimOp, shape=shape, dimensions=())
    flat = rows.compare("ge", start).apply(ReshapeOp, shape=[shape[axis] for axis in batch])
    return flat.apply(BroadcastInDimOp, shape=shape, dimensions=batch)


def _is_oversized(value: SSAValue, limit: int) -> bool:
    stored = isinstance(value.owner, WeightOp) and isinstance(value.type, TensorType)
    return stored and storage_bytes(value.type) > limit  # pyright: ignore[reportArgumentType]


def _kept_dimension(op: DotGeneralOp, side: Side) -> int:
    """The dimension of the result along which the weight's first one is laid out."""
    batch = len(ints(op.lhs_batch))
    if not side.on_the_right:
        return batch
    assert isinstance(op.lhs.type, TensorType)
    return len(op.lhs.type.get_shape()) - len(ints(op.lhs_contract))
