"""Reductions along axes."""

from __future__ import annotations

from xdsl.dialects.builtin import i1, i64
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.cumulative import CumulativeOp
from tstorch.dialects.prim.elementwise import AbsOp, ExpOp, IsInfOp, LogOp, SqrtOp
from tstorch.dialects.prim.reduction import ArgReduceOp
from tstorch.passes.convert.onnx.node import Node, normalized, normalized_axes, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value


def _axes(node: Node) -> list[int]:
    """The axes of a reduction: an attribute or, of late, an input; none given means all, or none at all."""
    axes, rank = node.setting("axes", 1), node.input(0).rank
    if axes:
        return normalized_axes(axes, rank)
    return [] if node.attribute("noop_with_empty_axes") else list(range(rank))


def _reduced(node: Node, value: Value, kind: str) -> Value:
    return value.reduce(kind, _axes(node), keep=bool(node.attribute("keepdims")))


@onnx_op("ReduceSum")
def reduce_sum(node: Node) -> Value:
    return _reduced(node, node.input(0), "add")


@onnx_op("ReduceMean")
def reduce_mean(node: Node) -> Value:
    return node.input(0).mean(_axes(node), keep=bool(node.attribute("keepdims")))


@onnx_op("ReduceProd")
def reduce_product(node: Node) -> Value:
    return _reduced(node, node.input(0), "mul")


@onnx_op("ReduceMax")
def reduce_max(node: Node) -> Value:
    return _reduced(node, node.input(0), "or" if node.input(0).element == i1 else "max")


@onnx_op("ReduceMin")
def reduce_min(node: Node) -> Value:
    return _reduced(node, node.input(0), "and" if node.input(0).element == i1 else "min")


@onnx_op("ReduceL1")
def reduce_l1(node: Node) -> Value:
    return _reduced(node, node.input(0).apply(AbsOp), "add")


@onnx_op("ReduceL2")
def reduce_l2(node: Node) -> Value:
    return _reduced(node, node.input(0) * node.input(0), "add").apply(SqrtOp)


@onnx_op("ReduceSumSquare")
def reduce_sum_of_squares(node: Node) -> Value:
    return _reduced(node, node.input(0) * node.input(0), "add")


@onnx_op("ReduceLogSum")
def reduce_log_sum(node: Node) -> Value:
    return _reduced(node, node.input(0), "add").apply(LogOp)


@onnx_op("ReduceLogSumExp")
def reduce_log_sum_exp(node: Node) -> Value:
    """Shifted by the maximum, so that no power overflows; an infinite maximum shifts nothing."""
    value, axes = node.input(0), _axes(node)
    top = value.reduce("max", axes, keep=True)
    top = top.apply(IsInfOp).where(top.full(0), top)
    result = (value - top).apply(ExpOp).reduce("add", axes, keep=True).apply(LogOp) + top
    if node.attribute("keepdims"):
        return result
    return result.reshape([size for at, size in enumerate(result.shape) if at not in axes])


@onnx_op("CumSum")
def running_sum(node: Node) -> Value:
    return _running(node, "add")


@onnx_op("CumProd")
def running_product(node: Node) -> Value:
    return _running(node, "mul")


def _running(node: Node, kind: str) -> Value:
    """Along an axis that is an input: each element with those before it, or without itself; or from the end."""
    value, axis = node.input(0), node.constant(1)
    if axis is None or axis.size != 1:
        raise VerifyException("the axis must be given, as one number")
    ends = {name: bool(node.attribute(name)) for name in ("exclusive", "reverse")}
    return value.emit.value(
        CumulativeOp(value.ssa, kind=kind, dimension=normalized(int(axis.item()), value.rank), **ends)
    )


@onnx_op("ArgMax")
def arg_max(node: Node) -> Value:
    return _arg_reduced(node, "max")


@onnx_op("ArgMin")
def arg_min(node: Node) -> Value:
    return _arg_reduced(node, "min")


def _arg_reduced(node: Node, kind: str) -> Value:
    """The first position of the extremum, or the last: the first of the reversed."""
    value, axis = node.input(0), node.axis()
    last = bool(node.attribute("select_last_index"))
    source = value.reverse([axis]) if last else value
    found = value.emit.value(ArgReduceOp(source.ssa, dimension=axis, kind=kind)).convert(i64)
    if last:
        found = (value.shape[axis] - 1) - found
    kept = [1 if at == axis else size for at, size in enumerate(value.shape)]
    return found.reshape(kept) if node.attribute("keepdims") else found


RULES = rules_of(globals())
