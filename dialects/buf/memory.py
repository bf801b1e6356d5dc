"""What a host program does to memory, and the rules it must keep; WebGPU itself catches hardly any of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import TYPE_CHECKING

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Operation, SSAValue
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.buf.commands import Command
from tstorch.dialects.buf.places import BufferOp, Placed, SubviewOp, ViewOp, WeightOp
from tstorch.dialects.buf.types import Access, view_bytes

if TYPE_CHECKING:
    from tstorch.dialects.buf.entry import EntryOp

ALIGNMENT = 256


@dataclass
class Allocation:
    """The bytes of one placed op, and when they hold something: positions in the entry's list of commands."""

    op: Placed
    first: int | None = None
    last: int | None = None
    written: list[tuple[int, int]] = field(default_factory=list)

    @property
    def begin(self) -> int:
        return self.op.byte_offset

    @property
    def end(self) -> int:
        return self.begin + view_bytes(self.op.result)

    @property
    def name(self) -> str:
        label = self.op.properties.get("label")
        return f"'{label.data}'" if isinstance(label, StringAttr) else f"'{self.op.name}'"

    @property
    def persistent(self) -> bool:
        """Whether the bytes hold something before the entry starts, and after it."""
        return not isinstance(self.op, ViewOp)

    def overlaps(self, other: "Allocation") -> bool:
        """Whether the two share bytes."""
        same_buffer = self.op.buffer_name == other.op.buffer_name
        return same_buffer and self.begin < other.end and other.begin < self.end

    def lives_with(self, other: "Allocation") -> bool:
        """Whether there is a moment at which both hold something."""
        if self.persistent or other.persistent:
            return True
        if self.first is None or other.first is None or self.last is None or other.last is None:
            return False
        return self.first <= other.last and other.first <= self.last

    def touch(self, position: int) -> None:
        """Notes a use."""
        self.first = position if self.first is None else self.first
        self.last = position

    def covers(self, begin: int, end: int) -> bool:
        """Whether every byte of a range has been written."""
        for low, high in sorted(self.written):
            if low <= begin < high:
                begin = high
        return begin >= end


@dataclass(frozen=True)
class Bytes:
    """A range of one allocation, counted from its start."""

    allocation: Allocation
    begin: int
    end: int

    def overlaps(self, other: "Bytes") -> bool:
        """Whether the two share bytes of the buffer."""
        mine, theirs = self.allocation, other.allocation
        if mine.op.buffer_name != theirs.op.buffer_name:
            return False
        return mine.begin + self.begin < theirs.begin + other.end and theirs.begin + other.begin < mine.begin + self.end


class Memory:
    """Which bytes each view of an entry names, and the live range of each allocation."""

    def __init__(self, entry: "EntryOp") -> None:
        self.allocations: dict[Operation, Allocation] = {}
        self._bytes: dict[SSAValue, Bytes] = {}
        for op in entry.body.block.ops:
            if isinstance(op, Placed):
                allocation = self.allocations[op] = Allocation(op)
                self._bytes[op.result] = Bytes(allocation, 0, view_bytes(op.result))
            elif isinstance(op, SubviewOp):
                outer = self._bytes[op.view]
                begin = outer.begin + op.byte_offset
                self._bytes[op.result] = Bytes(outer.allocation, begin, begin + view_bytes(op.result))
        self.commands = entry.commands
        for position, command in enumerate(self.commands):
            for view, _ in touched(command):
                self._bytes[view].allocation.touch(position)

    def __getitem__(self, view: SSAValue) -> Bytes:
        return self._bytes[view]


def touched(command: Operation) -> Sequence[tuple[SSAValue, Access]]:
    """The views that a command uses, and how."""
    return command.touched if isinstance(command, Command) else ()


def verify_memory(entry: "EntryOp", buffers: Mapping[str, BufferOp]) -> None:
    """Checks placement, order, aliasing and life times of an entry's views. Raises VerifyException naming tensors."""
    memory = Memory(entry)
    for problem in _problems(memory, buffers):
        raise VerifyException(f"@{entry.sym_name.data}: {problem}")


