"""Rounds quotients exactly where what is made of them is a whole number, a code or a choice."""

from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue

from tstorch.dialects.prim.base import IndexMapOp
from tstorch.dialects.prim.elementwise import (
    AbsOp,
    AddOp,
    CeilOp,
    CompareOp,
    ConvertOp,
    DivOp,
    EncodeOp,
    ExactDivOp,
    FloorOp,
    MaximumOp,
    MinimumOp,
    MulOp,
    NegOp,
    RoundOp,
    SelectOp,
    SubOp,
    TruncOp,
)
from tstorch.dialects.prim.kinds import ReduceKind
from tstorch.dialects.prim.operands import element_of
from tstorch.dialects.prim.reduction import ReduceOp
from tstorch.dialects.prim.types import is_float
from tstorch.levels import Level
from tstorch.passes.base import TSTorchPass

_STEPS = (RoundOp, FloorOp, CeilOp, TruncOp, EncodeOp)
_ARITHMETIC = (AbsOp, AddOp, DivOp, MaximumOp, MinimumOp, MulOp, NegOp, SelectOp, SubOp)


@dataclass(frozen=True)
class RoundQuotientsPass(TSTorchPass):
    """Rounds quotients exactly where what is made of them is a whole number, a code or a choice.

    A device may be off by 2.5 units in the last place of a quotient, which is nothing, until it is rounded to a whole
    number: 6 / 3 is 1 below the least bit of 2. Applies to divisions of floats from which a rounding, a conversion to
    integers or an encoding is reached through arithmetic, moves and extrema, or a comparison through moves alone.
    Leaves all others alone, which are most: an exact quotient takes some thirty operations more.

        // before
        func.func @main(%x: tensor<8xf32>, %y: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
          %0 = prim.div %x, %y : tensor<8xf32>
          %1 = prim.floor %0 : tensor<8xf32>
          %2 = prim.div %y, %x : tensor<8xf32>
          func.return %1, %2 : tensor<8xf32>, tensor<8xf32>
        }
        // after
        func.func @main(%x: tensor<8xf32>, %y: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
          %0 = prim.exact_div %x, %y : tensor<8xf32>
          %1 = prim.floor %0 : tensor<8xf32>
          %2 = prim.div %y, %x : tensor<8xf32>
          func.return %1, %2 : tensor<8xf32>, tensor<8xf32>
        }
    """

    name = "round-quotients"
    requires = ensures = Level.PRIM

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        found: dict[Operation, None] = {}
        seen: set[tuple[SSAValue, bool]] = set()
        for op in module.walk():
            for value in op.operands:
                if (arithmetic := _is_step(op)) or isinstance(op, CompareOp):
                    found.update(dict.fromkeys(_quotients(value, seen, arithmetic=arithmetic)))
        for op in found:
            _replace(op)


def _is_step(op: Operation) -> bool:
    """Whether the least change of an operand may change the result by a whole step."""
    return isinstance(op, _STEPS) or (isinstance(op, ConvertOp) and not is_float(element_of(op.result)))


def _quotients(value: SSAValue, seen: set[tuple[SSAValue, bool]], *, arithmetic: bool) -> Iterator[Operation]:
    """The divisions that a float comes from, through moves and conversions, and through arithmetic if told so."""
    pending = [value]
    while pending:
        value = pending.pop()
        op = value.owner
        if (value, arithmetic) in seen or not isinstance(op, Operation) or not is_float(element_of(value)):
            continue
        seen.add((value, arithmetic))
        if type(op) is DivOp:
            yield op
        if isinstance(op, IndexMapOp | ConvertOp) or (arithmetic and (isinstance(op, _ARITHMETIC) or _chooses(op))):
            pending += op.operands


def _chooses(op: Operation) -> bool:
    return isinstance(op, ReduceOp) and op.kind.data in (ReduceKind.MAX, ReduceKind.MIN)


def _replace(op: Operation) -> None:
    block = op.parent
    assert block is not None
    exact = ExactDivOp(*op.operands)
    exact.location = op.location
    exact.result.name_hint = op.results[0].name_hint
    block.insert_op_before(exact, op)
    op.results[0].replace_all_uses_with(exact.result)
    op.detach()
    op.erase()
