"""Gives each kernel a schedule."""

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from tstorch.diagnostics import PassError
from tstorch.dialects.flow import KernelOp, ScheduleAttr
from tstorch.levels import Level
from tstorch.passes.base import TSTorchPass
from tstorch.passes.fusion.kernel_form import Refusal, kernel_form
from tstorch.passes.schedule.sizes import schedule_of
from tstorch.target import Target, get_target


@dataclass(frozen=True)
class SelectSchedulePass(TSTorchPass):
    """Gives each kernel a schedule: tile, vector width and workgroup, from its kind, its shapes and the target's class.

    No model's and no op's name enters. A kernel that has a schedule keeps it: text can override the rule, and a tuner
    can. Declines nothing.

        // before
        flow.kernel @exp_0(%x: tensor<1024xf32>) -> tensor<1024xf32> {
          %0 = prim.exp %x : tensor<1024xf32>
          flow.yield %0 : tensor<1024xf32>
        }
        // after
        flow.kernel @exp_0(%x: tensor<1024xf32>) -> tensor<1024xf32> attributes {
            schedule = #flow.schedule<map, {vector = 4 : i64, workgroup = array<i64: 64, 1, 1>}>} {
          %0 = prim.exp %x : tensor<1024xf32>
          flow.yield %0 : tensor<1024xf32>
        }
    """

    name = "select-schedule"
    requires = ensures = Level.FLOW

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        target = get_target(module)
        for kernel in [op for op in module.body.block.ops if isinstance(op, KernelOp)]:
            if kernel.schedule is None:
                kernel.properties["schedule"] = _schedule(kernel, target)


def _schedule(kernel: KernelOp, target: Target) -> ScheduleAttr:
    form = kernel_form(kernel.ops, list(kernel.yielded))
    if isinstance(form, Refusal):
        raise PassError(f"kernel @{kernel.sym_name.data} is no kernel: {form.reason}")
    return schedule_of(kernel, form, target)
