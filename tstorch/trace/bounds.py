"""What limits a kernel, and how near it comes to that: by the ceilings that were measured on its adapter.

Memory and arithmetic are ceilings: no kernel does better. A kernel that is far from both is limited by something else:
by what any dispatch costs (launch), or by work that waits for other work, or for too few workgroups (latency).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from tstorch.trace.schema import Record

NEAR_LAUNCH = 2.0
"""A dispatch that takes less than so many empty ones is bound by its launch: half of it or more is that."""
FAR_FROM_ROOF = 2.0
"""A kernel that takes so many times what memory and arithmetic need may be bound by latency."""
MOST_SHARE = 1.05
"""The ceilings are wrong where a kernel does more than this of them: they are measured again, then raised."""


@dataclass(frozen=True)
class Ceilings:
    """The most that this adapter was seen to do: bytes moved (read and written) and operations in a microsecond.

    `copies` are working sets in bytes, ascending, each with the bandwidth of such a copy, its launch left out; without
    them `bytes_per_us` holds at any size. `launch_us` is what an empty dispatch takes, `step_us` an iteration of
    a loop that waits for a load, `units` how many workgroups it takes to keep the device busy.
    """

    bytes_per_us: float
    flops_per_us: float
    copies: tuple[tuple[int, float], ...] = ()
    launch_us: float = 0.0
    step_us: float = 0.0
    units: int = 1

    @classmethod
    def of(cls, measured: Record) -> Ceilings | None:
        """The ceilings in a trace's `measured` record, or None where they were not measured."""
        ceilings = measured.get("ceilings") or {}
        copy, fma = ceilings.get("copy_gb_s"), ceilings.get("fma_gflop_s")
        if not copy or not fma:
            return None
        copies = tuple((row["bytes"], row["gb_s"] * 1e3) for row in ceilings.get("copy", ()))
        facts = ceilings.get("launch_us", 0.0), ceilings.get("step_us", 0.0), ceilings.get("units", 1)
        return cls(copy * 1e3, fma * 1e3, copies, *facts)

    def bandwidth(self, nbytes: int) -> float:
        """Bytes in a microsecond of a copy with this working set, between those measured on a logarithmic scale."""
        if not self.copies:
            return self.bytes_per_us
        sizes = [size for size, _ in self.copies]
        right = bisect_left(sizes, nbytes)
        if right in (0, len(sizes)):
            return self.copies[min(right, len(sizes) - 1)][1]
        (small, slow), (large, fast) = self.copies[right - 1], self.copies[right]
        part = math.log(nbytes / small) / math.log(large / small)
        return slow * (fast / slow) ** part

    def memory_us(self, nbytes: int) -> float:
        """The least time in which this adapter could move the bytes."""
        return nbytes / self.bandwidth(nbytes)

    def compute_us(self, flops: int) -> float:
        """The least time in which this adapter could do the operations."""
        return flops / self.flops_per_us

    def bound(self, nbytes: int, flops: int) -> str:
        """`memory` or `compute`: which ceiling the work would meet first."""
        return "compute" if self.compute_us(flops) > self.memory_us(nbytes) else "memory"

    def floor_us(self, nbytes: int, flops: int) -> float:
        """The least time in which this adapter could do the work."""
        return max(self.compute_us(flops), self.memory_us(nbytes))


@dataclass(frozen=True)
class Limit:
    """What limits a kernel. `share` is how much of its roof it reaches (0 to 1), `saves_us` what all of it would save.

    `roof_us` is what memory or arithmetic need at least, whichever is more. All are None where ceilings or times are
    not known. Bound by its launch a kernel has no share: its time says nothing of how fast it works.
    """

    bound: str | None = None
    roof_us: float | None = None
    share: float | None = None
    saves_us: float | None = None


def limit_of(ceilings: Ceilings | None, dispatches: Sequence[Record], kernel: Record, us: float | None) -> Limit:
    """What limits the dispatches of one kernel, which take `us` microseconds in all."""
    if ceilings is None or not any(row["bytes"] + row["flops"] for row in dispatches):
        return Limit()
    count = sum(row.get("runs", 1) for row in dispatches)
    roof = sum(row.get("runs", 1) * ceilings.floor_us(row["bytes"], row["flops"]) for row in dispatches)
    longest = max(dispatches, key=lambda row: ceilings.floor_us(row["bytes"], row["flops"]))
    bound = ceilings.bound(longest["bytes"], longest["flops"])
    if us is None:
        return Limit(bound, roof)
    saves = max(0.0, us - roof)
    if us <= NEAR_LAUNCH * ceilings.launch_us * count:
        return Limit("launch", roof, None, saves)
    if us >= FAR_FROM_ROOF * roof and _waits(ceilings, longest, kernel):
        bound = "latency"
    return Limit(bound, roof, roof / us, saves)


def _waits(ceilings: Ceilings, dispatch: Record, kernel: Record) -> bool:
    """Whether a dispatch has fewer workgroups than units, or loops that take longer than its roof if each iteration
    waits for the one before."""
    chain = (kernel.get("iterations") or 0) * ceilings.step_us
    return math.prod(dispatch["grid"]) < ceilings.units or chain > ceilings.floor_us(
        dispatch["bytes"], dispatch["flops"]
    )
