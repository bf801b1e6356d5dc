"""Faults that tests inject into model runs: `POINT:sleep=SECONDS`, `POINT:leak=BYTES` or `POINT:abort`.

Points are the parts of a run (upload, encode, submit, wait, readback) and `between`, which no instrument covers.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Protocol


class Memory(Protocol):
    """What gives memory of the GPU."""

    def buffer(self, name: str, nbytes: int, category: str) -> object:
        """A new buffer."""
        ...


class Faults:
    """What a test may do at the named points of a run; this one does nothing."""

    def attach(self, memory: Memory) -> None:
        """Called with what gives memory of the GPU."""

    def at(self, point: str) -> None:
        """Called inside the instrument of that name, or, as `between`, outside all of them."""


POINTS = ("upload", "encode", "submit", "wait", "readback", "between")


@dataclass
class InjectedFault(Faults):
    """Sleeps, hangs, leaks memory or aborts the process at one point of each model run."""

    point: str
    seconds: float = 0.0
    abort: bool = False
    leak: int = 0
    memory: Memory | None = None

    @classmethod
    def parse(cls, text: str) -> InjectedFault:
        """The fault that `text` names. Raises ValueError."""
        point, _, action = text.partition(":")
        name, _, amount = action.partition("=")
        if point not in POINTS or name not in ("sleep", "leak", "abort"):
            raise ValueError(
                f"fault '{text}': expected POINT:sleep=SECONDS, POINT:leak=BYTES or POINT:abort, "
                f"POINT of {', '.join(POINTS)}"
            )
        if name == "leak":
            return cls(point, leak=int(amount))
        return cls(point, float(amount or 0.0), name == "abort")

    def attach(self, memory: Memory) -> None:
        """Keeps what gives memory."""
        self.memory = memory

    def at(self, point: str) -> None:
        """Strikes when `point` is the one."""
        if point != self.point:
            return
        if self.abort:
            os.abort()
        if self.leak and self.memory is not None:
            self.memory.buffer("leak", self.leak, "leak")
        time.sleep(self.seconds)
