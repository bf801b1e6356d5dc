"""Functions made of some of a graph's ops: what they use of the rest becomes arguments, or stands in them anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from tstorch.dialects.onnx import InitializerOp, NodeOp, function_body
from tstorch.dialects.onnx_graph import body_block
from tstorch.dialects.prim.values import ValuesAttr
from tstorch.passes.program.scout import free_values


def outline(
    name: str,
    ops: Sequence[Operation],
    results: Sequence[SSAValue],
    *,
    arguments: Iterable[SSAValue] = (),
    constants: Mapping[SSAValue, np.ndarray] | None = None,
    types: Mapping[SSAValue, Attribute] | None = None,
) -> tuple[FuncOp, list[SSAValue]]:
    """A function of copies of `ops` that returns `results`, and the values outside that are its arguments.

    `arguments` come first, used or not. Initializers, and what `constants` holds the numbers of, are copied into it.
    `types` are those of arguments where they are known better than the values say.
    """
    constants, types = constants or {}, types or {}
    inside = {result for op in ops for result in op.results}
    used = dict.fromkeys([*arguments, *free_values(ops), *(value for value in results if value not in inside)])
    data = [value for value in used if isinstance(value.owner, InitializerOp) or value in constants]
    taken = [value for value in used if value not in data]
    block = Block(arg_types=[types.get(value, value.type) for value in taken])
    copies: dict[SSAValue, SSAValue] = dict(zip(taken, block.args, strict=True))
    for value in data:
        copies[value] = _datum(value, constants, block)
    for op in ops:
        copy = op.clone(copies)
        block.add_op(copy)
        for old, new in zip(op.walk(), copy.walk(), strict=True):
            new.location = old.location
    for old, new in copies.items():
        new.name_hint = old.name_hint
    returned = [copies[value] for value in results]
    block.add_op(ReturnOp(*returned))
    graph = FuncOp(name, (list(block.arg_types), [value.type for value in returned]), Region(block))
    graph.arg_attrs = _names(name, "", block.args)
    graph.res_attrs = _names(name, "=", returned)
    return graph, taken


def expand_definition(op: NodeOp, types: Sequence[Attribute | None]) -> None:
    """Puts the nodes of ONNX's own definition in the place of a node, for operands of these types."""
    function = function_body(op, types)
    assert function is not None
    body, outputs = body_block(function, op, types)
    for argument, value in zip(body.args, op.inputs, strict=True):
        if value is not None:
            argument.replace_all_uses_with(value)
    block = op.parent
    assert block is not None
    for inner in list(body.ops):
        inner.detach()
        block.insert_op_before(inner, op)
    given = dict(zip(body.args, op.inputs, strict=True))
    for old, new in zip(op.results, outputs, strict=True):
        old.replace_all_uses_with(given.get(new) or new)  # pyright: ignore[reportArgumentType]
    op.detach()
    op.erase()


def expand_branch(op: NodeOp, region: Region) -> None:
    """Puts the nodes of a subgraph without inputs in the place of the node that runs it."""
    block, (*inner, end) = op.parent, region.block.ops
    assert block is not None
    results = list(end.operands)
    for each in inner:
        each.detach()
        block.insert_op_before(each, op)
    for old, new in zip(op.results, results, strict=True):
        old.replace_all_uses_with(new)
    op.detach()
    op.erase()


def inline_numbers(graph: FuncOp, position: int, numbers: np.ndarray) -> None:
    """Puts numbers in the place of an argument's uses; the argument stays."""
    block = graph.body.block
    argument = block.args[position]
    op = InitializerOp((argument.name_hint or f"{position}", ValuesAttr.of(numbers)), ValuesAttr.of(numbers).type)
    first = block.first_op
    assert first is not None
    block.insert_op_before(op, first)
    argument.replace_all_uses_with(op.result)


def _datum(value: SSAValue, constants: Mapping[SSAValue, np.ndarray], block: Block) -> SSAValue:
    owner = value.owner
    if isinstance(owner, InitializerOp):
        op = owner.clone()
        op.location = owner.location
    else:
        numbers = ValuesAttr.of(constants[value])
        op = InitializerOp((value.name_hint or "known", numbers), numbers.type)
        op.location = owner.location if isinstance(owner, Operation) else op.location
    block.add_op(op)
    return op.results[0]


def _names(segment: str, mark: str, values: Sequence[SSAValue]) -> ArrayAttr[DictionaryAttr]:
    """A name for each value, the only one in the model."""
    return ArrayAttr(
        DictionaryAttr(
            {"tst.name": StringAttr(f"{segment}:{mark}{at}" + (f" {value.name_hint}" * bool(value.name_hint)))}
        )
        for at, value in enumerate(values)
    )
