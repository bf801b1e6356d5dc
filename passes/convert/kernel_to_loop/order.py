"""Which nest an op that orders rows becomes, and how many invocations run it."""

from tstorch.dialects import flow, loop
from tstorch.dialects.flow import KernelKind, ScheduleAttr
from tstorch.dialects.prim.base import OrderingOp
from tstorch.dialects.prim.search import SearchSortedOp
from tstorch.dialects.prim.sort import SortOp
from tstorch.dialects.prim.suppression import NonMaxSuppressionOp
from tstorch.dialects.prim.types import integer
from tstorch.passes.convert.kernel_to_loop.merge import convert_merge
from tstorch.passes.convert.kernel_to_loop.nest import size_of
from tstorch.passes.convert.kernel_to_loop.ordering import row_count
from tstorch.passes.convert.kernel_to_loop.search import convert_search
from tstorch.passes.convert.kernel_to_loop.sort import convert_sort, runs_of, slots_of
from tstorch.passes.convert.kernel_to_loop.suppression import convert_suppression, suppression_schedule


def convert_order(kernel: flow.KernelOp, schedule: ScheduleAttr, anchor: OrderingOp) -> loop.KernelOp:
    """The nest of one op. Raises TypeError for an op or runs that no nest is for."""
    if isinstance(anchor, NonMaxSuppressionOp):
        return convert_suppression(kernel, schedule, anchor)
    if isinstance(anchor, SearchSortedOp):
        return convert_search(kernel, schedule, anchor)
    if not isinstance(anchor, SortOp):
        raise TypeError(f"'{anchor.name}' has no nest")
    given, run = integer(anchor.given), integer(anchor.run)
    if given == 1:
        return convert_sort(kernel, schedule, anchor)
    if run != 2 * given:
        raise TypeError(f"runs of {given} become runs of {run} in several steps; run split-sort first")
    return convert_merge(kernel, schedule, anchor)


def order_schedule(anchor: OrderingOp, threads: int) -> ScheduleAttr:
    """Enough invocations for every pair of elements; short runs share a workgroup."""
    if isinstance(anchor, NonMaxSuppressionOp):
        return suppression_schedule(anchor, threads)
    if not isinstance(anchor, SortOp) or integer(anchor.given) > 1:
        count = size_of(anchor.results[0])
        return ScheduleAttr.of(KernelKind.SORT, workgroup=(_power_of_two(count, threads), 1, 1))
    slots = slots_of(anchor)
    runs = row_count(anchor) * runs_of(anchor)
    together = _power_of_two(runs, max(2 * threads // slots, 1))
    workgroup = min(slots * together // 2, threads)
    return ScheduleAttr.of(KernelKind.SORT, together=together, workgroup=(workgroup, 1, 1))


def _power_of_two(most: int, limit: int) -> int:
    """The largest power of two up to both."""
    return 1 << (max(min(most, limit), 1).bit_length() - 1)
