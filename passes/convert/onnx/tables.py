"""Numbers that a rule has computed, more of them than one constant holds."""

from __future__ import annotations

import numpy as np

from tstorch.dialects.prim.generator import MAX_CONSTANT
from tstorch.passes.convert.onnx.value import Emitter, Value


def table(emit: Emitter, numbers: np.ndarray) -> Value:
    """A vector of known numbers, at least one: constants, joined. What comes of it alone is computed at load."""
    parts = [emit.constant(numbers[start : start + MAX_CONSTANT]) for start in range(0, len(numbers), MAX_CONSTANT)]
    return parts[0].concatenate(parts[1:], 0)
