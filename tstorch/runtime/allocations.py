"""Every buffer that is made or given back, as it happens: what memory does over time."""

import time
from collections import Counter
from typing import Any

MOST_EVENTS = 4096


class Allocations:
    """The first events of a device in full, and of all of them, by category, how many buffers were made."""

    def __init__(self) -> None:
        self._begin = time.perf_counter()
        self._events: list[dict[str, Any]] = []
        self._count: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    def note(self, name: str, category: str, nbytes: int, live: int) -> None:
        """A buffer of `nbytes` was made, or given back where that is negative; `live` bytes are left."""
        if len(self._events) < MOST_EVENTS:
            ms = 1e3 * (time.perf_counter() - self._begin)
            self._events.append({"ms": ms, "name": name, "category": category, "bytes": nbytes, "live_bytes": live})
        if nbytes > 0:
            self._count[category] += 1
            self._bytes[category] += nbytes

    def events(self) -> list[dict[str, Any]]:
        """`{ms, name, category, bytes, live_bytes}` each, in order; `ms` since the device was opened."""
        return list(self._events)

    def made(self) -> dict[str, dict[str, int]]:
        """By category: `{count, bytes}` of the buffers made so far."""
        return {category: {"count": count, "bytes": self._bytes[category]} for category, count in self._count.items()}
