"""How a parameter follows its gradient: the formulas of the optimizers, and the state that each keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import ClassVar

import numpy as np

from tstorch.dialects.prim.elementwise import Expm1Op
from tstorch.dialects.prim.formula import Formula
from tstorch.dialects.prim.generator import ConstantOp
from tstorch.dialects.prim.shape import BroadcastInDimOp, ReshapeOp, SliceOp
from tstorch.dialects.prim.types import dtype_of


@dataclass(frozen=True)
class Optimizer(ABC):
    """`slots` name what it keeps for each parameter, all zero at first; `counts` is whether it counts steps."""

    slots: ClassVar[tuple[str, ...]] = ()
    counts: ClassVar[bool] = False

    lr: float
    beta1: float
    beta2: float
    eps: float

    def shared(self, step: Formula) -> Formula | None:
        """A vector of what all parameters use, from the number of this step, the first of which is 1.

        One tensor, not several scalars: kernels that update a parameter are short of bindings.
        """
        return None

    @abstractmethod
    def update(
        self, value: Formula, gradient: Formula, slots: Sequence[Formula], shared: Formula | None
    ) -> tuple[Formula, list[Formula]]:
        """The parameter's next value, and its slots'."""


class Sgd(Optimizer):
    """value - lr * gradient."""

    def update(
        self, value: Formula, gradient: Formula, slots: Sequence[Formula], shared: Formula | None
    ) -> tuple[Formula, list[Formula]]:
        return value - gradient * self.lr, []


class Adam(Optimizer):
    """Adam with bias correction, as PyTorch computes it."""

    slots = ("adam.m", "adam.v")
    counts = True

    def shared(self, step: Formula) -> Formula:
        """lr / (1 - beta1**step), and the root of 1 - beta2**step."""
        count = step.apply(BroadcastInDimOp, shape=(2,), dimensions=())
        logs, powers, rates = (
            _pair(count, log(self.beta1), log(self.beta2)),
            _pair(count, -1, 0.5),
            _pair(count, self.lr, 1),
        )
        # not 1 - beta**step, whose first steps would lose half their digits
        return (-(count * logs).apply(Expm1Op)) ** powers * rates

    def update(
        self, value: Formula, gradient: Formula, slots: Sequence[Formula], shared: Formula | None
    ) -> tuple[Formula, list[Formula]]:
        assert shared is not None
        size, root = (_spread(shared, place, value) for place in range(2))
        mean = slots[0] * self.beta1 + gradient * (1 - self.beta1)
        square = slots[1] * self.beta2 + gradient * gradient * (1 - self.beta2)
        return value - size * mean / (square.sqrt() / root + self.eps), [mean, square]


def _pair(like: Formula, *numbers: float) -> Formula:
    """Numbers as a vector of `like`'s element type."""
    constant = ConstantOp(np.asarray(numbers, dtype_of(like.type)))
    return Formula(like.build.insert(constant).result, like.build)


def _spread(vector: Formula, place: int, value: Formula) -> Formula:
    """One element of a vector at every element of `value`, in its element type."""
    scalar = vector.apply(SliceOp, start=(place,), limit=(place + 1,)).apply(ReshapeOp, shape=())
    element = value.type.element_type
    narrowed = scalar if scalar.type.element_type == element else scalar.convert(element)
    return narrowed.apply(BroadcastInDimOp, shape=value.type.get_shape(), dimensions=())


OPTIMIZERS: Mapping[str, type[Optimizer]] = {"adam": Adam, "sgd": Sgd}
"""Option value -> optimizer."""
