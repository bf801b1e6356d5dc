"""Who made a result: whether every element of an output was written by a dispatch that lists a given node.

    found = provenance(artifact, {"y": ["softmax"]})["y"]
    found.kind      # "gpu", "view", "compile-time"; "" where the result does not count, for the `reason` told

It reads what an artifact says of buffers, commands and dispatches, and so what a trace of it joins by; it runs nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tstorch.artifact.format import Artifact

Table = Mapping[str, Any]
Commands = Sequence[Table]

VIEWS = frozenset({
    "Cast", "CastLike", "Dropout", "Expand", "Flatten", "Identity", "Reshape", "Slice", "Squeeze", "Transpose",
    "Unsqueeze",
})  # fmt: skip
"""Operators whose result may be the very bytes of their input: for these a bare copy is the whole work."""
KNOWN = frozenset({
    "BlackmanWindow", "Constant", "ConstantOfShape", "Dropout", "EyeLike", "HammingWindow", "HannWindow",
    "MelWeightMatrix", "Range", "Shape", "Size",
})  # fmt: skip
"""Operators whose result may be known at compile time: it follows from shapes, or from values that decide shapes.
Of Dropout, which drops nothing, that is the mask."""
COPY = frozenset({"prim.reshape"})
"""What a kernel does that only copies."""
GENERATED = frozenset({"prim.constant", "prim.iota", "prim.convert", "prim.broadcast_in_dim", "prim.reshape"})
"""What a kernel does that reads nothing."""


NOT_RUN = "its segment was not run"
COUNTED = 2
"""So many arguments of a loop's body are the host's: the iteration, and true."""


class Kind(StrEnum):
    """How a result came to be, the weakest last."""

    GPU = "gpu"
    VIEW = "view"
    COMPILE_TIME = "compile-time"
    NONE = ""


@dataclass(frozen=True)
class Finding:
    """How an output came to be; for one that does not count, why."""

    kind: Kind
    reason: str = ""


@dataclass(frozen=True)
class Region:
    """A range of bytes of a buffer."""

    buffer: int
    begin: int
    end: int

    @classmethod
    def of(cls, place: Table, size: int | None = None) -> Region:
        """The bytes of a binding, an input or an output."""
        return cls(place["buffer"], place["offset"], place["offset"] + (place["bytes"] if size is None else size))

    def common(self, other: Region) -> Region | None:
        """The bytes that both have, None where there are none."""
        begin, end = max(self.begin, other.begin), min(self.end, other.end)
        return Region(self.buffer, begin, end) if self.buffer == other.buffer and begin < end else None

    def less(self, other: Region) -> list[Region]:
        """What is left without the bytes of another."""
        if self.common(other) is None:
            return [self]
        parts = (Region(self.buffer, self.begin, other.begin), Region(self.buffer, other.end, self.end))
        return [part for part in parts if part.begin < part.end]


@dataclass(frozen=True)
class Part:
    """A segment that was compiled during runs: program `number`, named `name` in program `parent`, 0 for the first."""

    number: int
    parent: int
    name: str
    artifact: Artifact


def provenance(
    artifact: Artifact, nodes: Mapping[str, Collection[str]], parts: Sequence[Part] = ()
) -> dict[str, Finding]:
    """How each output came to be; `nodes` are the ids that a dispatch must list one of, by output.

    A node's id also stands for the nodes inside it: those of its subgraphs, or of the function that it calls.
    """
    whole = Part(0, 0, "", artifact)
    return {name: _Tracer(whole, nodes[name], parts).output(name) for name in nodes}


def weakest(findings: Collection[Finding]) -> Finding:
    """What holds of all outputs together."""
    return max(findings, key=lambda finding: list(Kind).index(finding.kind), default=Finding(Kind.NONE, "no output"))


class _Tracer:
    """Follows outputs of one artifact back to what wrote them."""

    def __init__(self, whole: Part, nodes: Collection[str], parts: Sequence[Part]) -> None:
        self._number = whole.number
        self._artifact = artifact = whole.artifact
        self._program = artifact.program
        self._nodes = nodes
        self._parts = parts
        self._rows = {row["id"]: row for row in artifact.dispatches}
        inputs = artifact.interface["inputs"]
        self._is_given_numbers = whole.number > 0 or any(0 not in value["shape"] for value in inputs)
        self._types = {row["op_type"] for row in artifact.nodes if self._is_listed(row["id"])}

    def output(self, name: str) -> Finding:
        """How the output of that name came to be."""
        if (control := self._program.get("control")) is not None:
            return self._by_control(control["steps"], name)
        return self._by_entry("run", name)

    def _by_entry(self, entry: str, name: str) -> Finding:
        """What a segment gives under that name."""
        place = next(value for value in self._program["outputs"] if value["name"] == name)
        commands = self._program["entries"][entry]
        at = next(i for i, step in enumerate(commands) if step["op"] == "readback" and step["output"] == name)
        region = Region.of(place)
        if region.begin == region.end:
            return Finding(Kind.COMPILE_TIME)
        return weakest(list(self._sources(commands, at, region)))

    def _sources(self, commands: Commands, before: int, region: Region) -> Iterator[Finding]:
        """A finding for each part of the region, by the last command that wrote it."""
        left = [region]
        for at in range(before - 1, -1, -1):
            for written in self._written(commands[at]):
                common = [part for each in left if (part := each.common(written))]
                left = [rest for each in left for rest in each.less(written)]
                for part in common:
                    yield from self._by_command(commands, at, part)
        for part in left:
            yield from self._at_load(commands, part)

    def _written(self, command: Table) -> list[Region]:
        match command["op"]:
            case "dispatch":
                return [Region.of(each) for each in command["bindings"] if each["access"] == "read_write"]
            case "copy" | "fill":
                return [Region.of(command["target"], command["bytes"])]
            case "upload":
                return [Region.of(next(v for v in self._program["inputs"] if v["name"] == command["input"]))]
        return []

    def _by_command(self, commands: Commands, at: int, region: Region) -> Iterator[Finding]:
        command = commands[at]
        match command["op"]:
            case "dispatch":
                yield self._by_dispatch(commands, at)
            case "copy":
                shift = command["source"]["offset"] - command["target"]["offset"]
                source = Region(command["source"]["buffer"], region.begin + shift, region.end + shift)
                yield from self._sources(commands, at, source)
            case "upload":
                yield self._allowed(Kind.VIEW, VIEWS, f"it is input '{command['input']}' as it was given")
            case _:
                yield Finding(Kind.NONE, "it is filled with zeroes")

    def _by_dispatch(self, commands: Commands, at: int) -> Finding:
        command = commands[at]
        row = self._rows[command["id"]]
        ops = self._artifact.kernels[row["kernel"]].map["ops"]
        own = {
            op for op, owners in zip(ops, row["nodes"], strict=True) if any(self._is_listed(o["id"]) for o in owners)
        }
        if not own:
            return Finding(Kind.NONE, f"dispatch {row['id']} ({row['label']}) writes it and does not list the node")
        if self._reads_nothing(commands, at, ops):
            return self._allowed(Kind.COMPILE_TIME, KNOWN, f"dispatch {row['id']} ({row['label']}) reads nothing")
        if own <= COPY:
            return self._allowed(Kind.VIEW, VIEWS, f"dispatch {row['id']} only copies")
        return Finding(Kind.GPU)

    def _reads_nothing(self, commands: Commands, at: int, ops: Sequence[str]) -> bool:
        """Whether a dispatch makes what it writes of nothing; a binding that is written may also be read, in place."""
        bindings = commands[at]["bindings"]
        if any(each["access"] == "read" for each in bindings):
            return False
        before = [written for command in commands[:at] for written in self._written(command)]
        in_place = any(Region.of(each).common(written) for each in bindings for written in before)
        return not in_place or set(ops) <= GENERATED

    def _at_load(self, commands: Commands, region: Region) -> Iterator[Finding]:
        """Bytes that no command of the entry wrote: those of weights, or what was computed of them at load."""
        init = self._program["entries"].get("init", ())
        if commands is not init and init:
            yield from self._sources(init, len(init), region)
        else:
            yield self._allowed(Kind.COMPILE_TIME, KNOWN, "it is stored in the model")

    def _by_control(self, steps: Sequence[Table], name: str) -> Finding:
        """What the host's steps give under that name."""
        step = next(step for step in steps if step["op"] == "output" and step["name"] == name)
        return self._by_value(steps, step["inputs"][0])

    def _by_value(self, steps: Sequence[Table], value: int, seen: frozenset[int] = frozenset()) -> Finding:
        """What made a value that a step gives; `seen` are those that loops hand round, and that are followed."""
        step = next((step for step in steps if value in step.get("outputs", ())), None)
        if step is None:
            return self._by_argument(steps, value, seen | {value})
        match step["op"]:
            case "run":
                return self._by_entry(step["entry"], step["gives"][step["outputs"].index(value)])
            case "take":
                return self._by_value(steps, step["inputs"][0], seen)
            case "specialise":
                return self._by_parts(step, step["outputs"].index(value))
            case "if" | "while":
                return self._by_bodies(step, step["outputs"].index(value), steps, seen)
            case "input":
                return self._allowed(Kind.VIEW, VIEWS, f"it is input '{step['name']}' as it was given")
            case "constant":
                return self._allowed(Kind.COMPILE_TIME, KNOWN, "the host holds it")
        return Finding(Kind.NONE, f"the host makes it ({step['op']})")

    def _by_parts(self, step: Table, position: int) -> Finding:
        made = [part for part in self._parts if (part.parent, part.name) == (self._number, step["segment"])]
        found = [
            _Tracer(part, self._nodes, self._parts).output(part.artifact.interface["outputs"][position]["name"])
            for part in made
        ]
        return weakest(found) if found else Finding(Kind.NONE, NOT_RUN)

    def _by_argument(self, steps: Sequence[Table], value: int, seen: frozenset[int]) -> Finding:
        """What a loop's body is given: what the loop began with, and what the body itself hands on."""
        loop = next((step for step in steps if step["op"] == "while" and value in step["body"]["arguments"]), None)
        position = loop["body"]["arguments"].index(value) - COUNTED if loop is not None else -1
        if loop is None or position < 0:
            return Finding(Kind.NONE, "the host counts it")
        handed_on = loop["body"]["yields"][1 + position]
        found = [self._by_value(steps, loop["inputs"][position], seen)]
        if handed_on not in seen:
            found.append(self._by_value([*loop["body"]["steps"], *steps], handed_on, seen))
        return weakest(found)

    def _by_bodies(self, step: Table, position: int, outer: Sequence[Table], seen: frozenset[int]) -> Finding:
        """What branches or a loop's body yield at that position; a branch that was never taken says nothing."""
        bodies = [step[key] for key in ("then", "else", "body") if key in step]
        first = 1 if step["op"] == "while" else 0
        found = [
            self._by_value([*body["steps"], *outer], body["yields"][first + position], seen)
            for body in bodies
            if first + position < len(body["yields"])
        ]
        return weakest([each for each in found if each.reason != NOT_RUN] or found)

    def _is_listed(self, node: str) -> bool:
        """Whether the id is one of those asked for, or stands inside one."""
        return any(node == wanted or node.startswith(f"{wanted}/") for wanted in self._nodes)

    def _allowed(self, kind: Kind, operators: Collection[str], reason: str) -> Finding:
        """A finding of a kind that counts only for some operators, or where no input holds anything to compute with."""
        if self._types & set(operators) or (kind is Kind.COMPILE_TIME and not self._is_given_numbers):
            return Finding(kind, reason)
        return Finding(Kind.NONE, f"{reason}, and {', '.join(sorted(self._types))} must compute")
