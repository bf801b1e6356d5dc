"""Einsum: products over named dimensions, two operands at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_letters

from xdsl.dialects.builtin import i32
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.contraction import DotGeneralOp
from tstorch.dialects.prim.generator import IotaOp
from tstorch.passes.convert.onnx.node import Node, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value

TERM = re.compile(r"[a-zA-Z]*(\.\.\.)?[a-zA-Z]*")
ELLIPSIS = "..."


@dataclass(frozen=True)
class Named:
    """A tensor whose dimensions have names, each once: letters, and numbers for what an ellipsis stands for."""

    value: Value
    names: tuple[str, ...]

    def size(self, name: str) -> int:
        """The size of the dimension of that name; 1 where there is none."""
        return self.value.shape[self.names.index(name)] if name in self.names else 1

    def without(self, names: Sequence[str]) -> Named:
        """The sums over the dimensions of those names."""
        axes = [at for at, name in enumerate(self.names) if name in names]
        return Named(self.value.reduce("add", axes), tuple(name for name in self.names if name not in names))

    def arranged(self, names: Sequence[str]) -> Value:
        """The tensor with its dimensions in that order, of size 1 where it has none of a name."""
        own = [name for name in names if name in self.names]
        moved = self.value.transpose([self.names.index(name) for name in own])
        return moved.reshape([self.size(name) for name in names])


@onnx_op("Einsum")
def einsum(node: Node) -> Value:
    """Dimensions of size 1 are broadcast; names that the output lacks are summed over as soon as nothing else has
    them."""
    terms, output = _parsed(node.attribute("equation").replace(" ", ""), node.inputs)
    operands = [_diagonal(value, term) for value, term in zip(node.inputs, terms, strict=True)]
    sizes = {name: max(each.size(name) for each in operands) for each in operands for name in each.names}
    operands = [_unstretched(each, sizes) for each in operands]
    while len(operands) > 1:
        first, second, *rest = operands
        needed = {*output, *(name for each in rest for name in each.names)}
        operands = [_product(first, second, needed), *rest]
    [result] = operands
    result = result.without([name for name in result.names if name not in output])
    return result.arranged(output).broadcast_to([sizes[name] for name in output])


def _parsed(equation: str, values: Sequence[Value]) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """The names of each operand's dimensions, and the output's. Raises VerifyException for an equation that is none."""
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if bad := next((term for term in (*terms, right) if not TERM.fullmatch(term)), None):
        raise VerifyException(f"equation '{equation}': '{bad}' is no list of letters with at most one ellipsis")
    if len(terms) != len(values):
        raise VerifyException(f"equation '{equation}' has {len(terms)} terms for {len(values)} operands")
    hidden = max(
        (value.rank - len(term) + 3 for value, term in zip(values, terms, strict=True) if "." in term), default=0
    )
    named = [_names(term, value.rank, hidden) for term, value in zip(terms, values, strict=True)]
    if arrow and hidden and ELLIPSIS not in right:
        raise VerifyException(f"equation '{equation}' has an ellipsis; the output must have the ellipsis, too")
    if not arrow:
        letters = sorted({letter for letter in left if letter in ascii_letters and left.count(letter) == 1})
        right = ELLIPSIS * bool(hidden) + "".join(letters)
    output = _names(right, len(right.replace(ELLIPSIS, "")) + hidden * (ELLIPSIS in right), hidden)
    if lost := [name for name in output if not any(name in names for names in named)] or _repeated(output):
        raise VerifyException(f"equation '{equation}': the output has '{lost[0]}' twice, or no operand has it")
    return named, output


def _names(term: str, rank: int, hidden: int) -> tuple[str, ...]:
    """A term's names; an ellipsis stands for the last ones of `hidden` numbers."""
    front, ellipsis, back = term.partition(ELLIPSIS)
    count = rank - len(front) - len(back)
    if count < 0 or (count and not ellipsis):
        raise VerifyException(f"term '{term}' has {len(front) + len(back)} letters for a tensor of rank {rank}")
    return (*front, *(str(at) for at in range(hidden - count, hidden)), *back)


def _repeated(names: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]


def _diagonal(value: Value, names: tuple[str, ...]) -> Named:
    """The tensor where dimensions of one name have one index."""
    for name in _repeated(names):
        first, *others = [at for at, each in enumerate(names) if each == name]
        for at in reversed(others):
            if value.shape[at] != value.shape[first]:
                raise VerifyException(f"dimensions '{name}' have sizes {value.shape[first]} and {value.shape[at]}")
            row, column = (
                value.emit.value(IotaOp(shape=value.shape, dimension=axis, element_type=i32)) for axis in (first, at)
            )
            value = row.compare("eq", column).where(value, value.full(0)).reduce("add", [at])
            names = (*names[:at], *names[at + 1 :])
    return Named(value, names)


def _unstretched(operand: Named, sizes: dict[str, int]) -> Named:
    """The operand without the dimensions of size 1 that others have more of: it is the same all along them."""
    if bad := next((name for name in operand.names if operand.size(name) not in (1, sizes[name])), None):
        raise VerifyException(f"dimensions '{bad}' have sizes {operand.size(bad)} and {sizes[bad]}; expected one size")
    names = [name for name in operand.names if operand.size(name) == sizes[name]]
    return Named(operand.value.reshape([operand.size(name) for name in names]), tuple(names))


def _product(left: Named, right: Named, needed: set[str]) -> Named:
    """The product of two operands, summed over what only they have and nobody needs."""
    left = left.without([name for name in left.names if name not in needed and name not in right.names])
    right = right.without([name for name in right.names if name not in needed and name not in left.names])
    shared = [name for name in left.names if name in right.names]
    batch, summed = ([name for name in shared if (name in needed) is kept] for kept in (True, False))
    free = [[name for name in each.names if name not in shared] for each in (left, right)]
    names = [*batch, *free[0], *free[1]]
    if not summed:
        return Named(left.arranged(names) * right.arranged(names), tuple(names))
    places = [[each.names.index(name) for name in group] for group in (batch, summed) for each in (left, right)]
    product = DotGeneralOp(
        left.value.ssa, right.value.ssa,
        lhs_batch=places[0], rhs_batch=places[1], lhs_contract=places[2], rhs_contract=places[3],
    )  # fmt: skip
    return Named(left.value.emit.value(product), tuple(names))


RULES = rules_of(globals())
