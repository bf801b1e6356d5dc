"""Matrix products and determinants."""

from __future__ import annotations

from functools import reduce
from math import prod

from xdsl.dialects.builtin import f32, i32
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.contraction import DotGeneralOp
from tstorch.dialects.prim.elementwise import AbsOp
from tstorch.dialects.prim.reduction import ArgReduceOp
from tstorch.passes.convert.onnx.image import counted
from tstorch.passes.convert.onnx.node import Node, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value, common_shape


@onnx_op("MatMul")
def matmul(node: Node) -> Value:
    return product(node.input(0), node.input(1))


def product(lhs: Value, rhs: Value) -> Value:
    """NumPy's matmul: leading dimensions are batches and broadcast, a vector loses its dimension again."""
    if not lhs.rank or not rhs.rank:
        raise VerifyException(f"a product of shapes {lhs.shape} and {rhs.shape}; expected rank 1 or more")
    if rhs.rank <= 2:
        return dot(lhs, rhs, contract=(lhs.rank - 1, max(rhs.rank - 2, 0)))
    if lhs.rank == 1:
        whole = product(lhs.reshape([1, *lhs.shape]), rhs)
        return whole.reshape([*whole.shape[:-2], whole.shape[-1]])
    batch = common_shape(lhs.shape[:-2], rhs.shape[:-2])
    left = lhs.broadcast_to([*batch, *lhs.shape[-2:]])
    right = rhs.broadcast_to([*batch, *rhs.shape[-2:]])
    return dot(left, right, batches=len(batch), contract=(left.rank - 1, right.rank - 2))


def dot(lhs: Value, rhs: Value, *, contract: tuple[int, int], batches: int = 0) -> Value:
    """Sums products along one dimension of each; the first `batches` dimensions belong together."""
    dimensions = list(range(batches))
    return lhs.emit.value(
        DotGeneralOp(
            lhs.ssa,
            rhs.ssa,
            lhs_batch=dimensions,
            rhs_batch=dimensions,
            lhs_contract=[contract[0]],
            rhs_contract=[contract[1]],
        )
    )


@onnx_op("Gemm")
def gemm(node: Node) -> Value:
    """alpha * A' * B' + beta * C, where ' transposes or does not."""
    lhs, rhs, bias = node.input(0), node.input(1), node.optional(2)
    if lhs.rank != 2 or rhs.rank != 2:
        raise VerifyException(f"operands of rank {lhs.rank} and {rhs.rank}; expected 2 and 2")
    result = dot(lhs, rhs, contract=(0 if node.attribute("transA") else 1, 1 if node.attribute("transB") else 0))
    result = _scaled(result, node.attribute("alpha"))
    return result if bias is None else result + _scaled(bias, node.attribute("beta"))


def _scaled(value: Value, factor: float) -> Value:
    return value if factor == 1 else value * factor


@onnx_op("Det")
def determinant(node: Node) -> Value:
    """Of the matrices in the last two dimensions, by elimination with the largest pivot of each column."""
    value = node.input(0)
    if value.rank < 2 or value.shape[-1] != value.shape[-2]:
        raise VerifyException(f"matrices of shape {value.shape}; expected square ones")
    if not prod(value.shape):
        raise VerifyException(f"matrices of shape {value.shape}; expected some with elements")
    rest, pivots = value.reshape([prod(value.shape[:-2]), *value.shape[-2:]]).convert(f32), []
    while rest.shape[-1] > 1:
        rest, pivot = _eliminated(rest)
        pivots.append(pivot)
    result = reduce(Value.__mul__, pivots, rest.reshape(rest.shape[:1]))
    return result.convert(value.element).reshape(value.shape[:-2])


def _eliminated(matrices: Value) -> tuple[Value, Value]:
    """What elimination of the first column leaves, (batch, size - 1, size - 1), and its pivots with their signs."""
    batch, size, _ = matrices.shape
    column = matrices.take(2, 0, 1).reshape([batch, size])
    place = matrices.emit.value(ArgReduceOp(column.apply(AbsOp).ssa, dimension=1, kind="max")).convert(i32)
    chosen = counted(matrices.emit, [batch, size], 1).compare("eq", place.along(0, [batch, size]))
    spread = chosen.reshape([batch, size, 1])
    row = spread.where(matrices, matrices.full(0)).reduce("add", [1], keep=True)
    pivot = row.take(2, 0, 1)
    signed = place.reshape([batch, 1, 1]).compare("eq", 0).where(pivot, -pivot).reshape([batch])
    others = spread.where(matrices.take(1, 0, 1), matrices).take(1, 1, size)
    first = others.take(2, 0, 1)
    factor = pivot.compare("eq", 0).where(first.full(0), first / pivot)
    return others.take(2, 1, size) - factor * row.take(2, 1, size), signed


RULES = rules_of(globals())
