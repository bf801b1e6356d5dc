"""Reverse mode over a straight list of primitives: each op's vjp, last op first, gradients added where they meet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xdsl.builder import Builder
from xdsl.ir import Operation, SSAValue

from tstorch.dialects.prim.base import PrimOp
from tstorch.dialects.prim.formula import filled


def pull_back(
    ops: Sequence[Operation], seeds: Iterable[tuple[SSAValue, SSAValue]], build: Builder
) -> dict[SSAValue, SSAValue]:
    """The cotangent of every value that a gradient reaches, from (value, cotangent) pairs of the ops' last values.

    `ops` stand in order and are primitives; raises TypeError for another op that a gradient would pass.
    """
    cotangents: dict[SSAValue, SSAValue] = {}
    for value, cotangent in seeds:
        accumulate(cotangents, value, cotangent, build)
    for op in reversed(ops):
        if not any(result in cotangents for result in op.results):
            continue
        if not isinstance(op, PrimOp):
            raise TypeError(f"{op.name} has no gradient rule")
        given = [
            cotangents[result] if result in cotangents else filled(0, result.type, build)  # pyright: ignore[reportArgumentType]
            for result in op.results
        ]
        for operand, cotangent in zip(op.operands, op.vjp(given, build), strict=True):
            if cotangent is not None:
                accumulate(cotangents, operand, cotangent, build)
    return cotangents


def accumulate(cotangents: dict[SSAValue, SSAValue], value: SSAValue, cotangent: SSAValue, build: Builder) -> None:
    """Adds a cotangent to what has reached a value so far."""
    from tstorch.dialects.prim.elementwise import AddOp  # here: a composite's rule is written with this file

    known = cotangents.get(value)
    cotangents[value] = cotangent if known is None else build.insert(AddOp(known, cotangent)).result
