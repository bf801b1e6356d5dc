"""memory.json: the buffer plan of what is run again and again, and what is alive when."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from xdsl.ir import Operation

from tstorch.dialects import buf
from tstorch.dialects.buf.lower_bound import live_bytes
from tstorch.dialects.buf.memory import Memory
from tstorch.dialects.program import INIT, STEP

PERSISTENT = frozenset({buf.Category.WEIGHT, buf.Category.STATE, buf.Category.OPTIMIZER})


def memory_table(entries: Sequence[buf.EntryOp]) -> dict[str, Any]:
    """The content of memory.json: of entry `step` where there is one, else of all segments that a call runs.

    Segments hold their arenas at once, so their peaks add up; the lower bound is the largest of theirs.
    """
    repeated = [entry for entry in entries if entry.sym_name.data != INIT]
    if not repeated:
        return _table(0, [], 0, [], [])
    if any(entry.sym_name.data == STEP for entry in repeated):
        repeated = repeated[-1:]
    whole = _entry_table(repeated[0], 0)
    for entry in repeated[1:]:
        part = _entry_table(entry, len(whole["timeline"]))
        whole["arena_peak"] += part["arena_peak"]
        whole["lower_bound"] = max(whole["lower_bound"], part["lower_bound"])
        whole["timeline"] += part["timeline"]
        whole["tensors"] += part["tensors"]
    return whole


def _entry_table(entry: buf.EntryOp, before: int) -> dict[str, Any]:
    """The table of one entry, `before` dispatches after the first."""
    buffers = buf.buffers_of(entry)
    persistent = frozenset(name for name, op in buffers.items() if buf.Category(op.category.data) in PERSISTENT)
    tensors = list(_tensors(Memory(entry), persistent, entry))
    live = live_bytes(entry, persistent)
    peak = sum(op.bytes for name, op in buffers.items() if name.startswith(f"{entry.sym_name.data}."))
    weights = sum(op.bytes for op in buffers.values() if op.category.data == buf.Category.WEIGHT and not op.lifetime)
    ids = [op.id.value.data for op in entry.commands if isinstance(op, buf.DispatchOp)]
    timeline = [
        {
            "dispatch": id,
            "live_bytes": live[position],
            "tensors": [t["name"] for t in tensors if t["first"] <= position <= t["last"]],
        }
        for position, id in enumerate(ids)
    ]
    placed = [{**t, "first": t["first"] + before, "last": t["last"] + before} for t in tensors]
    return _table(peak, live, weights, timeline, placed)


def _table(peak: int, live: Sequence[int], weights: int, timeline: list[Any], tensors: list[Any]) -> dict[str, Any]:
    return {
        "schema": "tstorch-memory/1",
        "arena_peak": peak,
        "lower_bound": max(live, default=0),
        "weights": weights,
        "timeline": timeline,
        "tensors": tensors,
    }


def _tensors(memory: Memory, persistent: frozenset[str], entry: buf.EntryOp) -> Iterator[dict[str, Any]]:
    """One row for each allocation in an arena; its life counts in dispatches."""
    ids = {name: number for number, name in enumerate(buf.buffers_of(entry))}
    roles = _roles(memory)
    before = _dispatches_before(memory.commands)
    last = max(before[-1] - 1, 0) if before else 0
    for op, each in memory.allocations.items():
        if isinstance(op, buf.ViewOp) and op.buffer_name not in persistent and each.first is not None:
            assert each.last is not None
            yield {
                "name": op.label.data,
                "buffer": ids[op.buffer_name],
                "offset": op.byte_offset,
                "bytes": each.end - each.begin,
                "first": min(before[each.first], last),
                "last": min(before[each.last], last),
                "category": roles.get(op, buf.Category.ACTIVATION).value,
            }


def _dispatches_before(commands: Sequence[Operation]) -> list[int]:
    """How many dispatches come before each command; one entry more for the end."""
    counts, count = [], 0
    for command in commands:
        counts.append(count)
        count += isinstance(command, buf.DispatchOp)
    return [*counts, count]


def _roles(memory: Memory) -> Mapping[Operation, buf.Category]:
    """What is uploaded is an input, what is read back an output."""
    found: dict[Operation, buf.Category] = {}
    for command in memory.commands:
        if isinstance(command, buf.UploadOp):
            found[memory[command.view].allocation.op] = buf.Category.INPUT
        elif isinstance(command, buf.ReadbackOp):
            found.setdefault(memory[command.view].allocation.op, buf.Category.OUTPUT)
    return found
