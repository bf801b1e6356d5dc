"""Replaces what follows from constants and shapes alone by its value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from tstorch.dialects.prim.base import GeneratorOp, PrimOp
from tstorch.dialects.prim.generator import MAX_CONSTANT, ConstantOp
from tstorch.dialects.prim.shape import BroadcastInDimOp
from tstorch.levels import Level
from tstorch.passes.base import TSTorchPass
from tstorch.passes.rewrite import Pattern, Rewriter
from tstorch.passes.simplify.known_values import KnownValues


class FoldKnownValue(Pattern):
    """An op whose operands are known becomes a constant."""

    root = PrimOp

    def __init__(self) -> None:
        self._known = KnownValues()

    def match_and_rewrite(self, op: PrimOp, rewriter: Rewriter) -> None:
        if len(op.results) != 1 or isinstance(op, GeneratorOp | BroadcastInDimOp):
            return
        [result] = op.results
        if prod(result.type.get_shape()) > MAX_CONSTANT or (value := self._known(result)) is None:  # pyright: ignore[reportAttributeAccessIssue]
            return
        rewriter.replace(op, ConstantOp(value))


@dataclass(frozen=True)
class FoldConstantsPass(TSTorchPass):
    """Replaces what follows from constants and shapes alone by its value.

    Applies to any primitive whose operands are constants, or follow from constants, by the primitive's own reference;
    results of up to 64 elements. Declines for broadcasts (a number stays small), and where weights are involved: what
    only they decide is computed by `@init` on the GPU.

        // before
        %a = prim.constant dense<[2, 3]> : tensor<2xi64>
        %b = prim.constant dense<[1, 1]> : tensor<2xi64>
        %c = prim.add %a, %b : tensor<2xi64>
        // after
        %c = prim.constant dense<[3, 4]> : tensor<2xi64>
    """

    name = "fold-constants"
    requires = ensures = Level.PRIM

    def pattern_instances(self) -> Sequence[Pattern]:
        return [FoldKnownValue()]
