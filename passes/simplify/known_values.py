"""Which values are known at compile time, and what they are: computed with the ops' own references."""

from __future__ import annotations

from math import prod

import numpy as np
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation, SSAValue
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.base import PrimOp
from tstorch.dialects.prim.weight import ExternalOp

MOST_ELEMENTS = 4096
"""Larger tensors are data, not shapes: they are left to the GPU."""


class KnownValues:
    """Evaluates what follows from constants and shapes alone, each value once.

    `consulted` holds the ops whose results took part in an answer.
    """

    def __init__(self) -> None:
        self._known: dict[SSAValue, np.ndarray | None] = {}
        self.consulted: set[Operation] = set()

    def __call__(self, value: SSAValue) -> np.ndarray | None:
        """The value's elements; None where they depend on weights or data, or are too many."""
        stack = [value]
        while stack:
            current = stack[-1]
            pending = [] if current in self._known else self._pending(current)
            if pending:
                stack.extend(pending)
                continue
            stack.pop()
            if current not in self._known:
                self._evaluate(current)
        known = self._known[value]
        if known is not None and isinstance(value.owner, Operation):
            self._consult(value.owner)
        return known

    def _pending(self, value: SSAValue) -> list[SSAValue]:
        """The operands that must be looked at first; none where one of them settles the matter."""
        if (owner := _evaluable(value)) is None:
            return []
        operands = owner.operands
        if any(operand in self._known and self._known[operand] is None for operand in operands):
            return []
        return [operand for operand in operands if operand not in self._known]

    def _evaluate(self, value: SSAValue) -> None:
        owner = _evaluable(value)
        arrays = [] if owner is None else [self._known.get(operand) for operand in owner.operands]
        present = [array for array in arrays if array is not None]
        if owner is None or len(present) < len(arrays):
            self._known[value] = None
            return
        try:
            results = owner.reference(*present)
        except (ValueError, IndexError, OverflowError, MemoryError) as error:
            raise VerifyException(f"{owner.name} cannot be evaluated: {error}") from error
        self._known.update(zip(owner.results, results, strict=True))

    def _consult(self, op: Operation) -> None:
        pending = [op]
        while pending:
            current = pending.pop()
            if current not in self.consulted:
                self.consulted.add(current)
                pending.extend(each.owner for each in current.operands if isinstance(each.owner, Operation))


def _evaluable(value: SSAValue) -> PrimOp | None:
    """The value's own op where that allows it to be known, if its operands are."""
    owner = value.owner
    if not isinstance(owner, PrimOp) or isinstance(owner, ExternalOp) or owner.regions:
        return None
    small = isinstance(value.type, TensorType) and prod(value.type.get_shape()) <= MOST_ELEMENTS
    return owner if small else None
