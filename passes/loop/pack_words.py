"""Reads and writes narrow elements as the 32-bit words that hold them."""

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import arith
from xdsl.dialects.builtin import BFloat16Type, Float16Type, FloatAttr, IntegerAttr, MemRefType, ModuleOp, f32, i1, i32
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.rewriter import Rewriter

from tstorch.diagnostics import DiagnosticError
from tstorch.dialects import loop
from tstorch.dialects.indexing import Index, linearize
from tstorch.dialects.loop import (
    LANES,
    KernelOp,
    LoadOp,
    Packing,
    StoreOp,
    element_count,
    packed_per_word,
    scalar_of,
    ui32,
    vector_of,
)
from tstorch.dialects.loop.access import LANE_KEY
from tstorch.levels import Level
from tstorch.passes.base import TSTorchPass
from tstorch.passes.loop.vectorize_loop import vectorize


@dataclass(frozen=True)
class PackWordsPass(TSTorchPass):
    """Reads and writes narrow elements as the 32-bit words that hold them.

    Applies to bindings of i8, ui8, i16, ui16, f16 and bf16. A vector of neighbours is one word, or two, unpacked or
    packed as a whole; a single element is cut out of its word. Where an invocation stores less than whole words, which
    others may write too, each element is merged into its word by atomic steps; the padding behind the last element is
    anybody's.

        // before
        loop.kernel @widen(%x: memref<256xui8>, %out: memref<256xui32>) grid [1, 1, 1] workgroup [64, 1, 1] {
          loop.parallel %t = lid.x {
            %v = loop.load %x[%t * 4 + lane] : memref<256xui8> -> vector<4xui32>
            loop.store %v, %out[%t * 4 + lane] : vector<4xui32>, memref<256xui32>
          }
        }
        // after
        loop.kernel @widen(%x: memref<64xui32>, %out: memref<256xui32>) grid [1, 1, 1] workgroup [64, 1, 1] {
          loop.parallel %t = lid.x {
            %w = loop.load %x[%t] : memref<64xui32> -> ui32
            %v = loop.unpack u8 %w : ui32 -> vector<4xui32>
            loop.store %v, %out[%t * 4 + lane] : vector<4xui32>, memref<256xui32>
          }
        }
    """

    name = "pack-words"
    requires = ensures = Level.LOOP

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        for kernel in [op for op in module.ops if isinstance(op, KernelOp)]:
            for binding in [binding for binding in kernel.bindings if _is_packed(binding.type)]:
                _pack(kernel, binding)


def _is_packed(type: Attribute) -> bool:
    return isinstance(type, MemRefType) and packed_per_word(type.element_type) > 1


