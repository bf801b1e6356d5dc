"""Which 64-bit integers of a block are words, and which are pairs of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from xdsl.dialects.builtin import IntegerType
from xdsl.ir import Block, Operation, SSAValue

from tstorch.dialects.prim.base import ElementwiseOp, IndexMapOp, ReductionOp, RunningOp
from tstorch.dialects.prim.elementwise import CompareOp, ConvertOp, MaximumOp, MinimumOp, SelectOp
from tstorch.dialects.prim.generator import ConstantOp
from tstorch.dialects.prim.indexing import GatherOp, ScatterOp
from tstorch.dialects.prim.operands import element_of
from tstorch.dialects.prim.types import is_float
from tstorch.dialects.prim.weight import WeightOp
from tstorch.passes.convert.integer_ranges import WORD, Range, fits_word, held_by_host, is_signed, is_wide, ranges_of

HasForm = Callable[[Operation], bool]


@dataclass(frozen=True)
class Widths:
    """The interval of each 64-bit value of a block, and those that no word holds."""

    ranges: Mapping[SSAValue, Range]
    pairs: frozenset[SSAValue]

    def involves(self, op: Operation) -> bool:
        """Whether an op reads or makes pairs."""
        return any(value in self.pairs for value in (*op.operands, *op.results))


def widths_of(block: Block, given: Mapping[SSAValue, Range], has_form: HasForm) -> Widths:
    """Decides for each 64-bit value of a block.

    What comes from outside (inputs, weights, floats) is a word where it only says where to look: the host checks an
    input, a float saturates. So it is where an op that `has_form` knows no pairs for needs it. All else is what ranges
    prove. `given` are the ranges of arguments that are known.
    """
    sources = {value: held for value, held in _sources(block) if value not in given}
    words = {value for value in sources if _is_place(value, {})}
    while True:
        ranges = ranges_of(block, {**given, **{value: sources[value] for value in words}})
        widths = Widths(ranges, frozenset(_without_limits(ranges)))
        blocked = [op for op in block.ops if widths.involves(op) and not has_form(op)]
        more = (_ancestors(blocked) & sources.keys()) - words
        if not more:
            return widths
        words |= more


def _sources(block: Block) -> Iterable[tuple[SSAValue, Range]]:
    """What the block does not compute from integers, and what it is held to where it is a word."""
    yield from ((arg, held_by_host(arg)) for arg in block.args if is_wide(arg))
    for op in block.ops:
        if isinstance(op, WeightOp) and is_wide(op.result):
            yield op.result, held_by_host(op.result)
        elif isinstance(op, ConvertOp) and is_wide(op.result) and is_float(element_of(op.operand)):
            if is_signed(op.result):  # without a sign, what is below 0 would have to become 0
                yield op.result, WORD


def _is_place(value: SSAValue, known: dict[SSAValue, bool]) -> bool:
    """Whether all that comes of an integer or truth value are places to read or write."""
    if value not in known:
        known[value] = isinstance(element_of(value), IntegerType) and all(
            _leads_to_place(use.operation, use.index, known) for use in value.uses
        )
    return known[value]


def _leads_to_place(op: Operation, position: int, known: dict[SSAValue, bool]) -> bool:
    if isinstance(op, GatherOp | ScatterOp) and position == 1:
        return True
    if isinstance(op, SelectOp) and position == 0 and all(map(_is_looked_up, op.operands[1:])):
        return True
    if not isinstance(op, ElementwiseOp | IndexMapOp | ReductionOp | RunningOp | GatherOp | ScatterOp):
        return False
    return all(_is_place(result, known) for result in op.results)


def _is_looked_up(value: SSAValue) -> bool:
    """Whether a value comes out of a table, or out of one of several: which one is a place, too."""
    owner = value.owner
    return isinstance(owner, GatherOp) or (isinstance(owner, SelectOp) and all(map(_is_looked_up, owner.operands[1:])))


def _without_limits(ranges: Mapping[SSAValue, Range]) -> set[SSAValue]:
    """The values that no word holds, less the constants that only limit what one holds: cut off, they still do."""
    pairs = {value for value, range in ranges.items() if not fits_word(value, range)}
    limits = [op for op in {value.owner for value in pairs} if isinstance(op, ConstantOp)]
    for op in limits:
        chain: set[SSAValue] = set()
        if _only_limits(op.result, pairs, chain):
            pairs -= chain
    return pairs


def _only_limits(value: SSAValue, pairs: set[SSAValue], chain: set[SSAValue]) -> bool:
    chain.add(value)
    return all(_limits(use.operation, pairs, chain) for use in value.uses)


def _limits(op: Operation, pairs: set[SSAValue], chain: set[SSAValue]) -> bool:
    if isinstance(op, IndexMapOp) and len(op.operands) == 1:
        return _only_limits(op.results[0], pairs, chain)
    if not isinstance(op, MinimumOp | MaximumOp | CompareOp):
        return False
    return not any(value in pairs and value not in chain for value in (*op.operands, *op.results))


def _ancestors(ops: Iterable[Operation]) -> set[SSAValue]:
    """All values that the ops depend on."""
    found: set[SSAValue] = set()
    stack = [operand for op in ops for operand in op.operands]
    while stack:
        value = stack.pop()
        if value not in found:
            found.add(value)
            stack.extend(value.owner.operands if isinstance(value.owner, Operation) else ())
    return found
