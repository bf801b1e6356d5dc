"""How close two right answers are, by what a model computes in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdsl.dialects.builtin import IntegerType, ModuleOp, TensorType, bf16, f16, i1
from xdsl.ir import Attribute

from tstorch.dialects.prim.generator import ConstantOp
from tstorch.dialects.prim.types import is_float
from tstorch.dialects.prim.weight import WeightOp

TOLERANCE = 1e-3
"""The largest error that counts as right: max|a-b| / max|b|. Float32 sums in another order differ by 1e-6 to 1e-4."""
COARSE = 2e-2
"""The same for numbers of 16 bits, and for quantised ones: a sum that falls to the other side of a tie moves a step."""


@dataclass
class Precision:
    """What is known of the numbers that a model computes with."""

    halves: bool = False
    quantised: bool = False

    def see(self, module: ModuleOp) -> None:
        """Looks at a module of primitives in the model's own types."""
        for op in module.walk():
            for result in op.results:
                self._see(result.type, is_stored=isinstance(op, WeightOp | ConstantOp))

    def _see(self, type: Attribute, *, is_stored: bool) -> None:
        if not isinstance(type, TensorType):
            return
        element = type.element_type
        if element in (f16, bf16):
            self.halves = True
        elif isinstance(element, IntegerType):
            self.quantised |= is_stored and element != i1 and element.width.data <= 8
        elif is_stored and not is_float(element):  # floats of 8 bits and less
            self.quantised = True

    def tolerance(self, spread: Callable[[], float]) -> float:
        """The largest error that counts as right. `spread` is how far a reference is from itself, by another order."""
        if self.quantised:
            return max(COARSE, 2 * spread())
        return COARSE if self.halves else TOLERANCE
