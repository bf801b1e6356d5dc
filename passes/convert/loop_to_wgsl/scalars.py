"""Scalar and vector code in WGSL: one entry for each op of arith and math that has a form, and loop's own."""

from collections.abc import Callable, Mapping, Sequence
from math import inf, isfinite

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import FloatAttr, IntegerAttr, f32, i1, i32
from xdsl.ir import Operation, SSAValue

from tstorch.dialects import loop
from tstorch.dialects.loop import scalar_of, ui32
from tstorch.dialects.wgsl import Builtin, Operator, Prefix
from tstorch.passes.convert.loop_to_wgsl import functions
from tstorch.passes.convert.loop_to_wgsl.emit import Emitter
from tstorch.passes.convert.loop_to_wgsl.floats import (
    INFINITY_BITS,
    SIGN_BIT,
    compare_floats,
    extremum,
    saturated,
    test_bits,
)
from tstorch.passes.convert.loop_to_wgsl.packing import pack, round_half, unpack

Rule = Callable[[Emitter, Operation, Sequence[SSAValue]], SSAValue]


def _operator(operator: Operator) -> Rule:
    return lambda emit, op, args: emit.binary(operator, args[0], args[1])


def _signed(operator: Operator) -> Rule:
    """On i32, whatever the operands' type says."""

    def rule(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
        result = emit.binary(operator, emit.signed(args[0]), emit.signed(args[1]))
        return emit.bitcast(scalar_of(args[0].type), result)

    return rule


def _signed_remainder(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
    """Out of the quotient: Vulkan leaves the remainder of negative numbers open."""
    a, b = map(emit.signed, args)
    whole = emit.binary(Operator.MUL, emit.binary(Operator.DIV, a, b), b)
    return emit.bitcast(scalar_of(args[0].type), emit.binary(Operator.SUB, a, whole))


def _unsigned(operator: Operator) -> Rule:
    """On ui32, whatever the operands' type says."""

    def rule(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
        result = emit.binary(operator, emit.bits(args[0]), emit.bits(args[1]))
        return emit.bitcast(scalar_of(args[0].type), result)

    return rule


def _shift(operator: Operator, signed: bool | None) -> Rule:
    """The amount is ui32 in WGSL."""

    def rule(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
        value = args[0] if signed is None else emit.signed(args[0]) if signed else emit.bits(args[0])
        return emit.bitcast(scalar_of(args[0].type), emit.binary(operator, value, emit.bits(args[1])))

    return rule


def _builtin(builtin: Builtin) -> Rule:
    return lambda emit, op, args: emit.call(builtin, *args)


def _signed_builtin(builtin: Builtin) -> Rule:
    def rule(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
        return emit.bitcast(scalar_of(args[0].type), emit.call(builtin, *map(emit.signed, args)))

    return rule


def _unsigned_builtin(builtin: Builtin) -> Rule:
    def rule(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
        return emit.bitcast(scalar_of(args[0].type), emit.call(builtin, *map(emit.bits, args)))

    return rule


def _bitwise(operator: Operator, on_conditions: Operator) -> Rule:
    def rule(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
        conditions = scalar_of(args[0].type) == i1
        return emit.binary(on_conditions if conditions else operator, args[0], args[1])

    return rule


def _constant(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
    value = op.properties["value"]
    if not isinstance(value, FloatAttr | IntegerAttr):
        raise ValueError(f"a constant {value}; expected one number, repeated by loop.splat")
    number = value.value.data
    if scalar_of(op.results[0].type) == i1:
        number = bool(number)
    return emit.number(number, op.results[0].type)


def is_infinite_or_nan(op: Operation) -> bool:
    """Whether the op is a constant that WGSL cannot spell."""
    value = op.properties.get("value")
    return isinstance(op, arith.ConstantOp) and isinstance(value, FloatAttr) and not isfinite(value.value.data)


def nonfinite_bits(value: float) -> int:
    """The f32 bits of an infinity or of a NaN."""
    if value == inf:
        return INFINITY_BITS
    return INFINITY_BITS | SIGN_BIT if value == -inf else 0x7FC00000


_COMPARISONS = {"eq": Operator.EQ, "ne": Operator.NE, "lt": Operator.LT, "le": Operator.LE, "gt": Operator.GT}
_COMPARISONS["ge"] = Operator.GE
_FLOAT_PREDICATES = ("false", "oeq", "ogt", "oge", "olt", "ole", "one", "ord", "ueq", "ugt", "uge", "ult", "ule", "une")
_INTEGER_PREDICATES = ("eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge")


def _compare_floats(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
    predicate = _predicate(op, _FLOAT_PREDICATES)
    operator = _COMPARISONS.get(predicate[1:])
    if operator is None:
        raise ValueError(f"predicate {predicate}; test for NaN with loop.is_nan")
    return compare_floats(emit, operator, *args)


def _compare_integers(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
    predicate = _predicate(op, _INTEGER_PREDICATES)
    if predicate in ("eq", "ne"):
        return emit.binary(_COMPARISONS[predicate], *args)
    view = emit.signed if predicate[0] == "s" else emit.bits
    return emit.binary(_COMPARISONS[predicate[1:]], *map(view, args))


def _compare(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
    if not isinstance(op, loop.CompareOp):
        raise TypeError(op.name)
    operator = _COMPARISONS[str(op.comparison.data)]
    return (compare_floats if scalar_of(args[0].type) == f32 else _compare_words)(emit, operator, *args)


def _compare_words(emit: Emitter, operator: Operator, a: SSAValue, b: SSAValue) -> SSAValue:
    return emit.binary(operator, a, b)


def _predicate(op: Operation, names: Sequence[str]) -> str:
    predicate = op.properties["predicate"]
    number = predicate.value.data if isinstance(predicate, IntegerAttr) else -1
    return names[number] if 0 <= number < len(names) else f"number {number}"


def _float_test(operator: Operator) -> Rule:
    return lambda emit, op, args: test_bits(emit, operator, args[0])


def _extremum(builtin: Builtin) -> Rule:
    """NaN where an operand is; a constant is none."""

    def rule(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
        first, second = args
        if is_finite_number(op.operands[0]):
            first, second = second, first
        certain = is_finite_number(op.operands[0]) or is_finite_number(op.operands[1])
        return extremum(emit, builtin, first, second, certain=certain)

    return rule


def is_finite_number(value: SSAValue) -> bool:
    """Whether the value is a constant, or one in every lane, that is neither infinite nor NaN."""
    owner = value.owner
    if isinstance(owner, loop.SplatOp):
        return is_finite_number(owner.value)
    return isinstance(owner, arith.ConstantOp) and not is_infinite_or_nan(owner)


def _select(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
    return emit.select(*args)


def _cast(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
    type = op.results[0].type
    if args[0].type == type:
        return args[0]
    if scalar_of(args[0].type) == f32 and scalar_of(type) in (i32, ui32):
        return saturated(emit, args[0], type)
    return emit.convert(type, args[0])


def _bitcast(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
    return emit.bitcast(scalar_of(op.results[0].type), args[0])


def _splat(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
    return emit.convert(op.results[0].type, args[0])


def _extract(emit: Emitter, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
    lane = op.properties["lane"]
    return emit.component(args[0], lane.value.data if isinstance(lane, IntegerAttr) else 0)


RULES: Mapping[type[Operation], Rule] = {
    arith.ConstantOp: _constant,
    arith.AddfOp: _operator(Operator.ADD),
    arith.SubfOp: _operator(Operator.SUB),
    arith.MulfOp: _operator(Operator.MUL),
    arith.DivfOp: _operator(Operator.DIV),
    arith.NegfOp: lambda emit, op, args: emit.unary(Prefix.NEGATE, args[0]),
    arith.MaximumfOp: _extremum(Builtin.MAX),
    arith.MinimumfOp: _extremum(Builtin.MIN),
    arith.MaxnumfOp: _builtin(Builtin.MAX),
    arith.MinnumfOp: _builtin(Builtin.MIN),
    arith.AddiOp: _operator(Operator.ADD),
    arith.SubiOp: _operator(Operator.SUB),
    arith.MuliOp: _operator(Operator.MUL),
    arith.DivSIOp: _signed(Operator.DIV),
    arith.DivUIOp: _unsigned(Operator.DIV),
    arith.RemSIOp: _signed_remainder,
    arith.RemUIOp: _unsigned(Operator.REM),
    arith.AndIOp: _operator(Operator.AND),
    arith.OrIOp: _operator(Operator.OR),
    arith.XOrIOp: _bitwise(Operator.XOR, Operator.NE),
    arith.ShLIOp: _shift(Operator.SHL, None),
    arith.ShRSIOp: _shift(Operator.SHR, True),
    arith.ShRUIOp: _shift(Operator.SHR, False),
    arith.MaxSIOp: _signed_builtin(Builtin.MAX),
    arith.MinSIOp: _signed_builtin(Builtin.MIN),
    arith.MaxUIOp: _unsigned_builtin(Builtin.MAX),
    arith.MinUIOp: _unsigned_builtin(Builtin.MIN),
    arith.CmpfOp: _compare_floats,
    arith.CmpiOp: _compare_integers,
    arith.SelectOp: _select,
    math.AbsFOp: _builtin(Builtin.ABS),
    math.AbsIOp: _signed_builtin(Builtin.ABS),
    math.AcosOp: _builtin(Builtin.ACOS),
    math.AcoshOp: _builtin(Builtin.ACOSH),
    math.AsinOp: _builtin(Builtin.ASIN),
    math.AsinhOp: _builtin(Builtin.ASINH),
    math.AtanOp: _builtin(Builtin.ATAN),
    math.Atan2Op: _builtin(Builtin.ATAN2),
    math.AtanhOp: _builtin(Builtin.ATANH),
    math.CbrtOp: functions.cbrt,
    math.CeilOp: _builtin(Builtin.CEIL),
    math.CopySignOp: functions.copysign,
    math.CosOp: _builtin(Builtin.COS),
    math.CoshOp: _builtin(Builtin.COSH),
    math.CountLeadingZerosOp: _builtin(Builtin.COUNT_LEADING_ZEROS),
    math.CountTrailingZerosOp: _builtin(Builtin.COUNT_TRAILING_ZEROS),
    math.CtPopOp: _builtin(Builtin.COUNT_ONE_BITS),
    math.ExpOp: _builtin(Builtin.EXP),
    math.Exp2Op: _builtin(Builtin.EXP2),
    math.ExpM1Op: functions.expm1,
    math.FloorOp: _builtin(Builtin.FLOOR),
    math.FmaOp: _builtin(Builtin.FMA),
    math.LogOp: _builtin(Builtin.LOG),
    math.Log10Op: functions.log10,
    math.Log1pOp: functions.log1p,
    math.Log2Op: _builtin(Builtin.LOG2),
    math.PowFOp: functions.pow,
    math.RoundEvenOp: _builtin(Builtin.ROUND),
    math.RsqrtOp: _builtin(Builtin.INVERSE_SQRT),
    math.SinOp: _builtin(Builtin.SIN),
    math.SinhOp: _builtin(Builtin.SINH),
    math.SqrtOp: _builtin(Builtin.SQRT),
    math.TanOp: _builtin(Builtin.TAN),
    math.TanhOp: functions.tanh,
    math.TruncOp: _builtin(Builtin.TRUNC),
    loop.CastOp: _cast,
    loop.BitcastOp: _bitcast,
    loop.IsNanOp: _float_test(Operator.GT),
    loop.IsInfOp: _float_test(Operator.EQ),
    loop.SelectOp: _select,
    loop.CompareOp: _compare,
    loop.FRemOp: _operator(Operator.REM),
    loop.RoundHalfOp: round_half,
    loop.SplatOp: _splat,
    loop.ExtractOp: _extract,
    loop.UnpackOp: unpack,
    loop.PackOp: pack,
}
