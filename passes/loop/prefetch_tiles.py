"""Reads a round's tile of memory ahead, while the round before it computes."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.dialects.builtin import MemRefType, ModuleOp
from xdsl.ir import Operation, SSAValue

from tstorch.dialects import loop
from tstorch.dialects.indexing import Index
from tstorch.dialects.loop import BarrierOp, ForOp, KernelOp, dim_of, read_only_bindings, substitute_indices
from tstorch.levels import Level
from tstorch.locations import ServedNodes
from tstorch.passes.base import TSTorchPass


@dataclass(frozen=True)
class PrefetchTilesPass(TSTorchPass):
    """Reads a round's tile of memory ahead, while the round before it computes.

    Applies to a serial loop whose rounds fill workgroup memory between two barriers, out of bindings that are only
    read: the first round's elements are read into registers before the loop, each other round's during the round
    before. Declines, with a remark, rounds that fill it from elsewhere, and loops that end early.

        // before
        loop.kernel @last(%x: memref<512xf32>, %out: memref<64xf32>) grid [1, 1, 1] workgroup [64, 1, 1] {
          loop.parallel %t = lid.x {
            %tile = loop.alloc workgroup : memref<64xf32>
            loop.for %k < 512 step 64 {
              loop.barrier
              %v = loop.load %x[%k + %t] : memref<512xf32> -> f32
              loop.store %v, %tile[%t] : f32, memref<64xf32>
              loop.barrier
              %w = loop.load %tile[63 - %t] : memref<64xf32> -> f32
              loop.store %w, %out[%t] : f32, memref<64xf32>
            }
          }
        }
        // after
        loop.kernel @last(%x: memref<512xf32>, %out: memref<64xf32>) grid [1, 1, 1] workgroup [64, 1, 1] {
          loop.parallel %t = lid.x {
            %tile = loop.alloc workgroup : memref<64xf32>
            %ahead = loop.alloc private : memref<1xf32>
            %v = loop.load %x[%t] : memref<512xf32> -> f32
            loop.store %v, %ahead[0] : f32, memref<1xf32>
            loop.for %k < 512 step 64 {
              loop.barrier
              %h = loop.load %ahead[0] : memref<1xf32> -> f32
              loop.store %h, %tile[%t] : f32, memref<64xf32>
              loop.barrier
              %more = loop.within (%k + 64 < 512) : i1
              loop.if %more {
                %n = loop.load %x[%k + %t + 64] : memref<512xf32> -> f32
                loop.store %n, %ahead[0] : f32, memref<1xf32>
              }
              %w = loop.load %tile[63 - %t] : memref<64xf32> -> f32
              loop.store %w, %out[%t] : f32, memref<64xf32>
            }
          }
        }
    """

    name = "prefetch-tiles"
    requires = ensures = Level.LOOP

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        served = ServedNodes(module)
        with self.remarks(module) as remarks:
            for kernel in [op for op in module.ops if isinstance(op, KernelOp)]:
                readable = read_only_bindings(kernel)
                for nest in [op for op in kernel.walk() if isinstance(op, ForOp)]:
                    if (round := Round.of(nest)) is None:
                        continue
                    if (refusal := round.refusal(readable)) is not None:
                        remarks.missed(served.of(nest), "TST-V030", f"a tile is not read ahead: {refusal}")
                    else:
                        round.read_ahead()


@dataclass
class Round:
    """One iteration of a loop that shares a tile: the loop, and what fills the tile."""

    nest: ForOp
    filling: list[Operation]
    ahead: dict[Operation, SSAValue] = field(default_factory=dict[Operation, SSAValue])
    """The registers that hold what each store into the tile will write."""

    @classmethod
    def of(cls, nest: ForOp) -> "Round | None":
        """The round of a serial loop of several that begins with a barrier and has another; None of any other loop."""
        ops = list(nest.body.block.ops)
        barriers = [place for place, op in enumerate(ops) if isinstance(op, BarrierOp)]
        if nest.is_static or nest.trips < 2 or len(barriers) != 2 or barriers[0] != 0 or barriers[1] < 2:
            return None
        return cls(nest, ops[1 : barriers[1]])

    def refusal(self, readable: set[SSAValue]) -> str | None:
        """Why the filling cannot be done a round before."""
        if self.nest.until is not None:
            return "the number of rounds is known at run time only"
        for op in self._inside():
            if isinstance(op, ForOp) and not op.is_static:
                return "a loop at run time fills it"
            if isinstance(op, loop.LoadOp) and op.memory not in readable:
                return "it is not read from a binding alone"
            if isinstance(op, loop.StoreOp) and not _is_shared(op.memory):
                return "more than the tile is written"
            if not isinstance(op, loop.StoreOp | ForOp) and (op.regions or not op.results):
                return f"{op.name} stands in between"
        return None

    def read_ahead(self) -> None:
        """Rewrites the loop."""
        block, body = self.nest.parent_block(), self.nest.body.block
        if block is None:
            return
        self._allocate()
        first = self._fetch({self.nest.iv: Index()})
        block.insert_ops_before(first, self.nest)
        next_round = dim_of(self.nest.iv) + self.nest.stride
        more = loop.WithinOp([(next_round, self.nest.size)])
        branch = loop.IfOp(more.result)
        more.location = branch.location = self.nest.location
        branch.body.block.add_ops(self._fetch({self.nest.iv: next_round}))
        barrier = self.filling[-1].next_op
        assert barrier is not None
        body.insert_ops_after([more, branch], barrier)
        self._publish()

    def _inside(self) -> Iterator[Operation]:
        for op in self.filling:
            yield from op.walk()

    def _stores(self) -> Iterator[loop.StoreOp]:
        return (op for op in self._inside() if isinstance(op, loop.StoreOp))

    def _allocate(self) -> None:
        block = self.nest.parent_block()
        for op in self._stores():
            trips = [nest.trips for nest in _static_loops(op)] or [1]
            held = loop.AllocOp(loop.MemorySpace.PRIVATE, MemRefType(op.value.type, trips))
            held.location = op.location
            held.memory.name_hint = "ahead"
            self.ahead[op] = held.memory
            if block is not None:
                block.insert_op_before(held, self.nest)

    def _fetch(self, at: dict[SSAValue, Index]) -> list[Operation]:
        """A copy of the filling for the round `at`, which writes registers instead of the tile."""
        mapped: dict[SSAValue, SSAValue] = {}
        copies = [op.clone(mapped) for op in self.filling]
        held = iter(self.ahead.values())
        for op in [inner for copy in copies for inner in copy.walk()]:
            substitute_indices(op, at)
            if isinstance(op, loop.StoreOp):
                op.operands[1] = next(held)
                op.set_access(_place(op))
        return copies

    def _publish(self) -> None:
        """Lets the filling take what the registers hold, and drops what computed it."""
        for op, memory in self.ahead.items():
            held = loop.LoadOp(memory, _place(op))
            held.location = op.location
            block = op.parent_block()
            if block is not None:
                block.insert_op_before(held, op)
            op.operands[0] = held.result
        for op in reversed(list(self._inside())):
            if op.results and not any(result.uses for result in op.results):
                op.detach()
                op.erase()


def _is_shared(memory: SSAValue) -> bool:
    return isinstance(memory.owner, loop.AllocOp) and not memory.owner.is_private


def _static_loops(op: Operation) -> list[ForOp]:
    """The unrolled loops around an op, outermost first, up to the first loop of another kind."""
    found: list[ForOp] = []
    while isinstance(parent := op.parent_op(), ForOp) and parent.is_static:
        found.insert(0, parent)
        op = parent
    return found


def _place(op: Operation) -> list[Index]:
    """Where a store's value stands in its registers: one for each step of the unrolled loops around it."""
    return [dim_of(nest.iv) // nest.stride for nest in _static_loops(op)] or [Index()]
