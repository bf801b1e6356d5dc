"""The sort of whole rows, or of runs of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from xdsl.builder import Builder
from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, TensorType, f16, i32, i64
from xdsl.ir import Operation, SSAValue
from xdsl.irdl import base, irdl_op_definition, prop_def, var_operand_def, var_result_def

from tstorch.dialects.prim.base import Array, Cotangents, Gradients, OrderingOp, Properties, elements
from tstorch.dialects.prim.generator import IotaOp
from tstorch.dialects.prim.operands import require, shape_of
from tstorch.dialects.prim.sample import Sample, floats
from tstorch.dialects.prim.types import NUMBERS, array_attr, int_attr, integer, ints, is_float, ui8, ui32


@irdl_op_definition
class SortOp(OrderingOp):
    """Its operands, all in the order of the first ones, along a dimension. Elements that compare equal keep theirs.

    `descending` has an entry for each key, the first operands: whether larger elements of that key come first. An
    earlier key decides before a later one. NaN is larger than all numbers, -0.0 and 0.0 are equal.

    `run` is the length of the runs that are sorted, each for itself: the whole dimension, or less where the sort is
    done in steps; the last run may be shorter. `given` promises that runs of that length are sorted already: 1 says
    nothing.
    """

    name = "prim.sort"
    inputs = var_operand_def(base(TensorType))
    dimension = prop_def(IntegerAttr.constr(i64))
    descending = prop_def(DenseArrayBase.constr(i64))
    given = prop_def(IntegerAttr.constr(i64))
    run = prop_def(IntegerAttr.constr(i64))
    outputs = var_result_def(base(TensorType))
    assembly_format = (
        "$inputs `dimension` `=` $dimension `,` `descending` `=` $descending `,` `runs` `=` $given `to` $run attr-dict "
        "`:` type($inputs) `->` type($outputs)"
    )

    def __init__(
        self,
        *operands: SSAValue | Operation,
        dimension: int,
        descending: Sequence[bool] = (False,),
        given: int = 1,
        run: int | None = None,
    ):
        length = shape_of(SSAValue.get(operands[0]))[dimension]
        properties = {
            "dimension": int_attr(dimension),
            "descending": array_attr(list(map(int, descending))),
            "given": int_attr(given),
            "run": int_attr(max(length, 1) if run is None else run),
        }
        super().__init__(operands, properties)

    @property
    def keys(self) -> Sequence[SSAValue]:
        """The operands that decide."""
        return self.inputs[: len(ints(self.descending))]

    @property
    def length(self) -> int:
        """How many elements stand along the dimension."""
        return shape_of(self.inputs[0])[integer(self.dimension)]

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        axis, descending = integer(properties["dimension"]), ints(properties["descending"])
        given, run = integer(properties["given"]), integer(properties["run"])
        require(0 < len(descending) <= len(operands), f"{len(descending)} keys of {len(operands)} operands")
        require(set(descending) <= {0, 1}, "prim.sort is descending (1) or not (0) in each key")
        first = operands[0]
        shape = first.get_shape()
        require(0 <= axis < len(shape), f"there is no dimension {axis} in {first} to sort along")
        for other in operands[1:]:
            require(other.get_shape() == shape, f"{first} and {other} differ in shape; prim.sort moves them together")
        for key in operands[: len(descending)]:
            require(key.element_type in NUMBERS, f"{key.element_type} has no order")
        whole = given > 0 and (run % given == 0 or given < shape[axis] <= run)
        require(0 < given <= run and whole, f"prim.sort makes runs of {run} out of runs of {given}")
        return list(operands)

    def reference(self, *operands: Array) -> Sequence[Array]:
        axis, run = integer(self.dimension), integer(self.run)
        ranks = [_ranks(x, bool(down)) for x, down in zip(operands, ints(self.descending), strict=False)]
        parts = [slice(start, start + run) for start in range(0, max(self.length, 1), run)]
        rows = [np.moveaxis(rank, axis, -1) for rank in reversed(ranks)]
        order = [np.lexsort([row[..., part] for row in rows], axis=-1) + part.start for part in parts]
        places = np.moveaxis(np.concatenate(order, axis=-1), -1, axis)
        return [np.take_along_axis(x, places, axis) for x in operands]

    def vjp(self, cotangents: Cotangents, build: Builder) -> Gradients:
        """Back where the elements came from: sorted by the positions that they had."""
        places = self._places(build)
        return [
            self._returned(places, g, build) if is_float(value.type.element_type) else None  # pyright: ignore[reportAttributeAccessIssue]
            for value, g in zip(self.inputs, cotangents, strict=True)
        ]

    def _places(self, build: Builder) -> SSAValue:
        """For each result element, where along the dimension it stood."""
        axis = integer(self.dimension)
        own = build.insert(IotaOp(shape=shape_of(self.inputs[0]), dimension=axis, element_type=i32))
        descending = list(map(bool, ints(self.descending)))
        runs = {"given": integer(self.given), "run": integer(self.run)}
        return build.insert(SortOp(*self.keys, own, dimension=axis, descending=descending, **runs)).outputs[-1]

    def _returned(self, places: SSAValue, g: SSAValue, build: Builder) -> SSAValue:
        return build.insert(SortOp(places, g, dimension=integer(self.dimension))).outputs[1]

    def flops(self) -> int:
        """A comparison of each element with every level of the runs above it."""
        levels = integer(self.run).bit_length() - integer(self.given).bit_length()
        return elements(self.inputs[0]) * max(levels, 1)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        ties = floats([[3, np.nan, -np.inf, 0.0, -0.0, 3], [-1, 2, np.inf, -np.nan, 2, -1]])
        counted = np.tile(np.arange(6, dtype=np.int32), (2, 1))
        for descending in (False, True):
            down = {"descending": [descending]}
            yield Sample([(3, 5)], {"dimension": 1, **down})
            yield Sample([(4, 2, 3), (4, 2, 3)], {"dimension": 0, **down}, types=[i32], ranges=[(-2, 2)])
            yield Sample(arrays=[ties, counted], properties={"dimension": 1, **down}, smooth=False)
            yield Sample([(2, 6)], {"dimension": 1, **down}, types=[f16])
            yield Sample([(5,), (5,)], {"dimension": 0, **down}, types=[ui32, i32], ranges=[(0, 2**32), (-9, 9)])
            yield Sample([(2, 7), (2, 7)], {"dimension": 1, **down}, types=[i64], ranges=[(-3, 3), (-9, 9)])
        yield Sample([(9,), (9,), (9,)], {"dimension": 0, "descending": [True, False]}, types=[i32], ranges=[(0, 3)])
        yield Sample([(2, 5), (2, 5)], {"dimension": 1}, types=[ui8, f16], ranges=[(0, 9), (-1, 1)])
        yield Sample([(1, 600)], {"dimension": 1})
        yield Sample([(3, 10)], {"dimension": 1, "run": 4})
        runs = np.sort(np.random.default_rng(3).uniform(-1, 1, (5, 8)).astype(np.float32), 1).reshape(2, 20)
        runs = np.concatenate([np.sort(runs[:, at : at + 8], 1) for at in (0, 8, 16)], 1)
        yield Sample(arrays=[runs], properties={"dimension": 1, "given": 8, "run": 16})
        yield Sample(arrays=[runs.T], properties={"dimension": 0, "given": 8, "run": 16})
        yield Sample([(1,)], {"dimension": 0})


def _ranks(x: Array, descending: bool) -> Array:
    """Integers that are ordered as the elements are, equal where they are."""
    _, ranks = np.unique(x, return_inverse=True)
    ranks = np.asarray(ranks, np.int64).reshape(x.shape)
    return -ranks if descending else ranks
