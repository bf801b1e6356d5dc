"""The rules of a program's control: its steps name entries and values that are there."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

STEPS = ("input", "output", "constant", "run", "take", "specialise", "if", "while")

Table = Mapping[str, Any]


def control_problems(program: Table) -> Iterator[str]:
    """What is wrong with the control of program.json, in words; nothing where there is none."""
    control = program.get("control")
    if control is None:
        return
    yield from _Checker(program).steps(control["steps"], set())
    for kind, op in (("inputs", "input"), ("outputs", "output")):
        named = [step["name"] for step in control["steps"] if step["op"] == op]
        if named != [value["name"] for value in control[kind]]:
            yield f"control declares {kind} that its steps do not have"


class _Checker:
    def __init__(self, program: Table) -> None:
        self._entries = program["entries"]
        self._names = {kind: {value["name"] for value in program[kind]} for kind in ("inputs", "outputs")}

    def steps(self, steps: Sequence[Table], known: set[int]) -> Iterator[str]:
        """Problems of steps that see the values `known`, to which they add their own."""
        for step in steps:
            if step["op"] not in STEPS:
                yield f"control has step '{step['op']}'; expected one of {', '.join(STEPS)}"
                return
            wanted = [*step.get("inputs", ()), *(step.get(name) for name in ("trips", "going"))]
            if missing := [number for number in wanted if number is not None and number not in known]:
                yield f"control step '{step['op']}' takes value {missing[0]}, which no step before it gives"
            yield from self._own(step, known)
            known.update(step.get("outputs", ()))

    def _own(self, step: Table, known: set[int]) -> Iterator[str]:
        match step["op"]:
            case "run":
                yield from self._run(step)
            case "specialise":
                if any(not 0 <= at < len(step["inputs"]) for at in step["known"]):
                    yield f"control specialises '{step['segment']}' by inputs that it does not have"
            case "if":
                for name in ("then", "else"):
                    yield from self._body(step[name], known, len(step["outputs"]), 0)
            case "while":
                yield from self._body(step["body"], known, len(step["outputs"]) + 1, len(step["inputs"]) + 2)
                if len(step["elements"]) != len(step["outputs"]) - len(step["inputs"]):
                    yield "a loop of the control does not say what its stacked outputs are"

    def _run(self, step: Table) -> Iterator[str]:
        if step["entry"] not in self._entries:
            yield f"control runs entry '{step['entry']}', which does not exist"
        for side, kind, values in (("takes", "inputs", "inputs"), ("gives", "outputs", "outputs")):
            if unknown := [name for name in step[side] if name not in self._names[kind]]:
                yield f"control runs '{step['entry']}' with {kind} '{unknown[0]}', which does not exist"
            if len(step[side]) != len(step[values]):
                yield f"control runs '{step['entry']}' with {len(step[values])} {values}; it has {len(step[side])}"

    def _body(self, body: Table, known: set[int], yields: int, arguments: int) -> Iterator[str]:
        inner = known | set(body["arguments"])
        yield from self.steps(body["steps"], inner)
        if len(body["arguments"]) != arguments or len(body["yields"]) != yields:
            yield f"a body of the control has {len(body['arguments'])} arguments and {len(body['yields'])} results"
        if missing := [number for number in body["yields"] if number not in inner]:
            yield f"a body of the control yields value {missing[0]}, which none of its steps gives"
