"""Places in sorted rows: each invocation looks for one query's."""

from __future__ import annotations

from math import ceil

from xdsl.dialects.builtin import i32

from tstorch.dialects import flow, loop
from tstorch.dialects.loop import Id
from tstorch.dialects.prim.scalar import Scalar
from tstorch.dialects.prim.search import SearchSortedOp
from tstorch.passes.convert.kernel_to_loop.bisection import bisected
from tstorch.passes.convert.kernel_to_loop.emit import unsettled
from tstorch.passes.convert.kernel_to_loop.frame import Frame, Grid, Place, convert
from tstorch.passes.convert.kernel_to_loop.nest import (
    Ids,
    flat_group,
    number,
    serving,
    shape_of,
    size_of,
    split,
    spread,
)
from tstorch.passes.convert.kernel_to_loop.ordering import ordered_word


def convert_search(kernel: flow.KernelOp, schedule: flow.ScheduleAttr, anchor: SearchSortedOp) -> loop.KernelOp:
    """Invocation number i writes result element i."""
    threads, total = schedule.workgroup[0], size_of(anchor.result)
    length = shape_of(anchor.rows)[-1]
    grid = Grid(spread(ceil(total / threads)), (threads, 1, 1))

    def body(frame: Frame, ids: Ids) -> None:
        build, emit = frame.build, frame.emit
        position = flat_group(ids, grid.groups) * threads + ids[Id.LID_X]
        index, mask = split(position, shape_of(anchor.result)), unsettled([(position, total)])

        def is_less(place: Scalar) -> Scalar:
            inside = place.minimum(length - 1)
            at = loop.dim_of(build.insert(loop.ToIndexOp(inside.value, length)).result)
            element = Scalar(emit.at(anchor.rows, [*index[:-1], at], mask), build)
            return ordered_word(element, False).compare("lt", query)

        with serving(build, anchor):
            query = ordered_word(Scalar(emit.at(anchor.queries, index, mask), build), False)
            low, high = (Scalar(number(build, bound, i32), build) for bound in (0, length))
            found = bisected(build, low, high, length, is_less)
        emit.known[anchor.result] = lambda _: found.value
        frame.store([Place(0, index, mask)])

    return convert(kernel, grid, body)
