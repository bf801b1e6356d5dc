"""Takes away two negations in a row."""

from dataclasses import dataclass

from tstorch.dialects.prim.unary import NegOp
from tstorch.levels import Level
from tstorch.passes.base import TSTorchPass
from tstorch.passes.rewrite import Pattern, Rewriter


class MergeNegations(Pattern):
    def match_and_rewrite(self, outer: NegOp, rewriter: Rewriter) -> None:
        inner = outer.operand.owner
        if not isinstance(inner, NegOp):
            return rewriter.missed(outer, "ACME-001", "its operand is no negation")
        rewriter.replace(outer, inner.operand, reason="identity: negated twice")


@dataclass(frozen=True)
class MergeNegationsPass(TSTorchPass):
    """Takes away two negations in a row.

    Declines where the operand is no negation.

        // before
        %a = prim.neg %x : tensor<4xf32>
        %b = prim.neg %a : tensor<4xf32>
        func.return %b : tensor<4xf32>
        // after
        func.return %x : tensor<4xf32>
    """

    name = "acme-merge-negations"
    requires = ensures = Level.PRIM
    patterns = (MergeNegations,)
