"""Sums, products and extremes of 64-bit integers as pairs of words."""

from collections.abc import Callable, Sequence
from math import prod

from xdsl.ir import Operation, SSAValue

from tstorch.dialects.prim.base import elements
from tstorch.dialects.prim.contraction import DotGeneralOp
from tstorch.dialects.prim.cumulative import CumulativeOp
from tstorch.dialects.prim.elementwise import AndOp, ShiftRightOp, XorOp
from tstorch.dialects.prim.formula import Formula, filled
from tstorch.dialects.prim.indexing import ScatterOp
from tstorch.dialects.prim.kinds import ReduceKind
from tstorch.dialects.prim.reduction import ReduceOp
from tstorch.dialects.prim.shape import BroadcastInDimOp, PadOp, ReshapeOp, SliceOp, TransposeOp
from tstorch.dialects.prim.types import ints, tensor, ui32
from tstorch.passes.convert.word_pairs import ONES, SIGN, Pair

Sum = Callable[[Formula], Formula]


MOST = 2**24
"""So many digits of 8 bits a word can add up."""


def is_combined(op: Operation) -> bool:
    """Whether a reduction, a running combination or a product has a form on pairs."""
    if isinstance(op, DotGeneralOp):
        return prod(op.product().steps) <= 2**16
    if isinstance(op, CumulativeOp):
        return op.kind.data is ReduceKind.ADD and op.length <= MOST
    return isinstance(op, ReduceOp) and (op.kind.data is not ReduceKind.ADD or _count(op) <= MOST)


def reduced_pair(op: Operation, pair: Pair) -> Pair:
    """What a reduction, or a running sum, makes of pairs."""
    if isinstance(op, CumulativeOp):
        keywords = {"dimension": op.dimension.value.data, "exclusive": op.is_exclusive, "reverse": op.is_reverse}
        return _sum(pair, op.length, lambda word: word.apply(CumulativeOp, kind="add", **keywords))
    assert isinstance(op, ReduceOp)
    axes = ints(op.dimensions)
    count = _count(op)
    match op.kind.data:
        case ReduceKind.ADD:
            return _sum(pair, count, lambda word: word.apply(ReduceOp, dimensions=axes, kind="add"))
        case ReduceKind.MUL:
            return _product(pair, axes, count)
        case ReduceKind.AND | ReduceKind.OR as kind:
            low, high = (word.apply(ReduceOp, dimensions=axes, kind=kind.value) for word in (pair.low, pair.high))
            return Pair(low, high, pair.signed)
        case kind:
            return _extreme(pair, axes, kind)


def scattered_sum(op: ScatterOp, before: Pair, indices: SSAValue, updates: Pair) -> Pair:
    """What a scatter adds up to."""
    bits = 16 if elements(op.updates) < 2**16 else 8

    def add(one: Formula, other: Formula) -> Formula:
        moved = op.clone()
        moved.operands = [one.value, indices, other.value]
        moved.results[0]._type = one.type  # pyright: ignore[reportAttributeAccessIssue]
        return Formula(one.build.insert(moved).results[0], one.build)

    digits = [add(*both) for both in zip(_digits(before, bits), _digits(updates, bits), strict=True)]
    return _carried(digits, bits, signed=before.signed)


