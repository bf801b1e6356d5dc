"""Each different element, or slice, once; with where it stood first, how often, and which one each element is.

Elements are sorted, so that equal ones are neighbours. Slices are compared pair by pair: there is no sort by as many
keys as a slice has elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from xdsl.dialects.builtin import i64
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.cumulative import CumulativeOp
from tstorch.dialects.prim.elementwise import AndOp, IsNanOp, NotOp, OrOp
from tstorch.dialects.prim.generator import IotaOp
from tstorch.passes.convert.onnx.counted import Counted
from tstorch.passes.convert.onnx.node import Node, normalized, onnx_op, rules_of
from tstorch.passes.convert.onnx.selection import chosen, number_of, taken
from tstorch.passes.convert.onnx.sorting import comparable, counted, sorted_together
from tstorch.passes.convert.onnx.value import Value

MOST_SLICES = 4096
"""So many slices are compared pair by pair."""


@dataclass(frozen=True)
class Groups:
    """The groups of equal elements: for each group the place of its first element and its size, and the elements'
    groups. There are as many groups as `flags` are set; behind them `first` and `sizes` hold anything."""

    flags: Value
    first: Value
    sizes: Value
    group_of: Value


@onnx_op("Unique")
def unique(node: Node) -> list[Value | Counted | None]:
    """Up to four outputs; groups in the order of their elements, or with `sorted` 0 of their first places."""
    value, axis = node.input(0), node.attribute("axis")
    if axis is None:
        value, axis = value.reshape([prod(value.shape)]), 0
    axis = normalized(axis, value.rank)
    if not prod(value.shape):
        raise VerifyException(f"a tensor of shape {list(value.shape)} has no elements; expected at least one")
    in_order = node.attribute("sorted") is None or bool(node.attribute("sorted"))
    rows = _rows(comparable(value), axis)
    groups = by_sorting(rows.reshape(rows.shape[:1]), in_order) if rows.shape[1] == 1 else by_pairs(rows, in_order)
    count = number_of(groups.flags)
    outputs: list[Value | Counted | None] = [
        Counted(taken(value, groups.first, axis), axis, count),
        Counted(groups.first, 0, count),
        groups.group_of,
        Counted(groups.sizes, 0, count),
    ]
    return outputs[: node.outputs]


def _rows(value: Value, axis: int) -> Value:
    """A matrix with a row for each place along the axis."""
    others = [at for at in range(value.rank) if at != axis]
    return value.transpose([axis, *others]).reshape([value.shape[axis], prod(value.shape[at] for at in others)])


def by_sorting(vector: Value, in_order: bool) -> Groups:
    """The groups of a vector's elements."""
    [size] = vector.shape
    ordered, places = sorted_together(vector, counted(vector))
    differs = _differ(ordered.take(0, 1, size), ordered.take(0, 0, size - 1))
    flags = differs.pad([1], [0], 1) if size > 1 else counted(vector).compare("eq", 0)
    running = flags.emit.value(CumulativeOp(flags.convert(i64).ssa, dimension=0)) - 1
    start = chosen(flags)
    first = taken(places, start, 0)
    number = number_of(flags)
    own = counted(flags)
    following = start.take(0, 1, size).pad([0], [1], size) if size > 1 else start.full(size)
    end = (own + 1).compare("lt", number).where(following, own.full(size))
    _, group_of = sorted_together(places, running)
    groups = Groups(flags, first, end - start, group_of)
    return groups if in_order else _by_first(groups, own.compare("lt", number))


def _by_first(groups: Groups, held: Value) -> Groups:
    """The same groups in the order of their first elements."""
    last = groups.first.full(held.shape[0])
    _, first, sizes, old = sorted_together(held.where(groups.first, last), groups.first, groups.sizes, counted(held))
    _, new = sorted_together(old, counted(held))
    return Groups(groups.flags, first, sizes, taken(new, groups.group_of, 0))


def by_pairs(rows: Value, in_order: bool) -> Groups:
    """The groups of a matrix's rows: every row is compared with every other."""
    count, _ = rows.shape
    if count > MOST_SLICES:
        raise VerifyException(f"{count} slices are compared with each other; expected at most {MOST_SLICES}")
    equal, less = _compared(rows)
    pair = [count, count]
    other = equal.emit.value(IotaOp(shape=pair, dimension=1, element_type=i64))
    first_of = equal.where(other, other.full(count)).reduce("min", [1])
    own = counted(first_of)
    flags = first_of.compare("eq", own)
    leading = flags.along(1, pair)
    earlier = less if in_order else other.compare("lt", first_of.along(0, pair))
    group_of = leading.apply(AndOp, earlier).convert(i64).reduce("add", [1])
    sizes = equal.convert(i64).reduce("add", [1])
    order = flags.where(group_of, group_of.full(count))
    _, first, sizes = sorted_together(order, own, sizes)
    return Groups(flags, first, sizes, group_of)


def _compared(rows: Value) -> tuple[Value, Value]:
    """Whether row i equals row j, and whether j comes before i: what the first elements that differ say.

    Both are told by the least of 2 k + (0 where j is less, else 1) over the places k at which they differ.
    """
    count, length = rows.shape
    cube = [count, count, length]
    mine, theirs = (rows.reshape(shape).broadcast_to(cube) for shape in ([count, 1, length], [1, count, length]))
    place = rows.emit.value(IotaOp(shape=cube, dimension=2, element_type=i64))
    later = _precedes(theirs, mine).where(place.full(0), place.full(1))
    code = _differ(mine, theirs).where(place + place + later, place.full(2 * length)).reduce("min", [2])
    equal = code.compare("eq", 2 * length)
    return equal, equal.apply(NotOp).apply(AndOp, code.apply(AndOp, 1).compare("eq", 0))


def _differ(left: Value, right: Value) -> Value:
    """Whether elements differ; one NaN is as good as another."""
    differs = left.compare("ne", right)
    if not left.is_float:
        return differs
    return differs.apply(AndOp, left.apply(IsNanOp).apply(AndOp, right.apply(IsNanOp)).apply(NotOp))


def _precedes(left: Value, right: Value) -> Value:
    """Whether elements are less; NaN is the largest."""
    less = left.compare("lt", right)
    if not left.is_float:
        return less
    return less.apply(OrOp, right.apply(IsNanOp).apply(AndOp, left.apply(IsNanOp).apply(NotOp)))


RULES = rules_of(globals())
