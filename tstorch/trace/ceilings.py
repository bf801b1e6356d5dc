"""Ceilings that kernels beat: which kernels they are, and ceilings raised to what was seen of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tstorch.trace.bounds import MOST_SHARE, Ceilings, limit_of
from tstorch.trace.join import by_kernel, total_us
from tstorch.trace.schema import Record, Trace

_MOST_RAISES = 64


@dataclass(frozen=True)
class Beaten:
    """A kernel that reaches `share` (more than 1) of the ceiling `bound`; `bytes` is its largest working set."""

    kernel: str
    bound: str
    share: float
    bytes: int


def beaten(trace: Trace) -> list[Beaten]:
    """The kernels of a trace that do more than `MOST_SHARE` of their ceilings, the worst first."""
    return sorted(_beaten(trace), key=lambda found: -found.share)


def _beaten(trace: Trace) -> Iterator[Beaten]:
    ceilings, kernels = Ceilings.of(trace.measured), {kernel["name"]: kernel for kernel in trace.kernels}
    for name, dispatches in by_kernel(trace).items():
        limit = limit_of(ceilings, dispatches, kernels.get(name, {}), total_us(dispatches))
        if limit.bound is not None and limit.share is not None and limit.share > MOST_SHARE:
            yield Beaten(name, limit.bound, limit.share, max(row["bytes"] for row in dispatches))


def raise_ceilings(trace: Trace) -> None:
    """Raises the ceilings that kernels of the trace beat, and notes by which kernel: a ceiling is the most ever seen.

    Only this trace's are: one kernel's time is an estimate, and nothing that other runs should be measured against.
    """
    for _ in range(_MOST_RAISES):
        found = beaten(trace)
        if not found:
            return
        trace.measured["ceilings"] = _raised(trace.measured["ceilings"], found[0])


def _raised(ceilings: Record, by: Beaten) -> Record:
    note = {"kernel": by.kernel, "ceiling": by.bound, "factor": by.share}
    noted = {**ceilings, "raised": [*ceilings.get("raised", ()), note]}
    if by.bound == "compute":
        return {**noted, "fma_gflop_s": ceilings["fma_gflop_s"] * by.share}
    rows = ceilings.get("copy", [])
    near = _neighbours([row["bytes"] for row in rows], by.bytes)
    raised = [row | {"gb_s": row["gb_s"] * by.share} if at in near else row for at, row in enumerate(rows)]
    known = {"copy": raised} if rows else {}
    return {**noted, **known, "copy_gb_s": raised[-1]["gb_s"] if rows else ceilings["copy_gb_s"] * by.share}


def _neighbours(sizes: list[int], nbytes: int) -> set[int]:
    """The places of the sizes around `nbytes`."""
    below = [at for at, size in enumerate(sizes) if size <= nbytes]
    above = [at for at, size in enumerate(sizes) if size >= nbytes]
    return {*below[-1:], *above[:1]}
