"""The search for the place at which an answer changes."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects.arith import ShRUIOp
from xdsl.dialects.builtin import i32

from tstorch.dialects.indexing import Index
from tstorch.dialects.loop import NestBuilder
from tstorch.dialects.prim.scalar import Scalar
from tstorch.passes.convert.kernel_to_loop.nest import load, private, store


def bisected(build: NestBuilder, low: Scalar, high: Scalar, width: int, holds: Callable[[Scalar], Scalar]) -> Scalar:
    """The least number from `low` to `high` for which `holds` is false, where it holds for all before it.

    `width` is the most that lies between the two. `holds` is also asked for numbers outside, and its answer ignored.
    """
    bounds = [private(build, [1], i32) for _ in range(2)]
    for memory, bound in zip(bounds, (low, high), strict=True):
        store(build, bound.value, memory, Index())
    with build.loop(width.bit_length()):
        low, high = (Scalar(load(build, memory, Index()), build) for memory in bounds)
        middle = (low + high).apply(ShRUIOp, 1)
        further, open = holds(middle), low.compare("lt", high)
        store(build, (open & further).select(middle + 1, low).value, bounds[0], Index())
        store(build, (open & further.negated()).select(middle, high).value, bounds[1], Index())
    return Scalar(load(build, bounds[0], Index()), build)
