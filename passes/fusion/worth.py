"""What fusing saves (bytes not moved, dispatches not launched), and what a user can do where it is refused."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation, SSAValue

from tstorch.dialects.buf import storage_bytes
from tstorch.locations import location_ids
from tstorch.passes.fusion.partition import Group, Partition

ADVICE: Mapping[str, str] = MappingProxyType(
    {
        "TST-F001": "a rule (--rules) that groups all users of the result makes one kernel of them",
        "TST-F002": "export the two next to each other, or write a rule (--rules) for all three",
        "TST-F003": "export it so that shapes change before the first of the two, or behind the second",
        "TST-F004": "compile for a target with more storage buffers for a shader (--target)",
        "TST-F005": "a rule (--rules) can outline the two as one kernel",
        "TST-F006": "a rule (--rules) can name both as one kernel, as attention is",
        "TST-F007": "a rule (--rules) can outline a part of it",
        "TST-F008": "its ops are fused like all others",
        "TST-F009": "leave out --without epilogue",
        "TST-F011": "leave out --no-fuse",
    }
)
"""What a user can change, by the id of a refusal that says nothing of its own."""


def saved_by_joining(partition: Partition, producer: Group, consumer: Group) -> dict[str, int]:
    """What one kernel instead of two would save."""
    kept = set(partition.kept(producer, producer, consumer))
    read = [value for value in producer.results if value in consumer.operands]
    saved = sum(value_bytes(value) * (1 if value in kept else 2) for value in read)
    return {"bytes": saved, "dispatches": 1}


def saved_by_fusing(partition: Partition, group: Group) -> dict[str, int]:
    """What the group saves against a kernel for each of the nodes that it serves; nothing where it serves one."""
    part_of = _parts(group.ops)
    kept = set(group.results)
    moved = 0
    for op in group.ops:
        for value in op.results:
            others = {part_of[user] for user in partition.users(value) if user in part_of} - {part_of[op]}
            moved += value_bytes(value) * (len(others) + (bool(others) and value not in kept))
    return {"bytes": moved, "dispatches": len(set(part_of.values())) - 1}


def mixes(ops: Sequence[Operation], apart: frozenset[str]) -> str | None:
    """A node of `apart` that some of the ops serve and others do not; None where there is none."""
    served = [frozenset(location_ids(op.location)) for op in ops]
    every = frozenset[str]().union(*served)
    return next((node for node in sorted(every & apart) if any(node not in nodes for nodes in served)), None)


def _parts(ops: Sequence[Operation]) -> dict[Operation, str]:
    """Ops that serve a common node are one part, called by its first node."""
    name: dict[str, str] = {}
    find = _finder(name)
    for op in ops:
        first, *rest = location_ids(op.location) or [""]
        for node in rest:
            name[find(node)] = find(first)
    return {op: find((location_ids(op.location) or [""])[0]) for op in ops}


def _finder(name: dict[str, str]) -> Callable[[str], str]:
    def find(node: str) -> str:
        while (other := name.setdefault(node, node)) != node:
            node = other
        return node

    return find


def value_bytes(value: SSAValue) -> int:
    """What a value takes in memory; nothing where it is no tensor."""
    return storage_bytes(value.type) if isinstance(value.type, TensorType) else 0
