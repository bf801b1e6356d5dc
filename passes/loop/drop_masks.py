"""Drops constraints that always hold."""

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from tstorch.dialects.loop import AccessOp, LoadOp
from tstorch.levels import Level
from tstorch.locations import ServedNodes
from tstorch.passes.base import TSTorchPass


@dataclass(frozen=True)
class DropMasksPass(TSTorchPass):
    """Drops constraints that always hold.

    Applies to loads and stores with a mask: a constraint goes where the ranges of the loops prove it. Declines, with
    a remark, where they do not: padding and tails keep theirs.

        // before
        loop.kernel @copy(%x: memref<64xf32>, %out: memref<62xf32>) grid [1, 1, 1] workgroup [64, 1, 1] {
          loop.parallel %t = lid.x {
            %v = loop.load %x[%t] where (%t < 64) else 1.0 : f32 : memref<64xf32> -> f32
            loop.store %v, %out[%t] where (%t < 62, %t + 1 < 65) : f32, memref<62xf32>
          }
        }
        // after
        loop.kernel @copy(%x: memref<64xf32>, %out: memref<62xf32>) grid [1, 1, 1] workgroup [64, 1, 1] {
          loop.parallel %t = lid.x {
            %v = loop.load %x[%t] : memref<64xf32> -> f32
            loop.store %v, %out[%t] where (%t < 62) : f32, memref<62xf32>
          }
        }
    """

    name = "drop-masks"
    requires = ensures = Level.LOOP

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        served = ServedNodes(module)
        with self.remarks(module) as remarks:
            for op in module.walk():
                if isinstance(op, AccessOp) and op.mask is not None and _drop(op):
                    kind = "load" if isinstance(op, LoadOp) else "store"
                    remarks.missed(served.of(op), "TST-V020", f"a {kind} keeps its bounds check: padding or a tail")


def _drop(op: AccessOp) -> bool:
    """Drops what always holds; whether something is left."""
    constraints = op.constraints
    kept = [(expr, bound) for expr, bound in constraints if not expr.is_within(bound)]
    if len(kept) < len(constraints):
        op.set_access(op.index_list, kept)
        if not kept and isinstance(op, LoadOp):
            op.properties.pop("other", None)
    return bool(kept)
