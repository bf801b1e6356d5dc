"""Index arithmetic: the range-aware normal form of index expressions, and its conversion to and from affine maps.

A dimension knows its range, so expressions simplify while a loop nest is built:

    t = Index.dim("t", 448)                 # 0 <= t < 448
    i = Index.dim("i", 8)
    (t * 8 + i) // 56                       # t floordiv 7
    (t * 8 + i) % 56                        # (t mod 7) * 8 + i
    (t * 8 + i) // 56 * 56 + (t * 8 + i) % 56   # t * 8 + i

An expression is a constant plus a sum of atoms with integer coefficients; an atom is a dimension, or the quotient or
remainder of an expression by a positive constant. Division rounds down. The dividend of an atom is never negative, so
its value is the same in u32 arithmetic.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import gcd
from typing import Any

from xdsl.ir.affine import (
    AffineBinaryOpExpr,
    AffineBinaryOpKind,
    AffineConstantExpr,
    AffineDimExpr,
    AffineExpr,
    AffineMap,
)


@dataclass(frozen=True)
class Dim:
    """A variable with the values 0, step, 2 * step, ... below `size`. Equal keys mean one dimension."""

    key: Hashable
    size: int = field(compare=False)
    step: int = field(default=1, compare=False)

    @property
    def low(self) -> int:
        return 0

    @property
    def high(self) -> int:
        return max(self.size - 1, 0) // self.step * self.step


@dataclass(frozen=True)
class Quotient:
    """`dividend floordiv divisor`; the dividend is at least 0."""

    dividend: "Index"
    divisor: int
    step: int = field(default=1, compare=False)

    @property
    def low(self) -> int:
        return self.dividend.low // self.divisor

    @property
    def high(self) -> int:
        return self.dividend.high // self.divisor


@dataclass(frozen=True)
class Remainder:
    """`dividend mod divisor`; the dividend is at least 0."""

    dividend: "Index"
    divisor: int
    step: int = field(default=1, compare=False)

    @property
    def low(self) -> int:
        return 0

    @property
    def high(self) -> int:
        return min(self.divisor - 1, self.dividend.high)


Atom = Dim | Quotient | Remainder


class Index:
    """An index expression in normal form. Immutable; `+ - * // %` with integers and (`+ -`) with other expressions."""

    __slots__ = ("__dict__", "const", "terms")

    def __init__(self, const: int = 0, terms: Mapping[Atom, int] | None = None) -> None:
        self.const = const
        self.terms: Mapping[Atom, int] = terms or {}

    @classmethod
    def dim(cls, key: Hashable, size: int, step: int = 1) -> "Index":
        """The dimension `key`, with the values 0, step, ... below `size`. A dimension of one value is 0."""
        return cls.of_dim(Dim(key, size, step))

    @classmethod
    def of_dim(cls, dim: Dim) -> "Index":
        return cls(0, {dim: 1}) if dim.high else cls()

    @cached_property
    def low(self) -> int:
        """The least value it can have (a bound, not always reached)."""
        return self.const + sum(k * (a.low if k > 0 else a.high) for a, k in self.terms.items())

    @cached_property
    def high(self) -> int:
        """The greatest value it can have."""
        return self.const + sum(k * (a.high if k > 0 else a.low) for a, k in self.terms.items())

    @property
    def is_constant(self) -> bool:
        return not self.terms

    @cached_property
    def dims(self) -> tuple[Dim, ...]:
        """The dimensions it depends on, in order of first appearance."""
        found: dict[Dim, None] = {}
        for atom in self.terms:
            found.update(dict.fromkeys((atom,) if isinstance(atom, Dim) else atom.dividend.dims))
        return tuple(found)

    def depends_on(self, key: Hashable) -> bool:
        return any(dim.key == key for dim in self.dims)

    def is_multiple_of(self, divisor: int) -> bool:
        """Whether all its values are."""
        return self.const % divisor == 0 and all(k * a.step % divisor == 0 for a, k in self.terms.items())

    def is_within(self, bound: int) -> bool:
        """Whether 0 <= value < bound always."""
        return self.low >= 0 and self.high < bound

    def coefficient(self, key: Hashable) -> int | None:
        """The factor of dimension `key`; None where it stands inside a quotient or remainder."""
        factor = 0
        for atom, k in self.terms.items():
            if isinstance(atom, Dim):
                factor += k if atom.key == key else 0
            elif atom.dividend.depends_on(key):
                return None
        return factor

    def substitute(self, by_key: Mapping[Any, "Index | int"] | Mapping[Any, "Index"]) -> "Index":
        """The expression with dimensions replaced; simplifies again."""
        return self.map_dims(lambda dim: by_key.get(dim.key))

    def map_dims(self, replace: Callable[[Dim], "Index | int | None"]) -> "Index":
        """The expression with each dimension replaced by what `replace` gives; None keeps it."""
        result = Index(self.const)
        for atom, k in self.terms.items():
            if isinstance(atom, Dim):
                new = replace(atom)
                part = Index.of_dim(atom) if new is None else as_index(new)
            else:
                inner = atom.dividend.map_dims(replace)
                part = inner // atom.divisor if isinstance(atom, Quotient) else inner % atom.divisor
            result = result + part * k
        return result

    def evaluate(self, values: Mapping[Hashable, int]) -> int:
        """Its value where dimension `key` has the value `values[key]`."""
        total = self.const
        for atom, k in self.terms.items():
            if isinstance(atom, Dim):
                total += k * values[atom.key]
            elif isinstance(atom, Quotient):
                total += k * (atom.dividend.evaluate(values) // atom.divisor)
            else:
                total += k * (atom.dividend.evaluate(values) % atom.divisor)
        return total

    def __add__(self, other: "Index | int") -> "Index":
        if isinstance(other, int):
            return Index(self.const + other, self.terms)
        if not other.terms:
            return Index(self.const + other.const, self.terms)
        terms = dict(self.terms)
        for atom, k in other.terms.items():
            terms[atom] = terms.get(atom, 0) + k
        return _recombined(self.const + other.const, terms)

    def __mul__(self, factor: int) -> "Index":
        if factor == 1:
            return self
        if factor == 0:
            return Index()
        return Index(self.const * factor, {atom: k * factor for atom, k in self.terms.items()})

    def __neg__(self) -> "Index":
        return self * -1

    def __sub__(self, other: "Index | int") -> "Index":
        return self + -other

    def __radd__(self, other: int) -> "Index":
        return self + other

    def __rsub__(self, other: int) -> "Index":
        return -self + other

    __rmul__ = __mul__

    def __floordiv__(self, divisor: int) -> "Index":
        """Rounds down. Raises ValueError for a divisor below 1."""
        return _divide(self, divisor)[0]

    def __mod__(self, divisor: int) -> "Index":
        """At least 0. Raises ValueError for a divisor below 1."""
        return _divide(self, divisor)[1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Index) and self.const == other.const and self.terms == other.terms

    @cached_property
    def _hash(self) -> int:
        return hash((self.const, frozenset(self.terms.items())))

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        names = {dim.key: str(dim.key) for dim in self.dims}
        return format_affine(to_affine_expr(self, list(names)), list(names.values()))


def as_index(value: "Index | int") -> Index:
    """An integer as an expression; expressions as they are."""
    return Index(value) if isinstance(value, int) else value


def linearize(indices: Sequence[Index | int], shape: Sequence[int]) -> Index:
    """The row-major position of `indices` in an array of that shape."""
    position = Index()
    for index, size in zip(indices, shape, strict=True):
        position = position * size + as_index(index)
    return position


def delinearize(position: Index, shape: Sequence[int]) -> list[Index]:
    """The indices of a row-major position, 0 <= position < product of `shape`."""
    indices: list[Index] = []
    for size in reversed(shape):
        position, last = _divide(position, size)
        indices.append(last)
    return indices[::-1]


def _recombined(const: int, terms: dict[Atom, int]) -> Index:
    """Merges k*c*(e floordiv c) + k*(e mod c) into k*e."""
    terms = {atom: k for atom, k in terms.items() if k}
    for atom, k in terms.items():
        if not isinstance(atom, Remainder):
            continue
        quotient = atom.dividend // atom.divisor
        if len(quotient.terms) == 1 and not quotient.const:
            (found, factor), *_ = quotient.terms.items()
            if terms.get(found) == k * atom.divisor * factor:
                rest = {a: n for a, n in terms.items() if a not in (atom, found)}
                return Index(const, rest) + atom.dividend * k
    return Index(const, terms)


def _divide(e: Index, c: int) -> tuple[Index, Index]:
    """(e floordiv c, e mod c), with as much pulled out of the division as the ranges allow."""
    if c < 1:
        raise ValueError(f"division of an index by {c}; expected a positive constant")
    if c == 1:
        return e, Index()
    whole, rest = _pull_multiples(e, c)
    if rest.is_within(c):
        return whole, rest
    if (split := _split(rest, c)) is not None:
        # rest = g*hi + lo with 0 <= lo < g and g a divisor of c: lo never reaches the quotient.
        g, hi, lo = split
        quotient, remainder = _divide(hi, c // g)
        return whole + quotient, remainder * g + lo
    bias = max(0, -(rest.low // c))
    rest = rest + bias * c
    return whole + _quotient(rest, c) - bias, _remainder(rest, c)


def _pull_multiples(e: Index, c: int) -> tuple[Index, Index]:
    """(q, r) with e = c*q + r, where q takes every term that is a multiple of c."""
    whole, rest = Index(e.const // c), Index(e.const % c)
    for atom, k in e.terms.items():
        if k % c == 0:
            whole = whole + Index(0, {atom: k // c})
        elif k * atom.step % c == 0:
            g = gcd(k, c)
            whole = whole + _quotient(Index(0, {atom: 1}), c // g) * (k // g)
        else:
            rest = rest + Index(0, {atom: k})
    return whole, rest


def _split(e: Index, c: int) -> tuple[int, Index, Index] | None:
    """(g, hi, lo) with e = g*hi + lo, g > 1 a divisor of c and 0 <= lo < g; the greatest such g."""
    candidates = {gcd(c, k * atom.step) for atom, k in e.terms.items()} - {1}
    for g in sorted(candidates, reverse=True):
        hi, lo = _pull_multiples(e, g)
        if not hi.is_constant and lo.is_within(g):
            return g, hi, lo
    return None


def _quotient(e: Index, c: int) -> Index:
    if c == 1:
        return e
    if len(e.terms) == 1 and not e.const:
        (atom, k), *_ = e.terms.items()
        if isinstance(atom, Quotient) and k == 1:  # (x floordiv a) floordiv b = x floordiv a*b
            return Index(0, {Quotient(atom.dividend, atom.divisor * c): 1})
        if isinstance(atom, Remainder) and k == 1 and atom.divisor % c == 0:
            # (x mod a*c) floordiv c = (x floordiv c) mod a
            return _divide(_divide(atom.dividend, c)[0], atom.divisor // c)[1]
    return Index(0, {Quotient(e, c): 1})


def _remainder(e: Index, c: int) -> Index:
    if len(e.terms) == 1 and not e.const:
        (atom, k), *_ = e.terms.items()
        if isinstance(atom, Remainder) and k == 1 and atom.divisor % c == 0:
            return _divide(atom.dividend, c)[1]
    return Index(0, {Remainder(e, c): 1})


# --- affine maps, the form in which attributes carry expressions -----------------------------------------------------


def to_affine_expr(e: Index, keys: Sequence[Hashable]) -> AffineExpr:
    """The expression over dimensions numbered by their place in `keys`."""
    position = {key: i for i, key in enumerate(keys)}
    return _to_affine(e, position)


def _to_affine(e: Index, position: Mapping[Hashable, int]) -> AffineExpr:
    total: AffineExpr | None = None
    for atom, k in e.terms.items():
        if isinstance(atom, Dim):
            part: AffineExpr = AffineDimExpr(position[atom.key])
        else:
            kind = AffineBinaryOpKind.FloorDiv if isinstance(atom, Quotient) else AffineBinaryOpKind.Mod
            part = AffineBinaryOpExpr(kind, _to_affine(atom.dividend, position), AffineConstantExpr(atom.divisor))
        if k != 1:
            part = AffineBinaryOpExpr(AffineBinaryOpKind.Mul, part, AffineConstantExpr(k))
        total = part if total is None else AffineBinaryOpExpr(AffineBinaryOpKind.Add, total, part)
    if total is None:
        return AffineConstantExpr(e.const)
    return AffineBinaryOpExpr(AffineBinaryOpKind.Add, total, AffineConstantExpr(e.const)) if e.const else total


def to_affine_map(exprs: Iterable[Index], keys: Sequence[Hashable]) -> AffineMap:
    """The map from the dimensions `keys`, in that order, to the expressions."""
    position = {key: i for i, key in enumerate(keys)}
    return AffineMap(len(keys), 0, tuple(_to_affine(e, position) for e in exprs))


def from_affine_expr(expr: AffineExpr, dims: Sequence[Index]) -> Index:
    """The normal form of an affine expression whose dimension i is `dims[i]`.

    Raises ValueError for what an index expression cannot be: symbols, ceildiv, products of two variables.
    """
    if isinstance(expr, AffineDimExpr):
        return dims[expr.position]
    if isinstance(expr, AffineConstantExpr):
        return Index(expr.value)
    if not isinstance(expr, AffineBinaryOpExpr):
        raise ValueError(f"{expr} is no index expression")
    lhs, rhs = from_affine_expr(expr.lhs, dims), from_affine_expr(expr.rhs, dims)
    if expr.kind is AffineBinaryOpKind.Add:
        return lhs + rhs
    if expr.kind is AffineBinaryOpKind.Mul and lhs.is_constant:
        lhs, rhs = rhs, lhs
    if not rhs.is_constant:
        raise ValueError(f"{expr}: the right-hand side of {expr.kind.name} is not constant")
    match expr.kind:
        case AffineBinaryOpKind.Mul:
            return lhs * rhs.const
        case AffineBinaryOpKind.FloorDiv:
            return lhs // rhs.const
        case AffineBinaryOpKind.Mod:
            return lhs % rhs.const
        case _:
            raise ValueError(f"{expr}: {expr.kind.name} is no index operation")


def from_affine_map(affine: AffineMap, dims: Sequence[Index]) -> list[Index]:
    """The results of the map at `dims`, in normal form. Raises ValueError as `from_affine_expr`."""
    return [from_affine_expr(expr, dims) for expr in affine.results]


_BINARY_SPELLING = {
    AffineBinaryOpKind.Mul: " * ",
    AffineBinaryOpKind.FloorDiv: " floordiv ",
    AffineBinaryOpKind.Mod: " mod ",
    AffineBinaryOpKind.CeilDiv: " ceildiv ",
}


def affine_tokens(expr: AffineExpr) -> Iterator[str | int]:
    """The expression as text in pieces; an integer piece stands for the name of that dimension."""
    if isinstance(expr, AffineDimExpr):
        yield expr.position
    elif isinstance(expr, AffineConstantExpr):
        yield str(expr.value)
    elif not isinstance(expr, AffineBinaryOpExpr):
        raise ValueError(f"{expr} is no index expression")
    elif expr.kind is AffineBinaryOpKind.Add:
        yield from affine_tokens(expr.lhs)
        negated = _negated(expr.rhs)
        yield " + " if negated is None else " - "
        yield from affine_tokens(expr.rhs if negated is None else negated)
    else:
        nested = isinstance(expr.lhs, AffineBinaryOpExpr)
        yield "(" if nested else ""
        yield from affine_tokens(expr.lhs)
        yield (")" if nested else "") + _BINARY_SPELLING[expr.kind]
        yield from affine_tokens(expr.rhs)


def _negated(expr: AffineExpr) -> AffineExpr | None:
    """-expr where expr is a negative constant or a product with one."""
    match expr:
        case AffineConstantExpr(value) if value < 0:
            return AffineConstantExpr(-value)
        case AffineBinaryOpExpr(AffineBinaryOpKind.Mul, factor, AffineConstantExpr(value)) if value < 0:
            scale = AffineConstantExpr(-value)
            return factor if value == -1 else AffineBinaryOpExpr(AffineBinaryOpKind.Mul, factor, scale)
    return None


def format_affine(expr: AffineExpr, names: Sequence[str]) -> str:
    """The expression as text, with a name for each dimension: `%t floordiv 7 + 3`, `%i - %j`."""
    return "".join(names[token] if isinstance(token, int) else token for token in affine_tokens(expr))


def split_sum(expr: AffineExpr) -> Iterator[tuple[int, AffineExpr]]:
    """The terms of a sum as (factor, atom); an atom is a dimension, a constant, a quotient or a remainder."""
    match expr:
        case AffineBinaryOpExpr(AffineBinaryOpKind.Add, lhs, rhs):
            yield from split_sum(lhs)
            yield from split_sum(rhs)
        case AffineBinaryOpExpr(AffineBinaryOpKind.Mul, inner, AffineConstantExpr(factor)):
            for inner_factor, atom in split_sum(inner):
                yield factor * inner_factor, atom
        case _:
            yield 1, expr
