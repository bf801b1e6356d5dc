"""The rules of the artifact that a reader relies on: schemas, references between tables, ranges in buffers."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tstorch.artifact.check_control import control_problems
from tstorch.artifact.errors import ArtifactError
from tstorch.artifact.limits import check_limits

if TYPE_CHECKING:
    from tstorch.artifact.format import Artifact

CATEGORIES = ("weight", "input", "output", "activation", "gradient", "optimizer", "state", "scratch")


def check_schema(path: Path, table: Any, expected: str) -> None:
    """Raises ArtifactError unless `table` carries the schema `name/major` that this version reads."""
    name, major = expected.split("/")
    found = table.get("schema") if isinstance(table, dict) else None
    found_name, _, found_major = str(found).partition("/")
    if found_name != name or not found_major.isdigit():
        raise ArtifactError(f"'{path}': schema is {found!r}; expected '{expected}'")
    if int(found_major) > int(major):
        raise ArtifactError(f"'{path}': schema is '{found}', newer than '{expected}'; update tstorch to read it")


def check_artifact(path: Path, artifact: "Artifact") -> None:
    """Raises ArtifactError naming the first rule that is broken."""
    check_schema(path, artifact.manifest, "tstorch-artifact/1")
    check_schema(path, artifact.program, "tstorch-program/1")
    check_schema(path, artifact.memory, "tstorch-memory/1")
    for kernel in artifact.kernels.values():
        check_schema(path, kernel.map, "tstorch-kernel/1")
    try:
        problem = next(_problems(artifact), None)
        if problem is None:
            check_limits(artifact)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        problem = f"a table lacks what docs/artifact.md requires ({type(error).__name__}: {error})"
    if problem:
        raise ArtifactError(f"'{path}' is not a valid artifact: {problem}")


def _problems(artifact: "Artifact") -> Iterator[str]:
    program = artifact.program
    sizes = {}
    for buffer in program["buffers"]:
        if buffer["id"] in sizes:
            yield f"buffer {buffer['id']} is declared twice"
        if buffer["bytes"] <= 0 or buffer["bytes"] % 4:
            yield f"buffer {buffer['id']} has {buffer['bytes']} bytes; expected a positive multiple of 4"
        if buffer["category"] not in CATEGORIES:
            yield f"buffer {buffer['id']} has category '{buffer['category']}'; expected one of {', '.join(CATEGORIES)}"
        sizes[buffer["id"]] = buffer["bytes"]
    yield from _value_problems(program, sizes)
    ids = [entry["id"] for entry in artifact.dispatches]
    if len(set(ids)) != len(ids):
        yield "two dispatches have one id"
    yield from control_problems(program)
    for name, commands in program["entries"].items():
        yield from _entry_problems(artifact, name, commands, sizes, set(ids))


def _value_problems(program: dict[str, Any], sizes: dict[int, int]) -> Iterator[str]:
    weights = {weight["name"] for weight in program["weights"]}
    for weight in program["weights"]:
        for piece in weight["pieces"]:
            yield from _range_problem(f"weight '{weight['name']}'", piece, sizes)
    for kind in ("inputs", "outputs", "state"):
        for value in program[kind]:
            yield from _range_problem(f"{kind} '{value['name']}'", value, sizes)
    for state in program["state"]:
        if (start := state["start"].get("weight")) and start not in weights:
            yield f"state '{state['name']}' starts from weight '{start}', which does not exist"


def _range_problem(what: str, view: dict[str, Any], sizes: dict[int, int], nbytes: int | None = None) -> Iterator[str]:
    size: int = view["bytes"] if nbytes is None else nbytes
    if view["buffer"] not in sizes:
        yield f"{what} lies in buffer {view['buffer']}, which does not exist"
    elif view["offset"] < 0 or size < 0 or view["offset"] + size > sizes[view["buffer"]]:
        yield (
            f"{what} spans bytes {view['offset']}..{view['offset'] + size} of buffer {view['buffer']}, "
            f"which has {sizes[view['buffer']]}"
        )


def _entry_problems(
    artifact: "Artifact", entry: str, commands: list[dict[str, Any]], sizes: dict[int, int], ids: set[int]
) -> Iterator[str]:
    names = {kind: {value["name"] for value in artifact.program[kind]} for kind in ("inputs", "outputs")}
    for command in commands:
        match command["op"]:
            case "upload" if command["input"] not in names["inputs"]:
                yield f"entry '{entry}' uploads '{command['input']}', which is no input"
            case "readback" if command["output"] not in names["outputs"]:
                yield f"entry '{entry}' reads back '{command['output']}', which is no output"
            case "dispatch":
                yield from _dispatch_problems(artifact, command, sizes, ids)
            case "copy":
                for side in ("source", "target"):
                    yield from _range_problem(f"a copy's {side}", command[side], sizes, command["bytes"])
            case "fill":
                yield from _range_problem("a fill", command["target"], sizes, command["bytes"])
            case "upload" | "readback" | "span":
                pass
            case other:
                yield f"entry '{entry}' has command '{other}'; expected upload, dispatch, copy, fill, span or readback"


def _dispatch_problems(
    artifact: "Artifact", command: dict[str, Any], sizes: dict[int, int], ids: set[int]
) -> Iterator[str]:
    what = f"dispatch {command['id']}"
    if command["id"] not in ids:
        yield f"{what} is missing in dispatches.json"
    kernel = artifact.kernels.get(command["kernel"])
    if kernel is None:
        yield f"{what} runs kernel '{command['kernel']}', which does not exist"
        return
    if len(command["grid"]) != 3 or min(command["grid"]) < 1:
        yield f"{what} has grid {command['grid']}; expected three positive sizes"
    if [binding["access"] for binding in command["bindings"]] != kernel.map["bindings"]:
        yield f"{what} binds other accesses than its kernel '{command['kernel']}' declares"
    for binding in command["bindings"]:
        yield from _range_problem(what, binding, sizes)
