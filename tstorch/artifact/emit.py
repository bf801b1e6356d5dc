"""A module at level buf as an artifact."""

from collections.abc import Iterator, Mapping, Sequence, Set
from importlib.metadata import version
from typing import Any

from xdsl.dialects.builtin import ArrayAttr, ModuleOp

from tstorch import __version__
from tstorch.artifact.attributes import plain, roles_of
from tstorch.artifact.emit_control import control_table
from tstorch.artifact.emit_memory import memory_table
from tstorch.artifact.emit_program import program_table
from tstorch.artifact.fingerprint import fingerprint
from tstorch.artifact.format import Artifact, Kernel
from tstorch.artifact.wgsl_text import kernel_map, kernel_text
from tstorch.dialects import buf, wgsl
from tstorch.dialects.program import INIT, SegmentOp, control_of, entries_of
from tstorch.levels import get_dims, get_source
from tstorch.locations import node_ids, node_roles
from tstorch.remarks import elided_nodes, get_remarks
from tstorch.target import get_target

WAITING = "compiled when a run tells its shapes"
"""Why a node that runs has no dispatches in an artifact."""

NodeRole = tuple[str, str]
"""The id of a node, and what is done for it: forward, backward, optimizer."""


def emit_artifact(module: ModuleOp, *, pipeline: Sequence[str] = (), rules: Sequence[str] = ()) -> Artifact:
    """The artifact of a module at level buf; `pipeline` and `rules` are what made it, in order."""
    entries = [segment for _, segment in entries_of(module) if isinstance(segment, buf.EntryOp)]
    control = control_of(module)
    segments = {entry.sym_name.data: entry for entry in entries}
    kernels = {op.sym_name.data: op for op in module.body.block.ops if isinstance(op, wgsl.ModuleOp)}
    order = {facts["id"]: i for i, facts in enumerate(_facts(module))}
    return Artifact(
        manifest=_manifest(module, pipeline, rules),
        program=program_table(module, entries) | ({"control": control_table(control, segments)} if control else {}),
        kernels={name: _kernel(op) for name, op in sorted(kernels.items())},
        dispatches=[row for entry in entries for row in _dispatches(entry, order)],
        nodes=list(_nodes(module, entries)),
        memory=memory_table(entries),
        remarks=[remark.to_json() for remark in get_remarks(module)],
    )


def _manifest(module: ModuleOp, pipeline: Sequence[str], rules: Sequence[str]) -> dict[str, Any]:
    source, dims, target = get_source(module), get_dims(module), get_target(module).to_json()
    digest = source.sha256 if source else ""
    return {
        "schema": "tstorch-artifact/1",
        "tstorch": __version__,
        "xdsl": version("xdsl"),
        "fingerprint": fingerprint(model_sha256=digest, dims=dims, target=target, rules=rules, pipeline=pipeline),
        "model": {"path": source.path if source else "", "sha256": digest},
        "dims": dims,
        "pipeline": list(pipeline),
        "rules": list(rules),
        "target": target,
    }


def _kernel(op: wgsl.ModuleOp) -> Kernel:
    text = kernel_text(op)
    return Kernel(text.text, kernel_map(op, text))


def _dispatches(entry: buf.EntryOp, order: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """A row for each dispatch of the entry; nodes stand in the model's `order`."""
    served: set[NodeRole] = set()
    for op in entry.commands:
        if isinstance(op, buf.DispatchOp):
            pairs = [sorted(roles_of(location), key=lambda pair: order.get(pair[0], -1)) for location in op.nodes]
            yield _dispatch(entry, op, pairs, served)
            served.update(pair for found in pairs for pair in found)


def _dispatch(
    entry: buf.EntryOp, op: buf.DispatchOp, pairs: Sequence[Sequence[NodeRole]], served: Set[NodeRole]
) -> dict[str, Any]:
    """What one dispatch is: its nodes by local op, and the least that it must move and compute."""
    flops = [int(n) for n in op.flops.get_values()]
    return {
        "id": op.id.value.data,
        "entry": entry.sym_name.data,
        "kernel": op.kernel_name,
        "bytes": op.moved_bytes,
        "flops": sum(flops),
        "nodes": [[{"id": id, "role": role} for id, role in found] for found in pairs],
        "shares": [
            {"id": id, "role": role, "share": share} for (id, role), share in shares(pairs, flops, served).items()
        ],
        "label": op.label.data,
    }


def shares(
    pairs: Sequence[Sequence[NodeRole]], flops: Sequence[int], served: Set[NodeRole] = frozenset()
) -> dict[NodeRole, float]:
    """How a dispatch's time is split over its nodes, an estimate by the FLOPs of its local ops. The sum is 1.

    `pairs` has the nodes of each local op, in the model's order. An op that was made of several nodes' ops counts for
    one of them, the first that no earlier dispatch (`served`) works for: a convolution does the work of a normalisation
    folded into its weights, which has a share of 0. Where nothing computes, each local op counts the same.
    """
    weights = list(flops) if any(flops) else [1] * len(pairs)
    total = {pair: 0.0 for found in pairs for pair in found}
    for found, weight in zip(pairs, weights, strict=True):
        if found:
            total[next((pair for pair in found if pair not in served), found[0])] += weight
    whole = sum(total.values())
    if not whole:
        return dict.fromkeys(total, 1 / len(total)) if total else {}
    return {pair: share / whole for pair, share in total.items()}


def _nodes(module: ModuleOp, entries: Sequence[buf.EntryOp]) -> Iterator[dict[str, Any]]:
    """Where each node of the model went."""
    runs: dict[str, list[int]] = {}
    inits: dict[str, list[int]] = {}
    for entry in entries:
        found = inits if entry.sym_name.data == INIT else runs
        for op in entry.commands:
            if isinstance(op, buf.DispatchOp):
                for id in dict.fromkeys(id for id, _ in node_roles(op)):
                    found.setdefault(id, []).append(op.id.value.data)
    elided, hosts, waiting = elided_nodes(module), _hosts(module), _waiting(module)
    for facts in _facts(module):
        id = facts["id"]
        where, reason, ids = "elided", elided.get(id, "a view of what another node computes"), []
        if id in runs:
            where, reason, ids = "run", "", runs[id]
        elif id in waiting:
            where, reason = "run", WAITING
        elif id in inits:
            where, reason, ids = "init", "", inits[id]
        elif id in hosts:
            where, reason = "host", "decided by the host between segments"
        yield {**facts, "where": where, "reason": reason, "dispatches": ids}


def _hosts(module: ModuleOp) -> set[str]:
    """The nodes that steps of the host are made for."""
    entry = control_of(module)
    return set() if entry is None else {id for op in entry.walk() for id in node_ids(op)}


def _waiting(module: ModuleOp) -> set[str]:
    """The nodes of segments that are compiled once a run has told their shapes."""
    segments = [op for op in module.body.block.ops if isinstance(op, SegmentOp)]
    return {id for segment in segments for op in segment.walk() for id in node_ids(op)}


def _facts(module: ModuleOp) -> list[dict[str, str]]:
    """What the importer noted of each node, in the model's order."""
    attribute = module.attributes.get("tst.nodes")
    entries = attribute.data if isinstance(attribute, ArrayAttr) else ()
    found = [plain(entry) for entry in entries]
    return [{key: facts.get(key, "") for key in ("id", "op_type", "module", "source")} for facts in found]
