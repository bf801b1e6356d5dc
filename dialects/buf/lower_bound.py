"""The least memory that any buffer plan of a host program can do with.

It counts on its own, from the commands alone: nothing of the planner and nothing of the verifier is used, so that a
mistake there cannot hide here.
"""

from xdsl.ir import Operation, SSAValue

from tstorch.dialects.buf.commands import Command, DispatchOp
from tstorch.dialects.buf.entry import EntryOp
from tstorch.dialects.buf.places import SubviewOp, ViewOp
from tstorch.dialects.buf.types import view_bytes

Interval = tuple[int, int]


def lower_bound(entry: EntryOp, persistent: frozenset[str] = frozenset()) -> int:
    """Bytes, unpadded, of the largest set of values that hold something at one dispatch.

    What a kernel writes in place counts once. Inputs and outputs count; weights and what lies in the buffers
    `persistent` (by name) do not.
    """
    return max(live_bytes(entry, persistent), default=0)


def live_bytes(entry: EntryOp, persistent: frozenset[str] = frozenset()) -> list[int]:
    """Bytes, unpadded, that hold something at each dispatch of the entry, in order."""
    commands = [op for op in entry.body.block.ops if isinstance(op, Command)]
    last: dict[Operation, int] = {}
    for position, command in enumerate(commands):
        for view in command.operands:
            last[_whole(view)[0]] = position
    filled: dict[Operation, list[Interval]] = {}
    live, total = list[int](), 0
    for position, command in enumerate(commands):
        for view, access in command.touched:
            root, begin = _whole(view)
            if access.writes and isinstance(root, ViewOp) and root.buffer_name not in persistent:
                before = filled.get(root, [])
                filled[root] = _union([*before, (begin, begin + view_bytes(view))])
                total += _bytes(filled[root]) - _bytes(before)
        if isinstance(command, DispatchOp):
            live.append(total)
        for root in {_whole(view)[0] for view in command.operands}:
            if last[root] == position:
                total -= _bytes(filled.pop(root, []))
    return live


def _whole(view: SSAValue) -> tuple[Operation, int]:
    """The declaration that a view is part of, and where in it the view starts."""
    begin = 0
    while isinstance(view.owner, SubviewOp):
        begin += view.owner.byte_offset
        view = view.owner.view
    assert isinstance(view.owner, Operation)
    return view.owner, begin


def _union(ranges: list[Interval]) -> list[Interval]:
    """The same bytes in ranges that neither overlap nor touch."""
    union: list[Interval] = []
    for begin, end in sorted(ranges):
        if union and begin <= union[-1][1]:
            union[-1] = (union[-1][0], max(union[-1][1], end))
        else:
            union.append((begin, end))
    return union


def _bytes(ranges: list[Interval]) -> int:
    return sum(end - begin for begin, end in ranges)
