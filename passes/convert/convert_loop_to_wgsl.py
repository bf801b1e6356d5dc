"""Turns each loop kernel into a shader module."""

from dataclasses import asdict, dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import DictionaryAttr, IntegerAttr, ModuleOp, i64

from tstorch.diagnostics import LimitError, Violation
from tstorch.dialects.loop import KernelOp
from tstorch.dialects.wgsl.base import Excess
from tstorch.levels import Level
from tstorch.locations import served_ids
from tstorch.passes.base import TSTorchPass
from tstorch.passes.convert.loop_to_wgsl.kernel import convert_kernel
from tstorch.target import Limits, get_target


@dataclass(frozen=True)
class ConvertLoopToWgslPass(TSTorchPass):
    """Turns each loop kernel into a shader module.

    Applies to every `loop.kernel`. Declines none: an op without a WGSL form, or packed memory that `pack-words` left,
    is an error that names the kernel, and a kernel that needs more than the target has is one that names the node. A
    binding is `read` where it is never stored to, and an array of vectors where every access is a vector of neighbours
    that starts at a multiple of 4. Index arithmetic is u32, done once per loop.

        // before
        loop.kernel @copy(%x: memref<64xf32>, %out: memref<64xf32>) grid [1, 1, 1] workgroup [64, 1, 1] {
          loop.parallel %t = lid.x {
            %v = loop.load %x[%t] : memref<64xf32> -> f32
            loop.store %v, %out[%t] : f32, memref<64xf32>
          }
        }
        // after
        wgsl.module @copy grid [1, 1, 1] attributes {iterations = 0 : i64} {
          %x = wgsl.binding @b0 at 0 read : memref<64xf32>
          %out = wgsl.binding @b1 at 1 read_write : memref<64xf32>
          wgsl.function @main workgroup [64, 1, 1] (%wg, %lid) {
            %t = wgsl.component %lid at 0 : vector<3xui32> -> ui32
            %v = wgsl.load %x[%t] : memref<64xf32>
            wgsl.store %v, %out[%t] : f32, memref<64xf32>
          }
        }
    """

    name = "convert-loop-to-wgsl"
    requires = Level.LOOP
    ensures = Level.WGSL

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        limits = _special_limits(module)
        for kernel in [op for op in module.ops if isinstance(op, KernelOp)]:
            shader = convert_kernel(kernel, limits)
            if excess := shader.excess():
                raise _too_large(kernel, excess)
            block = kernel.parent_block()
            if block is not None:
                block.insert_op_before(shader, kernel)
            kernel.detach()
            kernel.erase()


def _too_large(kernel: KernelOp, excess: Excess) -> LimitError:
    node = next(iter(served_ids(next(iter(kernel.body.block.ops)))), None)
    change = "choose a larger --target"
    violation = Violation(excess.rule, node or "", excess.value, excess.limit, change)
    return LimitError(f"kernel @{kernel.sym_name.data} takes {excess}; {change}", violation, node=node)


def _special_limits(module: ModuleOp) -> DictionaryAttr | None:
    """The target's limits that are not WebGPU's defaults."""
    defaults = asdict(Limits())
    limits = asdict(get_target(module).limits)
    special = {name: IntegerAttr(size, i64) for name, size in limits.items() if size != defaults[name]}
    return DictionaryAttr(special) if special else None
