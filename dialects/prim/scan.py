"""A region that is run step after step, with a state in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from xdsl.builder import Builder
from xdsl.dialects.builtin import IntegerAttr, TensorType, UnitAttr, f32, i64
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import (
    base,
    irdl_op_definition,
    opt_prop_def,
    prop_def,
    region_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.traits import IsolatedFromAbove, RecursiveMemoryEffect
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.base import Array, Cotangents, Gradients, PrimOp, Properties, RegionOp
from tstorch.dialects.prim.contraction import DotGeneralOp
from tstorch.dialects.prim.control import YieldOp
from tstorch.dialects.prim.elementwise import AddOp, MulOp, TanhOp
from tstorch.dialects.prim.operands import require, shape_of
from tstorch.dialects.prim.pullback import pull_back
from tstorch.dialects.prim.reduction import ReduceOp
from tstorch.dialects.prim.sample import Sample
from tstorch.dialects.prim.shape import BroadcastInDimOp, ConcatenateOp, ReshapeOp, SliceOp
from tstorch.dialects.prim.types import int_attr, integer, tensor


@irdl_op_definition
class ScanOp(RegionOp):
    """Runs its region once for each step, with the state that the step before left.

        %last, %all = prim.scan(%h, %x, %w) states = 1, sequences = 1 {
        ^0(%state: tensor<2x4xf32>, %element: tensor<2x4xf32>, %shared: tensor<4x4xf32>):
          ...
          prim.yield %new, %new : tensor<2x4xf32>, tensor<2x4xf32>
        } : (tensor<2x4xf32>, tensor<9x2x4xf32>, tensor<4x4xf32>) -> (tensor<2x4xf32>, tensor<9x2x4xf32>)

    The operands are what the states begin with, the sequences, whose first dimension is the step, and what every step
    reads. The region gets the states, an element of each sequence, and what is shared; it yields the new states and an
    element of each output. The results are the last states and the outputs, in the order of the sequences also where
    the steps run `backwards`. `batched` promises that dimension 0 of states, elements and outputs is a batch whose
    members have nothing to do with each other.
    """

    name = "prim.scan"
    inputs = var_operand_def(base(TensorType))
    states = prop_def(IntegerAttr.constr(i64))
    sequences = prop_def(IntegerAttr.constr(i64))
    backwards = opt_prop_def(UnitAttr)
    batched = opt_prop_def(UnitAttr)
    body = region_def("single_block")
    outputs = var_result_def(base(TensorType))
    assembly_format = (
        "`(` $inputs `)` `states` `=` $states `,` `sequences` `=` $sequences (`backwards` $backwards^)? "
        "(`batched` $batched^)? $body attr-dict `:` functional-type($inputs, $outputs)"
    )
    traits = traits_def(IsolatedFromAbove(), RecursiveMemoryEffect())

    def __init__(
        self,
        *operands: SSAValue | Operation,
        region: Region,
        states: int,
        sequences: int,
        backwards: bool = False,
        batched: bool = False,
    ):
        values = [SSAValue.get(operand) for operand in operands]
        properties: dict[str, Attribute] = {"states": int_attr(states), "sequences": int_attr(sequences)}
        flags = {"backwards": backwards, "batched": batched}
        Operation.__init__(
            self,
            operands=values,
            result_types=_result_types([value.type for value in values], states, sequences, region),
            properties=properties | {name: UnitAttr() for name, given in flags.items() if given},
            regions=[region],
        )

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        raise VerifyException("the types of a prim.scan are its region's")

    @property
    def begins(self) -> Sequence[SSAValue]:
        """What the states begin with."""
        return self.inputs[: integer(self.states)]

    @property
    def walked(self) -> Sequence[SSAValue]:
        """The sequences."""
        first = integer(self.states)
        return self.inputs[first : first + integer(self.sequences)]

    @property
    def shared(self) -> Sequence[SSAValue]:
        """What every step reads."""
        return self.inputs[integer(self.states) + integer(self.sequences) :]

    @property
    def yielded(self) -> Sequence[SSAValue]:
        """What the region ends with: the new states, then an element of each output."""
        return _end(self.body).operands

    @property
    def steps(self) -> int:
        """How often the region is run."""
        return shape_of(self.walked[0])[0]

    @property
    def order(self) -> Sequence[int]:
        """The positions in the sequences, in the order in which they are visited."""
        return range(self.steps)[::-1] if self.backwards is not None else range(self.steps)

    def verify_(self) -> None:
        states, sequences = integer(self.states), integer(self.sequences)
        expected = _result_types(self.operand_types, states, sequences, self.body)
        require(list(self.result_types) == expected, f"prim.scan gives {_listed(expected)}")
        if other := next((op for op in self.body.block.ops if not isinstance(op, PrimOp | YieldOp)), None):
            raise VerifyException(f"{other.name} is no primitive")

    def run(
        self, operands: Sequence[Array], evaluate: Callable[[Region, Sequence[Array]], list[Array]]
    ) -> Sequence[Array]:
        count = integer(self.states)
        walked = len(self.walked) + count
        states, sequences, shared = operands[:count], operands[count:walked], operands[walked:]
        rows: dict[int, Sequence[Array]] = {}
        for step in self.order:
            results = evaluate(self.body, [*states, *(sequence[step] for sequence in sequences), *shared])
            states, rows[step] = results[:count], results[count:]
        return [*states, *(np.stack(column) for column in zip(*(rows[step] for step in sorted(rows)), strict=True))]

    def unrolled(self, insert: Callable[[Operation], Operation]) -> list[SSAValue]:
        """The same without a loop: a copy of the region for each step, each op put in its place by `insert`."""
        count, ops = integer(self.states), list(self.body.block.ops)
        states, rows = list(self.begins), dict[int, Sequence[SSAValue]]()
        for step in self.order:
            given = [*states, *(_element(sequence, step, insert) for sequence in self.walked), *self.shared]
            copies: dict[SSAValue, SSAValue] = dict(zip(self.body.block.args, given, strict=True))
            for op in ops[:-1]:
                insert(op.clone(copies))
            results = [copies[value] for value in self.yielded]
            states, rows[step] = results[:count], results[count:]
        parts = [[_row(value, insert) for value in rows[step]] for step in sorted(rows)]
        columns = list(zip(*parts, strict=True))
        return [*states, *(insert(ConcatenateOp(*column, dimension=0)).results[0] for column in columns)]

    def vjp(self, cotangents: Cotangents, build: Builder) -> Gradients:
        """That of the unrolled steps, which are computed once more in front."""
        ops: list[Operation] = []

        def insert(op: Operation) -> Operation:
            ops.append(build.insert(op))
            return op

        results = self.unrolled(insert)
        gradients = pull_back(ops, zip(results, cotangents, strict=True), build)
        return [gradients.pop(operand, None) for operand in self.operands]  # one operand at two places: once

    def fold(self) -> None:
        return None

    def flops(self) -> int:
        return self.steps * sum(op.flops() for op in self.body.block.ops if isinstance(op, PrimOp))

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        shapes = [(2, 4), (3, 2, 4), (4, 4)]
        counts = {"states": 1, "sequences": 1}
        yield Sample([(3,), (5, 3)], counts | {"region": lambda: _region([(3,), (3,)], _decaying)})
        yield Sample(shapes, counts | {"region": lambda: _region(_rows(shapes), _recurrent), "batched": True})
        yield Sample(
            shapes,
            counts | {"region": lambda: _region(_rows(shapes), _two_products), "batched": True, "backwards": True},
        )
        yield Sample([(40,), (2, 40)], counts | {"region": lambda: _region([(40,), (40,)], _centred)})


def _end(region: Region) -> YieldOp:
    """The region's last op. Raises VerifyException where that is no prim.yield."""
    if not isinstance(end := region.block.last_op, YieldOp):
        raise VerifyException("the region does not end in prim.yield")
    return end


