"""What giving out inner tensors takes apart: dispatches of one artifact whose nodes another one serves in several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tstorch.artifact.format import Artifact


@dataclass(frozen=True)
class Unfused:
    """The nodes of one dispatch, and the groups that they fell into."""

    nodes: tuple[str, ...]
    parts: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        return f"{' + '.join(self.nodes)}: now {' | '.join(' + '.join(part) for part in self.parts)}"


def unfused(before: Artifact, after: Artifact) -> list[Unfused]:
    """The dispatches of `before` that are several in `after`; what neither cuts apart is not listed."""
    groups = [nodes_of(dispatch) for dispatch in after.dispatches]
    found: list[Unfused] = []
    for dispatch in before.dispatches:
        nodes = nodes_of(dispatch)
        parts = [tuple(node for node in nodes if node in group) for group in groups]
        parts = list(dict.fromkeys(part for part in parts if part))
        if len(nodes) > 1 and nodes not in parts:
            found.append(Unfused(nodes, tuple(parts)))
    return list(dict.fromkeys(found))


def serving(artifact: Artifact, node: str) -> Mapping[str, Any] | None:
    """The dispatch that computes most of a node; None where none does."""
    rows = [(share["share"], row) for row in artifact.dispatches for share in row["shares"] if share["id"] == node]
    return max(rows, key=lambda pair: pair[0])[1] if rows else None


def nodes_of(dispatch: Mapping[str, Any]) -> tuple[str, ...]:
    """The nodes that a dispatch serves, in order."""
    return tuple(dict.fromkeys(share["id"] for share in dispatch["shares"]))
