"""What one kernel may hold: the rule that fusion obeys and that schedules and loop nests rely on.

A kernel has one set of anchors, which gives it its kind and its iteration space:

    none                                 map            the space is the results' common shape
    reductions over the same rows        row_reduction  rows (what is kept) times columns (what is reduced)
    one contraction, window or indexed   that kind      the anchor's result
    gathers of one shape                 indexed        their results
    one sort                             sort           alone
    one scan                             recurrence     alone
    one running sum                      scan           its result

Ahead of the anchors anything goes that can be computed at any index: elementwise ops, index maps, generators. Behind
them, every element must stay within the invocations that own its part of the space: elementwise ops and bijective index
maps; in a row reduction also broadcasts from a row back to all its columns, and further reductions over the columns.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cache

from xdsl.ir import Operation, SSAValue

from tstorch.dialects.flow import KernelKind
from tstorch.dialects.indexing import Index
from tstorch.dialects.prim.base import (
    ContractionOp,
    ElementwiseOp,
    IndexedOp,
    IndexMapOp,
    OrderingOp,
    ReductionOp,
    RunningOp,
    WindowOp,
)
from tstorch.dialects.prim.indexing import GatherOp
from tstorch.dialects.prim.operands import shape_of
from tstorch.dialects.prim.scan import ScanOp
from tstorch.dialects.prim.types import integer, ints

Space = tuple[Index, ...]

_KINDS: Sequence[tuple[type[Operation], KernelKind]] = (
    (ContractionOp, KernelKind.CONTRACTION),
    (WindowOp, KernelKind.WINDOW),
    (IndexedOp, KernelKind.INDEXED),
    (OrderingOp, KernelKind.SORT),
    (ScanOp, KernelKind.RECURRENCE),
    (RunningOp, KernelKind.SCAN),
    (ReductionOp, KernelKind.ROW_REDUCTION),
)


@dataclass(frozen=True)
class KernelForm:
    """What kind of kernel a set of ops makes, and the ops that anchor it. `rows` tell where values are."""

    kind: KernelKind
    anchors: tuple[Operation, ...]
    rows: "_RowReduction | None" = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Refusal:
    """Why a set of ops is no kernel, as a remark says it."""

    id: str
    reason: str
    suggest: str = ""


TWO_ANCHORS = "TST-F006"
OTHER_SPACE = "TST-F003"


def anchor_kind(op: Operation) -> KernelKind | None:
    """The kind that an op gives its kernel; None for what fits into any."""
    return _class_kind(type(op))


@cache
def _class_kind(of: type[Operation]) -> KernelKind | None:
    return next((kind for classes, kind in _KINDS if issubclass(of, classes)), None)


def kernel_form(
    ops: Sequence[Operation], results: Sequence[SSAValue], start: KernelForm | None = None
) -> KernelForm | Refusal:
    """The form of a kernel with these ops, in order, that yields these values; or why there is none.

    `start` is the form of some of the ops, which the others do not feed: what it knows of them is not found out again.
    """
    anchors = [op for op in ops if anchor_kind(op) is not None]
    if not anchors:
        return _map_form(results)
    if (crowd := two_anchors(anchors)) is not None:
        return crowd
    if anchor_kind(anchors[0]) is KernelKind.ROW_REDUCTION:
        known = start.rows if start is not None and start.anchors[:1] == tuple(anchors[:1]) else None
        rows = known.copy() if known is not None else _RowReduction(anchors[0])
        return rows.check(anchors, ops, results)
    return _anchored_form(anchors, ops, results)


def two_anchors(anchors: Sequence[Operation]) -> Refusal | None:
    """Why these anchors, in order, never share a kernel, whatever stands between them; None where they may."""
    alike = {anchor_kind(op) for op in anchors} == {KernelKind.ROW_REDUCTION}
    if len(anchors) <= 1 or alike or _are_look_ups(anchors):
        return None
    names = " and ".join(op.name for op in anchors)
    return Refusal(TWO_ANCHORS, f"{names} each need a loop nest of their own")


def _map_form(results: Sequence[SSAValue]) -> KernelForm | Refusal:
    shapes = {shape_of(value) for value in results}
    if len(shapes) > 1:
        return Refusal(OTHER_SPACE, f"the results have the shapes {_listed(shapes)}; one kernel writes one shape")
    return KernelForm(KernelKind.MAP, ())


def _are_look_ups(anchors: Sequence[Operation]) -> bool:
    """Whether the anchors only read, each invocation for its own element: one loop nest serves them all."""
    shapes = {shape_of(value) for op in anchors for value in op.results}
    return len(shapes) == 1 and all(isinstance(op, GatherOp) for op in anchors)


def _anchored_form(
    anchors: Sequence[Operation], ops: Sequence[Operation], results: Sequence[SSAValue]
) -> KernelForm | Refusal:
    kind = anchor_kind(anchors[0])
    assert kind is not None
    space: dict[SSAValue, Space] = {value: dimensions(shape_of(value)) for op in anchors for value in op.results}
    for op in ops:
        behind = [value for value in op.operands if value in space]
        if not behind:
            continue
        if op in anchors:
            return Refusal(TWO_ANCHORS, f"{op.name} looks up what another look-up finds")
        if kind is KernelKind.SORT:
            return Refusal(OTHER_SPACE, f"{op.name} would run once per element of a sort, which orders whole rows")
        if kind is KernelKind.RECURRENCE:
            return Refusal(OTHER_SPACE, f"{op.name} needs what a scan gives after all of its steps")
        found = _moved(op, behind, space)
        if isinstance(found, Refusal):
            return found
        space.update(dict.fromkeys(op.results, found))
    if ahead := [value for value in results if value not in space]:
        return Refusal(OTHER_SPACE, f"a result of shape {shape_of(ahead[0])} is computed ahead of {anchors[0].name}")
    return KernelForm(kind, tuple(anchors))


def _moved(op: Operation, behind: Sequence[SSAValue], space: dict[SSAValue, Space]) -> Space | Refusal:
    """Where an element of the anchor's space lands in the result of `op`."""
    first = space[behind[0]]
    if isinstance(op, ElementwiseOp):
        if all(space[value] == first for value in behind):
            return first
        return Refusal(OTHER_SPACE, f"{op.name} combines elements that different invocations hold")
    if isinstance(op, IndexMapOp) and behind == [op.operands[0]]:
        moved = op.forward(first)
        if moved is not None:
            return tuple(moved)
    return Refusal(
        OTHER_SPACE,
        f"{op.name} is no bijection: its elements are not owned by the invocations that computed them",
        "move it ahead of the anchor, or behind the last elementwise op",
    )