def _pack(kernel: KernelOp, binding: SSAValue) -> None:
    for op in [op for op in kernel.walk() if isinstance(op, StoreOp) and op.memory is binding and not op.is_vector]:
        if isinstance(nest := op.parent_op(), loop.ForOp):
            vectorize(nest)
    accesses = loop.accesses(kernel, binding)
    old = binding.type
    if not isinstance(old, MemRefType):
        return
    packing = _packing(old.element_type)
    words = MemRefType(ui32, [-(-element_count(old) // packing.per_word)])
    places = [linearize(op.index_list, old.get_shape()) for op in accesses]
    memory = Rewriter.replace_value_with_new_type(binding, words)
    for op, place in zip(accesses, places, strict=True):
        build = _Inserter(op)
        if isinstance(op, LoadOp):
            value = _load(op, memory, place, packing, build)
            op.result.replace_all_uses_with(value)
        elif isinstance(op, StoreOp):
            _store(op, memory, place, packing, element_count(old), build)
        op.detach()
        op.erase()


def _packing(element: Attribute) -> Packing:
    if isinstance(element, Float16Type):
        return Packing.F16
    if isinstance(element, BFloat16Type):
        return Packing.BF16
    signed = loop.register_type(element) == i32
    if packed_per_word(element) == Packing.U8.per_word:
        return Packing.I8 if signed else Packing.U8
    return Packing.I16 if signed else Packing.U16


class _Inserter:
    """Puts ops before another one, with its location."""

    def __init__(self, anchor: Operation) -> None:
        self._anchor = anchor

    def value(self, op: Operation) -> SSAValue:
        self.add(op)
        return op.results[0]

    def add(self, op: Operation) -> None:
        op.location = self._anchor.location
        block = self._anchor.parent_block()
        if block is not None:
            block.insert_op_before(op, self._anchor)

    def number(self, value: float, type: Attribute) -> SSAValue:
        """A constant; arith's are signless."""
        if type == ui32:
            return self.value(loop.CastOp(self.number(value, i32), ui32))
        attribute = FloatAttr(value, f32) if type == f32 else IntegerAttr(int(value), i32)
        return self.value(arith.ConstantOp(attribute))


def _load(op: LoadOp, memory: SSAValue, place: Index, packing: Packing, build: _Inserter) -> SSAValue:
    """The elements; where the mask fails a word may be read in vain, and is not used."""
    if op.is_vector:
        start = _start(place)
        if start is None:
            raise DiagnosticError(f"a vector of {packing} elements that do not fill words; load them one by one")
        first = start // packing.per_word
        words = [build.value(LoadOp(memory, [first + n])) for n in range(LANES // packing.per_word)]
        value = build.value(loop.UnpackOp(packing, words))
    else:
        value = _element(memory, place, packing, build)
    if op.mask is None:
        return value
    condition = build.value(loop.WithinOp(op.constraints, vector_of(i1) if op.is_vector else i1))
    number = 0 if op.other is None else op.other.value.data
    other = build.number(number, scalar_of(op.value_type))
    if op.is_vector:
        other = build.value(loop.SplatOp(other))
    return build.value(loop.SelectOp(condition, value, other))


def _element(memory: SSAValue, place: Index, packing: Packing, build: _Inserter) -> SSAValue:
    """One element, moved to the low bits of its word."""
    word = build.value(LoadOp(memory, [place // packing.per_word]))
    bits = 32 // packing.per_word
    shift = place % packing.per_word * bits
    if not (shift.is_constant and shift.const == 0):
        word = build.value(arith.ShRUIOp(word, build.value(loop.IndexValueOp(shift, ui32))))
    if packing in (Packing.U8, Packing.U16):
        return build.value(arith.AndIOp(word, build.number((1 << bits) - 1, ui32)))
    words = [word] * (LANES // packing.per_word)
    return build.value(loop.ExtractOp(build.value(loop.UnpackOp(packing, words)), 0))


def _start(place: Index) -> Index | None:
    """The place of lane 0, where the lanes are neighbours from a multiple of 4 on."""
    start = place.substitute({LANE_KEY: 0})
    return start if place.coefficient(LANE_KEY) == 1 and start.is_multiple_of(LANES) else None


def _store(op: StoreOp, memory: SSAValue, place: Index, packing: Packing, count: int, build: _Inserter) -> None:
    if count == 1 and not op.is_vector:
        _store_words(build.value(loop.SplatOp(op.value)), memory, Index(), op.constraints, packing, count, build)
        return
    constraints = _whole_words(op, place, count) if op.is_vector else None
    start = _start(place) if op.is_vector else None
    if start is None or constraints is None:
        _merge(op, memory, place, packing, build)
    else:
        _store_words(op.value, memory, start, constraints, packing, count, build)


def _store_words(
    value: SSAValue,
    memory: SSAValue,
    start: Index,
    constraints: Sequence[loop.Constraint],
    packing: Packing,
    count: int,
    build: _Inserter,
) -> None:
    """Stores neighbours that fill whole words, or all there is."""
    first = start // packing.per_word
    for number in range(min(LANES // packing.per_word, -(-count // packing.per_word))):
        word = build.value(loop.PackOp(packing, value, number))
        build.add(StoreOp(word, memory, [first + number], _word_mask(constraints, count, start, number, packing)))


def _merge(op: StoreOp, memory: SSAValue, place: Index, packing: Packing, build: _Inserter) -> None:
    """Stores elements one by one, each into its bits of a word that others may write too."""
    for lane in range(LANES if op.is_vector else 1):
        at = {LANE_KEY: lane}
        element = build.value(loop.ExtractOp(op.value, lane)) if op.is_vector else op.value
        constraints = [(expr.substitute(at), bound) for expr, bound in op.constraints]
        _merge_element(element, memory, place.substitute(at), constraints, packing, build)


def _merge_element(
    element: SSAValue,
    memory: SSAValue,
    place: Index,
    constraints: list[loop.Constraint],
    packing: Packing,
    build: _Inserter,
) -> None:
    bits = 32 // packing.per_word
    everywhere = build.value(loop.PackOp(packing, build.value(loop.SplatOp(element)), 0))
    shift = build.value(loop.IndexValueOp(place % packing.per_word * bits, ui32))
    own = build.value(arith.ShLIOp(build.number((1 << bits) - 1, ui32), shift))
    keep = build.value(arith.XOrIOp(own, build.number(-1, ui32)))
    word = build.value(arith.AndIOp(everywhere, own))
    build.add(loop.MergeOp(word, keep, memory, [place // packing.per_word], constraints))


def _whole_words(op: StoreOp, place: Index, count: int) -> list[loop.Constraint] | None:
    """The mask without the lane: it holds for whole vectors, or ends where the memory does."""
    found: list[loop.Constraint] = []
    for expr, bound in op.constraints:
        start = expr.substitute({LANE_KEY: 0})
        if expr.coefficient(LANE_KEY) == 0:
            found.append((start, bound))
        elif expr.coefficient(LANE_KEY) == 1 and start.is_multiple_of(LANES) and (bound % LANES == 0 or expr == place):
            if bound % LANES and bound != count:
                return None
            found.append((start, -(-bound // LANES) * LANES))
        else:
            return None
    return found


def _word_mask(
    constraints: Sequence[loop.Constraint], count: int, start: Index, number: int, packing: Packing
) -> list[loop.Constraint]:
    """The vector's mask; and the second word of a vector may lie behind the end."""
    found = list(constraints)
    if number and count % LANES and not (start + number * packing.per_word).is_within(count):
        found.append((start + number * packing.per_word, count))
    return found
