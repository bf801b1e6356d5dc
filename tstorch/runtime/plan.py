"""What one run encodes: an entry of the host program as passes, copies and fills, with the timestamps of its kind.

The three kinds of run differ in nothing but their plans: *plain* writes no timestamp, *light* writes one at each end of
the GPU's work (and around the transfers, where the device can), *detailed* gives each dispatch a pass of its own with a
timestamp at each end. Queries are numbered in the order of execution: pair i uses queries 2i and 2i+1.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tstorch.diagnostics import RunError
from tstorch.runtime.device import NO_QUERY, Buffer, Dispatch
from tstorch.runtime.transfer import Slot
from tstorch.runtime.wire import Kind


@dataclass(frozen=True)
class Pass:
    """Dispatches in one compute pass; writes queries `begin` and `end` where they are given."""

    dispatches: tuple[Dispatch, ...]
    begin: int = NO_QUERY
    end: int = NO_QUERY


@dataclass(frozen=True)
class Copy:
    """Bytes from one buffer to another."""

    source: Buffer
    source_offset: int
    target: Buffer
    target_offset: int
    bytes: int


@dataclass(frozen=True)
class Fill:
    """Bytes to zero."""

    target: Buffer
    offset: int
    bytes: int


@dataclass(frozen=True)
class Stamp:
    """A timestamp between passes."""

    query: int


Step = Pass | Copy | Fill | Stamp


@dataclass(frozen=True)
class Pair:
    """What two timestamps enclose: the gpu span `id`, the dispatch `id`, or the upload or readback copies."""

    what: Literal["gpu", "dispatch", "upload", "readback"]
    id: int = 0


@dataclass(frozen=True)
class Plan:
    """One way to run one entry."""

    steps: tuple[Step, ...]
    pairs: tuple[Pair, ...] = ()
    uploads: tuple[Mapping[str, Any], ...] = ()
    readbacks: tuple[Mapping[str, Any], ...] = ()
    origin: "Plan | None" = None

    def between(self, before: Iterable[Step], after: Iterable[Step]) -> "Plan":
        """The same with other steps around it. It is as good as this one where errors are concerned."""
        return Plan((*before, *self.steps, *after), self.pairs, origin=self)

    @property
    def dispatches(self) -> int:
        """How many dispatches a run submits."""
        return sum(len(step.dispatches) for step in self.steps if isinstance(step, Pass))


@dataclass(frozen=True)
class Program:
    """What plans are made from: the artifact's host program, bound to one device."""

    values: Mapping[str, Mapping[str, Mapping[str, Any]]]  # "inputs" and "outputs": name to declaration
    entries: Mapping[str, Sequence[Mapping[str, Any]]]
    buffers: Mapping[int, Buffer]
    dispatches: Mapping[int, Dispatch]
    uploads: Mapping[str, Slot]
    readbacks: Mapping[str, Slot]


def make_core(program: Program, entry: str, kind: Kind) -> Plan:
    """The plan of one entry without its transfers: what it takes and gives is moved by others."""
    commands = [command for command in program.entries[entry] if command["op"] not in ("upload", "readback")]
    return _Planner(program, kind, set(), False).plan(commands)


def make_plan(
    program: Program, entry: str, kind: Kind, outputs: Iterable[str] | None = None, time_transfers: bool = False
) -> Plan:
    """The plan of one entry. `outputs` are those to read back (all by default).

    Raises RunError for an entry or output that does not exist.
    """
    if entry not in program.entries:
        raise RunError(f"there is no entry '{entry}'; expected one of {', '.join(sorted(program.entries))}")
    commands = program.entries[entry]
    available = [command["output"] for command in commands if command["op"] == "readback"]
    wanted = available if outputs is None else list(outputs)
    if unknown := [name for name in wanted if name not in available]:
        raise RunError(f"entry '{entry}' has no output {', '.join(unknown)}; expected some of {', '.join(available)}")
    return _Planner(program, kind, set(wanted), time_transfers and kind == "light").plan(commands)


