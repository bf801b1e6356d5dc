"""Operators that decide what is run, as steps of the host: ONNX's table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from xdsl.dialects.builtin import TensorType, i1, i64
from xdsl.ir import Attribute, Block, Region, SSAValue

from tstorch.dialects.onnx import NodeOp
from tstorch.dialects.program import IfOp, WhileOp, YieldOp
from tstorch.passes.program.open_types import joined, stacked

if TYPE_CHECKING:
    from tstorch.passes.program.cutter import Placing

Place = Callable[["Placing", NodeOp], Sequence[SSAValue]]
"""Appends the steps of a node; its results."""


def place_if(placing: Placing, op: NodeOp) -> Sequence[SSAValue]:
    """Both branches become bodies."""
    bodies = [_branch(placing, op, name) for name in ("then_branch", "else_branch")]
    yields = [body.block.last_op for body in bodies]
    sides = zip(*(end.operand_types for end in yields if end is not None), strict=True)
    step = IfOp(placing.value(op.operands[0]), [joined(one, other) for one, other in sides], *bodies)
    step.location = op.location
    placing.block.add_op(step)
    return step.results


def place_loop(placing: Placing, op: NodeOp) -> Sequence[SSAValue]:
    """The body is compiled once where it keeps the shapes of what it carries; else its shapes are open."""
    trips, going, *initial = op.inputs
    carried = [placing.value(value) for value in initial if value is not None]
    types: list[Attribute] = [value.type for value in carried]
    while True:
        made = len(placing.cutter.made)
        body = _body(placing, op, types)
        end = body.block.last_op
        assert end is not None
        after = [joined(one, other) for one, other in zip(types, list(end.operand_types)[1:], strict=False)]
        if after == types:
            break
        types = after
        del placing.cutter.made[made:]
    elements = list(end.operand_types)[1 + len(carried) :]
    step = WhileOp(
        _known_or_value(placing, trips),
        _known_or_value(placing, going),
        carried,
        [*types, *(stacked(element) for element in elements)],
        body,
    )
    step.location = op.location
    placing.block.add_op(step)
    return step.results


CONTROL: Mapping[str, Place] = MappingProxyType({"If": place_if, "Loop": place_loop})


def _known_or_value(placing: Placing, value: SSAValue | None) -> SSAValue | None:
    return None if value is None else placing.value(value)


def _branch(placing: Placing, op: NodeOp, name: str) -> Region:
    region = op.subgraph(name)
    assert region is not None
    *ops, end = region.block.ops
    block = Block()
    graph, taken = placing.outlined(ops, end.operands)
    results = placing.cutter.place(graph, [placing.value(value) for value in taken], block)
    block.add_op(YieldOp(results))
    return Region(block)


def _body(placing: Placing, op: NodeOp, types: Sequence[Attribute]) -> Region:
    region = op.subgraph("body")
    assert region is not None
    *ops, end = region.block.ops
    arguments = region.block.args
    graph, taken = placing.outlined(ops, end.operands, arguments)
    block = Block(arg_types=[TensorType(i64, []), TensorType(i1, []), *types])
    for old, new in zip(arguments, block.args, strict=True):
        new.name_hint = old.name_hint
    around = [placing.value(value) for value in taken[len(arguments) :]]
    block.add_op(YieldOp(placing.cutter.place(graph, [*block.args, *around], block)))
    return Region(block)
