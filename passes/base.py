"""What every pass is: a named, levelled transformation of a module, with options as its dataclass fields."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from tstorch.diagnostics import PassError
from tstorch.levels import Level
from tstorch.passes.rewrite import Pattern, apply_patterns
from tstorch.passes.rewrite_log import rewrite_log
from tstorch.remarks import RemarkSink

PatternLike = type[Pattern] | Pattern


@dataclass(frozen=True)
class TSTorchPass(ModulePass):
    """Base of all passes.

    `requires` and `ensures` are the levels before and after; None stands for any level, left as it is. A pass is either
    a tuple of `patterns` or its own `apply`. Options are typed, defaulted fields of the frozen dataclass.
    """

    requires: ClassVar[Level | None] = None
    ensures: ClassVar[Level | None] = None
    patterns: ClassVar[tuple[PatternLike, ...]] = ()
    settled: ClassVar[tuple[str, ...]] = ()
    """Kinds of the module's ops (kernels, say) that the pass leaves as they are: they need not be verified again."""

    # Positional only, so that a pass may call its module `module`.
    def apply(self, ctx: Context, module: ModuleOp, /) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Transforms the module in place."""
        patterns = self.pattern_instances()
        if not patterns:
            raise PassError(f"pass {self.name} has neither patterns nor an apply of its own")
        apply_patterns(module, patterns, pass_name=self.name, log=rewrite_log(ctx))

    def pattern_instances(self) -> Sequence[Pattern]:
        """The patterns to apply; override where they depend on the pass's options."""
        return [pattern() if isinstance(pattern, type) else pattern for pattern in self.patterns]

    def remarks(self, module: ModuleOp) -> RemarkSink:
        """The sink of this pass for that module, to be used with `with`."""
        return RemarkSink(module, self.name)
