"""Packs the values of a host program into a few arenas."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from tstorch.diagnostics import DiagnosticError
from tstorch.dialects.buf import BufferOp, Category, EntryOp, ViewOp, buffers_of
from tstorch.dialects.buf.lower_bound import lower_bound
from tstorch.dialects.buf.memory import Allocation, Memory, touched
from tstorch.dialects.program import INIT
from tstorch.levels import Level
from tstorch.passes.base import TSTorchPass
from tstorch.passes.buffers.packing import Packer, Plan, Tensor
from tstorch.remarks import RemarkSink
from tstorch.target import get_target

PERSISTENT = frozenset({Category.WEIGHT, Category.STATE, Category.OPTIMIZER})
STRATEGIES = ("search", "greedy")


@dataclass(frozen=True)
class PlanBuffersPass(TSTorchPass):
    """Packs the values of a host program into a few arenas: what lives at the same time lies apart.

    A dispatch's inputs and outputs never share an arena, for WebGPU would have it bind both read_write. Inputs and
    outputs of the graph lie in the arenas too; weights and state stay where they are. `strategy=search` tries several
    orders and changes of the best one, and keeps the smallest plan; `greedy` takes the first. Reports the peak beside
    the least that is possible.

        // before
        buf.buffer @run.0 : 16 "input"
        buf.buffer @run.1 : 16 "activation"
        buf.buffer @run.2 : 16 "output"
        buf.entry @run {
          %0 = buf.view @run.0[0] "x" : !buf.view<tensor<4xf32>>
          %1 = buf.view @run.1[0] "h" : !buf.view<tensor<4xf32>>
          %2 = buf.view @run.2[0] "y" : !buf.view<tensor<4xf32>>
          buf.upload "x", %0 {dtype = "float32", storage = "f32"} : !buf.view<tensor<4xf32>>
          buf.dispatch @exp_0(read %0 : !buf.view<tensor<4xf32>>, write %1 : !buf.view<tensor<4xf32>>) grid [1, 1, 1] {
              id = 0 : i64, label = "exp", nodes = [loc("/e")], flops = array<i64: 4>} loc("/e")
          buf.dispatch @exp_0(read %1 : !buf.view<tensor<4xf32>>, write %2 : !buf.view<tensor<4xf32>>) grid [1, 1, 1] {
              id = 1 : i64, label = "exp", nodes = [loc("/f")], flops = array<i64: 4>} loc("/f")
          buf.readback "y", %2 {dtype = "float32", storage = "f32"} : !buf.view<tensor<4xf32>>
        }
        // after
        buf.buffer @run.arena0 : 256 "activation"
        buf.buffer @run.arena1 : 256 "activation"
        buf.entry @run {
          %0 = buf.view @run.arena0[0] "x" : !buf.view<tensor<4xf32>>
          %1 = buf.view @run.arena1[0] "h" : !buf.view<tensor<4xf32>>
          %2 = buf.view @run.arena0[0] "y" : !buf.view<tensor<4xf32>>
          buf.upload "x", %0 {dtype = "float32", storage = "f32"} : !buf.view<tensor<4xf32>>
          buf.dispatch @exp_0(read %0 : !buf.view<tensor<4xf32>>, write %1 : !buf.view<tensor<4xf32>>) grid [1, 1, 1] {
              id = 0 : i64, label = "exp", nodes = [loc("/e")], flops = array<i64: 4>} loc("/e")
          buf.dispatch @exp_0(read %1 : !buf.view<tensor<4xf32>>, write %2 : !buf.view<tensor<4xf32>>) grid [1, 1, 1] {
              id = 1 : i64, label = "exp", nodes = [loc("/f")], flops = array<i64: 4>} loc("/f")
          buf.readback "y", %2 {dtype = "float32", storage = "f32"} : !buf.view<tensor<4xf32>>
        }
    """

    name = "plan-buffers"
    requires = ensures = Level.BUF

    strategy: str = "search"

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        if self.strategy not in STRATEGIES:
            raise DiagnosticError(
                f"plan-buffers: strategy is {self.strategy!r}; expected one of {', '.join(STRATEGIES)}"
            )
        limit = get_target(module).limits.max_buffer_size
        with self.remarks(module) as remarks:
            for entry in [op for op in module.body.block.ops if isinstance(op, EntryOp)]:
                self._plan(entry, limit, remarks)

    def _plan(self, entry: EntryOp, limit: int, remarks: RemarkSink) -> None:
        buffers = buffers_of(entry)
        memory = Memory(entry)
        planned = [each for each in memory.allocations.values() if _is_planned(each, buffers)]
        packer = Packer(tensors_of(memory, planned), limit)
        plan = packer.best() if self.strategy == "search" else packer.first()
        _place(entry, planned, plan, buffers)
        bound = lower_bound(entry, persistent_buffers(entry))
        name = entry.sym_name.data
        remarks.analysis(
            (),
            "TST-B001",
            f"entry {name}: {len(planned)} tensors in {len(plan.arenas)} arenas",
            metric={"arena_peak": plan.peak, "lower_bound": bound},
        )


WORD_BYTES = 4
"""The size of an arena that holds only tensors without elements: WebGPU has no empty buffer to bind."""


def persistent_buffers(entry: EntryOp) -> frozenset[str]:
    """The names of the buffers whose content outlives a run."""
    buffers = buffers_of(entry)
    return frozenset(name for name, op in buffers.items() if Category(op.category.data) in PERSISTENT)


def tensors_of(memory: Memory, planned: list[Allocation]) -> list[Tensor]:
    """What the packer must know of each allocation: bytes, life time, and what it must not share an arena with."""
    number = {allocation.op: position for position, allocation in enumerate(planned)}
    apart: list[set[int]] = [set() for _ in planned]
    for command in memory.commands:
        uses = [(number.get(memory[view].allocation.op), access) for view, access in touched(command)]
        for (one, first), (other, second) in combinations(uses, 2):
            if one is not None and other is not None and one != other and first.writes != second.writes:
                apart[one].add(other)
                apart[other].add(one)
    return [
        Tensor(each.end - each.begin, each.first or 0, each.last or 0, frozenset(apart[position]))
        for position, each in enumerate(planned)
    ]


def _is_planned(allocation: Allocation, buffers: Mapping[str, BufferOp]) -> bool:
    category = Category(buffers[allocation.op.buffer_name].category.data)
    return isinstance(allocation.op, ViewOp) and category not in PERSISTENT


def _place(entry: EntryOp, planned: list[Allocation], plan: Plan, buffers: Mapping[str, BufferOp]) -> None:
    """Moves the views into arenas and drops the buffers that they leave."""
    block = entry.parent
    assert block is not None
    name = entry.sym_name.data
    left = {each.op.buffer_name: buffers[each.op.buffer_name] for each in planned}
    anchor = next(iter(left.values()), None)
    used = sorted({arena for arena, _ in plan.place.values()})
    for arena in used:
        lifetime = INIT if name == INIT else None
        buffer = BufferOp(
            f"{name}.arena{used.index(arena)}", plan.arenas[arena] or WORD_BYTES, Category.ACTIVATION, lifetime
        )
        assert anchor is not None
        block.insert_op_before(buffer, anchor)
    for position, allocation in enumerate(planned):
        arena, offset = plan.place[position]
        allocation.op.place(f"{name}.arena{used.index(arena)}", offset)
    for buffer in left.values():
        buffer.detach()
        buffer.erase()
