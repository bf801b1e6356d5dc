"""Applies text rules: the built-in ones, the plugins', or those of a file."""

from dataclasses import dataclass
from pathlib import Path

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from tstorch.diagnostics import UsageError
from tstorch.levels import Level
from tstorch.passes.base import TSTorchPass
from tstorch.passes.fusion.rules.compiler import compile_rule
from tstorch.passes.fusion.rules.library import library_rules, read_rules
from tstorch.passes.fusion.rules.syntax import Outline, Replace
from tstorch.passes.rewrite import apply_patterns
from tstorch.passes.rewrite_log import rewrite_log
from tstorch.plugins import CompilerContext, Extensions

KINDS = {"replace": Replace, "outline": Outline}


@dataclass(frozen=True)
class ApplyRulesPass(TSTorchPass):
    """Applies text rules: the built-in ones, the plugins', or those of a file.

    With `only=replace` or `only=outline` the rules of one kind: rewrites come before groups, which are closed.
    A rule declines, with a remark `rule:NAME`, where its ops lie as it wants but a `one_use` or `where` does not hold.

        // before
        %a = prim.conv %x, %w, layout = "NCHW" x "OIHW" to "NCHW", window_strides = [1, 1], padding_low = [0, 0],
             padding_high = [0, 0], lhs_dilation = [1, 1], rhs_dilation = [1, 1], feature_group_count = 1,
             batch_group_count = 1, reverse_window = false
             : tensor<1x3x4x4xf32>, tensor<8x3x3x3xf32> -> tensor<1x8x2x2xf32>
        %zero = prim.constant dense<0.0> : tensor<f32>
        %zeros = prim.broadcast_in_dim %zero, shape = [1, 8, 2, 2], dimensions = []
               : tensor<f32> -> tensor<1x8x2x2xf32>
        %r = prim.maximum %a, %zeros : tensor<1x8x2x2xf32>
        // after
        %r = prim.composite "conv + relu"(%x, %w) {
        ^bb0(%0: tensor<1x3x4x4xf32>, %1: tensor<8x3x3x3xf32>):
          %a = prim.conv %0, %1, layout = "NCHW" x "OIHW" to "NCHW", window_strides = [1, 1], padding_low = [0, 0],
               padding_high = [0, 0], lhs_dilation = [1, 1], rhs_dilation = [1, 1], feature_group_count = 1,
               batch_group_count = 1, reverse_window = false
               : tensor<1x3x4x4xf32>, tensor<8x3x3x3xf32> -> tensor<1x8x2x2xf32>
          %zero = prim.constant dense<0.0> : tensor<f32>
          %zeros = prim.broadcast_in_dim %zero, shape = [1, 8, 2, 2], dimensions = []
               : tensor<f32> -> tensor<1x8x2x2xf32>
          %m = prim.maximum %a, %zeros : tensor<1x8x2x2xf32>
          prim.yield %m : tensor<1x8x2x2xf32>
        } : (tensor<1x3x4x4xf32>, tensor<8x3x3x3xf32>) -> tensor<1x8x2x2xf32>
    """

    name = "apply-rules"
    requires = ensures = Level.PRIM

    file: str = ""
    """A file of rules to apply instead of the built-in ones."""

    without: tuple[str, ...] = ()
    """Names of built-in rules to leave out."""

    only: str = ""
    """`replace` for rewrites alone, `outline` for groups alone."""

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        if self.only not in ("", *KINDS):
            raise UsageError(f"apply-rules: only={self.only}; expected {' or '.join(KINDS)}")
        extensions = ctx.extensions if isinstance(ctx, CompilerContext) else Extensions()
        rules = read_rules(Path(self.file)) if self.file else library_rules(extensions, self.without)
        wanted = (KINDS[self.only],) if self.only else tuple(KINDS.values())
        patterns = [compile_rule(rule, ctx, extensions) for rule in rules if isinstance(rule.action, wanted)]
        if patterns:
            apply_patterns(module, patterns, pass_name=self.name, log=rewrite_log(ctx))