def _problems(memory: Memory, buffers: Mapping[str, BufferOp]) -> Iterator[str]:
    yield from _placement(memory, buffers)
    for command in memory.commands:
        yield from _order(memory, command)
        yield from _aliasing(memory, command)
    for one, other in _neighbours(memory.allocations.values()):
        if one.overlaps(other) and one.lives_with(other) and not _same_bytes(one, other):
            yield f"{one.name} and {other.name} share bytes of @{one.op.buffer_name} while both are alive"


def _neighbours(allocations: Iterable[Allocation]) -> Iterator[tuple[Allocation, Allocation]]:
    """Pairs of one buffer, all of those among them that ever live at one time; not all pairs, of which there are
    too many in a large model."""
    buffers: dict[str, list[Allocation]] = {}
    for allocation in allocations:
        buffers.setdefault(allocation.op.buffer_name, []).append(allocation)
    for found in buffers.values():
        yield from _by_place([one for one in found if one.persistent])
        yield from _by_time([one for one in found if not one.persistent])
        yield from product((one for one in found if one.persistent), [one for one in found if not one.persistent])


def _by_place(allocations: Iterable[Allocation]) -> Iterator[tuple[Allocation, Allocation]]:
    """Pairs whose bytes may overlap."""
    before: list[Allocation] = []
    for one in sorted(allocations, key=lambda one: one.begin):
        before = [other for other in before if other.end > one.begin]
        yield from ((other, one) for other in before)
        before.append(one)


def _by_time(allocations: Iterable[Allocation]) -> Iterator[tuple[Allocation, Allocation]]:
    """Pairs of which one is first used before the other's last use."""
    alive: list[tuple[int, Allocation]] = []
    used = [(one.first, one.last, one) for one in allocations if one.first is not None and one.last is not None]
    for first, last, one in sorted(used, key=lambda entry: entry[0]):
        alive = [(end, other) for end, other in alive if end >= first]
        yield from ((other, one) for _, other in alive)
        alive.append((last, one))


def _placement(memory: Memory, buffers: Mapping[str, BufferOp]) -> Iterator[str]:
    for allocation in memory.allocations.values():
        buffer = buffers.get(allocation.op.buffer_name)
        if buffer is None:
            yield f"{allocation.name} lies in @{allocation.op.buffer_name}, which does not exist"
        elif allocation.begin < 0 or allocation.end > buffer.bytes:
            place = f"bytes {allocation.begin} to {allocation.end}"
            yield f"{allocation.name} takes {place} of @{allocation.op.buffer_name}, which has {buffer.bytes}"
        if allocation.begin % ALIGNMENT:
            yield f"{allocation.name} starts at byte {allocation.begin}; bindings start at multiples of {ALIGNMENT}"


def _order(memory: Memory, command: Operation) -> Iterator[str]:
    """Reads come after writes; weights are never written."""
    for view, access in touched(command):
        place = memory[view]
        allocation = place.allocation
        if access.reads and not allocation.persistent and not allocation.covers(place.begin, place.end):
            yield f"{allocation.name} is read by {command.name} before it is written"
        if access.writes and isinstance(allocation.op, WeightOp):
            yield f"{allocation.name} is a weight, and {command.name} writes it"
    for view, access in touched(command):
        if access.writes:
            memory[view].allocation.written.append((memory[view].begin, memory[view].end))


def _aliasing(memory: Memory, command: Operation) -> Iterator[str]:
    """In one command, no buffer is both read and written, and no written bytes are bound twice."""
    uses = [(memory[view], access) for view, access in touched(command)]
    for (one, first), (other, second) in combinations(uses, 2):
        names = f"{one.allocation.name} and {other.allocation.name}"
        same_buffer = one.allocation.op.buffer_name == other.allocation.op.buffer_name
        if same_buffer and first.writes != second.writes:
            yield f"{command.name} reads and writes @{one.allocation.op.buffer_name} ({names})"
        elif (first.writes or second.writes) and one.overlaps(other):
            yield f"{command.name} writes bytes that {names} share"


def _same_bytes(one: Allocation, other: Allocation) -> bool:
    """Whether both name one stored weight, state or derived tensor."""
    return one.persistent and one.op.properties == other.op.properties
