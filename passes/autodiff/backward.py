"""The reverse walk: from a scalar to its gradients, one `vjp` for each op on the way."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from xdsl.builder import Builder
from xdsl.dialects.builtin import UNKNOWN_LOC, LocationAttr
from xdsl.ir import Block, Operation, SSAValue
from xdsl.rewriter import InsertPoint

from tstorch.diagnostics import DiagnosticError
from tstorch.dialects.prim.base import PrimOp
from tstorch.dialects.prim.elementwise import EncodeOp
from tstorch.dialects.prim.formula import filled
from tstorch.dialects.prim.pullback import accumulate
from tstorch.dialects.prim.types import is_float, is_stored
from tstorch.locations import node_ids, with_role

BACKWARD = "backward"


class Backward:
    """Appends the backward ops of a block, only where a gradient is asked for, each under the node of its forward op.

    `constants` are values taken as constant although they depend on what is differentiated by.
    """

    def __init__(self, block: Block, wrt: Sequence[SSAValue], constants: Collection[SSAValue] = ()):
        self._ops = [op for op in block.ops if isinstance(op, PrimOp)]
        self._wrt = wrt
        self._varied = _varied(self._ops, wrt, constants)
        self._cotangents: dict[SSAValue, SSAValue] = {}
        self._location: LocationAttr = UNKNOWN_LOC
        self._first: LocationAttr = UNKNOWN_LOC
        point = InsertPoint.at_end(block) if block.last_op is None else InsertPoint.before(block.last_op)
        self._build = Builder(point, operation_insertion_handler=[self._locate])
        self.stops: dict[Operation, str] = {}
        """The ops that a gradient reached and did not pass, with the reason."""

    def gradients(self, loss: SSAValue) -> list[SSAValue | None]:
        """The gradient of `loss`, a scalar, by each value of `wrt`; None where none reaches it.

        Raises DiagnosticError where the loss depends on one through numbers of a stored type.
        """
        if (op := _rounded(self._ops, self._varied).get(loss)) is not None:
            raise DiagnosticError(
                f"the loss depends on what is differentiated by through {op.format}, which no gradient passes; "
                "convert the model to float32 to differentiate it",
                node=next(iter(node_ids(op)), None),
            )
        self._location = self._first = _backward(loss.owner)
        if loss in self._varied:
            self._cotangents[loss] = filled(1.0, loss.type, self._build)  # pyright: ignore[reportArgumentType]
        for op in reversed(self._ops):
            reached = any(result in self._cotangents for result in op.results)
            if reached and any(operand in self._varied for operand in op.operands):
                self._pass_through(op)
        return [self._cotangents.get(value) for value in self._wrt]

    def zeros(self, value: SSAValue) -> SSAValue:
        """The gradient by a value that the loss does not depend on; stands under the loss's nodes."""
        self._location = self._first
        return filled(0.0, value.type, self._build)  # pyright: ignore[reportArgumentType]

    def _pass_through(self, op: PrimOp) -> None:
        """Hands the cotangents of an op's results down to those of its operands that matter."""
        if (reason := getattr(op.vjp, "reason", None)) is not None:
            self.stops[op] = reason
            return
        self._location = _backward(op)
        given = [
            self._cotangents[result] if result in self._cotangents else filled(0.0, result.type, self._build)  # pyright: ignore[reportArgumentType]
            for result in op.results
        ]
        for operand, part in zip(op.operands, op.vjp(given, self._build), strict=True):
            if part is not None and operand in self._varied:
                accumulate(self._cotangents, operand, part, self._build)

    def _locate(self, op: Operation) -> None:
        op.location = self._location


def _backward(owner: Operation | Block) -> LocationAttr:
    return with_role(owner.location, BACKWARD) if isinstance(owner, Operation) else UNKNOWN_LOC


def _rounded(ops: Sequence[Operation], varied: Collection[SSAValue]) -> dict[SSAValue, EncodeOp]:
    """The values that depend on varied ones through codes, whose rounding has no slope, and what made the codes."""
    found: dict[SSAValue, EncodeOp] = {}
    for op in ops:
        made = op if isinstance(op, EncodeOp) and op.operand in varied else None
        if source := made or next((found[operand] for operand in op.operands if operand in found), None):
            elements = [(result, result.type.element_type) for result in op.results]  # pyright: ignore[reportAttributeAccessIssue]
            found.update((result, source) for result, type in elements if is_stored(type) or is_float(type))
    return found


def _varied(ops: Sequence[Operation], wrt: Sequence[SSAValue], constants: Collection[SSAValue]) -> set[SSAValue]:
    """The float values that depend on one of `wrt`."""
    varied = set(wrt)
    for op in ops:
        if any(operand in varied for operand in op.operands):
            floats = (result for result in op.results if is_float(result.type.element_type))  # pyright: ignore[reportAttributeAccessIssue]
            varied.update(result for result in floats if result not in constants)
    return varied
