"""Turns each kernel's prim body into a loop nest."""

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from tstorch.diagnostics import PassError
from tstorch.dialects import flow, loop
from tstorch.dialects.prim.base import ContractionOp, OrderingOp, PrimOp, ReductionOp, RunningOp, WindowOp
from tstorch.dialects.prim.cumulative import CumulativeOp
from tstorch.dialects.prim.indexing import ScatterOp
from tstorch.dialects.prim.scan import ScanOp
from tstorch.levels import Level
from tstorch.passes.base import TSTorchPass
from tstorch.passes.convert.kernel_to_loop.accumulate import convert_accumulate
from tstorch.passes.convert.kernel_to_loop.contraction import convert_contraction
from tstorch.passes.convert.kernel_to_loop.map import convert_map
from tstorch.passes.convert.kernel_to_loop.order import convert_order
from tstorch.passes.convert.kernel_to_loop.rows import convert_rows
from tstorch.passes.convert.kernel_to_loop.running import convert_running
from tstorch.passes.convert.kernel_to_loop.scan import convert_scan

ANCHORS = (ContractionOp, WindowOp, ReductionOp, OrderingOp, RunningOp, ScatterOp)
"""Ops that need loops of their own."""


@dataclass(frozen=True)
class ConvertKernelToLoopPass(TSTorchPass):
    """Turns each kernel's prim body into a loop nest, as its schedule says.

    The schedule's kind chooses the nest; all index maps of the body are composed into the accesses of the loops, and
    elementwise ops are emitted where their results are needed. Declines nothing: a kernel that no nest can compute was
    formed wrongly, and is an error that names it.

        // before
        flow.kernel @double(%x: tensor<8xf32>) -> (tensor<8xf32>) attributes {
            schedule = #flow.schedule<map, {workgroup = array<i64: 8, 1, 1>}>} {
          %y = prim.add %x, %x : tensor<8xf32> loc("0")
          flow.yield %y : tensor<8xf32>
        }
        // after
        loop.kernel @double(%x: memref<8xf32>, %y: memref<8xf32>) grid [1, 1, 1] workgroup [8, 1, 1] attributes {
            kind = "map", ops = ["prim.add"],
            schedule = #flow.schedule<map, {workgroup = array<i64: 8, 1, 1>}>} {
          loop.parallel %t = lid.x {
            %0 = loop.load %x[%t] : memref<8xf32> -> f32 loc("0")
            %1 = arith.addf %0, %0 : f32 loc("0")
            loop.store %1, %y[%t] : f32, memref<8xf32> loc("0")
          }
        }
    """

    name = "convert-kernel-to-loop"
    requires = Level.FLOW
    ensures = Level.LOOP

    def apply(self, ctx: Context, module: ModuleOp) -> None:
        for kernel in [op for op in module.body.ops if isinstance(op, flow.KernelOp)]:
            converted = _convert(kernel)
            module.body.block.insert_op_before(converted, kernel)
            kernel.detach()
            kernel.erase()


def _convert(kernel: flow.KernelOp) -> loop.KernelOp:
    name = kernel.sym_name.data
    schedule = kernel.schedule
    if schedule is None:
        raise PassError(f"kernel @{name} has no schedule; run select-schedule first")
    anchors = [op for op in kernel.ops if isinstance(op, ANCHORS)]
    try:
        return _nest(kernel, schedule, anchors)
    except TypeError as error:
        raise PassError(f"kernel @{name}: {error}") from error


def _nest(kernel: flow.KernelOp, schedule: flow.ScheduleAttr, anchors: Sequence[PrimOp]) -> loop.KernelOp:
    """The nest of the schedule's kind. Raises TypeError where the kernel's body does not suit it."""
    kind = schedule.kernel_kind
    if kind is flow.KernelKind.ROW_REDUCTION:
        return convert_rows(kernel, schedule)
    if scan := next((op for op in kernel.ops if isinstance(op, ScanOp)), None):
        return convert_scan(kernel, schedule, scan)
    if not anchors:
        return convert_map(kernel, schedule)
    if len(anchors) > 1:
        raise TypeError(f"{len(anchors)} ops need loops of their own; a {kind} kernel has one")
    [anchor] = anchors
    if kind is flow.KernelKind.CONTRACTION and isinstance(anchor, ContractionOp):
        return convert_contraction(kernel, schedule, anchor)
    if isinstance(anchor, OrderingOp):
        return convert_order(kernel, schedule, anchor)
    if isinstance(anchor, CumulativeOp):
        return convert_running(kernel, schedule, anchor)
    return convert_accumulate(kernel, schedule, anchor)