@dataclass
class _Planner:
    program: Program
    kind: Kind
    wanted: set[str]
    time_transfers: bool
    steps: list[Step] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    uploads: list[Mapping[str, Any]] = field(default_factory=list)
    readbacks: list[Mapping[str, Any]] = field(default_factory=list)
    group: list[Dispatch] = field(default_factory=list)  # dispatches of the pass that is still open
    opened: int | None = None  # a gpu span has begun with this query, which no pass has written yet

    def plan(self, commands: Sequence[Mapping[str, Any]]) -> Plan:
        for run in _runs(commands):
            timed = self.time_transfers and run[0]["op"] in ("upload", "readback")
            if timed:
                self.close_pass()
                self.steps.append(Stamp(2 * len(self.pairs)))
                self.pairs.append(Pair(run[0]["op"]))
            for command in run:
                getattr(self, command["op"])(command)
            if timed:
                self.steps.append(Stamp(2 * len(self.pairs) - 1))
        self.close_pass()
        return Plan(tuple(self.steps), tuple(self.pairs), tuple(self.uploads), tuple(self.readbacks))

    def close_pass(self, end: int = NO_QUERY) -> None:
        if self.group:
            begin = NO_QUERY if self.opened is None else self.opened
            self.steps.append(Pass(tuple(self.group), begin, end))
            self.group, self.opened = [], None

    # One method per command of the host program.

    def upload(self, command: Mapping[str, Any]) -> None:
        value, slot = self.program.values["inputs"][command["input"]], self.program.uploads[command["input"]]
        self.close_pass()
        self.uploads.append(value)
        if not value["bytes"]:
            return  # no elements, nothing to move
        target = self.program.buffers[value["buffer"]]
        self.steps.append(Copy(slot.buffer, slot.offset, target, value["offset"], value["bytes"]))

    def readback(self, command: Mapping[str, Any]) -> None:
        if command["output"] not in self.wanted:
            return
        value, slot = self.program.values["outputs"][command["output"]], self.program.readbacks[command["output"]]
        self.close_pass()
        self.readbacks.append(value)
        if not value["bytes"]:
            return
        source = self.program.buffers[value["buffer"]]
        self.steps.append(Copy(source, value["offset"], slot.buffer, slot.offset, value["bytes"]))

    def dispatch(self, command: Mapping[str, Any]) -> None:
        self.group.append(self.program.dispatches[command["id"]])

    def copy(self, command: Mapping[str, Any]) -> None:
        self.close_pass()
        source, target = command["source"], command["target"]
        buffers = self.program.buffers
        self.steps.append(
            Copy(
                buffers[source["buffer"]],
                source["offset"],
                buffers[target["buffer"]],
                target["offset"],
                command["bytes"],
            )
        )

    def fill(self, command: Mapping[str, Any]) -> None:
        self.close_pass()
        target = command["target"]
        self.steps.append(Fill(self.program.buffers[target["buffer"]], target["offset"], command["bytes"]))

    def span(self, command: Mapping[str, Any]) -> None:
        timed_by = {"gpu": "light", "dispatch": "detailed"}
        if timed_by[command["kind"]] != self.kind:
            return
        if command["edge"] == "begin":
            self.close_pass()
            self.opened = 2 * len(self.pairs)
            self.pairs.append(Pair(command["kind"], command["id"]))
        else:
            self.end_span(2 * len(self.pairs) - 1)

    def end_span(self, query: int) -> None:
        """Ends the open pass at `query`, or, where copies follow the last pass, an empty one."""
        if self.group:
            self.close_pass(query)
        else:
            begin = NO_QUERY if self.opened is None else self.opened
            self.steps.append(Pass((), begin, query))
            self.opened = None


def _runs(commands: Sequence[Mapping[str, Any]]) -> Iterable[list[Mapping[str, Any]]]:
    """Neighbouring transfers of one direction together, every other command alone."""
    run: list[Mapping[str, Any]] = []
    for command in commands:
        if run and not (command["op"] == run[-1]["op"] and command["op"] in ("upload", "readback")):
            yield run
            run = []
        run.append(command)
    if run:
        yield run
