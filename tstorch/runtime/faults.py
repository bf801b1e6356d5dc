"""Faults that tests inject into model runs: `POINT:sleep=SECONDS` or `POINT:abort`.

Points are the parts of a run (upload, encode, submit, wait, readback) and `between`, which no instrument covers.
"""

import os
import time
from dataclasses import dataclass


class Faults:
    """What a test may do at the named points of a run; this one does nothing."""

    def at(self, point: str) -> None:
        """Called inside the instrument of that name, or, as `between`, outside all of them."""


POINTS = ("upload", "encode", "submit", "wait", "readback", "between")


@dataclass
class InjectedFault(Faults):
    """Sleeps, hangs or aborts the process at one point of each model run."""

    point: str
    seconds: float = 0.0
    abort: bool = False

    @classmethod
    def parse(cls, text: str) -> "InjectedFault":
        """The fault that `text` names. Raises ValueError."""
        point, _, action = text.partition(":")
        name, _, amount = action.partition("=")
        if point not in POINTS or name not in ("sleep", "abort"):
            raise ValueError(
                f"fault '{text}': expected POINT:sleep=SECONDS or POINT:abort, POINT of {', '.join(POINTS)}"
            )
        return cls(point, float(amount or 0.0), name == "abort")

    def at(self, point: str) -> None:
        """Strikes when `point` is the one."""
        if point != self.point:
            return
        if self.abort:
            os.abort()
        time.sleep(self.seconds)
