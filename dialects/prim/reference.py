"""Evaluates a function of primitives in NumPy: the meaning that every later level is checked against."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence

import numpy as np
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.traits import IsTerminator

from tstorch.dialects.prim.base import PrimOp, RegionOp
from tstorch.dialects.prim.stored import from_host
from tstorch.dialects.prim.weight import DerivedOp, ExternalOp, WeightOp

Lookup = Callable[[WeightOp | DerivedOp], np.ndarray]


def evaluate(
    function: FuncOp | Region,
    inputs: Sequence[np.ndarray],
    weights: Lookup | None = None,
    *,
    capture: MutableMapping[SSAValue, np.ndarray] | None = None,
    dtype: type[np.floating] | None = None,
) -> list[np.ndarray]:
    """What a function returns, or a region yields, for one array per argument.

    `weights` gives the array of a prim.weight or prim.derived. `capture` is filled with every value by its SSA value;
    without it each is let go after its last use. `dtype=np.float64` widens all floats, inputs and weights included.
    Raises ValueError where inputs or ops are not what the function declares, LookupError for a weight where `weights`
    is missing.
    """
    region = function.body if isinstance(function, FuncOp) else function
    return _Evaluation(weights, capture, dtype).run(region, inputs)


class _Evaluation:
    def __init__(
        self,
        weights: Lookup | None,
        capture: MutableMapping[SSAValue, np.ndarray] | None,
        dtype: type[np.floating] | None,
    ):
        self.weights = weights
        self.capture = capture
        self.dtype = dtype

    def run(self, region: Region, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        block = region.block
        if len(inputs) != len(block.args):
            raise ValueError(f"{len(inputs)} inputs for {len(block.args)} arguments")
        values: dict[SSAValue, np.ndarray] = {}
        for argument, array in zip(block.args, inputs, strict=True):
            if np.shape(array) != argument.type.get_shape():  # pyright: ignore[reportAttributeAccessIssue]
                raise ValueError(f"an input of shape {list(np.shape(array))} for an argument of type {argument.type}")
            self._keep(values, argument, from_host(np.asarray(array), argument.type.element_type))  # pyright: ignore[reportAttributeAccessIssue]
        last = _last_uses(block)
        for op in block.ops:
            operands = [values[operand] for operand in op.operands]
            if op.has_trait(IsTerminator):
                return operands
            for result, array in zip(op.results, self._evaluate(op, operands), strict=True):
                self._keep(values, result, array)
            del operands
            for value in last.get(op, ()):
                del values[value]
        raise ValueError("the region has no terminator")

    def _keep(self, values: dict[SSAValue, np.ndarray], value: SSAValue, array: np.ndarray) -> None:
        widened = self.dtype is not None and array.dtype.kind == "f"
        values[value] = array.astype(self.dtype, copy=False) if widened else array
        if self.capture is not None:
            self.capture[value] = values[value]

    def _evaluate(self, op: Operation, operands: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        if isinstance(op, ExternalOp) and self.weights is not None:
            return [self.weights(op)]  # pyright: ignore[reportArgumentType]
        if isinstance(op, RegionOp):
            return op.run(operands, self.run)
        if not isinstance(op, PrimOp):
            raise ValueError(f"{op.name} is no primitive: it has no reference to evaluate")
        return op.reference(*operands)


def _last_uses(block: Block) -> dict[Operation, list[SSAValue]]:
    """The values that nothing needs after each op of the block: used there last, or made there and never used."""
    place = {op: number for number, op in enumerate(block.ops)}
    last: dict[Operation, list[SSAValue]] = {}
    for op in block.ops:
        for result in op.results:
            users = [_in_block(use.operation, block) for use in result.uses]
            last.setdefault(max(users, key=place.__getitem__, default=op), []).append(result)
    return last


def _in_block(op: Operation, block: Block) -> Operation:
    """The op of the block that an op is, or stands in."""
    return op if op.parent is block else block.find_ancestor_op_in_block(op) or op
