"""The choice of boxes that do not overlap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from xdsl.dialects.builtin import IntegerAttr, TensorType, f32, i32, i64
from xdsl.ir import Operation, SSAValue
from xdsl.irdl import base, irdl_op_definition, operand_def, prop_def, result_def

from tstorch.dialects.prim.base import NON_DIFFERENTIABLE, Array, OrderingOp, Properties, elements
from tstorch.dialects.prim.operands import require
from tstorch.dialects.prim.sample import Sample
from tstorch.dialects.prim.types import int_attr, integer, tensor, ui32


@irdl_op_definition
class NonMaxSuppressionOp(OrderingOp):
    """The places of the boxes of highest priority that do not overlap one chosen before, for each batch and class.

    `boxes` (batch, box, 4) are f32: low y, low x, high y, high x. `priorities` (batch, class, box) are ui32; boxes of
    priority 0 are not chosen, of equal ones the first is. Two boxes overlap where what they have in common is more than
    `threshold` (f32) of what they cover together, and neither is empty. The result (batch, class, most) is i32, in the
    order of the choice, and -1 where no box was left.
    """

    name = "prim.non_max_suppression"
    vjp = NON_DIFFERENTIABLE("its result is no float")

    boxes = operand_def(base(TensorType))
    priorities = operand_def(base(TensorType))
    threshold = operand_def(base(TensorType))
    most = prop_def(IntegerAttr.constr(i64))
    result = result_def(base(TensorType))
    assembly_format = (
        "$boxes `,` $priorities `,` $threshold `,` `most` `=` $most attr-dict "
        "`:` type($boxes) `,` type($priorities) `,` type($threshold) `->` type($result)"
    )

    def __init__(
        self,
        boxes: SSAValue | Operation,
        priorities: SSAValue | Operation,
        threshold: SSAValue | Operation,
        *,
        most: int,
    ):
        super().__init__([boxes, priorities, threshold], {"most": int_attr(most)})

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        boxes, priorities, threshold = operands
        most, shape = integer(properties["most"]), priorities.get_shape()
        require(len(shape) == 3 and priorities.element_type == ui32, f"{priorities} are no priorities of boxes")
        batch, classes, count = shape
        require(boxes == tensor((batch, count, 4), f32), f"{boxes} are not the {batch} times {count} boxes of {shape}")
        require(threshold == tensor((), f32), f"{threshold} is no threshold")
        require(most > 0 and count > 0, f"{most} of {count} boxes are none to choose")
        return [tensor((batch, classes, most), i32)]

    def reference(self, boxes: Array, priorities: Array, threshold: Array) -> Sequence[Array]:
        batch, classes, _ = priorities.shape
        chosen = np.full((batch, classes, integer(self.most)), -1, np.int32)
        for row in np.ndindex(batch, classes):
            left = priorities[row].copy()
            for place in range(chosen.shape[2]):
                best = int(np.argmax(left))
                if not left[best]:
                    break
                chosen[(*row, place)] = best
                left[_overlapping(boxes[row[0]], best, threshold)] = 0
                left[best] = 0
        return [chosen]

    def flops(self) -> int:
        """Every choice is held against every box."""
        return 16 * integer(self.most) * elements(self.priorities)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        rng = np.random.default_rng(8)
        for batch, classes, count, most, threshold in ((1, 1, 6, 3, 0.5), (2, 3, 40, 40, 0.1), (1, 2, 700, 20, 0.3)):
            low = rng.uniform(0, 8, (batch, count, 2))
            boxes = np.concatenate([low, low + rng.uniform(-0.2, 3, (batch, count, 2))], -1).astype(np.float32)
            priorities = rng.integers(0, count // 2, (batch, classes, count)).astype(np.uint32)
            yield Sample(arrays=[boxes, priorities, np.array(threshold, np.float32)], properties={"most": most})
        one = np.array([[[0, 0, 1, 1]]], np.float32)
        largest = np.array([[[2**32 - 1]]], np.uint32)
        yield Sample(arrays=[one, largest, np.array(0, np.float32)], properties={"most": 2})


def _overlapping(boxes: Array, one: int, threshold: Array) -> Array:
    """Which boxes overlap one of them."""
    low, high = np.maximum(boxes[:, :2], boxes[one, :2]), np.minimum(boxes[:, 2:], boxes[one, 2:])
    sides, extents = high - low, boxes[:, 2:] - boxes[:, :2]
    common, areas = sides[:, 0] * sides[:, 1], extents[:, 0] * extents[:, 1]
    together = areas + areas[one] - common
    full = (sides > 0).all(1) & (common > 0) & (areas > 0) & (areas[one] > 0) & (together > 0)
    with np.errstate(all="ignore"):
        return full & (common / together > threshold)
