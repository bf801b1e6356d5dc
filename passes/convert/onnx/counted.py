"""Outputs whose size only a run can tell: the largest that they can be, and a count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue
from xdsl.utils.exceptions import VerifyException

from tstorch.passes.convert.onnx.value import Value


@dataclass(frozen=True)
class Counted:
    """A tensor whose size along `axis` only a run can tell: `padded` is the largest that it can be.

    Its first `count` elements along the axis hold (count: a scalar, i64, within 0 and the padded size); what stands
    behind them is some number that means nothing. Outputs of one node that are of one size share their count.
    """

    padded: Value
    axis: int
    count: Value

    def cut(self, count: int) -> Value:
        """The elements that hold, where it is known how many they are."""
        return self.padded.take(self.axis, 0, count)


class UnsettledError(VerifyException):
    """A node has outputs whose size depends on data. `results` are what its rule gave, in order."""

    def __init__(self, results: Sequence[Value | Counted | None]):
        open = ", ".join(str(number) for number, result in enumerate(results) if isinstance(result, Counted))
        super().__init__(
            f"the size of output {open} depends on data; expected sizes that follow from the inputs' shapes, or an "
            "input that is a constant"
        )
        self.results = results


def settled(
    results: Sequence[Value | Counted | None], known: Callable[[SSAValue], np.ndarray | None]
) -> list[Value | None]:
    """The results, cut where their counts are known at compile time. Raises UnsettledError where one is not."""
    found: list[Value | Counted | None] = []
    for result in results:
        count = known(result.count.ssa) if isinstance(result, Counted) else None
        found.append(result.cut(int(count)) if isinstance(result, Counted) and count is not None else result)
    if any(isinstance(result, Counted) for result in found):
        raise UnsettledError(found)
    return [result for result in found if not isinstance(result, Counted)]
