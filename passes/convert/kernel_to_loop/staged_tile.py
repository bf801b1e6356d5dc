"""One invocation's part of a product whose factors pass through workgroup memory.

The workgroup computes a block of lines x lanes. In each round its invocations load the block's factors of `k_step`
steps, four neighbours each at a time, then multiply what they share. An invocation owns lanes that lie side by side,
and lines that lie as far apart as the workgroup is high, so that neighbours read other banks of memory.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, prod

from xdsl.dialects.builtin import MemRefType
from xdsl.ir import SSAValue

from tstorch.dialects import flow, loop
from tstorch.dialects.indexing import Index
from tstorch.dialects.loop import LANES, Constraint, Id, MemorySpace
from tstorch.dialects.prim.base import ContractionOp, Source
from tstorch.passes.convert.kernel_to_loop.frame import Frame, Grid
from tstorch.passes.convert.kernel_to_loop.nest import Ids, load, loops, private, split, steps, store
from tstorch.passes.convert.kernel_to_loop.register_tile import RegisterTile
from tstorch.passes.convert.kernel_to_loop.sides import Indices, Sides

UNROLLED = 2
"""Copies of the code for four steps: more no longer fit what a unit keeps of a program (measured in a chain)."""

SHARED_BYTES = 16384
"""Workgroup memory that every device has."""


def can_stage(lines: int, lanes: int, k_step: int, threads: int) -> bool:
    """Whether a block fits, and the invocations share its loads evenly, four neighbours each."""
    fits = 4 * (lines + lanes) * k_step <= SHARED_BYTES
    return fits and k_step % LANES == 0 and all(size * k_step % (LANES * threads) == 0 for size in (lines, lanes))


class StagedTile(RegisterTile):
    """The code of one invocation: `lines` x `lanes` results of its workgroup's block."""

    def __init__(self, frame: Frame, anchor: ContractionOp, sides: Sides, schedule: flow.ScheduleAttr) -> None:
        super().__init__(frame, anchor, sides, schedule)
        self.x, self.y, _ = schedule.workgroup
        self.k_step = schedule.k_step
        self._beyond: Sequence[Constraint] = ()
        self.line_block = self._shared(self.lines * self.y, self.k_step)
        self.lane_block = self._shared(self.k_step, self.lanes * self.x)

    def _shared(self, *shape: int) -> SSAValue:
        return self.build.insert(loop.AllocOp(MemorySpace.WORKGROUP, MemRefType(self.type, shape))).memory

    def place(self, ids: Ids, grid: Grid) -> None:
        self.own_lane, self.own_line = ids[Id.LID_X], ids[Id.LID_Y]
        self.block_lane = ids[Id.WG_X] * (self.x * self.lanes)
        self.block_line = ids[Id.WG_Y] * (self.y * self.lines)
        self.group = split(ids[Id.WG_Z], self.sides.product.groups)

    def lane_at(self, j: Index) -> Index:
        return self.block_lane + self.own_lane * self.lanes + j

    def line_at(self, i: Index) -> Index:
        return self.block_line + i * self.y + self.own_line

    def accumulate(self) -> None:
        build = self.build
        rounds = ceil(self.inner / self.k_step)
        with steps(build, prod(self.outer) * rounds * self.k_step, self.k_step) as position:
            first = self._first(position, rounds * self.k_step)
            build.insert(loop.BarrierOp())
            self._stage_lines(first)
            self._stage_lanes(first)
            build.insert(loop.BarrierOp())
            unrolled = UNROLLED * LANES if self.k_step % (UNROLLED * LANES) == 0 else LANES
            with steps(build, self.k_step, unrolled) as k, loops(build, [unrolled // LANES], unroll=True) as [more]:
                self._multiply(k + more * LANES)

    def _first(self, position: Index, length: int) -> Indices:
        """The first step of a round: all loops over steps are one, so that every round can be read ahead."""
        if not self.outer:
            return [position]
        return [*split(position // length, self.outer), position % length]

    def factor(self, source: Source) -> SSAValue:
        """The factor, 0 beyond the last step."""
        return super().factor(replace(source, mask=(*source.mask, *self._beyond)))

    def _staged(self, first: Indices, step: Index) -> Indices:
        """The step of a round; where rounds do not divide the sum, what lies beyond its end is masked."""
        inner = first[-1] + step
        self._beyond = [(inner, self.inner)] if self.inner % self.k_step else []
        return [*first[:-1], inner]

    def _quads(self, size: int) -> int:
        """How many runs of four elements of a block each invocation loads."""
        return size // (LANES * self.x * self.y)

    def _quad(self, q: Index) -> Index:
        return q * (self.x * self.y) + self.own_line * self.x + self.own_lane

    def _stage_lines(self, first: Indices) -> None:
        """Four neighbouring steps of a line at a time."""
        across = self.k_step // LANES
        with loops(self.build, [self._quads(self.lines * self.y * self.k_step)], unroll=True) as [q]:
            line, quad = self._quad(q) // across, self._quad(q) % across
            with loops(self.build, [LANES], unroll=True) as [v]:
                step = quad * LANES + v
                factor = self.line_factor(self._staged(first, step), self.block_line + line)
                store(self.build, factor, self.line_block, line, step)

    def _stage_lanes(self, first: Indices) -> None:
        """Four neighbouring lanes of a step at a time."""
        across = self.lanes * self.x // LANES
        with loops(self.build, [self._quads(self.k_step * self.lanes * self.x)], unroll=True) as [q]:
            step, quad = self._quad(q) // across, self._quad(q) % across
            with loops(self.build, [LANES], unroll=True) as [v]:
                lane = quad * LANES + v
                factor = self.lane_factor(self._staged(first, step), self.block_lane + lane)
                store(self.build, factor, self.lane_block, step, lane)

    def _multiply(self, k: Index) -> None:
        """Adds the products of four steps."""
        build = self.build
        factors = private(build, [LANES, self.lanes], self.type)
        with loops(build, [LANES, self.lanes], unroll=True) as [s, j]:
            shared = load(build, self.lane_block, k + s, self.own_lane * self.lanes + j)
            store(build, shared, factors, s, j)
        line = private(build, [LANES], self.type)
        with loops(build, [self.lines], unroll=True) as [i]:
            with loops(build, [LANES], unroll=True) as [s]:
                store(build, load(build, self.line_block, i * self.y + self.own_line, k + s), line, s)
            with loops(build, [LANES], unroll=True) as [s]:
                factor = load(build, line, s)
                with loops(build, [self.lanes], unroll=True) as [j]:
                    self.add_product(factor, load(build, factors, s, j), i, j)
