"""What 64-bit integers can be: intervals, followed from constants, shapes and what the host checks."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from xdsl.dialects.builtin import TensorType, i1, i64
from xdsl.ir import Block, Operation, SSAValue

from tstorch.dialects.prim.base import IndexMapOp
from tstorch.dialects.prim.cumulative import CumulativeOp
from tstorch.dialects.prim.elementwise import (
    AbsOp,
    AddOp,
    AndOp,
    ConvertOp,
    DivOp,
    MaximumOp,
    MinimumOp,
    MulOp,
    NegOp,
    RemOp,
    SelectOp,
    SignOp,
    SubOp,
)
from tstorch.dialects.prim.generator import ConstantOp, IotaOp
from tstorch.dialects.prim.indexing import GatherOp, ScatterKind, ScatterOp
from tstorch.dialects.prim.kinds import ReduceKind
from tstorch.dialects.prim.reduction import ArgReduceOp, ReduceOp
from tstorch.dialects.prim.scan import ScanOp
from tstorch.dialects.prim.sort import SortOp
from tstorch.dialects.prim.types import dtype_of, integer, ui64

Range = tuple[int, int]

WIDE = frozenset({i64, ui64})
WORD: Range = (-(2**31), 2**31 - 1)
HOST: Range = (-(2**29), 2**29 - 1)
"""What the host lets through for a 64-bit input: a quarter of what a word holds, so that some may be added up."""
ANYTHING: Range = (-(2**63), 2**63 - 1)
_UNKNOWN: Range = (-(2**64), 2**64)  # cut to what the type holds


def is_wide(value: SSAValue) -> bool:
    """Whether a value holds 64-bit integers."""
    return isinstance(value.type, TensorType) and value.type.element_type in WIDE


def fits_word(value: SSAValue, range: Range) -> bool:
    """Whether 64-bit integers in a range are 32-bit ones: i32 holds them, whatever their sign is meant to be."""
    return (WORD[0] if is_signed(value) else 0) <= range[0] and range[1] <= WORD[1]


def is_signed(value: SSAValue) -> bool:
    """Whether 64-bit integers have a sign."""
    assert isinstance(value.type, TensorType)
    return value.type.element_type == i64


def ranges_of(block: Block, given: Mapping[SSAValue, Range]) -> dict[SSAValue, Range]:
    """The interval of each 64-bit value of a block. `given` says what arguments and converted floats are held to;
    without it they may be anything. What leaves 64 bits wraps, and may be anything too.
    """
    ranges: dict[SSAValue, Range] = {arg: given.get(arg, all_of(arg)) for arg in block.args if is_wide(arg)}
    for op in block.ops:
        yielded = _yielded(op, ranges)
        for position, result in enumerate(op.results):
            if is_wide(result):
                found = given.get(result) or (yielded[position] if yielded else _range(op, ranges))
                least, most = all_of(result)
                ranges[result] = found if least <= found[0] and found[1] <= most else (least, most)
    return ranges


def held_by_host(value: SSAValue) -> Range:
    """What the host lets through for an input that only says where to look."""
    return HOST if is_signed(value) else (0, HOST[1])


def all_of(value: SSAValue) -> Range:
    """All that the 64 bits may hold."""
    return ANYTHING if is_signed(value) else (0, 2**64 - 1)


def _yielded(op: Operation, ranges: Mapping[SSAValue, Range]) -> list[Range]:
    """What a region's or a sort's results can be; empty for all other ops."""
    if isinstance(op, SortOp):
        return [ranges.get(operand, _UNKNOWN) for operand in op.operands]
    if not op.regions:
        return []
    block = op.regions[0].block
    inner = ranges_of(block, passed_in(op, ranges))
    assert block.last_op is not None
    return [inner.get(value, _UNKNOWN) for value in block.last_op.operands]


def passed_in(op: Operation, ranges: Mapping[SSAValue, Range]) -> dict[SSAValue, Range]:
    """What the arguments of an op's region are known to be: not the states of a scan, which each step changes."""
    changed = integer(op.states) if isinstance(op, ScanOp) else 0
    passed = list(zip(op.regions[0].block.args, op.operands, strict=True))[changed:]
    return {arg: ranges[value] for arg, value in passed if value in ranges}


def _range(op: Operation, ranges: Mapping[SSAValue, Range]) -> Range:
    operands = [ranges.get(operand, all_of(operand)) for operand in op.operands if is_wide(operand)]
    if isinstance(op, IndexMapOp | SelectOp):
        return _hull(operands) if operands else _UNKNOWN
    if isinstance(op, GatherOp):
        return ranges.get(op.operand, _UNKNOWN)
    if isinstance(op, ScatterOp):
        return _scattered(op, *(ranges.get(value, _UNKNOWN) for value in (op.operand, op.updates)))
    rule = _RULES.get(type(op))
    return rule(operands) if rule else _by_op(op, operands)


