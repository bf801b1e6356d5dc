"""Artifacts of one program told as one: what was compiled during runs gets numbers and names of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tstorch.artifact.format import Artifact

Table = dict[str, Any]
INIT = "init"


def renumbered(artifact: Artifact, number: int, first: int) -> Artifact:
    """The artifact with dispatches counted from `first`, and kernels and buffers named after its number."""

    def renamed(name: str) -> str:
        return f"s{number}.{name}"

    ids = {row["id"]: first + at for at, row in enumerate(artifact.dispatches)}
    program = dict(artifact.program)
    program["entries"] = {
        name: [_command(command, ids, renamed) for command in commands]
        for name, commands in artifact.program["entries"].items()
    }
    memory = dict(artifact.memory)
    memory["timeline"] = [{**row, "dispatch": ids[row["dispatch"]]} for row in memory["timeline"]]
    return replace(
        artifact,
        program=program,
        kernels={renamed(name): kernel for name, kernel in artifact.kernels.items()},
        dispatches=[{**row, "id": ids[row["id"]], "kernel": renamed(row["kernel"])} for row in artifact.dispatches],
        nodes=[{**row, "dispatches": [ids[id] for id in row["dispatches"]]} for row in artifact.nodes],
        memory=memory,
    )


def _command(command: Mapping[str, Any], ids: Mapping[int, int], renamed: Any) -> Table:
    match command:
        case {"op": "dispatch"}:
            return {**command, "id": ids[command["id"]], "kernel": renamed(command["kernel"])}
        case {"op": "span", "kind": "dispatch"}:
            return {**command, "id": ids[command["id"]]}
    return dict(command)


def merged(root: Artifact, parts: Sequence[Artifact]) -> Artifact:
    """The tables of a program and of the segments that were compiled for it, as one artifact's."""
    every = [root, *parts]
    entries: Table = {}
    buffers: list[Table] = []
    memory = {**root.memory, "timeline": [], "tensors": []}
    for number, artifact in enumerate(every):
        stem, shift = f"s{number}." if number else "", len(buffers)
        for name, commands in artifact.program["entries"].items():
            entries[f"{stem}{name}"] = [_shifted(command, shift) for command in commands]
        rows = artifact.program["buffers"]
        buffers += [{**row, "id": row["id"] + shift, "name": f"{stem}{row['name']}"} for row in rows]
        memory["timeline"] += artifact.memory["timeline"]
        memory["tensors"] += [{**row, "buffer": row["buffer"] + shift} for row in artifact.memory["tensors"]]
    memory["arena_peak"] = sum(artifact.memory["arena_peak"] for artifact in every)
    memory["lower_bound"] = max(artifact.memory["lower_bound"] for artifact in every)
    return replace(
        root,
        program={**root.program, "entries": entries, "buffers": buffers},
        kernels={name: kernel for artifact in every for name, kernel in artifact.kernels.items()},
        dispatches=[row for artifact in every for row in artifact.dispatches],
        nodes=_nodes(every),
        memory=memory,
        remarks=[remark for artifact in every for remark in artifact.remarks],
    )


def _shifted(command: Mapping[str, Any], shift: int) -> Table:
    """A dispatch whose buffers are counted after those of other artifacts; other commands as they are."""
    if command["op"] != "dispatch":
        return dict(command)
    return {**command, "bindings": [{**view, "buffer": view["buffer"] + shift} for view in command["bindings"]]}


def _nodes(artifacts: Sequence[Artifact]) -> list[Table]:
    """Where each node of the model went: a segment's artifact knows better than the program's."""
    found = {row["id"]: dict(row) for row in artifacts[0].nodes}
    for artifact in artifacts[1:]:
        for row in artifact.nodes:
            known = found[row["id"]]
            if row["dispatches"] or not known["dispatches"]:
                dispatches = [*known["dispatches"], *row["dispatches"]]
                found[row["id"]] = {**known, "where": row["where"], "reason": row["reason"], "dispatches": dispatches}
    return list(found.values())
