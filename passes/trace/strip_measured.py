"""Takes off the IR what a trace measured."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from tstorch.passes.base import TSTorchPass
from tstorch.passes.trace.annotate_trace import MEASURED


@dataclass(frozen=True)
class StripMeasuredPass(TSTorchPass):
    """Takes off the IR what a trace measured.

    Applies at every level: what `annotate-trace` wrote goes, and the IR is what it was before.

        // before
        %y = prim.neg %x {trace.measured = {us = "10.000", share = "0.1000", estimate}} : tensor<4xf32>
        func.return %y : tensor<4xf32>
        // after
        %y = prim.neg %x : tensor<4xf32>
        func.return %y : tensor<4xf32>
    """

    name = "strip-measured"

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        for op in module.walk():
            op.attributes.pop(MEASURED, None)
