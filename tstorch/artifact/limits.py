"""What of an artifact does not fit its target: found before a GPU is asked, and named after the model's nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tstorch.artifact.errors import ArtifactError

if TYPE_CHECKING:
    from tstorch.artifact.format import Artifact

Command = Mapping[str, Any]


def check_limits(artifact: Artifact) -> None:
    """Raises ArtifactError, led by the nodes of a dispatch, where it asks for more than the target's limits allow.

    Drivers notice some of it at the first run, without a name, and some not at all.
    """
    limits = artifact.manifest["target"]["limits"]
    for commands in artifact.program["entries"].values():
        for command in commands:
            if command["op"] == "dispatch" and (problem := next(_problems(artifact, command, limits), None)):
                raise ArtifactError(f"{_served(artifact, command['id'])}: {problem}")
    for buffer in artifact.program["buffers"]:
        if buffer["bytes"] > (most := limits["max_buffer_size"]):
            raise ArtifactError(
                f"buffer '{buffer['name']}' ({buffer['category']}) has {buffer['bytes']} bytes; the target allows "
                f"{most}; choose a larger --target, or smaller inputs"
            )


def _problems(artifact: Artifact, command: Command, limits: Mapping[str, int]) -> Iterator[str]:
    what, advice = f"dispatch {command['id']}", "choose a larger --target, or smaller inputs"
    most = limits["max_compute_workgroups_per_dimension"]
    for axis, count in zip("xyz", command["grid"], strict=True):
        if count > most:
            yield f"{what} launches {count} workgroups along {axis}; the target allows {most}; {advice}"
    most = limits["max_storage_buffer_binding_size"]
    for binding in command["bindings"]:
        if binding["bytes"] > most:
            yield f"{what} binds {binding['bytes']} bytes at once; the target allows {most}; {advice}"
    most = limits["max_storage_buffers_per_shader_stage"]
    if (count := len(command["bindings"])) > most:
        yield f"{what} binds {count} buffers; the target allows {most}; {advice}"
    most = limits["max_compute_workgroup_storage_size"]
    if (used := artifact.kernels[command["kernel"]].map.get("workgroup_bytes", 0)) > most:
        yield f"kernel '{command['kernel']}' uses {used} bytes of workgroup memory; the target allows {most}; {advice}"


def _served(artifact: Artifact, ident: int) -> str:
    """The first of the nodes that a dispatch works for, and how many more there are."""
    rows = [row for row in artifact.dispatches if row["id"] == ident]
    nodes = list(dict.fromkeys(share["id"] for row in rows for share in row["shares"]))
    return f"onnx '{nodes[0]}'" + (f" and {len(nodes) - 1} more" if len(nodes) > 1 else "") if nodes else "no node"