def _result_types(operands: Sequence[Attribute], states: int, sequences: int, region: Region) -> list[TensorType]:
    """The types of a scan's results. Raises VerifyException where operands and region do not belong together."""
    require(states >= 1 and sequences >= 1, f"{states} states, {sequences} sequences; expected one or more of each")
    require(
        states + sequences <= len(operands), f"{states} states and {sequences} sequences of {len(operands)} operands"
    )
    walked = [_tensor(type) for type in operands[states : states + sequences]]
    lengths = {type.get_shape()[:1] for type in walked}
    require(len(lengths) == 1 and lengths != {()}, f"sequences {_listed(walked)} are not of one length")
    [[length]] = lengths
    require(length > 0, "a sequence has one step or more")
    rows = [tensor(type.get_shape()[1:], type.element_type) for type in walked]
    given = [*operands[:states], *rows, *operands[states + sequences :]]
    taken = list(region.block.arg_types)
    require(taken == given, f"the region takes {_listed(taken)}; a step gives it {_listed(given)}")
    yielded = [_tensor(type) for type in _end(region).operand_types]
    require(yielded[:states] == given[:states], "the region does not yield states of the types that it takes")
    return [*yielded[:states], *(tensor([length, *type.get_shape()], type.element_type) for type in yielded[states:])]


