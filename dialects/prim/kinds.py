"""How elements are combined: what reductions, windows and scatters share."""

from __future__ import annotations

import numpy as np
from xdsl.dialects.builtin import IntegerType
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import Attribute, SpacedOpaqueSyntaxAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum

from tstorch.dialects.prim.types import BITS, NUMBERS, dtype_of


class ReduceKind(StrEnum):
    """An associative, commutative function of two elements."""

    ADD = "add"
    MUL = "mul"
    MAX = "max"
    MIN = "min"
    AND = "and"
    OR = "or"


@irdl_attr_definition
class ReduceKindAttr(EnumAttribute[ReduceKind], SpacedOpaqueSyntaxAttribute):
    name = "prim.reduce_kind"


_UFUNCS = {
    ReduceKind.ADD: np.add, ReduceKind.MUL: np.multiply, ReduceKind.MAX: np.maximum, ReduceKind.MIN: np.minimum,
    ReduceKind.AND: np.bitwise_and, ReduceKind.OR: np.bitwise_or,
}  # fmt: skip


def identity(kind: ReduceKind, element_type: Attribute) -> float | int:
    """The element that changes nothing: what a reduction starts from."""
    match kind:
        case ReduceKind.ADD | ReduceKind.OR:
            return 0
        case ReduceKind.MUL:
            return 1
        case ReduceKind.AND:
            return -1 if dtype_of(element_type).kind == "i" else _extreme(element_type, "max")
        case _:
            return _extreme(element_type, "min" if kind is ReduceKind.MAX else "max")


def _extreme(element_type: Attribute, end: str) -> float | int:
    if not isinstance(element_type, IntegerType):
        return np.inf if end == "max" else -np.inf
    dtype = dtype_of(element_type)
    return int(end == "max") if dtype == np.bool_ else int(getattr(np.iinfo(dtype), end))


def check_kind(kind: ReduceKind, element_type: Attribute) -> None:
    """Raises VerifyException where the kind is not defined on the element type."""
    domain = BITS if kind in (ReduceKind.AND, ReduceKind.OR) else NUMBERS
    if element_type not in domain:
        raise VerifyException(f"{kind.value} is not defined on {element_type}")


def combine(kind: ReduceKind) -> np.ufunc:
    """The NumPy function of the kind."""
    return _UFUNCS[kind]


def reduce_array(kind: ReduceKind, x: np.ndarray, axes: tuple[int, ...], element_type: Attribute) -> np.ndarray:
    """`x` combined along axes; sums and products of floats in float64, integers wrap."""
    exact = x.dtype.kind == "f" and kind in (ReduceKind.ADD, ReduceKind.MUL)
    wide = x.astype(np.float64) if exact and not axes else x
    start = np.asarray(identity(kind, element_type)).astype(np.float64 if exact else x.dtype)
    with np.errstate(all="ignore"):
        dtype = np.float64 if exact else x.dtype
        return np.asarray(combine(kind).reduce(wide, axis=axes, dtype=dtype, initial=start[()])).astype(x.dtype)
