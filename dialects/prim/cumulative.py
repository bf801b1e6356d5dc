"""Running sums, products and extremes along a dimension."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from xdsl.builder import Builder
from xdsl.dialects.builtin import IntegerAttr, TensorType, f16, i1, i32, i64
from xdsl.ir import Operation, SSAValue
from xdsl.irdl import base, irdl_op_definition, operand_def, prop_def, result_def

from tstorch.dialects.prim.base import Array, Cotangents, Gradients, Properties, RunningOp, elements
from tstorch.dialects.prim.formula import Formula, formulas
from tstorch.dialects.prim.generator import IotaOp
from tstorch.dialects.prim.kinds import ReduceKind, ReduceKindAttr, check_kind, combine, identity
from tstorch.dialects.prim.operands import require, shape_of
from tstorch.dialects.prim.reduction import ReduceOp
from tstorch.dialects.prim.sample import Sample, floats
from tstorch.dialects.prim.shape import BroadcastInDimOp, TransposeOp
from tstorch.dialects.prim.types import int_attr, integer, ui8


@irdl_op_definition
class CumulativeOp(RunningOp):
    """Each element combined with all that come before it along a dimension.

    `exclusive` leaves the element itself out: the first result is then what changes nothing. `reverse` runs from the
    last element to the first.
    """

    name = "prim.cumulative"
    operand = operand_def(base(TensorType))
    kind = prop_def(ReduceKindAttr)
    dimension = prop_def(IntegerAttr.constr(i64))
    exclusive = prop_def(IntegerAttr.constr(i64))
    reverse = prop_def(IntegerAttr.constr(i64))
    result = result_def(base(TensorType))
    assembly_format = (
        "$kind $operand `,` `dimension` `=` $dimension `,` `exclusive` `=` $exclusive `,` `reverse` `=` $reverse "
        "attr-dict `:` type($operand) `->` type($result)"
    )

    def __init__(
        self,
        operand: SSAValue | Operation,
        *,
        dimension: int,
        kind: str = "add",
        exclusive: bool = False,
        reverse: bool = False,
    ):
        properties = {
            "kind": ReduceKindAttr(ReduceKind(kind)),
            "dimension": int_attr(dimension),
            "exclusive": int_attr(int(exclusive)),
            "reverse": int_attr(int(reverse)),
        }
        super().__init__([operand], properties)

    @property
    def is_exclusive(self) -> bool:
        """Whether an element's result leaves the element itself out."""
        return bool(integer(self.exclusive))

    @property
    def is_reverse(self) -> bool:
        """Whether it runs from the last element to the first."""
        return bool(integer(self.reverse))

    @property
    def length(self) -> int:
        """How many elements stand along the dimension."""
        return shape_of(self.operand)[integer(self.dimension)]

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        [operand], axis, kind = operands, integer(properties["dimension"]), properties["kind"]
        require(0 <= axis < len(operand.get_shape()), f"there is no dimension {axis} in {operand} to run along")
        require(isinstance(kind, ReduceKindAttr), f"{kind} is no way to combine elements")
        check_kind(kind.data, operand.element_type)  # pyright: ignore[reportAttributeAccessIssue]
        for name in ("exclusive", "reverse"):
            require(integer(properties[name]) in (0, 1), f"{name} is {integer(properties[name])}; expected 0 or 1")
        return [operand]

    def reference(self, x: Array) -> Sequence[Array]:
        axis, kind = integer(self.dimension), self.kind.data
        exact = x.dtype.kind == "f" and kind in (ReduceKind.ADD, ReduceKind.MUL)
        rows = np.moveaxis(x.astype(np.float64) if exact else x, axis, -1)
        rows = rows[..., ::-1] if self.is_reverse else rows
        if self.is_exclusive and self.length:
            element_type = self.operand.type.element_type  # pyright: ignore[reportAttributeAccessIssue]
            start = np.full(rows[..., :1].shape, identity(kind, element_type)).astype(rows.dtype)
            rows = np.concatenate([start, rows[..., :-1]], axis=-1)
        with np.errstate(all="ignore"):
            rows = combine(kind).accumulate(rows, axis=-1) if self.length else rows
            rows = rows[..., ::-1] if self.is_reverse else rows
            return [np.moveaxis(rows, -1, axis).astype(x.dtype)]

    def vjp(self, cotangents: Cotangents, build: Builder) -> Gradients:
        g, x = formulas(build, *cotangents, self.operand)
        match self.kind.data:
            case ReduceKind.ADD:
                return [self._back(g).value]
            case ReduceKind.MUL:
                return [self._product_gradient(g, x).value]
            case ReduceKind.MAX | ReduceKind.MIN:
                return [self._extremum_gradient(g, x).value]
            case _:
                return [None]

    def _run(self, x: Formula, **changed: object) -> Formula:
        """This op on another value, with other properties."""
        properties = {
            "kind": self.kind.data, "dimension": integer(self.dimension), "exclusive": self.is_exclusive,
            "reverse": self.is_reverse,
        }  # fmt: skip
        return x.apply(CumulativeOp, **(properties | changed))

    def _back(self, g: Formula) -> Formula:
        """For each element the sum over all results that it is part of."""
        return self._run(g, kind="add", reverse=not self.is_reverse)

    def _product_gradient(self, g: Formula, x: Formula) -> Formula:
        """What runs on behind an element, over the element; where it is 0, what runs on without it and no other 0."""
        is_zero = x.compare("eq", 0.0)
        zeros = self._run(is_zero.convert(x.type.element_type), kind="add")
        rest = is_zero.select(1.0, x)
        product = g * self._run(rest)
        without, alone = (
            self._back(zeros.compare("eq", count).select(product, product.lift(0.0))) for count in (0.0, 1.0)
        )
        return is_zero.select(alone, without / rest)

    def _extremum_gradient(self, g: Formula, x: Formula) -> Formula:
        """Each result's cotangent goes to the first element that holds the extreme so far."""
        shape, axis = shape_of(self.operand), integer(self.dimension)
        record = self._run(x, exclusive=False).compare("ne", self._run(x, exclusive=True))
        [own] = formulas(x.build, x.build.insert(IotaOp(shape=shape, dimension=axis, element_type=i32)).result)
        later = "min" if self.is_reverse else "max"
        holder = self._run(record.select(own, own.lift(self.length if self.is_reverse else -1)), kind=later)
        square = [*shape, self.length]
        place = x.build.insert(IotaOp(shape=square, dimension=len(shape), element_type=i32)).result
        spread = {"shape": square, "dimensions": list(range(len(shape)))}
        held = holder.apply(BroadcastInDimOp, **spread).compare("eq", Formula(place, x.build))
        given = g.apply(BroadcastInDimOp, **spread)
        shares = held.select(given, given.lift(0.0))
        found = shares.apply(ReduceOp, dimensions=[axis], kind="add")
        back = [*range(axis), len(shape) - 1, *range(axis, len(shape) - 1)]
        return found.apply(TransposeOp, permutation=back)

    def flops(self) -> int:
        return elements(self.operand)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for kind in ("add", "mul", "max", "min"):
            for exclusive, reverse in ((False, False), (True, False), (False, True), (True, True)):
                how = {"kind": kind, "exclusive": exclusive, "reverse": reverse}
                smooth = not (exclusive and kind in ("max", "min"))
                yield Sample([(3, 5)], {"dimension": 1, **how}, smooth=smooth)
                yield Sample([(3, 2)], {"dimension": 0, **how}, types=[i32], ranges=[(-3, 3)])
        zeros = floats([[2, 0, 3, 0, 5], [1, 2, 0, 4, 2], [1, -2, 3, 4, 0.5]])
        yield Sample(arrays=[zeros], properties={"dimension": 1, "kind": "mul"})
        yield Sample(arrays=[zeros], properties={"dimension": 1, "kind": "mul", "exclusive": True, "reverse": True})
        yield Sample([(2, 700)], {"dimension": 1})
        yield Sample([(700, 2)], {"dimension": 0, "exclusive": True, "reverse": True})
        yield Sample([(2, 6)], {"dimension": 1}, types=[f16])
        yield Sample([(2, 3)], {"dimension": 1, "kind": "or"}, types=[i1])
        yield Sample([(2, 5)], {"dimension": 1}, types=[ui8], ranges=[(0, 255)])
        yield Sample([(1,)], {"dimension": 0, "exclusive": True}, types=[i64], ranges=[(0, 9)])