def summed_products(op: DotGeneralOp, left: Pair, right: Pair) -> Pair:
    """What a product of matrices adds up to: of each two digits that count, a product whose sums a word holds."""
    words = list(zip(_digits(left, 8), range(0, 64, 8), strict=True))
    factors = list(zip(_digits(right, 8), range(0, 64, 8), strict=True))
    total: Pair | None = None
    for digit, place in words:
        for factor, more in factors[: len(words) - place // 8]:
            product = op.clone()
            product.operands = [digit.value, factor.value]
            product.results[0]._type = tensor(op.result.type.get_shape(), ui32)  # pyright: ignore[reportAttributeAccessIssue]
            part = Formula(digit.build.insert(product).results[0], digit.build)
            moved = Pair(part, part.lift(0), left.signed).moved_left(place + more)
            total = moved if total is None else total + moved
    assert total is not None
    return total


def _sum(pair: Pair, count: int, add: Sum) -> Pair:
    bits = 16 if count <= 2**16 else 8
    return _carried([add(digit) for digit in _digits(pair, bits)], bits, signed=pair.signed)


def _digits(pair: Pair, bits: int) -> list[Formula]:
    """The pair in digits so small that a word can add up many."""
    return [
        word.apply(ShiftRightOp, place).apply(AndOp, 2**bits - 1)
        for word in (pair.low, pair.high)
        for place in range(0, 32, bits)
    ]


def _carried(digits: Sequence[Formula], bits: int, *, signed: bool) -> Pair:
    """The number that sums of digits stand for."""
    total = Pair(digits[0].lift(0), digits[0].lift(0), signed)
    for number, digit in enumerate(digits):
        part = Pair(digit, digit.lift(0), False)
        total = total + part.moved_left(number * bits)
    return total


def _extreme(pair: Pair, axes: tuple[int, ...], kind: ReduceKind) -> Pair:
    """By the high words in the order of their signs; then by the low ones, where the high one is the extreme."""
    high = pair.high.apply(XorOp, SIGN) if pair.signed else pair.high
    top = high.apply(ReduceOp, dimensions=axes, kind=kind.value)
    shape = high.type.get_shape()
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    spread = top.apply(BroadcastInDimOp, shape=shape, dimensions=kept)
    neutral = pair.low.lift(0 if kind is ReduceKind.MAX else ONES)
    low = high.compare("eq", spread).select(pair.low, neutral).apply(ReduceOp, dimensions=axes, kind=kind.value)
    return Pair(low, top.apply(XorOp, SIGN) if pair.signed else top, pair.signed)


def _product(pair: Pair, axes: tuple[int, ...], count: int) -> Pair:
    """Halves multiplied with each other until one factor is left; an odd one is multiplied with 1."""
    low, high = (_rows(word, axes, count) for word in (pair.low, pair.high))
    current, length = Pair(low, high, pair.signed), count
    if not count:
        current, length = _filled(current, 1), 1
    while length > 1:
        half = -(-length // 2)
        first, rest = _cut(current, 0, half), _cut(current, half, length)
        current, length = first * _filled(rest, half), half
    shape = pair.low.type.get_shape()
    kept = [size for axis, size in enumerate(shape) if axis not in axes]
    return Pair(current.low.apply(ReshapeOp, shape=kept), current.high.apply(ReshapeOp, shape=kept), pair.signed)


def _count(op: ReduceOp) -> int:
    shape = op.operand.type.get_shape()  # pyright: ignore[reportAttributeAccessIssue]
    return prod(shape[axis] for axis in ints(op.dimensions))


def _rows(word: Formula, axes: tuple[int, ...], count: int) -> Formula:
    """What is combined last, in one dimension."""
    shape = word.type.get_shape()
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    moved = word.apply(TransposeOp, permutation=[*kept, *axes])
    return moved.apply(ReshapeOp, shape=[*(shape[axis] for axis in kept), count])


def _cut(pair: Pair, begin: int, end: int) -> Pair:
    *outer, _ = pair.low.type.get_shape()
    where = {"start": [0] * len(outer) + [begin], "limit": [*outer, end], "stride": [1] * (len(outer) + 1)}
    return Pair(pair.low.apply(SliceOp, **where), pair.high.apply(SliceOp, **where), pair.signed)


def _filled(pair: Pair, length: int) -> Pair:
    """Ones behind the last factor."""
    *outer, size = pair.low.type.get_shape()
    if size == length:
        return pair
    ends = {"low": [0] * (len(outer) + 1), "high": [0] * len(outer) + [length - size]}

    def pad(word: Formula, number: int) -> Formula:
        return word.apply(PadOp, Formula(filled(number, tensor((), ui32), word.build), word.build), **ends)

    return Pair(pad(pair.low, 1), pad(pair.high, 0), pair.signed)
