"""Makes the host program explicit: buffers, views, uploads, dispatches, copies, readbacks."""

from dataclasses import dataclass
from itertools import count

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp
from xdsl.ir import Operation

from tstorch.diagnostics import DiagnosticError
from tstorch.dialects import program
from tstorch.levels import Level
from tstorch.passes.base import TSTorchPass
from tstorch.passes.buffers.host_program import HostProgram, weights_of
from tstorch.passes.buffers.persistent import Persistent
from tstorch.target import get_target


@dataclass(frozen=True)
class ConvertFlowToBufPass(TSTorchPass):
    """Makes the host program explicit: buffers, views, uploads, dispatches, copies, readbacks.

    Each value gets a buffer of its own; `plan-buffers` packs them. Weights are laid out in as few buffers as the target
    allows. Reshapes and slices become views, the operands of a concatenation views of its result, tied results views of
    their operand. A result that something else already owns (an input returned as it is) is copied. A segment's host
    program has the name of the entry that runs it, or its own where that runs several.

    Refuses, by name, a tensor that is larger than one binding of the target, and a function that no entry runs.

        // before
        wgsl.module @exp_0 grid [1, 1, 1] {
          %x = wgsl.binding @b0 at 0 read : memref<4xf32>
          %y = wgsl.binding @b1 at 1 read_write : memref<4xf32>
          wgsl.function @main workgroup [4, 1, 1] (%wg, %lid) {
          }
        }
        program.entry "run" {
          program.run @main
        }
        func.func @main(%x: tensor<4xf32> {tst.name = "x"}) -> (tensor<4xf32> {tst.name = "y"}) {
          %0 = flow.dispatch @exp_0(%x) {nodes = [loc("/exp")], label = "exp", flops = array<i64: 4>}
              : (tensor<4xf32>) -> tensor<4xf32> loc("/exp")
          func.return %0 : tensor<4xf32>
        }
        // after
        buf.buffer @run.0 : 16 "input"
        buf.buffer @run.1 : 16 "output"
        wgsl.module @exp_0 grid [1, 1, 1] {
          %x = wgsl.binding @b0 at 0 read : memref<4xf32>
          %y = wgsl.binding @b1 at 1 read_write : memref<4xf32>
          wgsl.function @main workgroup [4, 1, 1] (%wg, %lid) {
          }
        }
        program.entry "run" {
          program.run @run
        }
        buf.entry @run {
          %0 = buf.view @run.0[0] "x" : !buf.view<tensor<4xf32>>
          %1 = buf.view @run.1[0] "/exp" : !buf.view<tensor<4xf32>>
          buf.upload "x", %0 {dtype = "float32", storage = "f32"} : !buf.view<tensor<4xf32>>
          buf.dispatch @exp_0(read %0 : !buf.view<tensor<4xf32>>, write %1 : !buf.view<tensor<4xf32>>) grid [1, 1, 1] {
              id = 0 : i64, label = "exp", nodes = [loc("/exp")], flops = array<i64: 4>} loc("/exp")
          buf.readback "y", %1 {dtype = "float32", storage = "f32"} : !buf.view<tensor<4xf32>>
        }
    """

    name = "convert-flow-to-buf"
    requires = Level.WGSL
    ensures = Level.BUF
    settled = ("wgsl.module",)

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        segments = _segments(module)
        persistent = Persistent(get_target(module))
        kernels = _kernels(module)
        needed = {key for name, func in segments.items() if name != program.INIT for key in weights_of(func)}
        ids = count()
        buffers: list[Operation] = []
        for name, func in segments.items():
            host = HostProgram(func, name, persistent, kernels, ids, needed)
            module.body.block.insert_op_before(host.build(), func)
            buffers += host.buffers
            program.rename(module, (name, func.sym_name.data), (name, name))
            func.detach()
            func.erase()
        _declare(module, [*persistent.declarations(), *buffers])


def _segments(module: ModuleOp) -> dict[str, FuncOp]:
    """The functions that entries run, by the names of their host programs. Raises DiagnosticError for one that none or
    two run."""
    found = {name: func for name, _, func in program.segments_of(module) if isinstance(func, FuncOp)}
    runs = list(found.values())
    for func in [op for op in module.body.block.ops if isinstance(op, FuncOp)]:
        if runs.count(func) != 1:
            name, times = func.sym_name.data, runs.count(func)
            raise DiagnosticError(
                f"func.func @{name} is run by {times} entries; expected one, such as "
                f'program.entry "{program.RUN}" {{ program.run @{name} }}'
            )
    return found


def _kernels(module: ModuleOp) -> dict[str, Operation]:
    symbols = ((op.properties.get("sym_name"), op) for op in module.body.block.ops)
    return {name.data: op for name, op in symbols if isinstance(name, StringAttr) and not isinstance(op, FuncOp)}


def _declare(module: ModuleOp, buffers: list[Operation]) -> None:
    first = module.body.block.first_op
    for op in buffers:
        if first is None:
            module.body.block.add_op(op)
        else:
            module.body.block.insert_op_before(op, first)
