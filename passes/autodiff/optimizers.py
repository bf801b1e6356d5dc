"""How a parameter follows its gradient: the formulas of the optimizers, and the state that each keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import ClassVar

from tstorch.dialects.prim.elementwise import Expm1Op
from tstorch.dialects.prim.formula import Formula
from tstorch.dialects.prim.shape import BroadcastInDimOp


@dataclass(frozen=True)
class Optimizer(ABC):
    """`slots` name what it keeps for each parameter, all zero at first; `counts` is whether it counts steps."""

    slots: ClassVar[tuple[str, ...]] = ()
    counts: ClassVar[bool] = False

    lr: float
    beta1: float
    beta2: float
    eps: float

    def shared(self, step: Formula) -> tuple[Formula, ...]:
        """Scalars that all parameters use, from the number of this step, the first of which is 1."""
        return ()

    @abstractmethod
    def update(
        self, value: Formula, gradient: Formula, slots: Sequence[Formula], shared: Sequence[Formula]
    ) -> tuple[Formula, list[Formula]]:
        """The parameter's next value, and its slots'."""


class Sgd(Optimizer):
    """value - lr * gradient."""

    def update(
        self, value: Formula, gradient: Formula, slots: Sequence[Formula], shared: Sequence[Formula]
    ) -> tuple[Formula, list[Formula]]:
        return value - gradient * self.lr, []


class Adam(Optimizer):
    """Adam with bias correction, as PyTorch computes it."""

    slots = ("adam.m", "adam.v")
    counts = True

    def shared(self, step: Formula) -> tuple[Formula, ...]:
        """lr / (1 - beta1**step), and the root of 1 - beta2**step."""
        return self.lr / _correction(self.beta1, step), _correction(self.beta2, step).sqrt()

    def update(
        self, value: Formula, gradient: Formula, slots: Sequence[Formula], shared: Sequence[Formula]
    ) -> tuple[Formula, list[Formula]]:
        size, root = (_spread(each, value) for each in shared)
        mean = slots[0] * self.beta1 + gradient * (1 - self.beta1)
        square = slots[1] * self.beta2 + gradient * gradient * (1 - self.beta2)
        return value - size * mean / (square.sqrt() / root + self.eps), [mean, square]


def _spread(scalar: Formula, value: Formula) -> Formula:
    """A scalar at every element of `value`, in its element type."""
    element = value.type.element_type
    narrowed = scalar if scalar.type.element_type == element else scalar.convert(element)
    return narrowed.apply(BroadcastInDimOp, shape=value.type.get_shape(), dimensions=())


def _correction(beta: float, step: Formula) -> Formula:
    """1 - beta**step, without the cancellation that would cost the first steps half their digits."""
    return -(step * log(beta)).apply(Expm1Op)


OPTIMIZERS: Mapping[str, type[Optimizer]] = {"adam": Adam, "sgd": Sgd}
"""Option value -> optimizer."""
