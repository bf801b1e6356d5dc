"""Ops on 64-bit integers that no word holds, as ops on pairs of words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from xdsl.builder import Builder
from xdsl.dialects.builtin import UNKNOWN_LOC, LocationAttr, f32, i1, i32, i64
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.rewriter import InsertPoint

from tstorch.diagnostics import DiagnosticError
from tstorch.dialects.prim.base import IndexMapOp, PrimOp, elements
from tstorch.dialects.prim.contraction import DotGeneralOp
from tstorch.dialects.prim.elementwise import (
    AbsOp,
    AddOp,
    AndOp,
    BitcastOp,
    CompareOp,
    ConvertOp,
    DivOp,
    MaximumOp,
    MinimumOp,
    MulOp,
    NegOp,
    NotOp,
    OrOp,
    RemOp,
    SelectOp,
    ShiftLeftOp,
    ShiftRightOp,
    SignOp,
    SubOp,
    XorOp,
)
from tstorch.dialects.prim.formula import Formula
from tstorch.dialects.prim.generator import ConstantOp
from tstorch.dialects.prim.indexing import GatherOp, ScatterKind, ScatterOp
from tstorch.dialects.prim.operands import element_of, shape_of
from tstorch.dialects.prim.shape import ConcatenateOp, ReshapeOp, SliceOp
from tstorch.dialects.prim.sort import SortOp
from tstorch.dialects.prim.types import dtype_of, ints, is_float, is_unsigned, tensor, ui32
from tstorch.dialects.prim.weight import WeightOp
from tstorch.locations import node_ids
from tstorch.passes.convert.integer_ranges import is_wide
from tstorch.passes.convert.wide_ranges import Widths
from tstorch.passes.convert.wide_sums import MOST, is_combined, reduced_pair, scattered_sum, summed_products
from tstorch.passes.convert.word_pairs import ORDERED, Pair
from tstorch.remarks import RemarkSink

BINARY: Mapping[type[Operation], Callable[[Pair, Pair], Pair]] = {
    AddOp: lambda a, b: a + b,
    SubOp: lambda a, b: a - b,
    MulOp: lambda a, b: a * b,
    DivOp: lambda a, b: a.quotient(b),
    RemOp: lambda a, b: a.remainder(b),
    MinimumOp: lambda a, b: a.chosen(a.below(b), b),
    MaximumOp: lambda a, b: a.chosen(b.below(a), b),
    AndOp: lambda a, b: a.each(AndOp, b),
    OrOp: lambda a, b: a.each(OrOp, b),
    XorOp: lambda a, b: a.each(XorOp, b),
    ShiftLeftOp: lambda a, b: a.shifted_left(b),
    ShiftRightOp: lambda a, b: a.shifted_right(b),
}
UNARY: Mapping[type[Operation], Callable[[Pair], Pair]] = {
    NegOp: lambda a: -a,
    AbsOp: lambda a: (-a).chosen(a.is_negative(), a),
    SignOp: lambda a: a.sign(),
    NotOp: lambda a: a.each(NotOp),
}
"""Each on pairs what it is on numbers."""
_OTHERS = (IndexMapOp, GatherOp, ConstantOp, WeightOp, ConvertOp, BitcastOp, CompareOp, SelectOp, SortOp, ReturnOp)

Found = Sequence[Pair | SSAValue]


def has_form(op: Operation) -> bool:
    """Whether an op may read and make pairs."""
    if isinstance(op, ScatterOp):
        moves = op.kind.data is ScatterKind.ASSIGN or not is_wide(op.result)
        return moves or (op.kind.data is ScatterKind.ADD and elements(op.updates) < MOST)
    return type(op) in BINARY or type(op) in UNARY or isinstance(op, _OTHERS) or is_combined(op)


class WideIntegers:
    """Replaces the ops of one block, in program order."""

    def __init__(self, widths: Widths, remarks: RemarkSink) -> None:
        self._widths = widths
        self._remarks = remarks
        self._words: dict[SSAValue, tuple[SSAValue, SSAValue]] = {}
        self._whole: dict[SSAValue, SSAValue] = {}
        self._replaced: list[Operation] = []

    def take(self, value: SSAValue, whole: SSAValue) -> None:
        """Says that the pairs of a value stand in memory as `whole`, along one more dimension of 2.

        What cuts them apart stands before the first op that needs it, and serves its node where it has none of its own.
        """
        self._whole[value] = whole
        users = [use.operation for use in value.uses if not isinstance(use.operation, ReturnOp)]
        if not users:
            return
        block = users[0].parent
        assert block is not None
        first = next(op for op in block.ops if op in users)
        own = value.owner.location if isinstance(value.owner, Operation) else UNKNOWN_LOC
        build = _builder(first, first.location if own == UNKNOWN_LOC else own)
        shape = shape_of(value)
        start, ends = [0] * len(shape), [1] * (len(shape) + 1)
        halves: list[SSAValue] = []
        for word in (0, 1):
            cut = build.insert(SliceOp(whole, start=[*start, word], limit=[*shape, word + 1], stride=ends))
            halves.append(build.insert(ReshapeOp(cut.result, shape=shape)).result)
        self._words[value] = (halves[0], halves[1])

    def joined(self, value: SSAValue, before: Operation) -> SSAValue:
        """The pairs of a value along one more dimension of 2, the low word first; a word is extended."""
        if value not in self._whole:
            owner = value.owner
            build = _builder(before, owner.location if isinstance(owner, Operation) else before.location)
            shape = shape_of(value)
            if value not in self._words:
                extended = Pair.of_word(Formula(value, build), signed=True)
                self._words[value] = extended.low.value, extended.high.value
            parts = [build.insert(ReshapeOp(word, shape=[*shape, 1])).result for word in self._words[value]]
            self._whole[value] = build.insert(ConcatenateOp(*parts, dimension=len(shape))).result
        return self._whole[value]

    def expand(self, op: Operation) -> None:
        """Puts ops on words in the place of an op. Raises DiagnosticError for one without such a form."""
        build = _builder(op, op.location)
        if not isinstance(op, PrimOp) or not has_form(op):
            raise DiagnosticError(
                f"{op.name} has no form on 64-bit integers whose values may not fit 32 bits; use int32 in the model "
                "where the values allow it",
                node=next(iter(node_ids(op)), None),
            )
        if not (all_found := self._found(op, build)):
            return  # it stays, with other operands
        for result, found in zip(op.results, all_found, strict=True):
            if isinstance(found, Pair) and result in self._widths.pairs:
                self._words[result] = (found.low.value, found.high.value)
            else:
                result.replace_all_uses_with(found.word().value if isinstance(found, Pair) else found)
        self._remarks.elide(node_ids(op), "identity: its result has the words of its operand")
        self._replaced.append(op)

    def drop(self, op: Operation) -> None:
        """Says that pairs stand for the op's results everywhere."""
        self._replaced.append(op)

    def finish(self) -> None:
        """Erases what was replaced."""
        for op in reversed(self._replaced):
            op.detach()
            op.erase()

    def _found(self, op: PrimOp, build: Builder) -> Found:
        """What stands for the op's results; nothing where the op itself stays."""
        kind = type(op)
        if kind in BINARY:
            return [BINARY[kind](*(self._pair(value, op, build) for value in op.operands))]
        if kind in UNARY:
            return [UNARY[kind](self._pair(op.operands[0], op, build))]
        if isinstance(op, GatherOp | ScatterOp) and not is_wide(op.results[0]):
            op.operands[1] = self._place(op.operands[1], op, build)
            return []
        if isinstance(op, IndexMapOp | GatherOp | ScatterOp):
            adds = isinstance(op, ScatterOp) and op.kind.data is ScatterKind.ADD
            return [self._summed(op, build) if adds else self._moved(op, build)]
        match op:
            case ConstantOp():
                return [_constant(op, build)]
            case ConvertOp():
                return [self._converted(op, build)]
            case BitcastOp():
                pair = self._pair(op.operand, op, build)
                return [Pair(pair.low, pair.high, _is_signed(op.element_type))]
            case CompareOp():
                left, right = (self._pair(value, op, build) for value in op.operands)
                return [ORDERED[str(op.direction.data)](left, right).value]
            case SelectOp():
                chosen, other = (self._pair(value, op, build) for value in op.operands[1:])
                return [chosen.chosen(Formula(op.operands[0], build), other)]
            case SortOp():
                return self._sorted(op, build)
        return [self._summed(op, build)]

    def _summed(self, op: PrimOp, build: Builder) -> Pair:
        """What many elements come to."""
        if isinstance(op, ScatterOp):
            before, updates = (self._pair(op.operands[position], op, build) for position in (0, 2))
            return scattered_sum(op, before, self._place(op.indices, op, build), updates)
        if isinstance(op, DotGeneralOp):
            return summed_products(op, *(self._pair(value, op, build) for value in op.operands))
        return reduced_pair(op, self._pair(op.operands[0], op, build))

    def _pair(self, value: SSAValue, op: Operation, build: Builder) -> Pair:
        """The words of an operand; a 32-bit one is extended."""
        signed = _is_signed(_long_type(op))
        if value not in self._words:
            return Pair.of_word(Formula(value, build), signed=signed)
        low, high = self._words[value]
        return Pair(Formula(low, build), Formula(high, build), signed)

    def _moved(self, op: PrimOp, build: Builder) -> Pair:
        """The same movement of each of the two words."""
        long = element_of(op.results[0])
        pairs = {
            position: self._pair(value, op, build)
            for position, value in enumerate(op.operands)
            if not (isinstance(op, GatherOp | ScatterOp) and position == 1)
        }
        places = {1: self._place(op.operands[1], op, build)} if isinstance(op, GatherOp | ScatterOp) else {}
        words = []
        for word in ("low", "high"):
            operands = places | {position: getattr(pair, word).value for position, pair in pairs.items()}
            moved = op.clone()
            moved.operands = [operands[position] for position in range(len(op.operands))]
            moved.results[0]._type = tensor(shape_of(op.results[0]), ui32)  # pyright: ignore[reportAttributeAccessIssue]
            words.append(Formula(build.insert(moved).results[0], build))
        return Pair(words[0], words[1], _is_signed(long))

    def _place(self, value: SSAValue, op: Operation, build: Builder) -> SSAValue:
        return self._pair(value, op, build).index().value if value in self._words else value

    def _converted(self, op: ConvertOp, build: Builder) -> Pair | SSAValue:
        source, target = Formula(op.operand, build), op.element_type
        if op.operand not in self._words:
            return _extended(source, signed=_is_signed(target))
        low, high = self._words[op.operand]
        pair = Pair(Formula(low, build), Formula(high, build), _is_signed(element_of(op.operand)))
        if is_wide(op.result):
            return Pair(pair.low, pair.high, _is_signed(target))
        if target == i1:
            return pair.is_true().value
        if is_float(target):
            return (pair.to_float() if target == f32 else pair.to_float().convert(target)).value
        return (pair.low if target == ui32 else pair.low.convert(target)).value

    def _sorted(self, op: SortOp, build: Builder) -> Found:
        """Each pair as two operands; a key decides by its high word, whose sign counts, then by its low one."""
        operands: list[SSAValue] = []
        descending: list[bool] = []
        counts: list[int] = []
        keys = ints(op.descending)
        for position, value in enumerate(op.operands):
            parts = [value]
            if value in self._words:
                low, high = self._words[value]
                signed = _is_signed(element_of(value))
                top = build.insert(BitcastOp(high, element_type=i32)).result if signed else high
                parts = [top, low]
            operands += parts
            counts.append(len(parts))
            if position < len(keys):
                descending += [bool(keys[position])] * len(parts)
        properties = {"dimension": op.dimension.value.data, "given": op.given.value.data, "run": op.run.value.data}
        results = iter(build.insert(SortOp(*operands, descending=descending, **properties)).results)
        return [self._unsorted(value, [next(results) for _ in range(count)], build)
                for value, count in zip(op.operands, counts, strict=True)]  # fmt: skip

    def _unsorted(self, value: SSAValue, parts: Sequence[SSAValue], build: Builder) -> Pair | SSAValue:
        if len(parts) == 1:
            return parts[0]
        high, low = parts
        high = build.insert(BitcastOp(high, element_type=ui32)).result if element_of(high) == i32 else high
        return Pair(Formula(low, build), Formula(high, build), _is_signed(element_of(value)))


def _constant(op: ConstantOp, build: Builder) -> Pair:
    words = np.frombuffer(op.value.array().tobytes(), "<u4").reshape(*shape_of(op.result), 2)
    low, high = (build.insert(ConstantOp(words[..., word])).result for word in (0, 1))
    return Pair(Formula(low, build), Formula(high, build), _is_signed(element_of(op.result)))


def _extended(source: Formula, *, signed: bool) -> Pair:
    """A number of fewer bits as a pair."""
    element = source.type.element_type
    if is_float(element):
        return Pair.of_float(source if element == f32 else source.convert(f32), signed=signed)
    narrow = dtype_of(element).itemsize < 4 and not is_unsigned(element)
    return Pair.of_word(source.convert(i32) if narrow else source, signed=signed)


def _builder(before: Operation, location: LocationAttr) -> Builder:
    def locate(op: Operation) -> None:
        op.location = location

    return Builder(InsertPoint.before(before), operation_insertion_handler=[locate])


def _long_type(op: Operation) -> Attribute:
    """The 64-bit type that an op computes in: what is a word has been retyped, a pair has not."""
    return next(element_of(value) for value in (*op.operands, *op.results) if is_wide(value))


def _is_signed(element: Attribute) -> bool:
    return element == i64
