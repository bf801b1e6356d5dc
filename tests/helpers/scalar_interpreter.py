"""Runs straight-line scalar code of arith, math and loop in NumPy, a whole array as each scalar at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from xdsl.dialects import arith, math
from xdsl.ir import Block, Operation, SSAValue

from tstorch.dialects.loop import scalar as loop
from tstorch.dialects.prim.types import dtype_of

_FLOAT_COMPARISONS = {1: np.equal, 2: np.greater, 3: np.greater_equal, 4: np.less, 5: np.less_equal, 13: np.not_equal}
_INT_COMPARISONS = [np.equal, np.not_equal, *(np.less, np.less_equal, np.greater, np.greater_equal) * 2]


def _truncated(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (np.sign(x) * np.sign(y) * (np.abs(x) // np.abs(y))).astype(x.dtype)


def _cast(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if x.dtype.kind != "f" or dtype.kind == "f":
        return x.astype(dtype)
    bounds = np.iinfo(dtype)
    return np.clip(
        np.nan_to_num(np.trunc(x.astype(np.float64)), posinf=1e300, neginf=-1e300), bounds.min, bounds.max
    ).astype(dtype)


_FUNCTIONS: Mapping[type[Operation], Callable[..., Any]] = {
    arith.AddfOp: np.add, arith.AddiOp: np.add, arith.SubfOp: np.subtract, arith.SubiOp: np.subtract,
    arith.MulfOp: np.multiply, arith.MuliOp: np.multiply, arith.DivfOp: np.divide, arith.DivSIOp: _truncated,
    arith.DivUIOp: np.floor_divide, arith.RemSIOp: np.fmod, arith.RemUIOp: np.remainder, arith.NegfOp: np.negative,
    arith.AndIOp: np.bitwise_and, arith.OrIOp: np.bitwise_or, arith.XOrIOp: np.bitwise_xor,
    arith.ShLIOp: np.left_shift, arith.ShRSIOp: np.right_shift, arith.ShRUIOp: np.right_shift,
    arith.MaximumfOp: np.maximum, arith.MinimumfOp: np.minimum, arith.MaxSIOp: np.maximum, arith.MinSIOp: np.minimum,
    arith.MaxUIOp: np.maximum, arith.MinUIOp: np.minimum,
    math.AbsFOp: np.abs, math.AbsIOp: np.abs, math.ExpOp: np.exp, math.LogOp: np.log, math.SqrtOp: np.sqrt,
    math.RsqrtOp: lambda x: 1 / np.sqrt(x), math.TanhOp: np.tanh, math.SinOp: np.sin, math.CosOp: np.cos,
    math.FloorOp: np.floor, math.CeilOp: np.ceil, math.RoundEvenOp: np.rint, math.TruncOp: np.trunc,
    math.FmaOp: lambda x, y, z: x.astype(np.float64) * y + z, math.PowFOp: np.power,
    loop.SelectOp: np.where, loop.IsNanOp: np.isnan, loop.IsInfOp: np.isinf,
}  # fmt: skip


def interpret(block: Block, inputs: Sequence[np.ndarray], result: SSAValue) -> np.ndarray:
    """The value of `result`, where the block's arguments are `inputs`. Raises KeyError for an op it does not know."""
    values: dict[SSAValue, np.ndarray] = dict(zip(block.args, inputs, strict=True))
    with np.errstate(all="ignore"):
        for op in block.ops:
            array = _run(op, [values[operand] for operand in op.operands])
            values[op.results[0]] = np.asarray(array).astype(dtype_of(op.results[0].type))
    return values[result]


def _run(op: Operation, operands: Sequence[np.ndarray]) -> Any:
    dtype = dtype_of(op.results[0].type)
    match op:
        case arith.ConstantOp():
            return np.asarray(op.value.value.data).astype(dtype)  # pyright: ignore[reportAttributeAccessIssue]
        case arith.CmpfOp():
            return _FLOAT_COMPARISONS[op.predicate.value.data](*operands)
        case arith.CmpiOp():
            return _INT_COMPARISONS[op.predicate.value.data](*operands)
        case loop.CastOp():
            return _cast(operands[0], dtype)
        case loop.BitcastOp():
            return np.ascontiguousarray(operands[0]).view(dtype)
        case _:
            return _FUNCTIONS[type(op)](*operands)