def _tensor(type: Attribute) -> TensorType:
    if not isinstance(type, TensorType):
        raise VerifyException(f"{type} is no tensor")
    return type


def _listed(types: Sequence[Attribute]) -> str:
    return ", ".join(map(str, types)) or "nothing"


def _element(sequence: SSAValue, step: int, insert: Callable[[Operation], Operation]) -> SSAValue:
    """The sequence's element of a step."""
    _, *shape = shape_of(sequence)
    starts, ends = [step, *[0] * len(shape)], [step + 1, *shape]
    cut = insert(SliceOp(sequence, start=starts, limit=ends, stride=[1] * len(starts)))
    return insert(ReshapeOp(cut.results[0], shape=shape)).results[0]


def _row(value: SSAValue, insert: Callable[[Operation], Operation]) -> SSAValue:
    """The value as one step of an output."""
    return insert(ReshapeOp(value, shape=[1, *shape_of(value)])).results[0]


def _rows(shapes: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """The shapes that a region sees of one state, one sequence and what is shared."""
    state, sequence, *shared = shapes
    return [state, sequence[1:], *shared]


def _region(shapes: Sequence[Sequence[int]], step: Callable[..., Sequence[Operation]]) -> Region:
    """The region whose last op gives the new state and the output."""
    block = Block(arg_types=[tensor(shape, f32) for shape in shapes])
    ops = step(*block.args)
    block.add_ops([*ops, YieldOp(ops[-1], ops[-1])])
    return Region(block)


def _decaying(state: SSAValue, element: SSAValue) -> Sequence[Operation]:
    product = MulOp(state, element)
    return [product, AddOp(product, element)]


def _recurrent(state: SSAValue, element: SSAValue, weights: SSAValue) -> Sequence[Operation]:
    product = DotGeneralOp(state, weights, lhs_contract=[1], rhs_contract=[0])
    total = AddOp(product, element)
    return [product, total, TanhOp(total)]


def _two_products(state: SSAValue, element: SSAValue, weights: SSAValue) -> Sequence[Operation]:
    """The second product needs all of the first."""

    *first, activated = _recurrent(state, element, weights)
    second = DotGeneralOp(activated, weights, lhs_contract=[1], rhs_contract=[0])
    return [*first, activated, second, TanhOp(second)]


def _centred(state: SSAValue, element: SSAValue) -> Sequence[Operation]:
    """A sum over the whole state, given back to each of its elements."""

    total = ReduceOp(state, dimensions=[0], kind="add")
    spread = BroadcastInDimOp(total, shape=[shape_of(state)[0]], dimensions=[])
    damped = TanhOp(spread)
    return [total, spread, damped, AddOp(damped, element)]
