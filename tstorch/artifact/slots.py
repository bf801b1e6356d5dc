"""How inputs and outputs share host-visible buffers: what the runner allocates, and what can be told before any run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_ALIGNMENT = 8
_LEAST = 4


@dataclass
class Shelf:
    """One buffer: where each value lies, by name, and how many bytes all of them take."""

    offsets: dict[str, int] = field(default_factory=dict)
    bytes: int = _LEAST


def shelves(values: Sequence[Mapping[str, Any]], most: int) -> list[Shelf]:
    """The values one behind the other, in as few buffers of at most `most` bytes as that allows."""
    made: list[Shelf] = []
    end = most + 1
    for value in values:
        offset = -(-end // _ALIGNMENT) * _ALIGNMENT
        if offset + value["bytes"] > most:
            made.append(Shelf())
            offset = 0
        end = offset + value["bytes"]
        made[-1].offsets[value["name"]] = offset
        made[-1].bytes = max(end, _LEAST)
    return made
