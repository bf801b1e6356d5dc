"""Lets the innermost static loop handle 4 elements at once."""

from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import arith
from xdsl.dialects.arith import CMPF_COMPARISON_OPERATIONS, CMPI_COMPARISON_OPERATIONS
from xdsl.dialects.builtin import IntegerAttr, ModuleOp, i64
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import Rewriter

from tstorch.dialects import loop
from tstorch.dialects.indexing import Index, linearize
from tstorch.dialects.loop import (
    LANE,
    LANES,
    AccessOp,
    Comparison,
    ForOp,
    packed_per_word,
    substitute_indices,
    ui32,
    vector_of,
)
from tstorch.levels import Level
from tstorch.passes.base import TSTorchPass
from tstorch.passes.convert.loop_to_wgsl.scalars import RULES

# Ops of loop that work on vectors lane by lane.
_WIDENED = (
    loop.LoadOp,
    loop.StoreOp,
    loop.IndexValueOp,
    loop.WithinOp,
    loop.CastOp,
    loop.BitcastOp,
    loop.IsNanOp,
    loop.IsInfOp,
    loop.SelectOp,
    loop.CompareOp,
    loop.FRemOp,
)


@dataclass(frozen=True)
class VectorizeLoopPass(TSTorchPass):
    """Lets the innermost static loop handle 4 elements at once.

    Applies to an unrolled loop of 4, 8, 12, ... steps without loops inside, all of whose stores go to neighbours: its
    index then steps by 4 and what depends on it becomes a vector; what does not stays scalar and is repeated by a
    splat. Declines where a lane would need another lane's result, a gathered row, or memory of its own.

        // before
        loop.kernel @double(%x: memref<256xf32>, %out: memref<256xf32>) grid [1, 1, 1] workgroup [64, 1, 1] {
          loop.parallel %t = lid.x {
            loop.for unroll %i < 4 {
              %v = loop.load %x[%t * 4 + %i] : memref<256xf32> -> f32
              %w = arith.addf %v, %v : f32
              loop.store %w, %out[%t * 4 + %i] : f32, memref<256xf32>
            }
          }
        }
        // after
        loop.kernel @double(%x: memref<256xf32>, %out: memref<256xf32>) grid [1, 1, 1] workgroup [64, 1, 1] {
          loop.parallel %t = lid.x {
            loop.for unroll %i < 4 step 4 {
              %v = loop.load %x[%t * 4 + lane] : memref<256xf32> -> vector<4xf32>
              %w = arith.addf %v, %v : vector<4xf32>
              loop.store %w, %out[%t * 4 + lane] : vector<4xf32>, memref<256xf32>
            }
          }
        }
    """

    name = "vectorize-loop"
    requires = ensures = Level.LOOP

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        for op in list(module.walk()):
            if isinstance(op, ForOp):
                vectorize(op)


def vectorize(nest: ForOp) -> bool:
    """Widens one loop; False where it does not allow that."""
    varying = _vectorizable(nest)
    if varying is not None:
        _vectorize(nest, varying)
    return varying is not None


def _vectorizable(nest: ForOp) -> set[Operation] | None:
    """The ops to widen, in a loop that allows it; None otherwise."""
    if not nest.is_static or nest.stride != 1 or nest.size % LANES:
        return None
    varying = _varying(nest)
    stores = [op for op in nest.body.block.ops if isinstance(op, loop.StoreOp)]
    if not stores or not all(op in varying and _runs_along(op, nest.iv) for op in stores):
        return None
    if not all(_can_widen(op, nest) for op in varying) or any(op.regions for op in nest.body.block.ops):
        return None
    if any(isinstance(op, loop.AllocOp | loop.BarrierOp | loop.ReduceWorkgroupOp) for op in nest.body.block.ops):
        return None
    return varying if all(_own_lane(op, stores) for op in nest.body.block.ops) else None


def _varying(nest: ForOp) -> set[Operation]:
    """The ops that do not do the same in each step."""
    values: set[SSAValue] = {nest.iv}
    found: set[Operation] = set()
    for op in nest.body.block.ops:
        if any(operand in values for operand in op.operands):
            values.update(op.results)
            found.add(op)
    return found


def _runs_along(op: AccessOp, iv: SSAValue) -> bool:
    """Whether neighbouring steps access neighbouring elements."""
    return linearize(op.index_list, op.memory_type.get_shape()).coefficient(iv) == 1


