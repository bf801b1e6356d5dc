"""Matrix products and convolutions: each invocation computes a tile of results in registers.

The *lanes* are the side of the product along which the result is contiguous: columns, or the rows of a result that
keeps channels first. The other side are the *lines*. A step loads `k_step` x lanes of one factor into registers and
multiplies them with the lines' elements of the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

from xdsl.ir import SSAValue

from tstorch.dialects import flow, loop
from tstorch.dialects.indexing import Index
from tstorch.dialects.loop import Id
from tstorch.dialects.prim.base import ContractionOp, Source
from tstorch.dialects.prim.product import Product
from tstorch.passes.convert.kernel_to_loop.frame import Frame, Grid, convert
from tstorch.passes.convert.kernel_to_loop.nest import (
    Ids,
    largest_divisor,
    load,
    loops,
    number,
    private,
    registers_of,
    serving,
    split,
    steps,
    store,
)
from tstorch.passes.convert.kernel_to_loop.terms import multiply_add

Indices = Sequence[Index]


@dataclass(frozen=True)
class Sides:
    """A product seen from its result's last dimension."""

    product: Product
    lanes_are_columns: bool

    @classmethod
    def of(cls, product: Product) -> "Sides":
        """The sides of a product; its last result dimension decides."""
        row = [Index.dim(("row", d), size) for d, size in enumerate(product.rows)]
        column = [Index.dim(("column", d), size) for d, size in enumerate(product.columns)]
        group = [Index.dim(("group", d), size) for d, size in enumerate(product.groups)]
        last = next((e for e in reversed(product.at(group, row, column)) if not e.is_constant), Index())
        return cls(product, not any(last.depends_on(("row", d)) for d in range(len(row))))

    @property
    def lanes(self) -> tuple[int, ...]:
        return self.product.columns if self.lanes_are_columns else self.product.rows

    @property
    def lines(self) -> tuple[int, ...]:
        return self.product.rows if self.lanes_are_columns else self.product.columns

    def lane_source(self, group: Indices, lane: Indices, step: Indices) -> Source:
        """The factor that varies along the lanes."""
        factor = self.product.right if self.lanes_are_columns else self.product.left
        return factor(group, lane, step)

    def line_source(self, group: Indices, line: Indices, step: Indices) -> Source:
        """The factor that varies along the lines."""
        factor = self.product.left if self.lanes_are_columns else self.product.right
        return factor(group, line, step)

    def at(self, group: Indices, line: Indices, lane: Indices) -> tuple[Index, ...]:
        """The result's element."""
        row, column = (line, lane) if self.lanes_are_columns else (lane, line)
        return self.product.at(group, row, column)


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
        tile = _Tile(frame, anchor, sides, schedule)
        tile.place(ids, grid)
        with serving(frame.build, anchor):
            tile.zero()
            tile.accumulate()
        tile.finish()

    return convert(kernel, grid, body)


class _Tile:
    """The code of one invocation: `lines` x `lanes` results."""

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
                store(build, self.lane_factor([*outer, first + k], j), factors, k, j)
            with loops(build, [self.lines, self.k_step], unroll=True) as [i, k]:
                factor = self.line_factor([*outer, first + k], i)
                with loops(build, [self.lanes], unroll=True) as [j]:
                    self.add_product(factor, load(build, factors, k, j), i, j)

    def lane_factor(self, step: Indices, j: Index) -> SSAValue:
        lane = split(self.first_lane + j, self.sides.lanes)
        return self.factor(self.sides.lane_source(self.group, lane, self.step(step)))

    def line_factor(self, step: Indices, i: Index) -> SSAValue:
        line = split(self.first_line + i, self.sides.lines)
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
            line, lane = self.first_line + i, self.first_lane + j
            lines, lanes = self.sides.lines, self.sides.lanes
            self.frame.emit.known[self.anchor.results[0]] = lambda _: load(self.build, self.sums, i, j)
            index = self.sides.at(self.group, split(line, lines), split(lane, lanes))
            mask = [(line, prod(lines)), (lane, prod(lanes))]
            self.frame.store(self.frame.places_at({self.anchor.results[0]: index}, mask))
