"""A stored artifact against what its model compiles to now: the first dispatch that computes something else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tstorch.artifact.format import Artifact
from tstorch.check import Arrays, relative_error
from tstorch.compiled import Compiled
from tstorch.diagnostics import DiagnosticError
from tstorch.numerics.probe import MOST_BYTES
from tstorch.numerics.unfused import nodes_of
from tstorch.session import Model

RUN = "run"


@dataclass(frozen=True)
class Deviation:
    """A dispatch whose results differ though all dispatches before it gave the same; `error` takes them for floats."""

    dispatch: Mapping[str, Any]
    op_type: str
    error: float | None
    same_shader: bool
    rounds: int
    compared: int

    def to_json(self) -> dict[str, Any]:
        """The form of `Divergence.to_json`."""
        leader = max(self.dispatch["shares"], key=lambda share: share["share"])["id"]
        shader = "the same shader" if self.same_shader else "another shader"
        return {
            "node": leader,
            "op_type": self.op_type,
            "tensor": f"result of dispatch {self.dispatch['id']}",
            "reference": f"what the model compiles to now, {shader}",
            "error": self.error,
            "inputs": [],
            "hidden": [],
            "fused": list(nodes_of(self.dispatch)),
            "kernel": self.dispatch["kernel"],
            "gone": "",
            "rounds": self.rounds,
            "compared": self.compared,
            "most_bytes": MOST_BYTES,
        }


def find_deviation(model: Model, fresh: Compiled, inputs: Arrays) -> Deviation | None:
    """The first dispatch of a stored artifact whose results are not, bit for bit, those of `fresh`, on these inputs.

    Nothing is compiled anew or taken apart: results are copied aside as they stand, MOST_BYTES of them at a time. None
    where all are the same. Raises DiagnosticError where the two programs are not of the same dispatches.
    """
    stored, now = model.artifact, fresh.artifact
    if _shape(stored) != _shape(now):
        raise DiagnosticError(
            f"the artifact was compiled by tstorch {stored.manifest['tstorch']}, whose dispatches are others than this "
            "version makes of the model, so they cannot be compared one by one; run the model itself with --check"
        )
    if (changed := _changed_at_load(stored, now)) is not None:
        return _deviation(stored, now, changed, None, 0, 0)
    compared = 0
    for rounds, part in enumerate(_parts(stored), 1):
        one, other = _results(model, model.compiled, part, inputs), _results(model, fresh, part, inputs)
        for command in part:
            compared += 1
            names = _names(command)
            if wrong := next((name for name in names if not np.array_equal(one[name], other[name])), None):
                error = _error(one[wrong], other[wrong])
                return _deviation(stored, now, command["id"], error, rounds, compared)
    return None


def tapped(artifact: Artifact, commands: Sequence[Mapping[str, Any]]) -> Artifact:
    """The artifact with what these dispatches of a run write as further outputs, word for word (see `_names`)."""
    program = artifact.program
    buffers, outputs = list(program["buffers"]), list(program["outputs"])
    ids = {command["id"] for command in commands}
    entry: list[dict[str, Any]] = []
    readbacks: list[dict[str, Any]] = []
    for command in program["entries"][RUN]:
        entry.append(command)
        # Behind the dispatch's own span, so that what is timed stays what it was.
        if (
            command["op"] == "span"
            and command["edge"] == "end"
            and command["kind"] == "dispatch"
            and command["id"] in ids
        ):
            source = next(each for each in commands if each["id"] == command["id"])
            for name, view in zip(_names(source), _written(source), strict=True):
                number = len(buffers)
                buffers.append({"id": number, "name": name, "bytes": view["bytes"], "category": "output"})
                outputs.append(_words(name, number, view["bytes"]))
                place = {"buffer": view["buffer"], "offset": view["offset"]}
                target = {"buffer": number, "offset": 0}
                entry.append({"op": "copy", "source": place, "target": target, "bytes": view["bytes"]})
                readbacks.append({"op": "readback", "output": name})
    wider = program | {"buffers": buffers, "outputs": outputs}
    wider["entries"] = program["entries"] | {RUN: [*entry, *readbacks]}
    return replace(artifact, program=wider)


def _words(name: str, buffer: int, size: int) -> dict[str, Any]:
    place = {"buffer": buffer, "offset": 0, "bytes": size}
    return {"name": name, "dtype": "uint32", "shape": [size // 4], "storage": "u32", **place}


def _results(model: Model, compiled: Compiled, part: Sequence[Mapping[str, Any]], inputs: Arrays) -> Arrays:
    ours = {command["id"]: command for command in _dispatches(compiled.artifact)}
    wider = tapped(compiled.artifact, [ours[command["id"]] for command in part])
    with model.beside(replace(compiled, artifact=wider)) as other:
        return other.run(inputs)


def _parts(artifact: Artifact) -> Iterator[list[Mapping[str, Any]]]:
    """The dispatches of a run in order, cut so that the results of a part stay within the bound."""
    part: list[Mapping[str, Any]] = []
    size = 0
    for command in _dispatches(artifact):
        own = sum(view["bytes"] for view in _written(command))
        if part and size + own > MOST_BYTES:
            yield part
            part, size = [], 0
        part.append(command)
        size += own
    if part:
        yield part


def _dispatches(artifact: Artifact) -> list[Mapping[str, Any]]:
    if "control" in artifact.program or RUN not in artifact.program["entries"]:
        raise DiagnosticError("the artifact's dispatches are chosen by its runs; run the model itself with --check")
    return [command for command in artifact.program["entries"][RUN] if command["op"] == "dispatch"]


def _shape(artifact: Artifact) -> list[Any]:
    """What two artifacts must have in common so that their dispatches can be compared."""
    return [[command[key] for key in ("id", "grid", "bindings")] for command in _dispatches(artifact)]


def _changed_at_load(stored: Artifact, now: Artifact) -> int | None:
    """A dispatch of the entry that runs once, at load, whose shader is another: its results are not seen in a run."""
    commands = [command for command in stored.program["entries"].get("init", ()) if command["op"] == "dispatch"]
    names = ((command["id"], command["kernel"]) for command in commands)
    return next((id for id, name in names if stored.kernels[name] != now.kernels.get(name)), None)


def _written(command: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [view for view in command["bindings"] if view["access"] != "read"]


def _names(command: Mapping[str, Any]) -> list[str]:
    return [f"dispatch {command['id']}:{at}" for at in range(len(_written(command)))]


def _error(found: np.ndarray, expected: np.ndarray) -> float | None:
    """The relative error, if the words are floats of 32 bits."""
    error = relative_error(found.view(np.float32), expected.view(np.float32))
    return error if np.isfinite(error) else None


def _deviation(stored: Artifact, now: Artifact, id: int, error: float | None, rounds: int, compared: int) -> Deviation:
    row = next(row for row in stored.dispatches if row["id"] == id)
    types = {node["id"]: node.get("op_type", "") for node in stored.nodes}
    leader = max(row["shares"], key=lambda share: share["share"])["id"]
    kernel = now.kernels.get(row["kernel"])
    same = kernel is not None and kernel.wgsl == stored.kernels[row["kernel"]].wgsl
    return Deviation(row, types.get(leader, ""), error, same, rounds, compared)
