"""Loads a run of scalars at once, before the static loop that uses them one by one."""

from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import MemRefType, ModuleOp
from xdsl.ir import Block, Operation, SSAValue

from tstorch.dialects.indexing import Index, linearize
from tstorch.dialects.loop import (
    LANE,
    LANES,
    AllocOp,
    ForOp,
    KernelOp,
    LoadOp,
    MemorySpace,
    StoreOp,
    dim_of,
    read_only_bindings,
    vector_of,
)
from tstorch.levels import Level
from tstorch.locations import ServedNodes
from tstorch.passes.base import TSTorchPass


@dataclass(frozen=True)
class HoistVectorLoadsPass(TSTorchPass):
    """Loads a run of scalars at once, before the static loop that uses them one by one.

    Applies to a scalar load of a binding that is only read, whose element is a neighbour in each step of an unrolled
    loop around it and starts at a multiple of 4: the run goes to registers first. Declines, with a remark, runs of
    other lengths, a first element whose place is no multiple of 4, and one that a value computed in the loop places.

        // before
        loop.kernel @sum(%x: memref<64x4xf32>, %out: memref<64xf32>) grid [1, 1, 1] workgroup [64, 1, 1] {
          loop.parallel %t = lid.x {
            %acc = loop.alloc private zero : memref<1xf32>
            loop.for unroll %k < 4 {
              %v = loop.load %x[%t, %k] : memref<64x4xf32> -> f32
              %a = loop.load %acc[0] : memref<1xf32> -> f32
              %s = arith.addf %a, %v : f32
              loop.store %s, %acc[0] : f32, memref<1xf32>
            }
            %s = loop.load %acc[0] : memref<1xf32> -> f32
            loop.store %s, %out[%t] : f32, memref<64xf32>
          }
        }
        // after
        loop.kernel @sum(%x: memref<64x4xf32>, %out: memref<64xf32>) grid [1, 1, 1] workgroup [64, 1, 1] {
          loop.parallel %t = lid.x {
            %acc = loop.alloc private zero : memref<1xf32>
            %run = loop.alloc private : memref<4xf32>
            loop.for unroll %i < 4 step 4 {
              %v = loop.load %x[%t, lane] : memref<64x4xf32> -> vector<4xf32>
              loop.store %v, %run[lane] : vector<4xf32>, memref<4xf32>
            }
            loop.for unroll %k < 4 {
              %v = loop.load %run[%k] : memref<4xf32> -> f32
              %a = loop.load %acc[0] : memref<1xf32> -> f32
              %s = arith.addf %a, %v : f32
              loop.store %s, %acc[0] : f32, memref<1xf32>
            }
            %s = loop.load %acc[0] : memref<1xf32> -> f32
            loop.store %s, %out[%t] : f32, memref<64xf32>
          }
        }
    """

    name = "hoist-vector-loads"
    requires = ensures = Level.LOOP

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        served = ServedNodes(module)
        with self.remarks(module) as remarks:
            for kernel in [op for op in module.ops if isinstance(op, KernelOp)]:
                bindings = read_only_bindings(kernel)
                for op in list(kernel.walk()):
                    if isinstance(op, LoadOp) and op.memory in bindings and not op.is_vector:
                        if (nest := _loop_of_run(op)) is None:
                            continue
                        if (refusal := _refusal(op, nest)) is not None:
                            remarks.missed(served.of(op), *refusal)
                        else:
                            _hoist(op, nest)


def _loop_of_run(op: LoadOp) -> ForOp | None:
    """The loop around the load in whose steps it reads neighbours."""
    return next((nest for nest in _static_loops(op) if nest.stride == 1 and _place(op).coefficient(nest.iv) == 1), None)


def _refusal(op: LoadOp, nest: ForOp) -> tuple[str, str] | None:
    """Why the run cannot be loaded at once; None where it can."""
    if nest.size % LANES:
        return "TST-V010", f"a run of {nest.size} elements is read one by one; vectors take a multiple of {LANES}"
    if not _place(op).substitute({nest.iv: 0}).is_multiple_of(LANES):
        return "TST-V011", f"a run of {nest.size} elements is read one by one; its start is no multiple of {LANES}"
    if not _known_before(op, nest):
        return "TST-V012", f"a run of {nest.size} elements is read one by one; its start is computed along the way"
    return None


def _static_loops(op: Operation) -> Iterator[ForOp]:
    """The unrolled loops around the op, innermost first, up to the first loop of another kind."""
    while isinstance(parent := op.parent_op(), ForOp) and parent.is_static:
        yield parent
        op = parent


def _place(op: LoadOp) -> Index:
    return linearize(op.index_list, op.memory_type.get_shape())


def _known_before(op: LoadOp, nest: ForOp) -> bool:
    """Whether what the place depends on stands before the loop; loops in between have their own copies."""
    inside = {inner for inner in nest.walk()}
    return not any(value is not nest.iv and _owner(value) in inside for value in op.used)


def _owner(value: SSAValue) -> Operation | None:
    return value.owner.parent_op() if isinstance(value.owner, Block) else value.owner


def _hoist(op: LoadOp, nest: ForOp) -> None:
    block = nest.parent_block()
    if block is None:
        return
    scalar = op.result.type
    run = AllocOp(MemorySpace.PRIVATE, MemRefType(scalar, [nest.size]))
    fill = ForOp(nest.size, LANES, unroll=True)
    step = dim_of(fill.iv)
    along = {nest.iv: step + LANE}
    where = [(expr.substitute(along), bound) for expr, bound in op.constraints]
    indices = [index.substitute(along) for index in op.index_list]
    vector = LoadOp(op.memory, indices, where, op.other, type=vector_of(scalar))
    store = StoreOp(vector.result, run.memory, [step + LANE])
    fill.body.block.add_ops([vector, store])
    element = LoadOp(run.memory, [dim_of(nest.iv)])
    for new in (run, fill, vector, store, element):
        new.location = op.location
    block.insert_ops_before([run, fill], nest)
    _replace(op, element)


def _replace(op: LoadOp, element: LoadOp) -> None:
    block = op.parent_block()
    if block is not None:
        block.insert_op_before(element, op)
    element.result.name_hint = op.result.name_hint
    op.result.replace_all_uses_with(element.result)
    op.detach()
    op.erase()
