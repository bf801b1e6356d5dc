"""Erases ops that nothing uses and that do nothing else."""

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block
from xdsl.transforms.dead_code_elimination import is_trivially_dead

from tstorch.locations import kernel_of, node_ids
from tstorch.passes.base import TSTorchPass
from tstorch.remarks import RemarkSink


@dataclass(frozen=True)
class DcePass(TSTorchPass):
    """Erases ops that nothing uses and that do nothing else.

    The nodes that vanish with them are listed as elided: dead. Keeps ops with effects, and symbols.

        // before
        %a = arith.negf %x : f32
        %b = arith.addf %a, %x : f32
        func.return %x : f32
        // after
        func.return %x : f32
    """

    name = "dce"

    def apply(self, ctx: Context, module: ModuleOp) -> None:
        with self.remarks(module) as remarks:
            for block in module.body.blocks:
                _sweep(block, remarks)


def _sweep(block: Block, remarks: RemarkSink) -> None:
    """Users first, so that a dead chain falls in one sweep."""
    for op in reversed(list(block.ops)):
        if is_trivially_dead(op):
            if kernel_of(op) is None:
                remarks.elide([node for inner in op.walk() for node in node_ids(inner)], "dead: no output needs it")
            block.erase_op(op)
            continue
        for region in op.regions:
            for inner in region.blocks:
                _sweep(inner, remarks)
