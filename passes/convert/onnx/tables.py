"""Numbers that a rule has computed, more of them than one constant holds: joined constants, or a formula."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np
from xdsl.dialects.builtin import f32

from tstorch.dialects.prim.elementwise import RemOp
from tstorch.dialects.prim.generator import MAX_CONSTANT
from tstorch.passes.convert.onnx.image import counted
from tstorch.passes.convert.onnx.value import Emitter, Value

_DENOMINATORS = (64, 1024, 2**13)
_FINER = (1, 2, 4, 16, 256)


def table(emit: Emitter, numbers: np.ndarray) -> Value:
    """A vector of known numbers, at least one: constants, joined. What comes of it alone is computed at load."""
    parts = [emit.constant(numbers[start : start + MAX_CONSTANT]) for start in range(0, len(numbers), MAX_CONSTANT)]
    return parts[0].concatenate(parts[1:], 0)


@dataclass(frozen=True)
class Ramp:
    """(factor * i + first) / divisor, for i = 0, 1, ..., exact in 32-bit integers."""

    factor: int
    first: int
    divisor: int

    @classmethod
    def between(cls, low: np.ndarray, high: np.ndarray, slope: float) -> Ramp | None:
        """One of about that slope with low <= it < high at each i; None where none is found."""
        place = np.arange(len(low))
        for most in _DENOMINATORS:
            step = Fraction(slope).limit_denominator(most)
            bottom, top = (low - place * float(step)).max(), (high - place * float(step)).min()
            for divisor in (step.denominator * finer for finer in _FINER):
                ramp = cls(int(step * divisor), (ceil(bottom * divisor) + ceil(top * divisor) - 1) // 2, divisor)
                found = ramp.factor * place + ramp.first
                if ramp.is_small(len(low)) and (low * divisor <= found).all() and (found < high * divisor).all():
                    return ramp
        return None

    def is_small(self, count: int) -> bool:
        """Whether so many values stay within 32 bits."""
        return max(abs(self.factor) * count + 2 * abs(self.first), self.divisor) < 2**30

    def parts(self, emit: Emitter, count: int) -> tuple[Value, Value]:
        """Of so many values the whole numbers below them (i32), and what is left (f32, 0 to below 1)."""
        least = floor(min(self.first, self.first + self.factor * (count - 1)) / self.divisor)
        above = counted(emit, [count], 0) * self.factor + (self.first - least * self.divisor)
        rest = above.apply(RemOp, self.divisor)
        return above / self.divisor + least, rest.convert(f32) / self.divisor
