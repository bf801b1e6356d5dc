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
    live: list[int] = []
    for position, command in enumerate(commands):
        for view, access in command.touched:
            root, begin = _whole(view)
            if access.writes and isinstance(root, ViewOp) and root.buffer_name not in persistent:
                filled.setdefault(root, []).append((begin, begin + view_bytes(view)))
        if isinstance(command, DispatchOp):
            live.append(sum(_covered(ranges) for root, ranges in filled.items() if last[root] >= position))
    return live


def _whole(view: SSAValue) -> tuple[Operation, int]:
    """The declaration that a view is part of, and where in it the view starts."""
    begin = 0
    while isinstance(view.owner, SubviewOp):
        begin += view.owner.byte_offset
        view = view.owner.view
    assert isinstance(view.owner, Operation)
    return view.owner, begin


def _covered(ranges: list[Interval]) -> int:
    """Bytes of the union of ranges."""
    total, reached = 0, 0
    for begin, end in sorted(ranges):
        total += max(0, end - max(begin, reached))
        reached = max(reached, end)
    return total
