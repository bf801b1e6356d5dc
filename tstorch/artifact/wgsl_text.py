"""The WGSL text of a kernel, and which of its ops each line serves.

The ops spell themselves (`tstorch.dialects.wgsl`); here static loops are expanded, names given and lines counted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from xdsl.ir import Operation, SSAValue

from tstorch.dialects.wgsl import (
    BodyOp,
    ExpressionOp,
    ForOp,
    LetOp,
    ModuleOp,
    RegistersOp,
    StatementOp,
    StaticForOp,
)
from tstorch.dialects.wgsl.spelling import Scope, Text, name_of
from tstorch.locations import location_ids


@dataclass(frozen=True)
class KernelText:
    """A shader. `lines` maps 1-based line numbers to indices of the kernel's prim ops, in order."""

    name: str
    text: str
    lines: dict[int, list[int]]


def kernel_text(module: ModuleOp) -> KernelText:
    """Prints a verified module."""
    printer = _Printer()
    ops = list(module.body.block.ops)
    arrays = [op for op in ops if isinstance(op, StatementOp)]
    printer.emit(_Compiler().nodes(arrays), depth=0)
    function = module.function
    wg, lid = function.body.block.args
    printer.scope.names.update({wg: "wg", lid: "lid"})
    printer.emit(_Compiler().nodes([function]), depth=0)
    return KernelText(module.sym_name.data, "\n".join(printer.lines) + "\n", printer.line_ops)


def kernel_map(module: ModuleOp, text: KernelText) -> dict[str, Any]:
    """What `kernels/NAME.map.json` of an artifact says."""
    return {
        "schema": "tstorch-kernel/1",
        "entry": module.function.sym_name.data,
        "workgroup": list(module.function.workgroup_size),
        "workgroup_bytes": module.workgroup_bytes,
        "kind": module.kind.data if module.kind else "",
        "bindings": [binding.access.data.value for binding in module.bindings],
        "ops": [op.data for op in module.ops] if module.ops else [],
        "lines": {str(line): ops for line, ops in sorted(text.lines.items())},
        "iterations": module.iterations.value.data if module.iterations else 0,
    }


@dataclass
class _Line:
    text: Text
    ops: list[int]
    introduces: SSAValue | None = None


@dataclass
class _Body:
    opening: list[_Line]
    nodes: "list[_Line | _Body | _Expansion | _Declaration]"
    iv: SSAValue | None


@dataclass
class _Expansion:
    iv: SSAValue
    values: range
    nodes: "list[_Line | _Body | _Expansion | _Declaration]"


@dataclass
class _Declaration:
    memory: SSAValue
    lines: list[_Line]


_Node = _Line | _Body | _Expansion | _Declaration


class _Compiler:
    """Spells every op once: the fields of an op are slow to read, and a static loop repeats its body often."""

    def __init__(self) -> None:
        self._texts: dict[SSAValue, Text] = {}
        self._ops: dict[SSAValue, frozenset[int]] = {}
        self._inlined: set[int] = set()

    def nodes(self, ops: Iterable[Operation]) -> list[_Node]:
        return [node for op in ops if (node := self._node(op)) is not None]

    def _node(self, op: Operation) -> _Node | None:
        if isinstance(op, ExpressionOp):
            self._spell_expression(op)
            return None
        if isinstance(op, RegistersOp):
            lines = [_Line(text, []) for text in op.spell_lines(self._of)]
            return _Declaration(op.memory, lines)
        if isinstance(op, StaticForOp):
            return _Expansion(op.iv, op.values, self.nodes(op.body.block.ops))
        if isinstance(op, BodyOp):
            opening = self._lines(op, op.spell_opening)
            iv = op.iv if isinstance(op, ForOp) else None
            return _Body(opening, self.nodes(op.block.ops), iv)
        if isinstance(op, StatementOp):
            (line,) = self._lines(op, op.spell_lines)
            if isinstance(op, LetOp):
                line.introduces = op.result
            return line
        raise TypeError(f"'{op.name}' has no WGSL form")

    def _spell_expression(self, op: ExpressionOp) -> None:
        self._inlined = _local_indices(op)
        self._texts[op.result] = op.spell(self._of)
        self._ops[op.result] = frozenset(self._inlined)

    def _lines(self, op: StatementOp | BodyOp, spell: Any) -> list[_Line]:
        self._inlined = _local_indices(op)
        texts: Sequence[Text] = spell(self._of)
        return [_Line(text, sorted(self._inlined)) for text in texts]

    def _of(self, value: SSAValue) -> Text:
        if (text := self._texts.get(value)) is None:
            return name_of(value)
        self._inlined |= self._ops[value]
        return text


def _local_indices(op: Operation) -> set[int]:
    return {int(name) for name in location_ids(op.location) if name.isdecimal()}


@dataclass
class _Printer:
    lines: list[str] = field(default_factory=list)
    line_ops: dict[int, list[int]] = field(default_factory=dict)
    scope: Scope = field(default_factory=lambda: Scope({}, {}))
    _values: int = 0
    _loops: int = 0
    _registers: int = 0

    def emit(self, nodes: Sequence[_Node], depth: int) -> None:
        for node in nodes:
            match node:
                case _Line():
                    self._emit_line(node, depth)
                case _Body():
                    self._emit_body(node, depth)
                case _Expansion():
                    for value in node.values:
                        self.scope.values[node.iv] = value
                        self.emit(node.nodes, depth)
                case _Declaration():
                    self.scope.names[node.memory] = f"r{self._registers}"
                    self._registers += 1
                    for line in node.lines:
                        self._emit_line(line, depth)

    def _emit_body(self, body: _Body, depth: int) -> None:
        if body.iv is not None:
            self.scope.names[body.iv] = f"i{self._loops}"
            self._loops += 1
        for line in body.opening:
            self._emit_line(line, depth)
        self.emit(body.nodes, depth + 1)
        self.lines.append("  " * depth + "}")

    def _emit_line(self, line: _Line, depth: int) -> None:
        if line.introduces is not None:
            self.scope.names[line.introduces] = f"v{self._values}"
            self._values += 1
        self.lines.append("  " * depth + line.text.render(self.scope))
        if line.ops:
            self.line_ops[len(self.lines)] = line.ops
