"""What sorts compare by: every key of an element as an unsigned word whose order is the element's."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.ir import SSAValue

from tstorch.dialects.indexing import Index
from tstorch.dialects.loop import Constraint, ui32
from tstorch.dialects.prim.scalar import Scalar
from tstorch.dialects.prim.sort import SortOp
from tstorch.dialects.prim.types import integer, ints
from tstorch.passes.convert.kernel_to_loop.emit import Emitter
from tstorch.passes.convert.kernel_to_loop.nest import shape_of, split

Words = Sequence[Scalar]
"""The keys of one element, the first one decides first."""

SIGN, LAST = 1 << 31, (1 << 32) - 1


def ordered_word(x: Scalar, descending: bool) -> Scalar:
    """A number as a word that is less where the number comes first; NaN is the largest, both zeros are one."""
    if x.is_float:
        word = _float_word(x)
    elif x.is_unsigned:
        word = x.cast(ui32)
    else:
        word = x.bitcast(ui32) ^ SIGN
    return word ^ LAST if descending else word


def _float_word(x: Scalar) -> Scalar:
    """By bits, so that no driver flushes or folds anything: negative numbers are ordered the other way round."""
    bits = x.bitcast(ui32)
    word = bits.compare("ge", SIGN).select(bits ^ LAST, bits | SIGN)
    word = (bits & (SIGN - 1)).compare("eq", 0).select(SIGN, word)
    return x.is_nan().select(LAST, word)


def comes_before(first: Words, second: Words) -> Scalar:
    """Whether one element stands before the other, as i1; not where all words are equal."""
    *earlier, (a, b) = zip(first, second, strict=True)
    result = a.compare("lt", b)
    for a, b in reversed(earlier):
        result = a.compare("lt", b) | (a.compare("eq", b) & result)
    return result


def row_count(op: SortOp) -> int:
    """How many rows are sorted, each for itself."""
    return prod(size for axis, size in enumerate(shape_of(op.inputs[0])) if axis != integer(op.dimension))


class Rows:
    """The rows of a sort: elements by their row's number and their place along the sorted dimension."""

    def __init__(self, op: SortOp, emit: Emitter) -> None:
        self._op = op
        self._emit = emit
        self._axis = integer(op.dimension)
        self._outer = [size for axis, size in enumerate(shape_of(op.inputs[0])) if axis != self._axis]

    def index(self, row: Index, place: Index) -> list[Index]:
        """The element's index in every operand and result."""
        outer = split(row, self._outer)
        return [*outer[: self._axis], place, *outer[self._axis :]]

    def words(self, index: Sequence[Index], mask: Sequence[Constraint] = ()) -> list[Scalar]:
        """The keys of the element at an index."""
        keys = zip(self._op.keys, ints(self._op.descending), strict=True)
        return [self._word(key, index, mask, bool(down)) for key, down in keys]

    def _word(self, key: SSAValue, index: Sequence[Index], mask: Sequence[Constraint], down: bool) -> Scalar:
        return ordered_word(Scalar(self._emit.at(key, index, mask), self._emit.build), down)

    def send(self, index: Sequence[Index], mask: Sequence[Constraint] = ()) -> None:
        """Says that every result, wherever it is asked for, is its operand's element at `index`."""
        for operand, result in zip(self._op.inputs, self._op.outputs, strict=True):
            self._emit.known[result] = lambda _, operand=operand: self._emit.at(operand, index, mask)