def _by_op(op: Operation, operands: Sequence[Range]) -> Range:
    """Ranges that depend on more than the operands' ranges."""
    match op:
        case ConstantOp():
            values = op.value.array()
            return (int(values.min()), int(values.max())) if values.size else (0, 0)
        case IotaOp():
            assert isinstance(op.result.type, TensorType)
            return 0, max(op.result.type.get_shape()[integer(op.dimension)] - 1, 0)
        case ArgReduceOp():
            assert isinstance(op.operand.type, TensorType)
            return 0, op.operand.type.get_shape()[integer(op.dimension)] - 1
        case ReduceOp():
            count = _elements(op.operand) // max(_elements(op.result), 1)
            return _combined(op.kind.data, count, operands[0])
        case CumulativeOp() if op.kind.data is ReduceKind.ADD or not op.is_exclusive:
            return _combined(op.kind.data, op.length, operands[0])
        case ConvertOp():
            return _converted(op, operands)
    return _UNKNOWN


def _scattered(op: ScatterOp, before: Range, updates: Range) -> Range:
    """What an element may be after all updates have landed on it."""
    if op.kind.data is ScatterKind.ADD:
        low, high = _combined(ReduceKind.ADD, _elements(op.updates), updates)
        return before[0] + low, before[1] + high
    return _UNKNOWN if op.kind.data is ScatterKind.MUL else _hull([before, updates])


def _combined(kind: ReduceKind, count: int, operand: Range) -> Range:
    """What up to `count` elements make."""
    if kind in (ReduceKind.MAX, ReduceKind.MIN):
        return operand
    if kind is not ReduceKind.ADD:
        return _UNKNOWN
    return min(operand[0] * count, 0), max(operand[1] * count, 0)


def _converted(op: ConvertOp, operands: Sequence[Range]) -> Range:
    """What an integer of another type may be. Of 64 bits read with another sign, what does not fit wraps."""
    assert isinstance(op.operand.type, TensorType)
    element = op.operand.type.element_type
    if operands:
        return operands[0]
    if element == i1:
        return 0, 1
    dtype = dtype_of(element)
    if dtype.kind == "f":
        return all_of(op.result)
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def _elements(value: SSAValue) -> int:
    assert isinstance(value.type, TensorType)
    return int(np.prod(value.type.get_shape(), dtype=np.int64))


def _hull(ranges: Sequence[Range]) -> Range:
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _corners(combine: Callable[[int, int], int]) -> Callable[[Sequence[Range]], Range]:
    """The range of a function that is monotonic in each argument."""

    def range_of(operands: Sequence[Range]) -> Range:
        (a, b), (c, d) = operands
        values = [combine(x, y) for x in (a, b) for y in (c, d)]
        return min(values), max(values)

    return range_of


def _remainder(operands: Sequence[Range]) -> Range:
    """Smaller than the divisor, no larger than the dividend, and of the dividend's sign."""
    (low, high), (c, d) = operands
    most = max(abs(c), abs(d), 1) - 1
    return max(min(low, 0), -most), min(max(high, 0), most)


def _quotient(operands: Sequence[Range]) -> Range:
    (low, high), _ = operands
    most = max(abs(low), abs(high))
    return (0, high) if low >= 0 and operands[1][0] >= 0 else (-most, most)


def _bits(operands: Sequence[Range]) -> Range:
    """Both operands at least 0: no more than the smaller of the two."""
    return (0, min(high for _, high in operands)) if all(low >= 0 for low, _ in operands) else _UNKNOWN


def _magnitude(operands: Sequence[Range]) -> Range:
    low, high = operands[0]
    return max(low, -high, 0), max(abs(low), abs(high))


_RULES: Mapping[type[Operation], Callable[[Sequence[Range]], Range]] = {
    AddOp: _corners(lambda x, y: x + y),
    SubOp: _corners(lambda x, y: x - y),
    MulOp: _corners(lambda x, y: x * y),
    MinimumOp: _corners(min),
    MaximumOp: _corners(max),
    NegOp: lambda operands: (-operands[0][1], -operands[0][0]),
    AbsOp: _magnitude,
    SignOp: lambda operands: (-1, 1),
    RemOp: _remainder,
    DivOp: _quotient,
    AndOp: _bits,
}
