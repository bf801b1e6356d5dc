"""A function's arguments and results, each with its attributes, changed together with the body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr, TensorType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, BlockArgument, SSAValue

from tstorch.diagnostics import DiagnosticError, PassError
from tstorch.dialects.program import control_of
from tstorch.locations import node_ids

NAME = "tst.name"
STATE = "tst.state"
START = "tst.start"
GRADIENT = "tst.gradient"

Notes = dict[str, Attribute]


def find_function(module: ModuleOp, name: str, pass_name: str) -> FuncOp:
    """The function of that name. Raises DiagnosticError where there is none."""
    for op in module.body.block.ops:
        if isinstance(op, FuncOp) and op.sym_name.data == name:
            return op
    if (program := control_of(module)) is not None:
        node = next((id for step in program.walk() for id in node_ids(step)), None)
        raise DiagnosticError(
            "what is run, or how large it is, hangs on data here; gradients need control and shapes that are known "
            "before a run: make them constants",
            node=node,
        )
    raise DiagnosticError(f"{pass_name} works on func.func @{name}; the module holds none")


def text_of(notes: Mapping[str, Attribute], key: str) -> str | None:
    """A string among the attributes, None where absent."""
    value = notes.get(key)
    return value.data if isinstance(value, StringAttr) else None


@dataclass
class Result:
    """One returned value and the attributes of its place."""

    value: SSAValue
    notes: Mapping[str, Attribute]


class Signature:
    """A function opened for change. `close` writes the attributes, the return and the function's type back."""

    def __init__(self, func: FuncOp):
        self.func = func
        terminator = self.block.last_op
        if not isinstance(terminator, ReturnOp):
            raise PassError(f"func.func @{func.sym_name.data} does not end with a return")
        self.end = terminator
        self._argument_notes = _notes(func.arg_attrs, len(self.block.args))
        notes = _notes(func.res_attrs, len(terminator.operands))
        self.results = [Result(*pair) for pair in zip(terminator.operands, notes, strict=True)]

    @property
    def block(self) -> Block:
        """The function's body."""
        return self.func.body.block

    @property
    def inputs(self) -> dict[str, BlockArgument]:
        """The arguments by name."""
        named = ((text_of(notes, NAME), argument) for argument, notes in self.arguments)
        return {name: argument for name, argument in named if name is not None}

    @property
    def arguments(self) -> list[tuple[BlockArgument, Notes]]:
        """The arguments with their attributes."""
        return list(zip(self.block.args, self._argument_notes, strict=True))

    def add_argument(self, type: TensorType, notes: Notes, hint: str) -> BlockArgument:
        """A new last argument."""
        argument = self.block.insert_arg(type, len(self.block.args))
        argument.name_hint = hint
        self._argument_notes.append(notes)
        return argument

    def close(self, name: str) -> None:
        """Writes everything back, under the function's new name."""
        self.end.operands = [result.value for result in self.results]
        self.func.properties["sym_name"] = StringAttr(name)
        self.func.arg_attrs = _attribute(self._argument_notes)
        self.func.res_attrs = _attribute([result.notes for result in self.results])
        self.func.update_function_type()


def _notes(attributes: ArrayAttr[DictionaryAttr] | None, count: int) -> list[Notes]:
    return [dict(each.data) for each in attributes] if attributes is not None else [{} for _ in range(count)]


def _attribute(notes: Sequence[Mapping[str, Attribute]]) -> ArrayAttr[DictionaryAttr] | None:
    return ArrayAttr(DictionaryAttr(dict(each)) for each in notes) if any(notes) else None
