"""What memory does while a program runs again and again: it should stay as it is."""

from collections.abc import Mapping, Sequence
from typing import Any

Point = tuple[int, float]
"""How many runs there were, and bytes then."""


class MemoryWatch:
    """Readings of a worker's memory between runs. `note` takes the facts that the worker tells (Worker.facts)."""

    def __init__(self) -> None:
        self._live: list[Point] = []
        self._resident: list[Point] = []
        self._made: list[Mapping[str, Mapping[str, int]]] = []

    def note(self, facts: Mapping[str, Any]) -> None:
        """Takes a reading."""
        runs, memory = facts["submitted"]["runs"], facts["memory"]
        if memory.get("live") is not None:
            self._live.append((runs, memory["live"]))
            self._made.append(memory["made"])
        if memory.get("resident") is not None:
            self._resident.append((runs, memory["resident"]))

    def to_json(self) -> dict[str, Any] | None:
        """Between first and last reading: `runs`, `allocations` and their `bytes`, by category `made`, and the bytes of
        our buffers (`slope`) and of the process (`resident_slope`) that each run added. None without two readings."""
        if len(self._live) < 2:
            return None
        made = {
            category: {key: found[key] - self._made[0].get(category, {}).get(key, 0) for key in ("count", "bytes")}
            for category, found in self._made[-1].items()
        }
        made = {category: found for category, found in made.items() if found["count"]}
        return {
            "runs": self._live[-1][0] - self._live[0][0],
            "allocations": sum(found["count"] for found in made.values()),
            "bytes": sum(found["bytes"] for found in made.values()),
            "made": made,
            "slope": slope(self._live),
            "resident_slope": slope(self._resident) if len(self._resident) > 1 else None,
        }


def slope(points: Sequence[Point]) -> float:
    """Bytes for each run, by least squares."""
    runs = sum(x for x, _ in points) / len(points)
    level = sum(y for _, y in points) / len(points)
    spread = sum((x - runs) ** 2 for x, _ in points)
    return sum((x - runs) * (y - level) for x, y in points) / spread if spread else 0.0
