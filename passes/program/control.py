"""Operators that decide what is run, as steps of the host: ONNX's table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING

from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    IntegerAttr,
    TensorType,
    bf16,
    f16,
    f32,
    i1,
    i8,
    i16,
    i32,
    i64,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Region, SSAValue

from tstorch.diagnostics import DiagnosticError
from tstorch.dialects.onnx import ELEMENT_TYPES, AnyType, NodeOp, node_class
from tstorch.dialects.prim.types import bits_of, ui8, ui16
from tstorch.dialects.program import IfOp, WhileOp, YieldOp
from tstorch.locations import node_ids
from tstorch.passes.program.open_types import joined, stacked

if TYPE_CHECKING:
    from tstorch.passes.program.cutter import Placing

CAST_OPSET = 13
WIDER: Mapping[Attribute, Attribute] = MappingProxyType({f16: f32, bf16: f32, i8: i32, i16: i32, ui8: i32, ui16: i32})
"""Types that hold all numbers of a narrower one, an element a word."""

Place = Callable[["Placing", NodeOp], Sequence[SSAValue]]
"""Appends the steps of a node; its results."""


def place_if(placing: Placing, op: NodeOp) -> Sequence[SSAValue]:
    """Both branches become bodies. Raises DiagnosticError for a condition that is no truth value."""
    condition = op.operands[0].type
    if isinstance(condition, TensorType) and condition.element_type != i1:
        name = next(iter(node_ids(op)), op.OP_TYPE)
        raise DiagnosticError(f"onnx '{name}': the condition is {condition}; expected one truth value")
    bodies = [_branch(placing, op, name) for name in ("then_branch", "else_branch")]
    yields = [body.block.last_op for body in bodies]
    sides = zip(*(end.operand_types for end in yields if end is not None), strict=True)
    step = IfOp(placing.value(op.operands[0]), [joined(one, other) for one, other in sides], *bodies)
    step.location = op.location
    placing.block.add_op(step)
    return step.results


def place_loop(placing: Placing, op: NodeOp) -> Sequence[SSAValue]:
    """The body is compiled once where it keeps the shapes of what it carries; else its shapes are open.

    Elements that fill no whole words are stacked in a wider type, and converted back once they are.
    """
    trips, going, *initial = op.inputs
    carried = [placing.value(value) for value in initial if value is not None]
    types: list[Attribute] = [value.type for value in carried]
    narrow: dict[int, TensorType] = {}
    while True:
        made = len(placing.cutter.made)
        body = _body(placing, op, types, narrow)
        end = body.block.last_op
        assert end is not None
        after = [joined(one, other) for one, other in zip(types, list(end.operand_types)[1:], strict=False)]
        elements = list(end.operand_types)[1 + len(carried) :]
        odd = {at: type for at, type in enumerate(elements) if isinstance(type, TensorType) and _is_odd(type)}
        if after == types and not odd:
            break
        types, narrow = after, narrow | odd
        del placing.cutter.made[made:]
    step = WhileOp(
        None if trips is None else placing.value(trips),
        None if going is None else placing.value(going),
        carried,
        [*types, *(stacked(element) for element in elements)],
        body,
    )
    step.location = op.location
    placing.block.add_op(step)
    kept, stacks = step.results[: len(carried)], step.results[len(carried) :]
    return [*kept, *(_narrowed(placing, op, value, narrow.get(at)) for at, value in enumerate(stacks))]


CONTROL: Mapping[str, Place] = MappingProxyType({"If": place_if, "Loop": place_loop})


def _branch(placing: Placing, op: NodeOp, name: str) -> Region:
    region = op.subgraph(name)
    assert region is not None
    *ops, end = region.block.ops
    block = Block()
    graph, taken = placing.outlined(ops, end.operands)
    results = placing.cutter.place(graph, [placing.value(value) for value in taken], block)
    block.add_op(YieldOp(results))
    return Region(block)


def _body(placing: Placing, op: NodeOp, types: Sequence[Attribute], narrow: Mapping[int, TensorType]) -> Region:
    region = op.subgraph("body")
    assert region is not None
    *ops, end = region.block.ops
    arguments, yielded = region.block.args, list(end.operands)
    for at, type in narrow.items():
        cast = _cast(op, yielded[1 + len(types) + at], WIDER[type.element_type], AnyType())
        yielded[1 + len(types) + at] = cast.results[0]
        ops.append(cast)
    graph, taken = placing.outlined(ops, yielded, arguments)
    block = Block(arg_types=[TensorType(i64, []), TensorType(i1, []), *types])
    for old, new in zip(arguments, block.args, strict=True):
        new.name_hint = old.name_hint
    around = [placing.value(value) for value in taken[len(arguments) :]]
    block.add_op(YieldOp(placing.cutter.place(graph, [*block.args, *around], block)))
    return Region(block)


def _is_odd(type: TensorType) -> bool:
    """Whether an element of a stacked output would end within a word."""
    sizes, element = type.get_shape(), type.element_type
    return element in WIDER and DYNAMIC_INDEX not in sizes and prod(sizes) * bits_of(element) % 32 != 0


def _narrowed(placing: Placing, op: NodeOp, value: SSAValue, element: TensorType | None) -> SSAValue:
    """A stacked output in its own type."""
    if element is None or not isinstance(value.type, TensorType):
        return value
    type = TensorType(element.element_type, value.type.get_shape())
    block = Block(arg_types=[value.type])
    cast = _cast(op, block.args[0], element.element_type, type)
    block.add_ops([cast, ReturnOp(cast.results[0])])
    [result] = placing.cutter.defer(FuncOp("main", ([value.type], [type]), Region(block)), [value], placing.block)
    return result


def _cast(op: NodeOp, value: SSAValue, element: Attribute, type: Attribute) -> NodeOp:
    number = next(number for number, each in ELEMENT_TYPES.items() if each == element)
    properties = {"to": IntegerAttr(number, i64), "opset": IntegerAttr(CAST_OPSET, i64)}
    return node_class("", "Cast").create(
        operands=[value], result_types=[type], properties=properties, location=op.location
    )
