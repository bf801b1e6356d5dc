"""Applies text rules: the built-in ones, the plugins', or those of a file."""

from dataclasses import dataclass
from pathlib import Path

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from tstorch.levels import Level
from tstorch.passes.base import TSTorchPass
from tstorch.passes.fusion.rules.library import library_rules, read_rules
from tstorch.passes.rewrite import apply_patterns
from tstorch.plugins import Extensions
from tstorch.registry import CompilerContext


@dataclass(frozen=True)
class ApplyRulesPass(TSTorchPass):
    """Applies text rules: the built-in ones, the plugins', or those of a file.

    A rule declines, with a remark `rule:NAME`, where its ops lie as it wants but a `one_use` or `where` does not hold.

        // before
        %zero = prim.constant dense<0.0> : tensor<f32>
        %zeros = prim.broadcast_in_dim %zero, shape = [4], dimensions = [] : tensor<f32> -> tensor<4xf32>
        %a = prim.add %x, %zeros : tensor<4xf32>
        func.return %a : tensor<4xf32>
        // after
        func.return %x : tensor<4xf32>
    """

    name = "apply-rules"
    requires = ensures = Level.PRIM

    file: str = ""
    """A file of rules to apply instead of the built-in ones."""

    without: tuple[str, ...] = ()
    """Names of built-in rules to leave out."""

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        from tstorch.passes.fusion.rules.compiler import compile_rule

        extensions = ctx.extensions if isinstance(ctx, CompilerContext) else Extensions()
        rules = read_rules(Path(self.file)) if self.file else library_rules(extensions, self.without)
        patterns = [compile_rule(rule, ctx, extensions) for rule in rules]
        if patterns:
            apply_patterns(module, patterns, pass_name=self.name)
