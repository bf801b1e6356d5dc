"""What of an artifact does not fit its target: found before a GPU is asked, and named after the model's nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from tstorch.artifact.errors import ArtifactError
from tstorch.diagnostics import Violation

if TYPE_CHECKING:
    from tstorch.artifact.format import Artifact

Command = Mapping[str, Any]


# What a shader declares, and the feature that it then needs.
_ENABLED = {"enable f16;": "shader-f16", "enable subgroups;": "subgroup"}


def used_features(shader: str) -> list[str]:
    """The features of a device that a shader declares to use."""
    return sorted({_ENABLED[line] for line in shader.splitlines() if line in _ENABLED})


def check_limits(artifact: Artifact) -> None:
    """Raises ArtifactError, led by the nodes of a dispatch, where it asks for more than the target's limits allow.

    Drivers notice some of it at the first run, without a name, and some not at all.
    """
    limits = artifact.manifest["target"]["limits"]
    for text, violation in _broken(artifact, limits):
        raise ArtifactError(f"{text}; the target allows {violation.limit}; {violation.change}")


def violations(artifact: Artifact, limits: Mapping[str, int]) -> list[Violation]:
    """Every limit that a dispatch or a buffer of the artifact exceeds, in the order of the program."""
    return [violation for _, violation in _broken(artifact, limits)]


def _broken(artifact: Artifact, limits: Mapping[str, int]) -> Iterator[tuple[str, Violation]]:
    for commands in artifact.program["entries"].values():
        for command in commands:
            if command["op"] == "dispatch":
                for rule, value, text in _needs(artifact, command):
                    if value > limits[rule]:
                        served = _served(artifact, command["id"])
                        yield f"{served}: {text}", Violation(rule, served, value, limits[rule], _CHANGES[rule])
    rule = "max_buffer_size"
    for buffer in artifact.program["buffers"]:
        if buffer["bytes"] > limits[rule]:
            what = f"buffer '{buffer['name']}' ({buffer['category']})"
            violation = Violation(rule, what, buffer["bytes"], limits[rule], _CHANGES[rule])
            yield f"{what} has {buffer['bytes']} bytes", violation


_SMALLER = "choose a larger --target, or smaller inputs"
_CHANGES = {
    "max_compute_workgroups_per_dimension": _SMALLER,
    "max_storage_buffer_binding_size": f"split the tensor in the model; or {_SMALLER}",
    "max_storage_buffers_per_shader_stage": "compile for this target, so that fusion stops earlier",
    "max_compute_workgroup_storage_size": "compile for this target, so that tiles are smaller",
    "max_compute_invocations_per_workgroup": "compile for this target, so that workgroups are smaller",
    "max_compute_workgroup_size_x": "compile for this target, so that workgroups are smaller",
    "max_compute_workgroup_size_y": "compile for this target, so that workgroups are smaller",
    "max_compute_workgroup_size_z": "compile for this target, so that workgroups are smaller",
    "max_buffer_size": _SMALLER,
}


def _needs(artifact: Artifact, command: Command) -> Iterator[tuple[str, int, str]]:
    """What one dispatch asks of each limit, and how that is said."""
    what, kernel = f"dispatch {command['id']}", f"kernel '{command['kernel']}'"
    facts = artifact.kernels[command["kernel"]].map
    for axis, count in zip("xyz", command["grid"], strict=True):
        yield "max_compute_workgroups_per_dimension", count, f"{what} launches {count} workgroups along {axis}"
    for binding in command["bindings"]:
        yield "max_storage_buffer_binding_size", binding["bytes"], f"{what} binds {binding['bytes']} bytes at once"
    count = len(command["bindings"])
    yield "max_storage_buffers_per_shader_stage", count, f"{what} binds {count} buffers"
    used = facts.get("workgroup_bytes", 0)
    yield "max_compute_workgroup_storage_size", used, f"{kernel} uses {used} bytes of workgroup memory"
    sizes = facts.get("workgroup") or (1,)
    for axis, size in zip("xyz", sizes, strict=False):
        yield f"max_compute_workgroup_size_{axis}", size, f"{kernel} runs {size} invocations along {axis}"
    together = prod(sizes)
    yield "max_compute_invocations_per_workgroup", together, f"{kernel} runs {together} invocations in a workgroup"


def _served(artifact: Artifact, ident: int) -> str:
    """The first of the nodes that a dispatch works for, and how many more there are."""
    rows = [row for row in artifact.dispatches if row["id"] == ident]
    nodes = list(dict.fromkeys(share["id"] for row in rows for share in row["shares"]))
    return f"onnx '{nodes[0]}'" + (f" and {len(nodes) - 1} more" if len(nodes) > 1 else "") if nodes else "no node"
