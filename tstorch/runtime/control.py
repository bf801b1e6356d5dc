"""Does the steps of a program: runs segments, looks at what decides, and asks for what must be compiled first.

A program is a generator: where a segment is not compiled for the shapes at hand it yields a `Need`, and goes on with
the program that it is sent. Steps are what `control` of program.json lists (docs/artifact.md).
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tstorch.artifact.format import Artifact
from tstorch.diagnostics import RunError
from tstorch.runtime.values import Value, describe

Step = Mapping[str, Any]
Environment = dict[int, Value]
Looks = Mapping[int, str]
"""What the host looks at, and why."""

COUNT = "how many elements a result has"
BRANCH = "which branch is taken"
TRIPS = "how often a loop runs"
GOES_ON = "whether a loop goes on"
SHAPES = "what shapes the next segment has"


@dataclass(frozen=True)
class Loaded:
    """A program on the device: its number, its artifact, and the executor that runs its entries."""

    number: int
    artifact: Artifact
    executor: Any


@dataclass(frozen=True)
class Need:
    """A segment of a program, and what its inputs are: what is to be compiled."""

    program: int
    segment: str
    inputs: tuple[dict[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """As it travels."""
        return {"program": self.program, "segment": self.segment, "inputs": list(self.inputs)}


Steps = Generator[Need, Loaded, Any]


class Machine(Protocol):
    """What runs segments and looks at values."""

    def run(
        self, program: Loaded, entry: str, takes: Sequence[tuple[str, Value]], gives: Sequence[str], looks: Looks
    ) -> list[Value]:
        """The outputs of a segment; the host will look at those at the positions `looks`, each for its cause."""
        ...

    def look(self, cause: str, *values: Value) -> list[np.ndarray]:
        """The numbers of values: one synchronisation."""
        ...

    def stack(self, values: Sequence[Value], element: Mapping[str, Any]) -> Value:
        """Values of one shape, one behind the other."""
        ...


class Control:
    """Interprets programs on a machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def call(self, program: Loaded, given: Sequence[Value]) -> Steps:
        """The outputs of a program for its inputs, in order."""
        table = program.artifact.program
        if (control := table.get("control")) is None:
            takes = [(value["name"], each) for value, each in zip(table["inputs"], given, strict=True)]
            gives = [value["name"] for value in table["outputs"]]
            return self._machine.run(program, "run", takes, gives, {})
        frame = _Frame(self._machine, self, program, control)
        return (yield from frame.whole(given))


class _Frame:
    """One call of one program."""

    def __init__(self, machine: Machine, control: Control, program: Loaded, table: Mapping[str, Any]) -> None:
        self._machine = machine
        self._control = control
        self._program = program
        self._table = table
        self._looked = looked_at(table["steps"])

    def whole(self, given: Sequence[Value]) -> Steps:
        """All steps; what the outputs are, in order."""
        inputs, outputs = iter(given), list[Value]()
        values: Environment = {}
        for step in self._table["steps"]:
            match step["op"]:
                case "input":
                    values[step["outputs"][0]] = next(inputs)
                case "output":
                    outputs.append(values[step["inputs"][0]])
                case _:
                    yield from self._step(step, values)
        return outputs

    def _step(self, step: Step, values: Environment) -> Steps:
        given = [values[number] for number in step.get("inputs", ())]
        match step["op"]:
            case "constant":
                numbers = np.frombuffer(bytes.fromhex(step["bytes"]), step["dtype"]).reshape(step["shape"])
                results = [Value.known(numbers)]
            case "run":
                numbers = enumerate(step["outputs"])
                looks = {at: self._looked[number] for at, number in numbers if number in self._looked}
                takes = list(zip(step["takes"], given, strict=True))
                results = self._machine.run(self._program, step["entry"], takes, step["gives"], looks)
            case "take":
                [count] = self._machine.look(COUNT, given[1])
                results = [given[0].first(int(count), step["axis"])]
            case "specialise":
                results = yield from self._specialise(step, given)
            case "if":
                [condition] = self._machine.look(BRANCH, given[0])
                results = yield from self._body(step["then" if condition.item() else "else"], values, ())
            case "while":
                results = yield from self._while(step, given, values)
            case other:
                raise RunError(f"the program has a step '{other}' that this runtime does not know; update tstorch")
        values.update(zip(step["outputs"], results, strict=True))

    def _body(self, body: Mapping[str, Any], values: Environment, arguments: Sequence[Value]) -> Steps:
        """The steps of a body, which sees the values around it; what it yields."""
        inner = {**values, **dict(zip(body["arguments"], arguments, strict=True))}
        for step in body["steps"]:
            yield from self._step(step, inner)
        return [inner[number] for number in body["yields"]]

    def _while(self, step: Step, carried: list[Value], values: Environment) -> Steps:
        deciding = [values[step[name]] for name in ("trips", "going") if step[name] is not None]
        decided = self._machine.look(TRIPS, *deciding)
        most = int(decided.pop(0).item()) if step["trips"] is not None else None
        going = bool(decided.pop(0).item()) if step["going"] is not None else True
        columns: list[list[Value]] = [[] for _ in step["elements"]]
        count = 0
        while going and (most is None or count < most):
            first = [Value.known(np.array(count, np.int64)), Value.known(np.array(True))]
            condition, *results = yield from self._body(step["body"], values, [*first, *carried])
            carried = results[: len(carried)]
            for column, element in zip(columns, results[len(carried) :], strict=True):
                column.append(element)
            [again] = self._machine.look(GOES_ON, condition)
            going, count = bool(again.item()), count + 1
        stacks = zip(columns, step["elements"], strict=True)
        return [*carried, *(self._machine.stack(column, element) for column, element in stacks)]

    def _specialise(self, step: Step, given: Sequence[Value]) -> Steps:
        known = step["known"]
        given = list(given)
        for at, numbers in zip(known, self._machine.look(SHAPES, *(given[at] for at in known)), strict=True):
            given[at] = Value.known(given[at].exact(numbers))
        facts = tuple(describe(value, with_numbers=at in known) for at, value in enumerate(given))
        program = yield Need(self._program.number, step["segment"], facts)
        return (yield from self._control.call(program, [v for at, v in enumerate(given) if at not in known]))


def looked_at(steps: Sequence[Step]) -> dict[int, str]:
    """The numbers of the values that the host looks at, and why."""
    found: dict[int, str] = {}
    for step in steps:
        match step["op"]:
            case "if":
                found |= {step["inputs"][0]: BRANCH}
                found |= looked_at(step["then"]["steps"]) | looked_at(step["else"]["steps"])
            case "while":
                body = step["body"]
                found |= {number: TRIPS for number in (step["trips"], step["going"]) if number is not None}
                found |= {body["yields"][0]: GOES_ON} | looked_at(body["steps"])
            case "take":
                found[step["inputs"][1]] = COUNT
            case "specialise":
                found |= {step["inputs"][at]: SHAPES for at in step["known"]}
    return found
