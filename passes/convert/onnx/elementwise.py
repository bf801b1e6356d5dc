"""Arithmetic, comparison, logic, bits and type conversion, one element at a time."""

from __future__ import annotations

from functools import reduce

from xdsl.dialects.builtin import f32, i1
from xdsl.ir import Attribute
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.onnx import element_type
from tstorch.dialects.prim.elementwise import (
    AbsOp,
    AcoshOp,
    AcosOp,
    AddOp,
    AndOp,
    AsinhOp,
    AsinOp,
    AtanhOp,
    AtanOp,
    BitcastOp,
    CeilOp,
    CoshOp,
    CosOp,
    DivOp,
    ErfOp,
    ExpOp,
    FloorOp,
    IsInfOp,
    IsNanOp,
    LogisticOp,
    LogOp,
    MulOp,
    NegOp,
    NotOp,
    OrOp,
    PowOp,
    RemOp,
    RoundOp,
    ShiftLeftOp,
    ShiftRightOp,
    SignOp,
    SinhOp,
    SinOp,
    SqrtOp,
    SubOp,
    TanhOp,
    TanOp,
    XorOp,
)
from tstorch.dialects.prim.selection import SelectOp
from tstorch.dialects.prim.stored import format_of
from tstorch.dialects.prim.types import ui8
from tstorch.passes.convert.onnx.node import Node, binary, onnx_op, rules_of, unary
from tstorch.passes.convert.onnx.value import Value

_UNARY = unary({
    "Abs": AbsOp, "Acos": AcosOp, "Acosh": AcoshOp, "Asin": AsinOp, "Asinh": AsinhOp, "Atan": AtanOp,
    "Atanh": AtanhOp, "BitwiseNot": NotOp, "Ceil": CeilOp, "Cos": CosOp, "Cosh": CoshOp, "Erf": ErfOp, "Exp": ExpOp,
    "Floor": FloorOp, "IsNaN": IsNanOp, "Log": LogOp, "Neg": NegOp, "Not": NotOp, "Round": RoundOp,
    "Sigmoid": LogisticOp, "Sign": SignOp, "Sin": SinOp, "Sinh": SinhOp, "Sqrt": SqrtOp, "Tan": TanOp, "Tanh": TanhOp,
})  # fmt: skip

_BINARY = binary({
    "Add": AddOp, "And": AndOp, "BitwiseAnd": AndOp, "BitwiseOr": OrOp, "BitwiseXor": XorOp, "Div": DivOp,
    "Mul": MulOp, "Or": OrOp, "Sub": SubOp, "Xor": XorOp,
})  # fmt: skip


@onnx_op("Reciprocal")
def reciprocal(node: Node) -> Value:
    return 1 / node.input(0)


@onnx_op("IsInf")
def is_inf(node: Node) -> Value:
    signs = {
        "detect_negative": bool(node.attribute("detect_negative")),
        "detect_positive": bool(node.attribute("detect_positive")),
    }
    return node.input(0).apply(IsInfOp, **signs)


@onnx_op("Equal")
def equal(node: Node) -> Value:
    return node.input(0).compare("eq", node.input(1))


@onnx_op("Greater")
def greater(node: Node) -> Value:
    return node.input(0).compare("gt", node.input(1))


@onnx_op("GreaterOrEqual")
def greater_or_equal(node: Node) -> Value:
    return node.input(0).compare("ge", node.input(1))


@onnx_op("Less")
def less(node: Node) -> Value:
    return node.input(0).compare("lt", node.input(1))


@onnx_op("LessOrEqual")
def less_or_equal(node: Node) -> Value:
    return node.input(0).compare("le", node.input(1))


@onnx_op("Max")
def maximum(node: Node) -> Value:
    return reduce(Value.maximum, node.inputs)


@onnx_op("Min")
def minimum(node: Node) -> Value:
    return reduce(Value.minimum, node.inputs)


@onnx_op("Sum")
def total(node: Node) -> Value:
    return reduce(Value.__add__, node.inputs)


@onnx_op("Mean")
def mean(node: Node) -> Value:
    return reduce(Value.__add__, node.inputs) / len(node.inputs)


