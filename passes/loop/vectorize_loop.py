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
from tstorch.locations import ServedNodes
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
    splat. Declines, with a remark, other numbers of steps, stores that are no neighbours, and where a lane would need
    another lane's result, a gathered row, or memory of its own.

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
        served = ServedNodes(module)
        with self.remarks(module) as remarks:
            for op in list(module.walk()):
                if isinstance(op, ForOp) and _is_candidate(op) and (refusal := vectorize(op)) is not None:
                    remarks.missed(served.of(op), *refusal)


Refusal = tuple[str, str]
"""A remark's id and reason."""


def vectorize(nest: ForOp) -> Refusal | None:
    """Widens one loop; where it does not allow that, says why and leaves it."""
    varying = _varying(nest)
    refusal = _refusal(nest, varying)
    if refusal is None:
        _vectorize(nest, varying)
    return refusal


def _is_candidate(nest: ForOp) -> bool:
    """An unrolled loop of several steps around stores, innermost."""
    ops = list(nest.body.block.ops)
    stores = any(isinstance(op, loop.StoreOp) for op in ops)
    return nest.is_static and nest.stride == 1 and nest.trips > 1 and stores and not any(op.regions for op in ops)


def _refusal(nest: ForOp, varying: set[Operation]) -> Refusal | None:
    ops = list(nest.body.block.ops)
    stores = [op for op in ops if isinstance(op, loop.StoreOp)]
    if not _is_candidate(nest):
        return "TST-V001", "this is no unrolled innermost loop with stores"
    if nest.size % LANES:
        return "TST-V002", f"an unrolled loop takes {nest.trips} steps; vectors take a multiple of {LANES}"
    if not all(op in varying and _runs_along(op, nest.iv) for op in stores):
        return "TST-V003", "the steps of an unrolled loop do not store neighbours"
    if (scalar := next((op for op in ops if _is_scalar_only(op, nest, varying)), None)) is not None:
        return "TST-V004", f"{scalar.name} in an unrolled loop has no form for {LANES} steps at once"
    if not all(_own_lane(op, stores) for op in ops):
        return "TST-V005", "a step of an unrolled loop reads what another step stores"
    return None


def _is_scalar_only(op: Operation, nest: ForOp, varying: set[Operation]) -> bool:
    alone = isinstance(op, loop.AllocOp | loop.BarrierOp | loop.ReduceWorkgroupOp)
    return alone or (op in varying and not _can_widen(op, nest))


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
