"""One result element for each invocation, or a few along the last dimension: a serial sum over what lies under it.

Serves reductions, pooling windows, and convolutions of few channels: whatever adds up a handful of terms per element
and shares none of them between neighbours.
"""

from math import ceil

from tstorch.dialects import flow, loop
from tstorch.dialects.indexing import Index
from tstorch.dialects.loop import Id
from tstorch.dialects.prim.base import PrimOp
from tstorch.passes.convert.kernel_to_loop.frame import Frame, Grid, Place, convert
from tstorch.passes.convert.kernel_to_loop.nest import (
    Ids,
    flat_group,
    load,
    loops,
    private,
    registers_of,
    serving,
    shape_of,
    size_of,
    split,
    spread,
    store,
)
from tstorch.passes.convert.kernel_to_loop.terms import terms_of


def convert_accumulate(kernel: flow.KernelOp, schedule: flow.ScheduleAttr, anchor: PrimOp) -> loop.KernelOp:
    """Invocation number i computes `vector` elements of the anchor's result, and what the kernel makes of them."""
    result = anchor.results[0]
    shape, total, type = shape_of(result), size_of(result), registers_of(result)
    vector, threads = schedule.vector, schedule.workgroup[0]
    terms = terms_of(anchor)
    grid = Grid(spread(ceil(total / (vector * threads))), (threads, 1, 1))

    def body(frame: Frame, ids: Ids) -> None:
        build = frame.build
        first = (flat_group(ids, grid.groups) * threads + ids[Id.LID_X]) * vector
        with serving(build, anchor):
            sums = private(build, [vector], type)
            with loops(build, [vector], unroll=True) as [lane]:
                store(build, terms.start(frame.emit, split(first + lane, shape)), sums, lane)
            with loops(build, terms.sizes) as at, loops(build, [vector], unroll=True) as [lane]:
                index = split(first + lane, shape)
                store(build, terms.join(frame.emit, load(build, sums, lane), index, at), sums, lane)

        def places(lane: Index) -> list[Place]:
            position = first + lane
            frame.emit.known[result] = lambda _: load(build, sums, lane)
            return frame.places_at({result: split(position, shape)}, [(position, total)])

        frame.store_lanes(first, vector, places)

    return convert(kernel, grid, body)