def _fills_words(op: AccessOp, iv: SSAValue) -> bool:
    """Whether 4 steps access 4 neighbours that start at a multiple of 4."""
    start = linearize(op.index_list, op.memory_type.get_shape()).substitute({iv: 0})
    return _runs_along(op, iv) and start.is_multiple_of(LANES)


def _can_widen(op: Operation, nest: ForOp) -> bool:
    if isinstance(op, AccessOp):
        packed = packed_per_word(op.memory_type.element_type) > 1
        return any(index.depends_on(nest.iv) for index in op.index_list) and (not packed or _fills_words(op, nest.iv))
    if isinstance(op, arith.CmpfOp | arith.CmpiOp):
        return _comparison(op) is not None
    return isinstance(op, _WIDENED) or type(op) in RULES


def _comparison(op: arith.CmpfOp | arith.CmpiOp) -> tuple[Comparison, bool] | None:
    """How the op compares, and whether without regard to the sign; None for a test for NaN."""
    names = CMPF_COMPARISON_OPERATIONS if isinstance(op, arith.CmpfOp) else CMPI_COMPARISON_OPERATIONS
    name = names[op.predicate.value.data]
    unsigned = isinstance(op, arith.CmpiOp) and name.startswith("u")
    kind = name if name in ("eq", "ne") else name[1:]
    return (Comparison(kind), unsigned) if kind in set(Comparison) else None


def _on_vectors(op: Operation) -> Operation:
    """The op in a form that vectors may have: arith compares and selects scalars only."""
    if isinstance(op, arith.SelectOp):
        return _put_in_place(op, loop.SelectOp(op.cond, op.lhs, op.rhs))
    if isinstance(op, arith.CmpfOp | arith.CmpiOp) and (found := _comparison(op)) is not None:
        comparison, unsigned = found
        operands = [op.lhs, op.rhs]
        if unsigned:
            operands = [_before(op, loop.BitcastOp(value, ui32)).results[0] for value in operands]
        return _put_in_place(op, loop.CompareOp(comparison, *operands))
    return op


def _before(op: Operation, new: Operation) -> Operation:
    new.location = op.location
    block = op.parent_block()
    if block is not None:
        block.insert_op_before(new, op)
    return new


def _put_in_place(op: Operation, new: Operation) -> Operation:
    _before(op, new)
    Rewriter.replace_op(op, [], new.results)
    return new


def _own_lane(op: Operation, stores: list[loop.StoreOp]) -> bool:
    """Whether the op reads nothing that another step stores."""
    if isinstance(op, loop.ReduceTileOp):
        return all(store.memory is not op.memory for store in stores)
    if not isinstance(op, loop.LoadOp):
        return True
    written = [store for store in stores if store.memory is op.memory]
    return all(store.index_list == op.index_list for store in written)


def _vectorize(nest: ForOp, varying: set[Operation]) -> None:
    for op in [op for op in nest.body.block.ops if op in varying]:
        _on_vectors(op)
    varying = _varying(nest)
    along = {nest.iv: Index.dim(nest.iv, nest.size, LANES) + LANE}
    repeated: dict[SSAValue, SSAValue] = {}
    for op in [op for op in nest.body.block.ops if op in varying]:
        for number, operand in _values(op):
            if not isinstance(operand.owner, Operation) or operand.owner not in varying:
                op.operands[number] = _splat(operand, op, repeated)
        substitute_indices(op, along)
        for result in op.results:
            Rewriter.replace_value_with_new_type(result, vector_of(result.type))
    nest.properties["step"] = IntegerAttr(LANES, i64)


def _values(op: Operation) -> Iterator[tuple[int, SSAValue]]:
    """The operands that have to become vectors: not memory, not indices."""
    if isinstance(op, loop.LoadOp | loop.IndexValueOp | loop.WithinOp):
        return
    count = 1 if isinstance(op, loop.StoreOp) else len(op.operands)
    for number in range(count):
        if isinstance(op, loop.SelectOp) and number == 0:
            continue  # one condition for all lanes is a condition too
        yield number, op.operands[number]


def _splat(value: SSAValue, user: Operation, repeated: dict[SSAValue, SSAValue]) -> SSAValue:
    if value not in repeated:
        splat = loop.SplatOp(value)
        splat.location = value.owner.location if isinstance(value.owner, Operation) else user.location
        block = user.parent_block()
        if block is not None:
            block.insert_op_before(splat, user)
        repeated[value] = splat.result
    return repeated[value]
