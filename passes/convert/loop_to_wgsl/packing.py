"""Narrow elements into words and out of them."""

from collections.abc import Sequence

from xdsl.dialects.builtin import IntegerAttr, VectorType, f32, i32
from xdsl.ir import Attribute, Operation, SSAValue

from tstorch.dialects import loop
from tstorch.dialects.loop import Packing, ui32, vector_of
from tstorch.dialects.wgsl import Builtin, Operator
from tstorch.passes.convert.loop_to_wgsl.emit import Emitter
from tstorch.passes.convert.loop_to_wgsl.floats import SIGN_BIT

LEAST_HALF = 2.0**-24
LEAST_NORMAL_HALF_BITS = 0x38800000
PAST_HALVES_BITS = 0x477FF000  # 65520, which is nearer to 65536 than to the largest half


def unpack(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
    """The four elements of one word, or of two words."""
    packing = _packing(op)
    if packing is Packing.U8:
        return emit.call(Builtin.UNPACK_4X_U8, args[0], type=vector_of(ui32))
    if packing is Packing.I8:
        return emit.call(Builtin.UNPACK_4X_I8, args[0], type=vector_of(i32))
    if packing is Packing.F16:
        pairs = [emit.call(Builtin.UNPACK2X16FLOAT, word, type=VectorType(f32, [2])) for word in args]
        return emit.convert(vector_of(f32), *pairs)
    halves = [_half(emit, word, high, packing) for word in args for high in (False, True)]
    return emit.convert(vector_of(packing.scalar), *halves)


def _half(emit: Emitter, word: SSAValue, high: bool, packing: Packing) -> SSAValue:
    sixteen, low_bits = emit.number(16, ui32), emit.number(0xFFFF, ui32)
    if packing is Packing.U16:
        return emit.binary(Operator.SHR, word, sixteen) if high else emit.binary(Operator.AND, word, low_bits)
    upper = word if high else emit.binary(Operator.SHL, word, sixteen)
    if packing is Packing.I16:
        return emit.binary(Operator.SHR, emit.signed(upper), sixteen)
    return emit.bitcast(f32, emit.binary(Operator.AND, upper, emit.number(0xFFFF0000, ui32)))


def pack(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
    """One word of a vector's elements."""
    packing, (value,) = _packing(op), args
    if packing in (Packing.U8, Packing.I8):
        return emit.call(Builtin.PACK_4X_U8 if packing is Packing.U8 else Builtin.PACK_4X_I8, value, type=ui32)
    word = op.properties["word"]
    first = 2 * (word.value.data if isinstance(word, IntegerAttr) else 0)
    low, high = emit.component(value, first), emit.component(value, first + 1)
    if packing is Packing.F16:
        return emit.call(Builtin.PACK2X16FLOAT, emit.convert(VectorType(f32, [2]), low, high), type=ui32)
    if packing is Packing.BF16:
        low, high = (_bfloat_bits(emit, half) for half in (low, high))
    shifted = emit.binary(Operator.SHL, emit.bits(high), emit.number(16, ui32))
    kept = emit.binary(Operator.AND, emit.bits(low), emit.number(0xFFFF, ui32))
    return emit.binary(Operator.OR, kept, shifted)


def round_half(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
    """By the bits. Packing and unpacking some drivers take for the number itself, with all its digits.

    WGSL's own rounding flushes the smallest halves to zero, and leaves open what becomes of the largest numbers.
    """
    (value,) = args
    magnitude = emit.binary(Operator.AND, emit.bits(value), emit.number(SIGN_BIT - 1, _words(value)))
    tiny = emit.binary(Operator.LT, magnitude, emit.number(LEAST_NORMAL_HALF_BITS, _words(value)))
    huge = emit.binary(Operator.GE, magnitude, emit.number(PAST_HALVES_BITS, _words(value)))
    rounded = emit.select(tiny, _whole_multiple(emit, value), _shortened(emit, value))
    endless = emit.binary(Operator.MUL, value, emit.number(2.0**113, value.type))  # infinite, or the NaN that it was
    return emit.select(huge, endless, rounded)


def _words(value: SSAValue) -> Attribute:
    return vector_of(ui32) if isinstance(value.type, VectorType) else ui32


def _whole_multiple(emit: Emitter, value: SSAValue) -> SSAValue:
    """Rounded to units of the least half."""
    units = emit.binary(Operator.MUL, value, emit.number(1 / LEAST_HALF, value.type))
    return emit.binary(Operator.MUL, emit.call(Builtin.ROUND, units), emit.number(LEAST_HALF, value.type))


def _shortened(emit: Emitter, value: SSAValue) -> SSAValue:
    """Without the 13 lowest bits, rounded to nearest even."""
    bits, words = emit.bits(value), _words(value)
    odd = emit.binary(Operator.AND, emit.binary(Operator.SHR, bits, emit.number(13, words)), emit.number(1, words))
    raised = emit.binary(Operator.ADD, emit.binary(Operator.ADD, bits, emit.number(0xFFF, words)), odd)
    return emit.bitcast(f32, emit.binary(Operator.AND, raised, emit.number(0xFFFFE000, words)))


def _bfloat_bits(emit: Emitter, value: SSAValue) -> SSAValue:
    """The upper half of an f32, rounded to nearest even."""
    bits, sixteen = emit.bits(value), emit.number(16, ui32)
    odd = emit.binary(Operator.AND, emit.binary(Operator.SHR, bits, sixteen), emit.number(1, ui32))
    rounded = emit.binary(Operator.ADD, emit.binary(Operator.ADD, bits, emit.number(0x7FFF, ui32)), odd)
    return emit.binary(Operator.SHR, rounded, sixteen)


def _packing(op: Operation) -> Packing:
    if not isinstance(op, loop.UnpackOp | loop.PackOp):
        raise TypeError(op.name)
    return op.packing.data
