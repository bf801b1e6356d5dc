"""The place of a number in a sorted row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from xdsl.dialects.builtin import TensorType, f16, i32
from xdsl.ir import Operation, SSAValue
from xdsl.irdl import base, irdl_op_definition, operand_def, result_def

from tstorch.dialects.prim.base import NON_DIFFERENTIABLE, Array, OrderingOp, Properties, elements
from tstorch.dialects.prim.operands import require, shape_of
from tstorch.dialects.prim.sample import Sample, floats
from tstorch.dialects.prim.types import NUMBERS, tensor, ui8


@irdl_op_definition
class SearchSortedOp(OrderingOp):
    """How many elements of a row are less than each query, as i32: rows lie along the last dimension, and are sorted.

    NaN is larger than all numbers. Where a row is not sorted the result is any place in it.
    """

    name = "prim.search_sorted"
    vjp = NON_DIFFERENTIABLE("its result is no float")

    rows = operand_def(base(TensorType))
    queries = operand_def(base(TensorType))
    result = result_def(base(TensorType))
    assembly_format = "$rows `,` $queries attr-dict `:` type($rows) `,` type($queries) `->` type($result)"

    def __init__(self, rows: SSAValue | Operation, queries: SSAValue | Operation):
        super().__init__([rows, queries], {})

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        rows, queries = operands
        require(rows.element_type == queries.element_type, f"{queries} are no elements of {rows}")
        require(rows.element_type in NUMBERS, f"{rows.element_type} has no order")
        outer, asked = rows.get_shape()[:-1], queries.get_shape()[:-1]
        require(len(rows.get_shape()) > 0 and len(queries.get_shape()) > 0, f"{rows} and {queries} need a dimension")
        require(outer == asked, f"{rows} and {queries} are not of as many rows")
        return [tensor(queries.get_shape(), i32)]

    def reference(self, rows: Array, queries: Array) -> Sequence[Array]:
        found = np.zeros(queries.shape, np.int32)
        for row in np.ndindex(*queries.shape[:-1]):
            found[row] = np.searchsorted(rows[row], queries[row])
        return [found]

    def flops(self) -> int:
        """One comparison for each halving."""
        return elements(self.queries) * shape_of(self.rows)[-1].bit_length()

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        rng = np.random.default_rng(12)
        for dtype in (np.float32, np.int32, np.uint8, np.float16):
            rows = np.sort(rng.integers(0, 9, (2, 11)), -1).astype(dtype)
            yield Sample(arrays=[rows, rng.integers(0, 10, (2, 5)).astype(dtype)])
        edge = floats([-np.inf, -1, 0, 0, 2, np.inf, np.nan])
        yield Sample(arrays=[edge, floats([np.nan, np.inf, 0, -0.0, -np.inf, 3, -5])])
        yield Sample(arrays=[np.arange(600, dtype=np.int32), np.arange(-1, 602, dtype=np.int32)])
        yield Sample([(1,), (3,)], types=[i32], ranges=[(-2, 2)])
        yield Sample([(1,), (1,)], types=[ui8, ui8], ranges=[(0, 3)])
        yield Sample([(3, 1), (3, 2)], types=[f16])
