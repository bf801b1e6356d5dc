"""The rule from which every schedule comes: kernel kind, shapes and device class in, sizes out.

What is measured on one device class stands in one table; nothing here knows a model or an op's name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from xdsl.dialects.builtin import f16, f32

from tstorch.dialects.flow import KernelKind, KernelOp, ScheduleAttr
from tstorch.dialects.loop import packed_per_word
from tstorch.dialects.prim.base import ContractionOp, OrderingOp
from tstorch.dialects.prim.cumulative import CumulativeOp
from tstorch.dialects.prim.operands import element_of
from tstorch.dialects.prim.reduction import ReduceOp
from tstorch.dialects.prim.scan import ScanOp
from tstorch.passes.convert.kernel_to_loop.order import order_schedule
from tstorch.passes.convert.kernel_to_loop.running import running_schedule
from tstorch.passes.convert.kernel_to_loop.scan import scan_threads
from tstorch.passes.convert.kernel_to_loop.sides import Sides
from tstorch.passes.convert.kernel_to_loop.staged_tile import can_stage
from tstorch.passes.fusion.kernel_form import KernelForm, reduced_dimensions, shape_of
from tstorch.target import DeviceClass, Target

MIN_STEPS = 8
"""A product with fewer steps, or with one row or column in each of its groups, has nothing to share between results."""


@dataclass(frozen=True)
class Sizes:
    """What suits a class of devices: elements and invocations."""

    threads: int
    row_threads: int
    long_row: int
    tile: tuple[int, int]
    workgroup: int
    k_step: int
    block: tuple[int, int] | None = None
    """Lines and lanes from which on factors pass through workgroup memory; None never lets them."""
    held: int = 0
    """Elements of a row that an invocation may keep in registers."""


SIZES: dict[DeviceClass, Sizes] = {
    "cpu": Sizes(threads=64, row_threads=8, long_row=64, tile=(8, 8), workgroup=32, k_step=4),
    "integrated": Sizes(threads=128, row_threads=32, long_row=64, tile=(4, 8), workgroup=64, k_step=4),
    "discrete": Sizes(
        threads=256, row_threads=64, long_row=64, tile=(4, 4), workgroup=128, k_step=8, block=(24, 8), held=16
    ),
}


def schedule_of(kernel: KernelOp, form: KernelForm, target: Target) -> ScheduleAttr:
    """The schedule of a kernel of that form on that target."""
    sizes = SIZES[target.device_class]
    if form.kind is KernelKind.CONTRACTION:
        return _contraction(kernel, form, sizes)
    if form.kind is KernelKind.ROW_REDUCTION:
        return _rows(kernel, form, sizes)
    if isinstance(anchor := next(iter(form.anchors), None), OrderingOp):
        return order_schedule(anchor, sizes.threads)
    if isinstance(anchor, CumulativeOp):
        return running_schedule(anchor, sizes.threads)
    if isinstance(anchor, ScanOp):
        threads = scan_threads(anchor, target.limits.max_compute_invocations_per_workgroup)
        return ScheduleAttr.of(KernelKind.RECURRENCE, workgroup=(threads, 1, 1))
    return _elements(kernel, form.kind, sizes)


def _contraction(kernel: KernelOp, form: KernelForm, sizes: Sizes) -> ScheduleAttr:
    anchor = form.anchors[0]
    assert isinstance(anchor, ContractionOp)
    sides = Sides.of(anchor.product())
    lines, lanes = prod(sides.lines), prod(sides.lanes)
    depthwise = min(lines, lanes) == 1 and prod(sides.product.groups) > 1
    if depthwise or lines == lanes == 1 or prod(sides.product.steps) < MIN_STEPS:
        return _elements(kernel, KernelKind.WINDOW, sizes)
    if (staged := _staged(anchor, sides, sizes)) is not None:
        return staged
    most_lines, most_lanes = sizes.tile
    tile = _line_tile(sides.lines, most_lines), _lane_tile(sides.lanes, most_lanes)
    x = _power_of_two(-(-lanes // tile[1]), 8)
    y = _power_of_two(-(-lines // tile[0]), sizes.workgroup // x)
    return ScheduleAttr.of(KernelKind.CONTRACTION, tile=tile, workgroup=(x, y, 1), k_step=sizes.k_step)


STAGED_LINES = (8, 4, 2)
STAGED_STEPS = (32, 16)
MOST_WASTE = 1.25
"""So much more than the sum itself may be staged where rounds do not divide it."""


def _staged(anchor: ContractionOp, sides: Sides, sizes: Sizes) -> ScheduleAttr | None:
    """A block of about 64 x 64 whose factors pass through workgroup memory; None where it would be mostly empty."""
    lines, lanes = prod(sides.lines), prod(sides.lanes)
    if sizes.block is None or lines < sizes.block[0] or lanes < sizes.block[1] or not _is_float(anchor):
        return None
    inner = (sides.product.steps or (1,))[-1]
    x = min(_power_of_two(-(-lanes // 4), 16), 16)
    for threads, tile, k_step in product(_halved(sizes.workgroup), STAGED_LINES, STAGED_STEPS):
        y = threads // x
        filled = tile < max(STAGED_LINES) or lines >= tile * y
        if filled and _are_rounds(inner, k_step) and can_stage(tile * y, 4 * x, k_step, threads):
            return ScheduleAttr.of(
                KernelKind.CONTRACTION, tile=(tile, 4), workgroup=(x, y, 1), k_step=k_step, staged=True
            )
    return None


def _halved(threads: int) -> tuple[int, ...]:
    """Invocations of a workgroup, and fewer for blocks that are too narrow to be shared evenly."""
    return threads, threads // 2, threads // 4


def _are_rounds(inner: int, k_step: int) -> bool:
    """Whether a sum is cut into rounds without much of them beyond its end."""
    return inner % k_step == 0 or (k_step == min(STAGED_STEPS) and inner + -inner % k_step <= MOST_WASTE * inner)


def _is_float(anchor: ContractionOp) -> bool:
    return element_of(anchor.results[0]) in (f16, f32)


def _line_tile(shape: Sequence[int], most: int) -> int:
    """Divides the last dimension where that is not too small, so that a tile stays within one image row."""
    last = next((size for size in reversed(shape) if size > 1), 1)
    even = next(d for d in range(min(most, last), 0, -1) if last % d == 0)
    return even if even * 2 > min(most, last) else min(most, prod(shape))


def _lane_tile(shape: Sequence[int], most: int) -> int:
    """A multiple of four where there are as many, for vectors; it divides the last dimension where it can."""
    last = next((size for size in reversed(shape) if size > 1), 1)
    widths = [width for width in range(most, 0, -4) if width % 4 == 0]
    dividing = [width for width in widths if last % width == 0] or [w for w in widths if prod(shape) % w == 0]
    return next(iter(dividing), min(4, prod(shape)))


MOST_HELD = 2
"""So many times the elements that suit are held where no more invocations can share a row."""
ROWS_APART = 256
HELD_GROUP = 128
"""Workgroups of rows held in registers: many small ones, so that few rows still reach all units."""


def _rows(kernel: KernelOp, form: KernelForm, sizes: Sizes) -> ScheduleAttr:
    """Invocations share a row where it is long; short rows are spread over the workgroup."""
    reduction = form.anchors[0]
    shape = shape_of(reduction.operands[0])
    columns = reduced_dimensions(reduction)
    length = prod(shape[d] for d in columns)
    rows = max(prod(shape) // max(length, 1), 1)
    apart = length > 1  # else a result as large as the rows need not come from them
    kept = apart and all(prod(shape_of(value)) == rows for value in kernel.yielded)  # nothing goes back to whole rows
    alone = len(form.anchors) == 1 and _is_narrow(kernel) and kept
    if alone or not all(isinstance(op, ReduceOp) for op in form.anchors):
        return _elements(kernel, KernelKind.WINDOW, sizes)
    if (held := _held_rows(form, rows, length, sizes)) is not None:
        return held
    threads = sizes.row_threads if length >= sizes.long_row else 1
    if length >= sizes.long_row and rows < sizes.threads:
        threads = 64
    together = _power_of_two(rows, max(sizes.threads // threads, 1))
    return ScheduleAttr.of(KernelKind.ROW_REDUCTION, threads=threads, vector=1, workgroup=(threads, together, 1))


def _held_rows(form: KernelForm, rows: int, length: int, sizes: Sizes) -> ScheduleAttr | None:
    """As few invocations for a row as can hold it in their registers; None where they cannot."""
    if length <= min(MOST_HELD * sizes.held, sizes.long_row - 1):
        threads, vector = 1, 1
    else:
        threads = min(max(32, 1 << (-(-length // max(sizes.held, 1)) - 1).bit_length()), sizes.threads)
        columns = reduced_dimensions(form.anchors[0])
        inside = len(columns) > 0 and columns[-1] == len(shape_of(form.anchors[0].operands[0])) - 1
        vector = 4 if inside and length % 4 == 0 and length >= 4 * threads else 1
    if length > threads * MOST_HELD * sizes.held:
        return None
    together = _power_of_two(max(rows // ROWS_APART, 1), max(HELD_GROUP // threads, 1))
    return ScheduleAttr.of(
        KernelKind.ROW_REDUCTION, threads=threads, vector=vector, workgroup=(threads, together, 1), held=True
    )


def _elements(kernel: KernelOp, kind: KernelKind, sizes: Sizes) -> ScheduleAttr:
    """Neighbouring elements share an invocation where a vector of them never crosses the last dimension's end.

    Those of a narrow type always do: an invocation owns the words it writes.
    """
    shape = shape_of(kernel.yielded[0])
    last = shape[-1] if shape else 1
    vector = 4 if last % 4 == 0 or _is_narrow(kernel) else 1
    threads = _power_of_two(-(-prod(shape) // vector), sizes.threads)
    return ScheduleAttr.of(kind, vector=vector, workgroup=(threads, 1, 1))


def _is_narrow(kernel: KernelOp) -> bool:
    """Whether a result's elements share words."""
    return any(packed_per_word(value.type.element_type) > 1 for value in kernel.yielded)  # pyright: ignore[reportAttributeAccessIssue]


def _power_of_two(most: int, limit: int) -> int:
    """The largest power of two up to both."""
    return 1 << (max(min(most, limit), 1).bit_length() - 1)
