"""Learns where a graph cannot be converted as one: what only a run can tell, and what lies behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, BlockArgument, Operation, Region, SSAValue

from tstorch.diagnostics import DiagnosticError
from tstorch.dialects.onnx import NodeOp
from tstorch.dialects.prim.base import MAX_CONSTANT
from tstorch.passes.convert.convert_onnx_to_prim import BRANCHING, FunctionConverter, find_own_rule
from tstorch.passes.convert.onnx.control import BRANCHES
from tstorch.passes.convert.onnx.counted import Counted, UnsettledError
from tstorch.passes.convert.onnx.node import DataDependentError
from tstorch.passes.convert.onnx.value import Value
from tstorch.remarks import RemarkSink

Stop = DataDependentError | UnsettledError


class Scout(FunctionConverter):
    """Converts what can be, beside the function: that itself stays as it is.

    `stops` are the nodes that only a run can tell more of, each with what the conversion said; `behind` the ops that
    need what they compute.
    """

    def __init__(self, function: FuncOp) -> None:
        super().__init__(function, RemarkSink(ModuleOp([]), ""), trainable=False)
        self._depth = 0
        self.stops: dict[NodeOp, Stop] = {}
        self.errors: dict[NodeOp, DiagnosticError] = {}
        self.behind: set[Operation] = set()
        self.begin()
        for op in function.body.block.ops:
            if not isinstance(op, ReturnOp):
                self._convert(op)

    def known(self, value: SSAValue) -> np.ndarray | None:
        """The value's numbers where they are known at compile time, and no more than may stand in the text."""
        numbers = self._known(self._new[value]) if value in self._new else None
        return numbers if numbers is None or numbers.size <= MAX_CONSTANT else None

    def constants(self, values: Sequence[SSAValue]) -> dict[SSAValue, np.ndarray]:
        """Those of the values that are known, with their numbers."""
        found = ((value, self.known(value)) for value in values)
        return {value: numbers for value, numbers in found if numbers is not None}

    def has(self, value: SSAValue) -> bool:
        """Whether the value was converted."""
        return value in self._new

    def argument(self, value: SSAValue) -> SSAValue | None:
        """The function's argument that the value is, whatever identities lie between them."""
        new = self._new.get(value)
        return self._function.body.block.args[new.index] if isinstance(new, BlockArgument) else None

    def stopped_in_definition(self) -> NodeOp | None:
        """A node that stops within ONNX's own definition of it."""
        return next((op for op in self.stops if find_own_rule(op) is None), None)

    def stopped_in_branch(self) -> tuple[NodeOp, Region] | None:
        """A node that stops within a branch of which it is known that it is taken; and the branch."""
        for op in self.stops:
            condition = self.known(op.operands[0]) if op.OP_TYPE in BRANCHING else None
            region = None if condition is None else op.subgraph(BRANCHES[bool(condition.item())])
            if region is not None:
                return op, region
        return None

    def type_of(self, value: SSAValue) -> Attribute:
        """The type of a value that was converted."""
        return self._new[value].type

    def counted(self, value: SSAValue) -> Counted | None:
        """The result as its node's rule gave it, where only a run can tell its size."""
        owner = value.owner
        stop = self.stops.get(owner) if isinstance(owner, NodeOp) else None
        if not isinstance(stop, UnsettledError):
            return None
        index = owner.results.index(value)  # pyright: ignore[reportAttributeAccessIssue]
        found = stop.results[index] if index < len(stop.results) else None
        return found if isinstance(found, Counted) else None

    def _convert(self, op: Operation) -> None:
        if self._depth:
            return super()._convert(op)
        if any(value not in self._new for value in free_values([op])):
            self.behind.add(op)
            return None
        self._depth += 1
        try:
            return super()._convert(op)
        except DiagnosticError as error:
            if not (isinstance(op, NodeOp) and isinstance(error.__cause__, Stop)):
                raise
            self.stops[op], self.errors[op] = error.__cause__, error
            self._keep_settled(op, error.__cause__)
            return None
        finally:
            self._depth -= 1

    def _keep_settled(self, op: NodeOp, stop: Stop) -> None:
        """Those of a node's results whose size is known are there, whatever the size of the others."""
        results = stop.results if isinstance(stop, UnsettledError) else ()
        for old, result in zip(op.results, results, strict=False):
            if isinstance(result, Value):
                self._new[old] = result.ssa


def free_values(ops: Sequence[Operation]) -> list[SSAValue]:
    """What the ops, and the subgraphs in them, use of what is defined outside of them; each once, in order."""
    found: dict[SSAValue, None] = {}
    inner: set[SSAValue] = set()
    for op in _all_ops(ops):
        inner.update(op.results)
        for region in op.regions:
            inner.update(argument for block in region.blocks for argument in block.args)
    for op in _all_ops(ops):
        found.update((value, None) for value in op.operands if value not in inner)
    return list(found)


def _all_ops(ops: Sequence[Operation]) -> Iterator[Operation]:
    for op in ops:
        yield from op.walk()
