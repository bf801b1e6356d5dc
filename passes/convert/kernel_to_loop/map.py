"""One element, or a few along the last dimension, for each invocation."""

from math import ceil

from tstorch.dialects import flow, loop
from tstorch.dialects.indexing import Index
from tstorch.dialects.loop import Id
from tstorch.passes.convert.kernel_to_loop.frame import Frame, Grid, Place, convert
from tstorch.passes.convert.kernel_to_loop.nest import Ids, flat_group, shape_of, size_of, split, spread


def convert_map(kernel: flow.KernelOp, schedule: flow.ScheduleAttr) -> loop.KernelOp:
    """Invocation number i handles elements i*vector .. i*vector + vector - 1 of each result, in row-major order."""
    vector, threads = schedule.vector, schedule.workgroup[0]
    largest = max(size_of(value) for value in kernel.yielded)
    grid = Grid(spread(ceil(largest / (vector * threads))), (threads, 1, 1))

    def body(frame: Frame, ids: Ids) -> None:
        first = (flat_group(ids, grid.groups) * threads + ids[Id.LID_X]) * vector

        def places(lane: Index) -> list[Place]:
            position = first + lane
            return [
                Place(number, split(position, shape_of(value)), [(position, size_of(value))])
                for number, value in enumerate(kernel.yielded)
            ]

        frame.store_lanes(first, vector, places)

    return convert(kernel, grid, body)
