"""bfloat16 computed with as float32: a node reads its operands widened, and rounds each result once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from xdsl.dialects.builtin import TensorType, bf16, f32
from xdsl.ir import Attribute, SSAValue

from tstorch.dialects.onnx import NodeOp
from tstorch.dialects.prim.types import is_float
from tstorch.passes.convert.onnx.counted import Counted
from tstorch.passes.convert.onnx.value import Emitter, Value

# Operators that move elements or change their type, and so take the codes as they are.
MOVERS = frozenset({
    "BitCast", "Cast", "CastLike", "Concat", "DequantizeLinear", "Expand", "EyeLike", "Flatten", "Gather", "Identity",
    "QuantizeLinear", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
})  # fmt: skip


def widened(op: NodeOp, inputs: Sequence[SSAValue | None], emit: Emitter) -> list[SSAValue | None]:
    """The node's operands, those of bfloat16 as float32."""
    if op.OP_TYPE in MOVERS or op.regions:
        return list(inputs)
    return [Value(ssa, emit).convert(f32).ssa if ssa is not None and _element(ssa) == bf16 else ssa for ssa in inputs]


def narrowed(
    op: NodeOp, inputs: Sequence[SSAValue | None], results: Sequence[Value | Counted | None]
) -> list[Value | Counted | None]:
    """The node's results, those that ONNX types like an operand of bfloat16 rounded to it."""
    if op.OP_TYPE in MOVERS or op.regions or not any(ssa is not None and _element(ssa) == bf16 for ssa in inputs):
        return list(results)
    names = _bfloat16_names(op, inputs)
    return [_rounded(result) if _result_name(op, at) in names else result for at, result in enumerate(results)]


def _rounded(result: Value | Counted | None) -> Value | Counted | None:
    if isinstance(result, Counted):
        padded = _rounded(result.padded)
        return replace(result, padded=padded) if isinstance(padded, Value) else result
    return result.convert(bf16) if result is not None and is_float(result.element) else result


def _bfloat16_names(op: NodeOp, inputs: Sequence[SSAValue | None]) -> set[str | None]:
    """The type variables of the operator's signature that stand for bfloat16 here; None for one without signature."""
    formals = op.schema.inputs if op.schema is not None else []
    return {_name(formals, at) for at, ssa in enumerate(inputs) if ssa is not None and _element(ssa) == bf16}


def _result_name(op: NodeOp, at: int) -> str | None:
    return _name(op.schema.outputs if op.schema is not None else [], at)


def _name(formals: Sequence[Any], at: int) -> str | None:
    """The type variable of one formal parameter; the last one stands for all that follow."""
    return formals[min(at, len(formals) - 1)].type_str if formals else None


def _element(value: SSAValue) -> Attribute | None:
    return value.type.element_type if isinstance(value.type, TensorType) else None
