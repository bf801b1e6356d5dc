"""ONNX Runtime's operators that are several of ONNX's in one: activations with a bias, products with what follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from types import MappingProxyType

from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.onnx_contrib import DOMAIN
from tstorch.dialects.prim.elementwise import AbsOp, ErfOp, ExpOp, LogisticOp, TanhOp
from tstorch.passes.convert.onnx.convolution import convolved
from tstorch.passes.convert.onnx.linear import dot, product
from tstorch.passes.convert.onnx.node import Node, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value


@onnx_op("Gelu", "BiasGelu", domain=DOMAIN)
def gelu(node: Node) -> Value:
    """x/2 (1 + erf(x / sqrt 2)), of the sum of all operands."""
    value = _with_bias(node)
    return value * 0.5 * ((value * sqrt(0.5)).apply(ErfOp) + 1)


@onnx_op("FastGelu", domain=DOMAIN)
def fast_gelu(node: Node) -> Value:
    """x/2 (1 + tanh(x (a + b x*x))), of the sum of all operands."""
    value = _with_bias(node)
    inner = value * (value * value * 0.035677408136300125 + 0.7978845608028654)
    return value * 0.5 * (inner.apply(TanhOp) + 1)


@onnx_op("QuickGelu", domain=DOMAIN)
def quick_gelu(node: Node) -> Value:
    value = node.input(0)
    return value * (value * node.attribute("alpha")).apply(LogisticOp)


def _with_bias(node: Node) -> Value:
    value, bias = node.input(0), node.optional(1)
    return value if bias is None else value + bias


@onnx_op("FusedMatMul", "TransposeMatMul", domain=DOMAIN)
def fused_matmul(node: Node) -> Value:
    """alpha * A' * B', where ' swaps the last two axes, or takes the first one behind the batch's, or does not."""
    result = product(_turned(node, 0, "A"), _turned(node, 1, "B"))
    return result if node.attribute("alpha") == 1 else result * node.attribute("alpha")


def _turned(node: Node, position: int, side: str) -> Value:
    value = node.input(position)
    if node.attribute(f"transBatch{side}"):
        if value.rank < 2:
            raise VerifyException(f"transBatch{side} of an operand of rank {value.rank}; expected 2 or more")
        value = value.transpose([*range(1, value.rank - 1), 0, value.rank - 1])
    if not node.attribute(f"trans{side}") or value.rank < 2:
        return value
    return value.transpose([*range(value.rank - 2), value.rank - 1, value.rank - 2])


@onnx_op("FusedGemm", domain=DOMAIN)
def fused_gemm(node: Node) -> Value:
    """A Gemm with an activation behind it."""
    lhs, rhs, bias = node.input(0), node.input(1), node.optional(2)
    result = dot(lhs, rhs, contract=(0 if node.attribute("transA") else 1, 1 if node.attribute("transB") else 0))
    result = result * node.attribute("alpha") if node.attribute("alpha") != 1 else result
    if bias is not None:
        result = result + (bias * node.attribute("beta") if node.attribute("beta") != 1 else bias)
    names = ("activation_alpha", "activation_beta", "activation_gamma")
    return _activated(node, result, [node.attribute(name) for name in names])


@onnx_op("FusedConv", domain=DOMAIN)
def fused_convolution(node: Node) -> Value:
    """A convolution, its bias, another tensor added, and an activation."""
    result, bias, added = convolved(node, node.input(0), node.input(1)), node.optional(2), node.optional(3)
    result = result if bias is None else result + bias.along(1, result.shape)
    result = result if added is None else result + added
    return _activated(node, result, node.attribute("activation_params") or [])


def _activated(node: Node, value: Value, given: Sequence[float | None]) -> Value:
    name = node.attribute("activation")
    if not name:
        return value
    if name not in ACTIVATIONS:
        raise VerifyException(f"activation is {name}; expected one of {', '.join(ACTIVATIONS)}")
    defaults, apply = ACTIVATIONS[name]
    given = [*given, *[None] * len(defaults)]
    return apply(value, *(wanted if said is None else said for said, wanted in zip(given, defaults, strict=False)))


def _hard_sigmoid(value: Value, alpha: float, beta: float) -> Value:
    return (value * alpha + beta).maximum(0).minimum(1)


ACTIVATIONS: Mapping[str, tuple[Sequence[float], Callable[..., Value]]] = MappingProxyType(
    {
        "Relu": ((), lambda value: value.maximum(0)),
        "Tanh": ((), lambda value: value.apply(TanhOp)),
        "Sigmoid": ((), lambda value: value.apply(LogisticOp)),
        "LeakyRelu": ((0.01,), lambda value, alpha: value.compare("ge", 0).where(value, value * alpha)),
        "Elu": ((1.0,), lambda value, alpha: value.compare("ge", 0).where(value, (value.apply(ExpOp) - 1) * alpha)),
        "Clip": ((-3.4e38, 3.4e38), lambda value, low, high: value.maximum(low).minimum(high)),
        "HardSigmoid": ((0.2, 0.5), _hard_sigmoid),
        "HardSwish": ((1 / 6, 0.5), lambda value, alpha, beta: value * _hard_sigmoid(value, alpha, beta)),
        "Softsign": ((), lambda value: value / (value.apply(AbsOp) + 1)),
    }
)
"""What may stand in `activation`: defaults of its parameters, and what it computes."""

RULES = rules_of(globals())
