"""What limits a kernel, and how close it comes: the ceilings of a copy and of fused multiply-adds, as measured."""

from __future__ import annotations

from dataclasses import dataclass

from tstorch.trace.schema import Record


@dataclass(frozen=True)
class Ceilings:
    """The most that this adapter was seen to do in a microsecond: bytes moved (read and written), and operations."""

    bytes_per_us: float
    flops_per_us: float

    @classmethod
    def of(cls, measured: Record) -> Ceilings | None:
        """The ceilings in a trace's `measured` record, or None where they were not measured."""
        ceilings = measured.get("ceilings") or {}
        copy, fma = ceilings.get("copy_gb_s"), ceilings.get("fma_gflop_s")
        return cls(copy * 1e3, fma * 1e3) if copy and fma else None

    def bound(self, nbytes: int, flops: int) -> str:
        """`memory` or `compute`: which ceiling the work would meet first."""
        return "compute" if flops / self.flops_per_us > nbytes / self.bytes_per_us else "memory"

    def floor_us(self, nbytes: int, flops: int) -> float:
        """The least time in which this adapter could do the work."""
        return max(flops / self.flops_per_us, nbytes / self.bytes_per_us)


def bound_of(ceilings: Ceilings | None, nbytes: int, flops: int) -> str | None:
    """`memory`, `compute`, or None where no ceilings were measured or no work is known."""
    return None if ceilings is None or nbytes + flops == 0 else ceilings.bound(nbytes, flops)


def share_of_ceiling(ceilings: Ceilings | None, nbytes: int, flops: int, us: float | None) -> float | None:
    """The part of the bound's ceiling that `us` microseconds for this work reach; None where either is not known."""
    if ceilings is None or not us or nbytes + flops == 0:
        return None
    return ceilings.floor_us(nbytes, flops) / us
