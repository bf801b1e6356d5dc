"""Keeps the number of loop iterations of one invocation below what a driver can count to."""

from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import IntegerAttr, ModuleOp, i64
from xdsl.ir import Block, SSAValue

from tstorch.diagnostics import DiagnosticError
from tstorch.dialects.indexing import Index
from tstorch.dialects.loop import ForOp, KernelOp, dim_of, substitute_indices
from tstorch.levels import Level
from tstorch.passes.base import TSTorchPass

# More copies of a loop's body would cost more to compile than any kernel is worth.
_MOST_COPIES = 64


@dataclass(frozen=True)
class BoundTripCountsPass(TSTorchPass):
    """Keeps the number of loop iterations of one invocation below what a driver can count to.

    Mesa's lavapipe before version 25 silently stops an invocation after 65,535 iterations, all its loops together. The
    most frequent loop gets an unrolled loop inside, and what does not divide a loop of its own behind it; each kernel
    notes its `iterations`. Declines where they are few enough already. A kernel that needs more than 64 copies of a
    body is an error that names it.

        // before
        loop.kernel @last(%x: memref<90000xf32>, %out: memref<1xf32>) grid [1, 1, 1] workgroup [1, 1, 1] {
          loop.parallel {
            loop.for %k < 90000 {
              %v = loop.load %x[%k] : memref<90000xf32> -> f32
              loop.store %v, %out[0] : f32, memref<1xf32>
            }
          }
        }
        // after
        loop.kernel @last(%x: memref<90000xf32>, %out: memref<1xf32>) grid [1, 1, 1] workgroup [1, 1, 1] attributes {
            iterations = 45000 : i64} {
          loop.parallel {
            loop.for %k < 90000 step 2 {
              loop.for unroll %i < 2 {
                %v = loop.load %x[%k + %i] : memref<90000xf32> -> f32
                loop.store %v, %out[0] : f32, memref<1xf32>
              }
            }
          }
        }
    """

    limit: int = 60000
    """The most iterations of serial loops that one invocation may run."""

    name = "bound-trip-counts"
    requires = ensures = Level.LOOP

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        for kernel in [op for op in module.ops if isinstance(op, KernelOp)]:
            _bound(kernel, self.limit)
            kernel.properties["iterations"] = IntegerAttr(kernel.serial_iterations, i64)


def _bound(kernel: KernelOp, limit: int) -> None:
    done: set[ForOp] = set()
    while (total := kernel.serial_iterations) > limit:
        open_loops = [(count, nest) for count, nest in _serial_loops(kernel.body.block, 1) if nest not in done]
        splittable = [(count, nest) for count, nest in open_loops if nest.trips > 1 and nest.until is None]
        if not splittable:
            raise DiagnosticError(
                f"kernel @{kernel.sym_name.data}: an invocation runs {total} loop iterations; expected at most "
                f"{limit}, which drivers can count to; give the kernel more invocations or a larger tile"
            )
        count, nest = max(splittable, key=lambda pair: pair[0])
        done.add(_split(nest, _copies(nest, count, limit - (total - count))))


def _serial_loops(block: Block, times: int) -> Iterator[tuple[int, ForOp]]:
    """Every serial loop with the number of iterations that it runs in all."""
    for op in block.ops:
        inner = times * op.trips if isinstance(op, ForOp) else times
        if isinstance(op, ForOp) and not op.is_static:
            yield inner, op
        for region in op.regions:
            for body in region.blocks:
                yield from _serial_loops(body, inner)


def _copies(nest: ForOp, count: int, allowed: int) -> int:
    """How many copies of the body bring the loop's iterations down to `allowed`; a divisor where one is near."""
    most = min(_MOST_COPIES, nest.trips)
    if allowed < 1:
        return most
    least = min(max(2, -(-count // allowed)), most)
    return next((n for n in range(least, min(2 * least, most) + 1) if nest.trips % n == 0), least)


def _split(nest: ForOp, copies: int) -> ForOp:
    """Gives the loop an unrolled loop of `copies` steps inside; returns it."""
    whole = nest.trips // copies * copies
    block = nest.parent_block()
    if block is not None and whole < nest.trips:
        block.insert_op_after(_rest(nest, whole), nest)
    outer = ForOp(whole * nest.stride, copies * nest.stride)
    inner = ForOp(copies * nest.stride, nest.stride, unroll=True)
    outer.location = inner.location = nest.location
    outer.iv.name_hint = nest.iv.name_hint
    outer.body.block.add_op(inner)
    if block is not None:
        block.insert_op_before(outer, nest)
    _move_body(nest, inner, dim_of(outer.iv) + dim_of(inner.iv))
    nest.detach()
    nest.erase()
    return outer


def _rest(nest: ForOp, whole: int) -> ForOp:
    """The iterations from `whole` on, as a loop of their own."""
    copy = nest.clone()
    rest = ForOp((nest.trips - whole) * nest.stride, nest.stride)
    rest.location = nest.location
    _move_body(copy, rest, dim_of(rest.iv) + whole * nest.stride)
    copy.erase()
    return rest


def _move_body(source: ForOp, target: ForOp, index: Index) -> None:
    by_value: dict[SSAValue, Index] = {source.iv: index}
    for op in source.body.block.walk():
        substitute_indices(op, by_value)
    for op in list(source.body.block.ops):
        op.detach()
        target.body.block.add_op(op)