class _RowReduction:
    """Follows values through a kernel whose anchors all reduce the same columns of the same rows."""

    def __init__(self, anchor: Operation) -> None:
        self._shape = shape_of(anchor.operands[0])
        self._columns = reduced_dimensions(anchor)
        self._full = dimensions(self._shape)
        self._row = tuple(index for d, index in enumerate(self._full) if d not in self._columns)
        self._at_row: dict[SSAValue, Space] = {}
        self._at_full: dict[SSAValue, Space] = {}
        self._followed: set[Operation] = set()

    def copy(self) -> "_RowReduction":
        """One that knows as much, to follow more ops."""
        other = copy(self)
        other._at_row, other._at_full, other._followed = {**self._at_row}, {**self._at_full}, {*self._followed}
        return other

    def check(
        self, anchors: Sequence[Operation], ops: Sequence[Operation], results: Sequence[SSAValue]
    ) -> KernelForm | Refusal:
        """The form, or why the ops do not share rows. Looks at what has not been followed yet, and at all results."""
        for op in ops:
            if op in self._followed:
                continue
            self._followed.add(op)
            refusal = self._reduce(op) if isinstance(op, ReductionOp) else self._follow(op)
            if refusal is not None:
                return refusal
        for value in results:
            if not (value in self._at_row or value in self._at_full or shape_of(value) == self._shape):
                return Refusal(
                    OTHER_SPACE, f"a result of shape {shape_of(value)} belongs neither to rows nor to columns"
                )
        return KernelForm(KernelKind.ROW_REDUCTION, tuple(anchors), self)

    def _reduce(self, op: Operation) -> Refusal | None:
        operand = op.operands[0]
        same_rows = shape_of(operand) == self._shape and reduced_dimensions(op) == self._columns
        if not same_rows or operand in self._at_row or self._at_full.get(operand, self._full) != self._full:
            return Refusal(OTHER_SPACE, f"{op.name} reduces other rows than the kernel's first reduction")
        self._at_row.update(dict.fromkeys(op.results, self._row))
        return None

    def _follow(self, op: Operation) -> Refusal | None:
        rows = [value for value in op.operands if value in self._at_row]
        full = [value for value in op.operands if value in self._at_full]
        if not rows and not full:
            return None
        if rows and not full and self._spreads(op, rows):
            self._at_full.update(dict.fromkeys(op.results, self._full))
            return None
        if rows and full:
            return Refusal(OTHER_SPACE, f"{op.name} combines a row with its columns without a broadcast")
        space = self._at_row if rows else self._at_full
        moved = _moved(op, rows or full, space)
        if isinstance(moved, Refusal):
            return moved
        space.update(dict.fromkeys(op.results, moved))
        return None

    def _spreads(self, op: Operation, rows: Sequence[SSAValue]) -> bool:
        """Whether `op` copies each row's value to all columns of that row."""
        if not isinstance(op, IndexMapOp) or shape_of(op.results[0]) != self._shape or rows != [op.operands[0]]:
            return False
        sources = op.sources(self._full)
        return len(sources) == 1 and not sources[0].mask and tuple(sources[0].index) == self._at_row[rows[0]]


def reduced_dimensions(op: Operation) -> tuple[int, ...]:
    """The dimensions that a reduction removes, in order."""
    if "dimensions" in op.properties:
        return tuple(sorted(ints(op.properties["dimensions"])))
    return (integer(op.properties["dimension"]),)


def dimensions(shape: Sequence[int]) -> Space:
    """One index expression for each dimension of a shape."""
    return tuple(Index.dim(d, size) for d, size in enumerate(shape))


def _listed(shapes: set[tuple[int, ...]]) -> str:
    return " and ".join("x".join(map(str, shape)) or "scalar" for shape in sorted(shapes))
