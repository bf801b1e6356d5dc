"""Statistics of the runs that a sceptic asks for: quantiles, outliers with their place in time, drift."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tstorch.trace.schema import Trace

# A run counts as an outlier beyond so many normal deviations, estimated from the median's, which outliers do not move.
OUTLIER_DEVIATIONS = 5.0
_MAD_TO_DEVIATION = 1.4826


@dataclass(frozen=True)
class Spread:
    """Wall times of runs in milliseconds, in the order in which they ran."""

    times: tuple[float, ...]

    @classmethod
    def of(cls, trace: Trace) -> Spread:
        """The plain runs of a trace: those without a timestamp."""
        return cls(tuple(run["whole"] / 1e3 for run in trace.runs if run["kind"] == "plain"))

    @property
    def median(self) -> float:
        """Half of the runs took longer. Raises ValueError where there were none."""
        return statistics.median(self.times)

    @property
    def mad(self) -> float:
        """The median distance from the median."""
        return statistics.median(abs(time - self.median) for time in self.times)

    def quantile(self, share: float) -> float:
        """The time that this share of the runs does not exceed: the nearest rank, so always one that was measured."""
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]

    def outliers(self) -> list[tuple[int, float]]:
        """(run, time) of each run far from the others."""
        limit = OUTLIER_DEVIATIONS * _MAD_TO_DEVIATION * self.mad
        return [(run, time) for run, time in enumerate(self.times) if limit and abs(time - self.median) > limit]

    def drift(self) -> float | None:
        """How much longer the later half took than the earlier, as a share; None below eight runs."""
        if len(self.times) < 8:
            return None
        middle = len(self.times) // 2
        return statistics.median(self.times[middle:]) / statistics.median(self.times[:middle]) - 1


CERTAIN = 2.576
"""So many deviations of a normal distribution hold 99 of 100 values."""


def interval_of_median(times: Sequence[float], deviations: float = 1.96) -> tuple[float, float]:
    """Between which two measured times the median lies in 95 of 100 such series, by the order of the times alone.

    The ranks are those of the binomial distribution's normal approximation; of few runs it is all that there were.
    """
    ordered = sorted(times)
    half = deviations / 2 * len(ordered) ** 0.5
    low = max(0, int(len(ordered) / 2 - half))
    high = min(len(ordered) - 1, int(len(ordered) / 2 + half))
    return ordered[low], ordered[high]
