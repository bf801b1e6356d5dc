"""Writing at computed positions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from types import MappingProxyType

from xdsl.dialects.builtin import i32
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.indexing import ScatterOp
from tstorch.dialects.prim.kinds import ReduceKind, identity
from tstorch.passes.convert.onnx.image import counted
from tstorch.passes.convert.onnx.indexing import element_positions, elements_at, from_front, positions_of
from tstorch.passes.convert.onnx.node import Node, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value

ASSIGN = "none"
COMBINED: Mapping[str, Callable[[Value, Value], Value]] = MappingProxyType(
    {"add": Value.__add__, "mul": Value.__mul__, "max": Value.maximum, "min": Value.minimum}
)
"""What `reduction` does where an update meets an element; without one the last update holds."""


@onnx_op("ScatterElements", "Scatter")
def scatter_elements(node: Node) -> Value:
    """The inverse of GatherElements. Only one axis is searched: along the others each element has its own place."""
    value, indices, updates, axis = node.input(0), node.input(1), node.input(2), node.axis()
    name = _reduction(node)
    if not prod(updates.shape):
        return value
    if value.rank == 1:
        return _written(value, element_positions(indices, value.shape, axis), updates, name)
    return _searched(value, from_front(indices, value.shape[axis]).convert(i32), updates, axis, name)


@onnx_op("ScatterND")
def scatter_nd(node: Node) -> Value:
    """The inverse of GatherND."""
    value, indices, updates = node.input(0), node.input(1), node.input(2)
    name = _reduction(node)
    return _written(value, positions_of(indices, value.shape, 0), updates, name) if prod(updates.shape) else value


def _reduction(node: Node) -> str:
    name = node.attribute("reduction") or ASSIGN
    if name not in (ASSIGN, *COMBINED):
        raise VerifyException(f"reduction is {name}; expected one of {', '.join((ASSIGN, *COMBINED))}")
    return name


def _searched(value: Value, places: Value, updates: Value, axis: int, name: str) -> Value:
    """The value with updates in it: each element asks along `axis` which of them are for its place."""
    rest = [0 if at == axis else size - places.shape[at] for at, size in enumerate(value.shape)]
    places, updates = places.pad([0] * value.rank, rest, -1), updates.pad([0] * value.rank, rest)
    wide = [*value.shape[: axis + 1], places.shape[axis], *value.shape[axis + 1 :]]
    mine = _spread(places, axis, wide).compare("eq", counted(value.emit, wide, axis))
    if name != ASSIGN:
        nothing = value.emit.full(identity(ReduceKind(name), value.element), wide, value.element)
        return COMBINED[name](value, mine.where(_spread(updates, axis, wide), nothing).reduce(name, [axis + 1]))
    order = counted(value.emit, wide, axis + 1)
    last = mine.where(order, order.full(-1)).reduce("max", [axis + 1])
    found = elements_at(updates, element_positions(last.maximum(0), updates.shape, axis))
    return last.compare("ge", 0).where(found, value)


def _spread(value: Value, axis: int, shape: Sequence[int]) -> Value:
    """The value once for each place along `axis`; its own elements there stand one axis later."""
    return value.reshape([*value.shape[:axis], 1, *value.shape[axis:]]).broadcast_to(shape)


def _written(value: Value, positions: Value, updates: Value, name: str) -> Value:
    depth, batch = positions.shape[-1], positions.rank - 1
    return value.emit.value(
        ScatterOp(
            value.ssa,
            positions.ssa,
            updates.ssa,
            kind="assign" if name == ASSIGN else name,
            update_window_dims=range(batch, batch + value.rank - depth),
            inserted_window_dims=range(depth),
            scatter_dims_to_operand_dims=range(depth),
            index_vector_dim=batch,
        )
    )


RULES = rules_of(globals())
