"""How a graph input is drawn where the user gives none: legal for the model, and the same every time."""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.dialects.builtin import DictionaryAttr, IntegerAttr, IntegerType, StringAttr, TensorType, i1, i8, i64
from xdsl.ir import SSAValue

from tstorch.dialects.onnx import NodeOp
from tstorch.dialects.prim.stored import format_of
from tstorch.dialects.prim.types import is_float, ui8

# Operators whose result holds the same numbers as their first operand.
_CARRIERS = frozenset(
    {"Cast", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Expand", "Transpose", "Identity", "Slice", "Concat", "Tile"}
)
# Operators that look up in operand 0 what operand 1 points at, along attribute `axis`.
_LOOKUPS = frozenset({"Gather", "GatherElements"})


def input_law(name: str, value: SSAValue) -> DictionaryAttr:
    """The law of a graph input: `normal` for floats, `int` below the table's size for indices, else ones.

    An image of bytes is `int` over the byte's range; whatever is called a mask is ones.
    """
    element = value.type.element_type if isinstance(value.type, TensorType) else None
    if "mask" in name.lower() or element == i1:
        return _law("ones")
    if (format := format_of(element)) is not None:
        low, high = format.limits
        return _law("normal") if format.is_float else _law("int", low=low, high=high + 1)
    if isinstance(element, IntegerType):
        if sizes := [size for size in _table_sizes(value) if size > 0]:
            return _law("int", low=0, high=min(sizes))
        if element in (ui8, i8):
            return _law("int", low=0, high=256 if element == ui8 else 128)
        return _law("ones")
    return _law("normal") if element is not None and is_float(element) else _law("ones")


def _law(kind: str, **bounds: int) -> DictionaryAttr:
    return DictionaryAttr({"kind": StringAttr(kind)} | {key: IntegerAttr(value, i64) for key, value in bounds.items()})


def _table_sizes(value: SSAValue) -> Iterator[int]:
    """Sizes of the tables that the value's elements point into, directly or through ops that only move them."""
    seen, pending = {value}, [value]
    while pending:
        for use in pending.pop().uses:
            op = use.operation
            if not isinstance(op, NodeOp):
                continue
            if op.OP_TYPE in _LOOKUPS and use.index == 1:
                table = op.operands[0].type
                if isinstance(table, TensorType) and table.get_num_dims():
                    yield table.get_shape()[op.attribute("axis") or 0]
            elif op.OP_TYPE in _CARRIERS and (use.index == 0 or op.OP_TYPE == "Concat") and op.results[0] not in seen:
                seen.add(op.results[0])
                pending.append(op.results[0])
