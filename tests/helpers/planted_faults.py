"""Faults to be found: passes of a plugin, each wrong in one way, and how the plugin is installed for a test."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from xdsl.context import Context
from xdsl.dialects.arith import ConstantOp as ScalarOp
from xdsl.dialects.builtin import FloatAttr, ModuleOp, f32

from tstorch.dialects.flow import DispatchOp
from tstorch.dialects.loop import KernelOp
from tstorch.dialects.prim.binary import MaximumOp
from tstorch.levels import Level
from tstorch.locations import node_ids
from tstorch.passes.base import TSTorchPass
from tstorch.passes.rewrite import Pattern, Rewriter
from tstorch.plugins import Plugin


@dataclass(frozen=True)
class WrongConstantPass(TSTorchPass):
    """Changes the last number 0 of the kernel that serves a node: a slip in code generation."""

    name = "planted-wrong-constant"
    requires = ensures = Level.LOOP
    node: str = ""

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        hosts = [op for op in module.walk() if isinstance(op, DispatchOp) and self.node in node_ids(op)]
        names = {op.kernel.root_reference.data for op in hosts}
        for kernel in module.walk():
            if isinstance(kernel, KernelOp) and kernel.sym_name.data in names:
                zeros = [op for op in kernel.walk() if isinstance(op, ScalarOp) and op.value == FloatAttr(0.0, f32)]
                zeros[-1].properties["value"] = FloatAttr(0.25, f32)


@dataclass(frozen=True)
class DropMaximum(Pattern):
    """Replaces a maximum by its first operand."""

    node: str

    def match_and_rewrite(self, op: MaximumOp, rewriter: Rewriter) -> None:
        if self.node in node_ids(op):
            rewriter.replace(op, op.lhs, reason="wrong: not the same numbers")


@dataclass(frozen=True)
class WrongRewritePass(TSTorchPass):
    """Takes the maximum of a node away: a rewrite that is no identity."""

    name = "planted-wrong-rewrite"
    requires = ensures = Level.PRIM
    node: str = ""

    def pattern_instances(self) -> Sequence[Pattern]:
        return [DropMaximum(self.node)]


PASSES = {
    "planted-wrong-constant": "planted_faults:WrongConstantPass",
    "planted-wrong-rewrite": "planted_faults:WrongRewritePass",
}


def wrong_constant(node: str) -> Plugin:
    """The fault in the kernel of a node, placed where kernels are loop nests."""
    return Plugin(name="planted", passes=PASSES, hooks={"after-loop": (f'planted-wrong-constant{{node="{node}"}}',)})


def wrong_rewrite(node: str) -> Plugin:
    """The fault at the primitives of a node, placed behind the conversion to them."""
    return Plugin(name="planted", passes=PASSES, hooks={"after-prim": (f'planted-wrong-rewrite{{node="{node}"}}',)})


def install(plugin: Plugin, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Announces a plugin, as an installed package would, to whatever loads plugins in this process."""
    place = folder / "planted-1.0.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
    (place / "entry_points.txt").write_text("[tstorch.plugins]\nplanted = planted_faults:PLANTED\n")
    monkeypatch.setattr("planted_faults.PLANTED", plugin, raising=False)
    monkeypatch.syspath_prepend(str(folder))
