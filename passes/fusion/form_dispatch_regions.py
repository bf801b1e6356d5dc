"""Divides a graph into kernels."""

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from tstorch.dialects.program import INIT
from tstorch.levels import Level
from tstorch.passes.base import TSTorchPass
from tstorch.passes.fusion.composites import group_composites, inline_composites
from tstorch.passes.fusion.grow import Grower, group_nodes
from tstorch.passes.fusion.outline_kernels import KernelTable, Outliner, label_of
from tstorch.passes.fusion.partition import Partition
from tstorch.passes.fusion.wide_concatenations import split_wide_concatenations
from tstorch.passes.fusion.worth import saved_by_fusing
from tstorch.remarks import RemarkSink
from tstorch.target import get_target


@dataclass(frozen=True)
class FormDispatchRegionsPass(TSTorchPass):
    """Divides a graph into kernels: each root with what may be computed in the same loops.

    Elementwise ops join the kernel that produces their operand, or the other way round; broadcasts, transposes, slices
    and pads become index arithmetic inside the kernels that read through them; reductions over the same rows share one
    kernel with what feeds and follows them. A `prim.composite` stays together under its label; more may join it. A
    reshape of what stands in memory is a view, a concatenation whose parts lie one behind the other is written by its
    producers, one of more tensors than a kernel can bind becomes several. With `fuse=false` each op is a kernel of its
    own; with `epilogue=false` nothing joins a contraction from behind but what a composite put there (F009); nodes in
    `apart` share a kernel with no other node (F011).

    Declines, with a remark: a kernel needs one anchor (TST-F006) and one iteration space (TST-F003), no cycle through
    another kernel (F002), at most as many bindings as the target has (F004); work is not repeated (F001, F005); a
    composite that is no one kernel is fused like other ops (F008).

        // before
        func.func @main(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {
          %0 = prim.add %x, %y : tensor<4xf32>
          %1 = prim.exp %0 : tensor<4xf32>
          func.return %1 : tensor<4xf32>
        }
        // after
        flow.kernel @exp_0(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {
          %0 = prim.add %x, %y : tensor<4xf32>
          %1 = prim.exp %0 : tensor<4xf32>
          flow.yield %1 : tensor<4xf32>
        }
        func.func @main(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {
          %0 = flow.dispatch @exp_0(%x, %y) {
              nodes = [loc(unknown), loc(unknown)], label = "add + exp", flops = array<i64: 4, 4>}
              : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
          func.return %0 : tensor<4xf32>
        }
    """

    name = "form-dispatch-regions"
    requires = Level.PRIM
    ensures = Level.FLOW

    fuse: bool = True
    epilogue: bool = True
    apart: tuple[str, ...] = ()
    """Nodes that share a kernel with no other node."""

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        kernels = KernelTable(module)
        limit = get_target(module).limits.max_storage_buffers_per_shader_stage
        with self.remarks(module) as remarks:
            for func in [op for op in module.body.block.ops if isinstance(op, FuncOp)]:
                named = inline_composites(func)
                split_wide_concatenations(func, limit)
                partition = Partition(func)
                group_composites(partition, named, limit, remarks, frozenset(self.apart))
                if self.fuse:
                    quiet = func.sym_name.data == INIT
                    Grower(partition, remarks, limit, quiet, self.epilogue, frozenset(self.apart)).run()
                _say_what_fused(partition, remarks)
                remarks.elide(group_nodes(partition.ops), "dead: no result needs it")
                Outliner(func, partition, kernels).run()


def _say_what_fused(partition: Partition, remarks: RemarkSink) -> None:
    for group in partition.groups:
        if len(group.ops) > 1:
            reason = f"one kernel: {label_of(group.closure, group.names)}"
            saved = saved_by_fusing(partition, group)
            remarks.passed(group_nodes(group.ops), "TST-F010", reason, metric=saved if saved["dispatches"] else {})
