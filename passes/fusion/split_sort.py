"""Sorts of rows that no workgroup's memory holds become sorts of runs and merges of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, nan

import numpy as np
from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue

from tstorch.dialects.prim.generator import ConstantOp
from tstorch.dialects.prim.operands import shape_of
from tstorch.dialects.prim.shape import PadOp, ReshapeOp, SliceOp
from tstorch.dialects.prim.sort import SortOp
from tstorch.dialects.prim.types import dtype_of, integer, ints
from tstorch.levels import Level
from tstorch.passes.base import TSTorchPass
from tstorch.passes.rewrite import Pattern, Rewriter, apply_patterns
from tstorch.passes.rewrite_log import rewrite_log
from tstorch.target import get_target

WORD = 4


@dataclass(frozen=True)
class SplitSort(Pattern):
    """A sort whose runs are too long for one step: shorter runs, then pairs of them, again and again."""

    memory: int

    def match_and_rewrite(self, op: SortOp, rewriter: Rewriter, /) -> None:
        run = min(integer(op.run), op.length)
        steps = steps_of(integer(op.given), run, longest_run(op, self.memory))
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


@dataclass(frozen=True)
class SortFew(Pattern):
    """A long sort of which only the first elements are used: those of each run, sorted again."""

    memory: int

    def match_and_rewrite(self, op: SortOp, rewriter: Rewriter, /) -> None:
        longest = longest_run(op, self.memory)
        cuts = [use.operation for result in op.results for use in result.uses]
        few = max((_first(cut, integer(op.dimension)) for cut in cuts), default=op.length)
        kept = 1 << max(few - 1, 0).bit_length()
        if integer(op.given) > 1 or not longest < op.length <= integer(op.run) or 2 * kept > longest:
            return
        build = rewriter.builder(op)
        runs = [_filled_up(op, number, longest, build) for number in range(len(op.inputs))]
        tops = [_heads(op, value, longest, kept, build) for value in _sorted(op, runs, longest, build)]
        values = _sorted(op, tops, shape_of(tops[0])[integer(op.dimension)], build)
        rewriter.passed(op, "TST-F031", f"of {op.length} elements in runs of {longest} only the first {kept} go on")
        for result, value in zip(op.results, values, strict=True):
            for cut in [use.operation for use in result.uses]:
                assert isinstance(cut, SliceOp)
                lists = {name: ints(cut.properties[name]) for name in ("start", "limit", "stride")}
                rewriter.replace(cut, SliceOp(value, **lists))
        rewriter.erase(op)


def _first(user: Operation, axis: int) -> int:
    """How many of the first elements along an axis a user takes; more than there can be where it takes others, too."""
    if not isinstance(user, SliceOp) or ints(user.start)[axis] or ints(user.stride)[axis] != 1:
        return 1 << 32
    return ints(user.limit)[axis]


def _filled_up(op: SortOp, number: int, longest: int, build: Builder) -> SSAValue:
    """An operand with whole runs: behind its elements some that come last."""
    operand, axis = op.inputs[number], integer(op.dimension)
    missing = -op.length % longest
    if not missing:
        return operand
    descending = ints(op.descending)
    last = _last(operand, bool(descending[number])) if number < len(descending) else 0
    element = operand.type.element_type  # pyright: ignore[reportAttributeAccessIssue]
    filler = build.insert(ConstantOp.scalar(last, element)).result
    none = [0] * len(shape_of(operand))
    high = [missing if at == axis else 0 for at in range(len(none))]
    return build.insert(PadOp(operand, filler, low=none, high=high)).result


def _last(key: SSAValue, descending: bool) -> float:
    """What no element comes after; those equal to it that stand before stay before."""
    dtype = dtype_of(key.type)  # pyright: ignore[reportArgumentType]
    if dtype.kind == "f":
        return -inf if descending else nan
    bounds = np.iinfo(dtype)
    return int(bounds.min if descending else bounds.max)


def _heads(op: SortOp, value: SSAValue, longest: int, kept: int, build: Builder) -> SSAValue:
    """The first elements of each run, one run behind the other."""
    shape, axis = list(shape_of(value)), integer(op.dimension)
    runs = shape[axis] // longest
    split = [*shape[:axis], runs, longest, *shape[axis + 1 :]]
    limit = [*shape[:axis], runs, kept, *shape[axis + 1 :]]
    apart = build.insert(ReshapeOp(value, shape=split)).result
    heads = build.insert(SliceOp(apart, start=[0] * len(split), limit=limit, stride=[1] * len(split))).result
    return build.insert(ReshapeOp(heads, shape=[*shape[:axis], runs * kept, *shape[axis + 1 :]])).result


def _sorted(op: SortOp, values: Sequence[SSAValue], run: int, build: Builder) -> list[SSAValue]:
    return list(build.insert(_part(op, values, 1, run)).outputs)


def longest_run(op: SortOp, memory: int) -> int:
    """The longest run, a power of two, whose keys and positions the memory holds."""
    most = memory // (WORD * (len(op.keys) + 1))
    return 1 << (most.bit_length() - 1)


def steps_of(given: int, run: int, longest: int) -> list[tuple[int, int]]:
    """From runs of which length to runs of which, step by step: the first sorts, each other one merges pairs."""
    if given == 1 and run <= longest:
        return [(1, run)]
    steps = [(1, longest)] if given == 1 else [(given, 2 * given)]
    while steps[-1][1] < run:
        steps.append((steps[-1][1], 2 * steps[-1][1]))
    return steps


def _part(op: SortOp, values: Sequence[SSAValue], given: int, run: int) -> SortOp:
    descending = list(map(bool, ints(op.descending)))
    return SortOp(*values, dimension=integer(op.dimension), descending=descending, given=given, run=run)


@dataclass(frozen=True)
class SplitSortPass(TSTorchPass):
    """Makes sorts of long rows of steps that are one dispatch each.

    Runs that fit the memory of a workgroup are sorted first, then each step merges pairs of them into runs of twice the
    length. Where only the first few elements are used, those of each run are sorted again instead. Declines a sort that
    is one step already.

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
        apply_patterns(module, [SortFew(memory), SplitSort(memory)], pass_name=self.name, log=rewrite_log(ctx))
