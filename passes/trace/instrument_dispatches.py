"""Marks what may be timed."""

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from tstorch.dialects.buf import CopyOp, DispatchOp, EntryOp
from tstorch.dialects.trace import Edge, SpanKind, SpanOp
from tstorch.levels import Level
from tstorch.passes.base import TSTorchPass


@dataclass(frozen=True)
class InstrumentDispatchesPass(TSTorchPass):
    """Marks what may be timed: a span around each dispatch, and one around all GPU work of an entry.

    How spans are timed is the runner's choice; without the pass nothing but the whole can be. Leaves an entry without
    dispatches as it is.

        // before
        buf.buffer @run.0 : 16 "input"
        buf.buffer @run.1 : 16 "output"
        buf.entry @run {
          %0 = buf.view @run.0[0] "x" : !buf.view<tensor<4xf32>>
          %1 = buf.view @run.1[0] "y" : !buf.view<tensor<4xf32>>
          buf.upload "x", %0 {dtype = "float32", storage = "f32"} : !buf.view<tensor<4xf32>>
          buf.dispatch @exp_0(read %0 : !buf.view<tensor<4xf32>>, write %1 : !buf.view<tensor<4xf32>>) grid [1, 1, 1] {
              id = 0 : i64, label = "exp", nodes = [loc("/exp")], flops = array<i64: 4>} loc("/exp")
          buf.readback "y", %1 {dtype = "float32", storage = "f32"} : !buf.view<tensor<4xf32>>
        }
        // after
        buf.buffer @run.0 : 16 "input"
        buf.buffer @run.1 : 16 "output"
        buf.entry @run {
          %0 = buf.view @run.0[0] "x" : !buf.view<tensor<4xf32>>
          %1 = buf.view @run.1[0] "y" : !buf.view<tensor<4xf32>>
          buf.upload "x", %0 {dtype = "float32", storage = "f32"} : !buf.view<tensor<4xf32>>
          trace.span "begin" "gpu" 0
          trace.span "begin" "dispatch" 0
          buf.dispatch @exp_0(read %0 : !buf.view<tensor<4xf32>>, write %1 : !buf.view<tensor<4xf32>>) grid [1, 1, 1] {
              id = 0 : i64, label = "exp", nodes = [loc("/exp")], flops = array<i64: 4>} loc("/exp")
          trace.span "end" "dispatch" 0
          trace.span "end" "gpu" 0
          buf.readback "y", %1 {dtype = "float32", storage = "f32"} : !buf.view<tensor<4xf32>>
        }
    """

    name = "instrument-dispatches"
    requires = ensures = Level.BUF

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        for entry in [op for op in module.body.block.ops if isinstance(op, EntryOp)]:
            _instrument(entry)


def _instrument(entry: EntryOp) -> None:
    block = entry.body.block
    work = [op for op in block.ops if isinstance(op, DispatchOp | CopyOp)]
    if not work:
        return
    block.insert_op_before(SpanOp(SpanKind.GPU, Edge.BEGIN, 0), work[0])
    block.insert_op_after(SpanOp(SpanKind.GPU, Edge.END, 0), work[-1])
    for op in work:
        if isinstance(op, DispatchOp):
            id = op.id.value.data
            block.insert_op_before(SpanOp(SpanKind.DISPATCH, Edge.BEGIN, id), op)
            block.insert_op_after(SpanOp(SpanKind.DISPATCH, Edge.END, id), op)