@onnx_op("Where")
def where(node: Node) -> Value:
    return node.input(0).where(node.input(1), node.input(2))


@onnx_op("Clip")
def clip(node: Node) -> Value:
    """Bounds are attributes up to opset 6, optional scalars since 11."""
    value = node.input(0)
    for name, position, bounded in (("min", 1, Value.maximum), ("max", 2, Value.minimum)):
        bound = node.optional(position)
        if bound is not None:
            value = bounded(value, bound)
        elif node.attribute(name) is not None:
            value = bounded(value, float(node.attribute(name)))
    return value


_WHOLE = 1e-5
"""How near to a whole number, for its size, a power of float32 is one."""


@onnx_op("Pow")
def power(node: Node) -> Value:
    """Small whole exponents are products: exact, and defined for negative bases. The base's type is the result's."""
    base, exponent = node.input(0), node.input(1)
    known = node.known(1)
    if known is not None and known.size == 1 and exponent.rank <= base.rank:
        number = float(known.reshape(()))
        if number in (1, 2, 3):
            return reduce(Value.__mul__, [base] * int(number))
        if base.is_float and number == 0.5:
            return base.apply(SqrtOp)
        if base.is_float and number == -1:
            return 1 / base
    if base.is_float:
        return base.apply(PowOp, exponent.convert(base.element))
    # The conversion cuts off what is behind the point, and a whole power may come out a little below itself.
    found = base.convert(f32).apply(PowOp, exponent.convert(f32))
    whole = found.apply(RoundOp)
    is_whole = (found - whole).apply(AbsOp).compare("le", whole.apply(AbsOp) * _WHOLE)
    return is_whole.apply(SelectOp, whole, found).convert(base.element)


@onnx_op("Mod")
def modulo(node: Node) -> Value:
    """C's remainder with fmod=1; else Python's, whose sign is the divisor's."""
    dividend, divisor = node.input(0), node.input(1)
    remainder = dividend.apply(RemOp, divisor)
    if node.attribute("fmod"):
        return remainder
    wrong = remainder.compare("ne", 0).apply(AndOp, _differ_in_sign(remainder, divisor))
    return wrong.where(remainder + divisor, remainder)


def _differ_in_sign(left: Value, right: Value) -> Value:
    return left.compare("lt", 0).apply(XorOp, right.compare("lt", 0))


@onnx_op("BitShift")
def bit_shift(node: Node) -> Value:
    kinds = {"LEFT": ShiftLeftOp, "RIGHT": ShiftRightOp}
    if (kind := kinds.get(node.attribute("direction"))) is None:
        raise VerifyException(f"direction is {node.attribute('direction')}; expected LEFT or RIGHT")
    return node.input(0).apply(kind, node.input(1))


@onnx_op("Cast")
def cast(node: Node) -> Value:
    return _cast(node, element_type(node.attribute("to")))


@onnx_op("CastLike")
def cast_like(node: Node) -> Value:
    return _cast(node, node.input(1).element)


def _cast(node: Node, element: Attribute) -> Value:
    """To a stored type `saturate` cuts off; only where no mantissa is left may the node say how it rounds."""
    format, mode = format_of(element), node.attribute("round_mode") or "up"
    if mode not in ("up", "down", "nearest"):
        raise VerifyException(f"round_mode is {mode}; expected up, down or nearest")
    only_powers = format is not None and format.facts is not None and not format.facts.mantissa_bits
    return node.input(0).convert(
        element, saturate=node.attribute("saturate") != 0, rounding=mode if only_powers else "nearest"
    )


@onnx_op("BitCast")
def bit_cast(node: Node) -> Value:
    """The same bits; truth values are bytes of 0 and 1."""
    value, element = node.input(0), element_type(node.attribute("to"))
    source = value.convert(ui8) if value.element == i1 else value
    if element == i1:
        return source.apply(BitcastOp, element_type=ui8).compare("ne", 0)
    return source.apply(BitcastOp, element_type=element)


RULES = (*_UNARY, *_BINARY, *rules_of(globals()))
