"""Matrix products and convolutions: each invocation computes a tile of results in registers.

The *lanes* are the side of the product along which the result is contiguous: columns, or the rows of a result that
keeps channels first. The other side are the *lines*. Factors come from memory, or through workgroup memory, where each
is read once for all invocations that need it.
"""

from collections.abc import Sequence
from math import ceil, prod

from tstorch.dialects import flow, loop
from tstorch.dialects.prim.base import ContractionOp
from tstorch.passes.convert.kernel_to_loop.frame import Frame, Grid, convert
from tstorch.passes.convert.kernel_to_loop.nest import Ids, serving
from tstorch.passes.convert.kernel_to_loop.register_tile import RegisterTile
from tstorch.passes.convert.kernel_to_loop.sides import Sides
from tstorch.passes.convert.kernel_to_loop.staged_tile import StagedTile


def tile_grid(sides: Sides, tile: tuple[int, int], workgroup: Sequence[int]) -> Grid:
    """Workgroups along the lanes, the lines and the groups of a product."""
    x, y, _ = workgroup
    lines, lanes = tile
    return Grid(
        (
            ceil(prod(sides.lanes) / (lanes * x)),
            ceil(prod(sides.lines) / (lines * y)),
            prod(sides.product.groups),
        ),
        (x, y, 1),
    )


def convert_contraction(kernel: flow.KernelOp, schedule: flow.ScheduleAttr, anchor: ContractionOp) -> loop.KernelOp:
    """The tile's loops: all steps in turn, then what the kernel makes of each result."""
    sides = Sides.of(anchor.product())
    grid = tile_grid(sides, schedule.tile, schedule.workgroup)

    def body(frame: Frame, ids: Ids) -> None:
        tile = (StagedTile if schedule.staged else RegisterTile)(frame, anchor, sides, schedule)
        tile.place(ids, grid)
        with serving(frame.build, anchor):
            tile.zero()
            tile.accumulate()
        tile.finish()

    return convert(kernel, grid, body)
