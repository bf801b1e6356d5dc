"""Checks that a module holds only what its level allows."""

from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import DYNAMIC_INDEX, ModuleOp, TensorType
from xdsl.ir import Attribute, Operation

from tstorch.diagnostics import LevelError
from tstorch.dialects.program import SegmentOp
from tstorch.levels import KERNEL_OPS, LEVELS, Legal, Level, get_level
from tstorch.locations import node_ids
from tstorch.passes.base import TSTorchPass


@dataclass(frozen=True)
class VerifyLevelPass(TSTorchPass):
    """Checks that a module holds only what its level allows.

    All offenders are reported at once, each kind with its count, a node it serves, and the pass that should have$
    it. Without an option the module's own level is checked. Changes nothing.

        // before
        %a = arith.negf %x : f32
        // after
        %a = arith.negf %x : f32
    """

    name = "verify-level"

    level: str = ""
    """The level to hold the module against: onnx, prim, flow, loop, wgsl or buf."""

    def apply(self, ctx: Context, module: ModuleOp) -> None:
        level = self._level(module)
        if level is not None and level in LEVELS and (problems := illegal(module, level)):
            raise LevelError("\n  ".join([f"the module is not at level {level}:", *problems]))

    def _level(self, module: ModuleOp) -> Level | None:
        if self.level and self.level not in set(LEVELS):
            raise LevelError(f"there is no level '{self.level}' to check; levels are: {', '.join(LEVELS)}")
        return Level(self.level) if self.level else get_level(module)


@dataclass
class _Offence:
    """What is illegal, the pass that should have removed it, and where it was met."""

    what: str
    left_by: str
    first: Operation
    count: int = 0

    def __str__(self) -> str:
        nodes = "".join(f", first at onnx '{node}'" for node in node_ids(self.first)[:1])
        cure = f"; expected to be removed by {self.left_by}" if self.left_by else ""
        return f"{self.what} ({self.count} times{nodes}){cure}"


def illegal(module: ModuleOp, level: Level) -> list[str]:
    """One line for each kind of op or type that `level` forbids; empty where the module is legal."""
    row = LEVELS[level]
    offences: dict[str, _Offence] = {}
    for op, inside in _located_ops(module):
        for what, left_by in _problems(op, inside, row, level):
            offences.setdefault(what, _Offence(what, left_by, op)).count += 1
    return [str(offence) for offence in offences.values()]


def _located_ops(module: ModuleOp) -> Iterator[tuple[Operation, bool]]:
    """Each op, and whether it stands inside a kernel. Graphs that wait for a run are as they came from the model."""
    pending: list[tuple[Operation, bool]] = [(module, False)]
    while pending:
        op, inside = pending.pop()
        yield op, inside
        if isinstance(op, SegmentOp):
            continue
        inner = inside or op.name in KERNEL_OPS
        children = [(child, inner) for region in op.regions for block in region.blocks for child in block.ops]
        pending.extend(reversed(children))


def _problems(op: Operation, inside: bool, row: Legal, level: Level) -> Iterator[tuple[str, str]]:
    dialect, _, _ = op.name.partition(".")
    legal = row.kernel if inside else row.host
    if dialect not in legal and op.name not in legal:
        place = " in a kernel" if inside else ""
        yield f"'{op.name}' is illegal{place}", row.left_by.get(dialect, "")
    if dialect == "program":  # values between segments may have open sizes, and the model's own types
        return
    for type in [
        *op.result_types,
        *(arg.type for region in op.regions for block in region.blocks for arg in block.args),
    ]:
        yield from ((problem, left_by) for problem, left_by in _type_problems(type, inside, row, level))


def _type_problems(type: Attribute, inside: bool, row: Legal, level: Level) -> Iterator[tuple[str, str]]:
    if not isinstance(type, TensorType):
        return
    if inside and level.order >= Level.LOOP.order:
        yield f"tensor type {type} is illegal in a kernel", row.left_by.get("prim", "")
    if str(type.element_type) not in row.elements:
        yield f"element type {type.element_type} is illegal", row.left_by.get("element", "")
    if level != Level.ONNX and DYNAMIC_INDEX in type.get_shape():
        yield f"type {type} has a size that is not static", "--dim, which binds it at import"
