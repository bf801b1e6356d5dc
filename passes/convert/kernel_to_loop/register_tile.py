"""One invocation's part of a product: a tile of results in registers.

A step loads `k_step` x lanes of one factor into registers and multiplies them with the lines' elements of the other.
"""

from math import prod

from xdsl.ir import SSAValue

from tstorch.dialects import flow
from tstorch.dialects.indexing import Index
from tstorch.dialects.loop import Id
from tstorch.dialects.prim.base import ContractionOp, Source
from tstorch.passes.convert.kernel_to_loop.frame import Frame, Grid
from tstorch.passes.convert.kernel_to_loop.nest import (
    Ids,
    largest_divisor,
    load,
    loops,
    number,
    private,
    registers_of,
    split,
    steps,
    store,
)
from tstorch.passes.convert.kernel_to_loop.sides import Indices, Sides
from tstorch.passes.convert.kernel_to_loop.terms import multiply_add


class RegisterTile:
    """The code of one invocation: `lines` x `lanes` results, their factors read from memory as they are needed."""

    def __init__(self, frame: Frame, anchor: ContractionOp, sides: Sides, schedule: flow.ScheduleAttr) -> None:
        self.frame = frame
        self.build = frame.build
        self.anchor = anchor
        self.sides = sides
        self.lines, self.lanes = schedule.tile
        *self.outer, inner = sides.product.steps or (1,)
        self.inner = inner
        self.k_step = largest_divisor(inner, schedule.k_step)
        self.type = registers_of(anchor.results[0])
        self.sums = private(frame.build, [self.lines, self.lanes], self.type)

    def place(self, ids: Ids, grid: Grid) -> None:
        """Which tile this invocation computes."""
        x, y, _ = grid.workgroup
        self.first_lane = (ids[Id.WG_X] * x + ids[Id.LID_X]) * self.lanes
        self.first_line = (ids[Id.WG_Y] * y + ids[Id.LID_Y]) * self.lines
        self.group = split(ids[Id.WG_Z], self.sides.product.groups)

    def zero(self) -> None:
        with loops(self.build, [self.lines, self.lanes], unroll=True) as [i, j]:
            store(self.build, number(self.build, 0, self.type), self.sums, i, j)

    def accumulate(self) -> None:
        """Adds the products of all steps to the sums."""
        build = self.build
        with loops(build, self.outer) as outer, steps(build, self.inner, self.k_step) as first:
            factors = private(build, [self.k_step, self.lanes], self.type)
            with loops(build, [self.k_step, self.lanes], unroll=True) as [k, j]:
                store(build, self.lane_factor([*outer, first + k], self.lane_at(j)), factors, k, j)
            with loops(build, [self.lines, self.k_step], unroll=True) as [i, k]:
                factor = self.line_factor([*outer, first + k], self.line_at(i))
                with loops(build, [self.lanes], unroll=True) as [j]:
                    self.add_product(factor, load(build, factors, k, j), i, j)

    def lane_at(self, j: Index) -> Index:
        """The lane of the tile's column `j`."""
        return self.first_lane + j

    def line_at(self, i: Index) -> Index:
        """The line of the tile's row `i`."""
        return self.first_line + i

    def lane_factor(self, step: Indices, position: Index) -> SSAValue:
        """The factor of a lane."""
        lane = split(position, self.sides.lanes)
        return self.factor(self.sides.lane_source(self.group, lane, self.step(step)))

    def line_factor(self, step: Indices, position: Index) -> SSAValue:
        """The factor of a line."""
        line = split(position, self.sides.lines)
        return self.factor(self.sides.line_source(self.group, line, self.step(step)))

    def step(self, step: Indices) -> Indices:
        return step if self.sides.product.steps else ()

    def factor(self, source: Source) -> SSAValue:
        return self.frame.emit.at_source(self.anchor, source, 0)

    def add_product(self, line: SSAValue, lane: SSAValue, i: Index, j: Index) -> None:
        total = load(self.build, self.sums, i, j)
        store(self.build, multiply_add(self.frame.emit, line, lane, total), self.sums, i, j)

    def finish(self) -> None:
        """Stores what the kernel makes of each sum."""
        with loops(self.build, [self.lines, self.lanes], unroll=True) as [i, j]:
            line, lane = self.line_at(i), self.lane_at(j)
            lines, lanes = self.sides.lines, self.sides.lanes
            self.frame.emit.known[self.anchor.results[0]] = lambda _: load(self.build, self.sums, i, j)
            index = self.sides.at(self.group, split(line, lines), split(lane, lanes))
            mask = [(line, prod(lines)), (lane, prod(lanes))]
            self.frame.store(self.frame.places_at({self.anchor.results[0]: index}, mask))
