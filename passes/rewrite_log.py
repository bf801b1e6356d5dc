"""Which rewrites fired, in order; and, for those who look for a wrong one, after how many the patterns stop."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from xdsl.context import Context


@dataclass(frozen=True)
class Fired:
    """One firing: the pass, the pattern, the op it began at, and the nodes that this op serves."""

    pass_name: str
    pattern: str
    op: str
    nodes: tuple[str, ...]

    def __str__(self) -> str:
        at = f", for {', '.join(self.nodes)}" if self.nodes else ""
        return f"pattern {self.pattern} at '{self.op}'{at}"


@dataclass
class RewriteLog:
    """All firings since it was made. With a `limit` no pattern fires once there are so many."""

    limit: int | None = None
    fired: list[Fired] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        """Whether no further pattern may fire."""
        return self.limit is not None and len(self.fired) >= self.limit

    def counts(self) -> Counter[str]:
        """How often each pattern fired."""
        return Counter(each.pattern for each in self.fired)


def rewrite_log(context: Context) -> RewriteLog | None:
    """The log that a context carries, if somebody wants one."""
    return getattr(context, "rewrites", None)
