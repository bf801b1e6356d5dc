"""Wrong numbers: inner tensors given out, the first node that diverges, the first that makes a NaN."""

from tstorch.numerics.capture import Captured, capture
from tstorch.numerics.divergence import find_divergence
from tstorch.numerics.nonfinite import hunt
from tstorch.numerics.stored import find_deviation

__all__ = ["Captured", "capture", "find_deviation", "find_divergence", "hunt"]
