"""Primitives that are defined by a region."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from xdsl.builder import Builder
from xdsl.dialects.builtin import StringAttr, TensorType, f32
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    base,
    irdl_op_definition,
    prop_def,
    region_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.traits import IsolatedFromAbove, IsTerminator, Pure, RecursiveMemoryEffect
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.base import Array, Cotangents, Gradients, PrimOp, Properties, RegionOp
from tstorch.dialects.prim.pullback import pull_back
from tstorch.dialects.prim.sample import Sample
from tstorch.dialects.prim.types import tensor


@irdl_op_definition
class YieldOp(IRDLOperation):
    """Ends a region with its results."""

    name = "prim.yield"
    values = var_operand_def(base(TensorType))
    assembly_format = "$values attr-dict `:` type($values)"
    traits = traits_def(IsTerminator(), Pure())

    def __init__(self, *values: SSAValue | Operation):
        super().__init__(operands=[list(values)])


@irdl_op_definition
class CompositeOp(RegionOp):
    """A named group of primitives: its region is its definition, and inlining it changes nothing."""

    name = "prim.composite"
    inputs = var_operand_def(base(TensorType))
    label = prop_def(StringAttr)
    body = region_def("single_block")
    outputs = var_result_def(base(TensorType))
    assembly_format = "$label `(` $inputs `)` $body attr-dict `:` functional-type($inputs, $outputs)"
    traits = traits_def(IsolatedFromAbove(), RecursiveMemoryEffect())

    def __init__(self, *operands: SSAValue | Operation, label: str, region: Region):
        """`region` takes the operands as block arguments and ends in prim.yield."""
        values = [SSAValue.get(operand) for operand in operands]
        Operation.__init__(
            self, operands=values, result_types=_yielded(region), properties={"label": StringAttr(label)},
            regions=[region],
        )  # fmt: skip

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        raise VerifyException("the types of a prim.composite are its region's")

    def verify_(self) -> None:
        if [argument.type for argument in self.body.block.args] != list(self.operand_types):
            raise VerifyException("the region's arguments are not of the operands' types")
        if _yielded(self.body) != list(self.result_types):
            raise VerifyException("the region does not yield values of the results' types")
        if other := next((op for op in self.body.block.ops if not isinstance(op, PrimOp | YieldOp)), None):
            raise VerifyException(f"{other.name} is no primitive")

    def run(
        self, operands: Sequence[Array], evaluate: Callable[[Region, Sequence[Array]], list[Array]]
    ) -> Sequence[Array]:
        return evaluate(self.body, operands)

    def vjp(self, cotangents: Cotangents, build: Builder) -> Gradients:
        """The region's own: its ops once more in front, since their results are out of reach in here."""
        copies: dict[SSAValue, SSAValue] = dict(zip(self.body.block.args, self.operands, strict=True))
        *ops, end = self.body.block.ops
        copied = [build.insert(op.clone(copies)) for op in ops]
        seeds = [(copies[value], g) for value, g in zip(end.operands, cotangents, strict=True)]
        gradients = pull_back(copied, seeds, build)
        return [gradients.pop(operand, None) for operand in self.operands]  # once, where a value is read twice

    def fold(self) -> None:
        return None

    def flops(self) -> int:
        return sum(op.flops() for op in self.body.block.ops if isinstance(op, PrimOp))

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample([(2, 3), (2, 3)], {"label": "scaled sum", "region": _scaled_sum})


def _yielded(region: Region) -> list:
    """The types a region ends with. Raises VerifyException where it does not end in prim.yield."""
    if not isinstance(end := region.block.last_op, YieldOp):
        raise VerifyException("the region does not end in prim.yield")
    return list(end.operand_types)


def _scaled_sum() -> Region:
    """(x, y) to (x * (x + y), y)."""
    from tstorch.dialects.prim.elementwise import AddOp, MulOp

    block = Block(arg_types=[tensor((2, 3), f32)] * 2)
    x, y = block.args
    total = AddOp(x, y)
    scaled = MulOp(x, total)
    block.add_ops([total, scaled, YieldOp(scaled, y)])
    return Region(block)
