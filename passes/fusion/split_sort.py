"""Sorts of rows that no workgroup's memory holds become sorts of runs and merges of them."""

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from tstorch.dialects.prim.sort import SortOp
from tstorch.dialects.prim.types import integer, ints
from tstorch.levels import Level
from tstorch.passes.base import TSTorchPass
from tstorch.passes.rewrite import Pattern, Rewriter, apply_patterns
from tstorch.target import get_target

WORD = 4


@dataclass(frozen=True)
class SplitSort(Pattern):
    """A sort whose runs are too long for one step: shorter runs, then pairs of them, again and again."""

    memory: int

    def match_and_rewrite(self, op: SortOp, rewriter: Rewriter, /) -> None:
        run = min(integer(op.run), op.length)
        steps = steps_of(integer(op.given), run, self.longest(op))
        if len(steps) == 1 and (integer(op.given) == 1 or steps == [(integer(op.given), integer(op.run))]):
            return
        build = rewriter.builder(op)
        values: list[SSAValue] = list(op.inputs)
        for given, longer in steps:
            values = list(build.insert(_part(op, values, given, longer)).outputs)
        if len(steps) > 1:
            rewriter.passed(
                op,
                "TST-F030",
                f"{len(steps)} dispatches: runs of {steps[0][1]} of {op.length} elements fit a workgroup's memory",
                metric={"dispatches": len(steps)},
            )
        rewriter.replace(op, values)

    def longest(self, op: SortOp) -> int:
        """The longest run, a power of two, whose keys and positions the memory holds."""
        most = self.memory // (WORD * (len(op.keys) + 1))
        return 1 << (most.bit_length() - 1)


def steps_of(given: int, run: int, longest: int) -> list[tuple[int, int]]:
    """From runs of which length to runs of which, step by step: the first sorts, each other one merges pairs."""
    if given == 1 and run <= longest:
        return [(1, run)]
    steps = [(1, longest)] if given == 1 else [(given, 2 * given)]
    while steps[-1][1] < run:
        steps.append((steps[-1][1], 2 * steps[-1][1]))
    return steps


def _part(op: SortOp, values: list[SSAValue], given: int, run: int) -> SortOp:
    descending = list(map(bool, ints(op.descending)))
    return SortOp(*values, dimension=integer(op.dimension), descending=descending, given=given, run=run)


@dataclass(frozen=True)
class SplitSortPass(TSTorchPass):
    """Makes sorts of long rows of steps that are one dispatch each.

    Runs that fit the memory of a workgroup are sorted first, then each step merges pairs of them into runs of twice the
    length. Declines a sort that is one step already.

        // before, with {memory=64}
        func.func @main(%x: tensor<30xf32>) -> tensor<30xf32> {
          %r = prim.sort %x dimension = 0, descending = [0], runs = 1 to 30 : tensor<30xf32> -> tensor<30xf32> loc("/s")
          func.return %r : tensor<30xf32>
        }
        // after
        func.func @main(%x: tensor<30xf32>) -> tensor<30xf32> {
          %0 = prim.sort %x dimension = 0, descending = [0], runs = 1 to 8 : tensor<30xf32> -> tensor<30xf32> loc("/s")
          %1 = prim.sort %0 dimension = 0, descending = [0], runs = 8 to 16 : tensor<30xf32> -> tensor<30xf32> loc("/s")
          %r = prim.sort %1 dimension = 0, descending = [0], runs = 16 to 32
              : tensor<30xf32> -> tensor<30xf32> loc("/s")
          func.return %r : tensor<30xf32>
        }
    """

    name = "split-sort"
    requires = ensures = Level.PRIM

    memory: int = 0
    """Bytes of one workgroup's memory; 0 asks the target."""

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        memory = self.memory or get_target(module).limits.max_compute_workgroup_storage_size
        apply_patterns(module, [SplitSort(memory)], pass_name=self.name)
