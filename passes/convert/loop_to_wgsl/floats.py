"""NaN in WGSL: drivers fold `x != x` away and their min and max drop it, so it is found by its bits."""

from xdsl.dialects.builtin import f32, i32
from xdsl.ir import Attribute, SSAValue

from tstorch.dialects.loop import scalar_of
from tstorch.dialects.wgsl import Builtin, Operator, Prefix
from tstorch.passes.convert.loop_to_wgsl.emit import Emitter

INFINITY_BITS = 0x7F800000
SIGN_BIT = 0x80000000


def test_bits(emit: Emitter, operator: Operator, value: SSAValue) -> SSAValue:
    """Whether the bits of a float, less the sign, compare so with infinity's: NaN is above it."""
    bits = emit.bits(value)
    magnitude = emit.binary(Operator.AND, bits, emit.number(SIGN_BIT - 1, bits.type))
    return emit.binary(operator, magnitude, emit.number(INFINITY_BITS, bits.type))


def extremum(emit: Emitter, builtin: Builtin, a: SSAValue, b: SSAValue, *, certain: bool = False) -> SSAValue:
    """The maximum or minimum, NaN where either operand is; `certain` says that b is a number.

    Found by the bits: a select on a comparison is no way out, drivers make a max of it that drops NaN.
    """
    chosen = emit.call(builtin, a, b)
    if scalar_of(b.type) != f32:
        return chosen
    chosen = emit.select(test_bits(emit, Operator.GT, a), a, chosen)
    return chosen if certain else emit.select(test_bits(emit, Operator.GT, b), b, chosen)


def compare_floats(emit: Emitter, operator: Operator, a: SSAValue, b: SSAValue) -> SSAValue:
    """A comparison in which NaN differs from everything: drivers take WGSL's != for 'ordered and unequal'."""
    if operator is Operator.NE:
        return emit.unary(Prefix.NOT, emit.binary(Operator.EQ, a, b))
    return emit.binary(operator, a, b)


def saturated(emit: Emitter, value: SSAValue, type: Attribute) -> SSAValue:
    """A float as an integer, rounded towards zero: the nearest there is for one out of range, 0 for NaN.

    WGSL's conversion stops at the last float below the end of the range.
    """
    signed = scalar_of(type) == i32
    beyond, last = (2.0**31, 2**31 - 1) if signed else (2.0**32, 2**32 - 1)
    number = emit.convert(type, value)
    above = emit.binary(Operator.GE, value, emit.number(beyond, value.type))
    capped = emit.select(above, emit.number(last, type), number)
    return emit.select(test_bits(emit, Operator.GT, value), emit.number(0, type), capped)
