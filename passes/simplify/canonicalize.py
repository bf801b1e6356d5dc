"""Folds ops and brings them into one form, until nothing changes."""

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.folder import Folder
from xdsl.ir import Operation
from xdsl.traits import ConstantLike, HasFolder

from tstorch.passes.base import TSTorchPass
from tstorch.passes.rewrite import Pattern, Rewriter, apply_patterns
from tstorch.passes.rewrite_log import rewrite_log
from tstorch.passes.simplify.patterns.prim import PATTERNS


@dataclass(frozen=True)
class CanonicalizePass(TSTorchPass):
    """Folds ops and brings them into one form, until nothing changes.

    Uses each op's own `fold` and the patterns of `passes/simplify/patterns`. Producers that lose their last use go too.

        // before
        %a = prim.transpose %x, permutation = [1, 2, 0] : tensor<2x3x4xf32> -> tensor<3x4x2xf32>
        %b = prim.transpose %a, permutation = [1, 2, 0] : tensor<3x4x2xf32> -> tensor<4x2x3xf32>
        // after
        %b = prim.transpose %x, permutation = [2, 0, 1] : tensor<2x3x4xf32> -> tensor<4x2x3xf32>
    """

    name = "canonicalize"

    def apply(self, ctx: Context, module: ModuleOp) -> None:
        patterns = [FoldPattern(ctx), *(pattern() for pattern in PATTERNS)]
        apply_patterns(module, patterns, pass_name=self.name, log=rewrite_log(ctx))


class FoldPattern(Pattern):
    """Replaces an op by what its own `fold` gives: existing values, or constants of its dialect."""

    root = Operation

    def __init__(self, ctx: Context) -> None:
        self._folder = Folder(ctx)

    def match_and_rewrite(self, op: Operation, rewriter: Rewriter) -> None:
        if not op.has_trait(HasFolder, value_if_unregistered=False) or op.has_trait(ConstantLike):
            return
        folded = self._folder.try_fold(op)
        if folded is None:
            return
        values, constants = folded
        for constant in constants:
            rewriter.insert_before(op, constant)
        rewriter.replace(op, values, reason="folded: it gives back a value it was given")
