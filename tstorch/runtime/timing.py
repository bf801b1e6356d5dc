"""What ticks mean: durations, their quality, the probe's constant, the agreement, and statistics.

Pure functions of numbers. Ticks are integers beyond 2**53 (Unix nanoseconds on some drivers): they are subtracted as
integers before anything else happens to them. Durations are in nanoseconds, reported times in microseconds.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

Run = TypeVar("Run")

# A clock this coarse (in nanoseconds) says little about a kernel: browsers quantise to 65,536 or 100,000.
QUANTISED_FROM_NS = 1000.0


@dataclass(frozen=True)
class Quality:
    """How far the GPU's clock can be trusted: `device`, `quantised`, `invalid` or `untimed`, and its step in ns."""

    label: str
    quantum_ns: float = 0.0


def is_valid(ticks: Sequence[int]) -> bool:
    """Whether a run's ticks can be true: none zero, none before its predecessor, not all the same."""
    return len(ticks) >= 2 and all(ticks) and all(a <= b for a, b in pairwise(ticks)) and ticks[0] != ticks[-1]


def judge_clock(runs: Sequence[Sequence[int]], period_ns: float) -> Quality:
    """The quality of a GPU clock from several runs of ticks, each in the order written; no runs: untimed.

    One impossible run among them makes the clock invalid.
    """
    if not runs:
        return Quality("untimed")
    if not all(is_valid(ticks) for ticks in runs):
        return Quality("invalid")
    step = math.gcd(*(b - a for ticks in runs for a, b in pairwise(ticks)))
    quantum = step * period_ns
    return Quality("quantised" if quantum >= QUANTISED_FROM_NS else "device", quantum)


def durations_ns(ticks: Sequence[int], period_ns: float) -> list[float]:
    """The length of each (begin, end) pair of ticks."""
    return [(end - begin) * period_ns for begin, end in zip(ticks[::2], ticks[1::2], strict=True)]


def subtract_probe(raw: Sequence[float], whole: float) -> tuple[float, list[float]]:
    """The constant that timing adds to each part, and the parts without it, which sum to `whole`.

    Where no part is shorter than the constant it is (sum of raw parts - whole) / number of parts. A part cannot be
    negative: a shorter one becomes 0 and the others bear the rest. Parts that sum to less than `whole` stay as they
    are: the constant is never below 0, and what is missing stays missing.
    """
    if sum(raw) <= whole:
        return 0.0, list(raw)
    excess, count = sum(raw) - whole, len(raw)
    for part in sorted(raw):  # the constant rises until the parts that it swallows no longer change
        if part * count >= excess or count == 1:
            break
        excess, count = excess - part, count - 1
    constant = excess / count
    return constant, [max(part - constant, 0.0) for part in raw]


def scale_parts(raw: Sequence[float], whole: float, tiny: float, floor: float) -> tuple[float, list[float]]:
    """A factor, and the parts as they share `whole` where noise and no constant is what tells kinds of run apart.

    On a GPU that is this machine's CPU, runs differ by what else the cores did. Each part but the first, which waits
    for nothing, is shortened by what timing adds to a kernel that does nothing (`tiny`), never below what such a kernel
    takes untimed (`floor`); then all are scaled alike, so that they sum to `whole`.
    """
    shortened = [max(part - max(tiny, 0.0), min(part, floor)) if i else part for i, part in enumerate(raw)]
    total = sum(shortened)
    factor = whole / total if total > 0 else 1.0
    return factor, [part * factor for part in shortened]


def quiet(samples: Sequence[float]) -> float:
    """The lower quartile: what a run takes when little else happens. Noise of shared cores only ever adds."""
    return sorted(samples)[(len(samples) - 1) // 4] if samples else 0.0


def quieter_half(runs: Sequence[Run], lengths: Sequence[float]) -> list[Run]:
    """The half of the runs (the larger one of an odd number) that took the least, in the order taken."""
    kept = sorted(sorted(range(len(runs)), key=lengths.__getitem__)[: (len(runs) + 1) // 2])
    return [runs[i] for i in kept]


def agreement(raw: float, whole: float, parts: int, tiny_probe: float) -> float | None:
    """The parts' sum in percent of the whole, with the constant that tiny kernels gave: the evidence for the parts.

    `raw` is the sum of all `parts` raw times; each but the first bears the constant.
    """
    if whole <= 0:
        return None
    return 100.0 * (raw - max(parts - 1, 0) * max(tiny_probe, 0.0)) / whole


def drift(best: float, before: float, after: float) -> float:
    """How much slower the sentinel ran around a measurement than at its best: 0.02 is two percent."""
    return max(before, after) / best - 1.0 if best > 0 else 0.0


def summary(samples: Sequence[float]) -> dict[str, float]:
    """Median, p90, median absolute deviation, mean and number of samples (unit as given)."""
    if not samples:
        return {"median": 0.0, "p90": 0.0, "mad": 0.0, "mean": 0.0, "runs": 0}
    median = statistics.median(samples)
    return {
        "median": median,
        "p90": sorted(samples)[min(len(samples) - 1, math.ceil(0.9 * len(samples)) - 1)],
        "mad": statistics.median(abs(sample - median) for sample in samples),
        "mean": statistics.fmean(samples),
        "runs": len(samples),
    }
