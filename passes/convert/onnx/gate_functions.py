"""The functions that gates of recurrent networks go through, named by a node's attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.elementwise import AbsOp, ExpOp, Log1pOp, LogisticOp, TanhOp
from tstorch.passes.convert.onnx.node import Node
from tstorch.passes.convert.onnx.value import Value

GateFunction = Callable[[Value], Value]
Numbers = tuple[float, ...]


def _leaky(value: Value, alpha: float) -> Value:
    return value.compare("ge", 0).where(value, value * alpha)


def _thresholded(value: Value, alpha: float) -> Value:
    return value.compare("ge", alpha).where(value, value.full(0))


def _elu(value: Value, alpha: float) -> Value:
    return value.compare("ge", 0).where(value, (value.minimum(0).apply(ExpOp) - 1) * alpha)


def _softplus(value: Value) -> Value:
    return value.maximum(0) + (-value.apply(AbsOp)).apply(ExpOp).apply(Log1pOp)


FUNCTIONS: Mapping[str, tuple[Numbers, Callable[..., Value]]] = {
    "relu": ((), lambda x: x.maximum(0)),
    "tanh": ((), lambda x: x.apply(TanhOp)),
    "sigmoid": ((), lambda x: x.apply(LogisticOp)),
    "affine": ((1.0, 0.0), lambda x, alpha, beta: x * alpha + beta),
    "leakyrelu": ((0.01,), _leaky),
    "thresholdedrelu": ((1.0,), _thresholded),
    "scaledtanh": ((1.0, 1.0), lambda x, alpha, beta: (x * beta).apply(TanhOp) * alpha),
    "hardsigmoid": ((0.2, 0.5), lambda x, alpha, beta: (x * alpha + beta).maximum(0).minimum(1)),
    "elu": ((1.0,), _elu),
    "softsign": ((), lambda x: x / (x.apply(AbsOp) + 1)),
    "softplus": ((), _softplus),
}
"""Name in lower case -> the defaults of alpha and beta, as far as the function has them, and the function."""


def gate_functions(node: Node, defaults: Sequence[str], directions: int) -> list[list[GateFunction]]:
    """For each direction the functions of its gates. Raises VerifyException for unknown names or a wrong number."""
    names = node.attribute("activations") or [*defaults] * directions
    count = len(defaults)
    if len(names) != count * directions:
        raise VerifyException(f"{len(names)} activations; expected {count} for each direction, {count * directions}")
    alphas, betas = (iter(node.attribute(f"activation_{which}") or ()) for which in ("alpha", "beta"))
    functions = [_function(name, alphas, betas) for name in names]
    return [functions[at : at + count] for at in range(0, len(functions), count)]


def _function(name: str, alphas: Iterator[float], betas: Iterator[float]) -> GateFunction:
    """One function with its own alpha and beta: only those that have such numbers take one from the lists."""
    if (found := FUNCTIONS.get(name.lower())) is None:
        raise VerifyException(f"activation {name}; expected one of {', '.join(FUNCTIONS)}")
    defaults, function = found
    numbers = [next(given, default) for given, default in zip((alphas, betas), defaults, strict=False)]
    return lambda value: function(value, *numbers)
