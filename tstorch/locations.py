"""Which ONNX nodes an op serves: locations that are made, read and fused in one place.

A node id stands as `loc("id")`; several as `loc(fused["a", "b"])`, producers first. A role other than forward stands
inside: `loc("id"("backward"))`.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache

from xdsl.dialects.builtin import (
    UNKNOWN_LOC,
    ArrayAttr,
    FusedLoc,
    LocationAttr,
    NameLoc,
    NoneAttr,
    StringAttr,
    SymbolRefAttr,
)
from xdsl.ir import Attribute, Operation
from xdsl.traits import IsTerminator

from tstorch.levels import KERNEL_OPS

FORWARD = "forward"


def node_location(node_id: str, role: str = FORWARD) -> NameLoc:
    """The location of an op that serves one node in one role (forward, backward, optimizer)."""
    inner = NoneAttr() if role == FORWARD else NameLoc(StringAttr(role), NoneAttr())
    return NameLoc(StringAttr(node_id), inner)


def fused_location(locations: Iterable[Attribute]) -> LocationAttr:
    """One location that names every node of `locations` once, in order of first appearance."""
    names: dict[NameLoc, None] = {}
    for location in locations:
        names.update(dict.fromkeys(_names(location)))
    match list(names):
        case []:
            return UNKNOWN_LOC
        case [only]:
            return only
        case several:
            return FusedLoc(ArrayAttr[Attribute](several), NoneAttr())


def with_role(location: Attribute, role: str) -> LocationAttr:
    """The same nodes, served in another role."""
    return fused_location(node_location(name.desc.data, role) for name in _names(location))


def node_ids(op: Operation) -> tuple[str, ...]:
    """The ids of the nodes that the op serves, in order, each once. A dispatch lists them in `nodes`.

    Inside a kernel these are indices of local ops, for a kernel is shared: see `served_ids`.
    """
    return location_ids(op.location) or location_ids(op.properties.get("nodes", op.location))


def node_roles(op: Operation) -> tuple[tuple[str, str], ...]:
    """The (node id, role) pairs that the op serves, in order, each once."""
    return tuple(dict.fromkeys((name.desc.data, _role(name)) for name in _names(op.location)))


def kernel_of(op: Operation) -> Operation | None:
    """The kernel that the op stands in; None for the host's code."""
    parent = op.parent_op()
    while parent is not None and parent.name not in KERNEL_OPS:
        parent = parent.parent_op()
    return parent


def served_ids(op: Operation) -> tuple[str, ...]:
    """The ids of the nodes that the op serves: inside a kernel, those of all its dispatches."""
    if kernel_of(op) is None:  # most rewrites are; only a kernel's op needs the search
        return node_ids(op)
    module = op
    while (parent := module.parent_op()) is not None:
        module = parent
    return ServedNodes(module).of(op)


class ServedNodes:
    """The nodes of ops inside kernels, for a pass that asks for many: the host's code is searched once."""

    def __init__(self, module: Operation) -> None:
        self._tables: dict[StringAttr, list[ArrayAttr]] = {}
        for op in host_ops(module):
            if isinstance(nodes := op.properties.get("nodes"), ArrayAttr):
                for value in op.properties.values():
                    if isinstance(value, SymbolRefAttr):
                        self._tables.setdefault(value.root_reference, []).append(nodes)

    def of(self, op: Operation) -> tuple[str, ...]:
        """The ids of the nodes that the op serves: inside a kernel, those of all its dispatches."""
        kernel = kernel_of(op)
        if kernel is None:
            return node_ids(op)
        symbol = kernel.properties.get("sym_name")
        tables = self._tables.get(symbol, []) if isinstance(symbol, StringAttr) else []
        local = {int(index) for index in node_ids(op) if index.isdecimal()}
        served = [location for table in tables for index, location in enumerate(table) if index in local or not local]
        return location_ids(ArrayAttr(served))


def host_ops(root: Operation) -> Iterator[Operation]:
    """All ops of the host's code, in order. Kernels are shared between dispatches, so their bodies name no node."""
    pending = [root]
    while pending:
        op = pending.pop()
        yield op
        if op.name not in KERNEL_OPS:
            children = [child for region in op.regions for block in region.blocks for child in block.ops]
            pending.extend(reversed(children))


def carried_ids(module: Operation) -> set[str]:
    """Ids of all nodes that some op of the host's code serves; a dispatch lists them op by op in `nodes`."""
    return survey(module)[0]


def survey(module: Operation) -> tuple[set[str], Operation | None]:
    """What `carried_ids` gives, and the first computing op without a node: data, frames and steps belong to none."""
    ids: set[str] = set()
    unnamed: Operation | None = None
    for op in host_ops(module):
        own = location_ids(op.location)
        if (listed := op.properties.get("nodes")) is not None:
            own += location_ids(listed)
        ids.update(own)
        if not own and unnamed is None and op.operands and op.results:
            frame = op.has_trait(IsTerminator) or op.name.startswith("program.")
            unnamed = None if frame else op
    return ids, unnamed


def _names(location: Attribute) -> list[NameLoc]:
    match location:
        case NameLoc():
            return [location]
        case FusedLoc(locations=ArrayAttr(data=parts)) | ArrayAttr(data=parts):
            return [name for part in parts for name in _names(part)]
    return []


def _role(name: NameLoc) -> str:
    return name.location.desc.data if isinstance(name.location, NameLoc) else FORWARD


@lru_cache(maxsize=65536)
def location_ids(location: Attribute) -> tuple[str, ...]:
    """The node ids in a location, in order, each once."""
    return tuple(dict.fromkeys(name.desc.data for name in _names(location)))
