"""Functions that WGSL lacks, or has for a part of their domain only."""

from collections.abc import Sequence
from math import factorial

from xdsl.dialects.builtin import f32
from xdsl.ir import Operation, SSAValue

from tstorch.dialects.wgsl import Builtin, Operator, Prefix
from tstorch.passes.convert.loop_to_wgsl.emit import Emitter
from tstorch.passes.convert.loop_to_wgsl.floats import SIGN_BIT, test_bits

# tanh is 1 in f32 well before this; some GPUs return NaN for large arguments.
_TANH_SATURATES = 12.0


def tanh(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
    """The hyperbolic tangent."""
    (x,) = args
    low, high = emit.number(-_TANH_SATURATES, x.type), emit.number(_TANH_SATURATES, x.type)
    clamped = emit.call(Builtin.TANH, emit.call(Builtin.CLAMP, x, low, high))
    return emit.select(test_bits(emit, Operator.GT, x), x, clamped)


def _polynomial(emit: Emitter, x: SSAValue, coefficients: Sequence[float]) -> SSAValue:
    """c0 + c1 * x + c2 * x**2 + ..."""
    *lower, total_of = coefficients
    total = emit.number(total_of, x.type)
    for coefficient in reversed(lower):
        total = emit.call(Builtin.FMA, total, x, emit.number(coefficient, x.type))
    return total


def log1p(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
    """Near 0, where log(1 + x) loses its digits: 2 * atanh(s) with s = x / (2 + x), as a series in s."""
    (x,) = args
    one, two = emit.number(1.0, x.type), emit.number(2.0, x.type)
    s = emit.binary(Operator.DIV, x, emit.binary(Operator.ADD, two, x))
    series = _polynomial(emit, emit.binary(Operator.MUL, s, s), [2.0, 2 / 3, 2 / 5, 2 / 7, 2 / 9])
    near = emit.binary(Operator.LT, emit.call(Builtin.ABS, x), emit.number(0.25, x.type))
    far = emit.call(Builtin.LOG, emit.binary(Operator.ADD, one, x))
    return emit.select(near, emit.binary(Operator.MUL, s, series), far)


def expm1(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
    """Near 0, where exp(x) - 1 loses its digits: the Taylor series."""
    (x,) = args
    series = _polynomial(emit, x, [1 / factorial(n) for n in range(1, 9)])
    near = emit.binary(Operator.LT, emit.call(Builtin.ABS, x), emit.number(0.5, x.type))
    far = emit.binary(Operator.SUB, emit.call(Builtin.EXP, x), emit.number(1.0, x.type))
    return emit.select(near, emit.binary(Operator.MUL, x, series), far)


def pow(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
    """WGSL's pow is for x > 0 only: a negative x counts for whole exponents, and x**0 is 1."""
    x, y = args
    zero, one, two = (emit.number(n, x.type) for n in (0.0, 1.0, 2.0))
    power = emit.call(Builtin.POW, emit.call(Builtin.ABS, x), y)
    odd = emit.binary(Operator.EQ, emit.binary(Operator.REM, emit.call(Builtin.ABS, y), two), one)
    whole = emit.binary(Operator.EQ, y, emit.call(Builtin.FLOOR, y))
    signed = emit.select(odd, emit.unary(Prefix.NEGATE, power), power)
    below = emit.select(whole, signed, emit.call(Builtin.POW, x, y))
    chosen = emit.select(emit.binary(Operator.LT, x, zero), below, power)
    return emit.select(emit.binary(Operator.EQ, y, zero), one, chosen)


def cbrt(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
    """The cube root."""
    (x,) = args
    root = emit.call(Builtin.POW, emit.call(Builtin.ABS, x), emit.number(1 / 3, x.type))
    return emit.binary(Operator.MUL, emit.call(Builtin.SIGN, x), root)


def copysign(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
    """The magnitude of the first, the sign of the second."""
    magnitude, sign = map(emit.bits, args)
    kept = emit.binary(Operator.AND, magnitude, emit.number(SIGN_BIT - 1, magnitude.type))
    taken = emit.binary(Operator.AND, sign, emit.number(SIGN_BIT, sign.type))
    return emit.bitcast(f32, emit.binary(Operator.OR, kept, taken))


def log10(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
    """The logarithm to base 10."""
    return emit.binary(Operator.MUL, emit.call(Builtin.LOG, args[0]), emit.number(0.4342944819032518, args[0].type))
