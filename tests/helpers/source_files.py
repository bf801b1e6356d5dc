"""The package's own sources, parsed: what the tests of conventions and of imports read."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
TOPS = ("tstorch", "dialects", "passes", "tools")


@dataclass(frozen=True)
class Source:
    """One file of the package: its path in the repository, its text, its syntax tree."""

    path: str
    text: str
    tree: ast.Module

    @classmethod
    def parse(cls, path: str, text: str) -> "Source":
        return cls(path, text, ast.parse(text))

    @property
    def module(self) -> str:
        """The name it is imported by: dialects/prim/base.py is tstorch.dialects.prim.base."""
        parts = Path(self.path).with_suffix("").parts
        parts = parts if parts[0] == "tstorch" else ("tstorch", *parts)
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def at(self, node: ast.AST) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 1)}"


def sources() -> Iterator[Source]:
    """Yields every Python file of the package, in a fixed order."""
    for top in TOPS:
        for path in sorted((ROOT / top).rglob("*.py")):
            yield Source.parse(path.relative_to(ROOT).as_posix(), path.read_text())
