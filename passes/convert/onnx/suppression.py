"""The choice of boxes that do not overlap."""

from __future__ import annotations

from math import ceil, prod

import numpy as np
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.elementwise import BitcastOp, IsNanOp, OrOp, XorOp
from tstorch.dialects.prim.suppression import NonMaxSuppressionOp
from tstorch.dialects.prim.types import ui32
from tstorch.passes.convert.onnx.counted import Counted
from tstorch.passes.convert.onnx.node import Node, onnx_op, rules_of
from tstorch.passes.convert.onnx.selection import as_positions, chosen, digit, number_of, taken
from tstorch.passes.convert.onnx.value import Value

SIGN, LAST = 1 << 31, (1 << 32) - 1
MOST_BOXES = 100_000
"""Of so many boxes a workgroup's memory can tell which are left."""
MOST_LOOKS = 1 << 20
"""So often an invocation may look at a box: at every 256th for each choice."""


@onnx_op("NonMaxSuppression")
def non_max_suppression(node: Node) -> Value | Counted:
    """One row (batch, class, box) for each box chosen: by batch, then class, then falling score."""
    boxes, scores, limit = node.input(0), node.input(1), node.constant(2)
    count = scores.shape[2]
    if count > MOST_BOXES:
        raise VerifyException(f"there are {count} boxes; expected at most {MOST_BOXES}")
    most = min(count, 0 if limit is None else int(np.asarray(limit).reshape(-1)[0]))
    if most <= 0 or not prod(scores.shape):
        return node.emit.constant(np.zeros((0, 3), np.int64))
    if most > (allowed := MOST_LOOKS // ceil(count / 256)):
        raise VerifyException(f"up to {most} of {count} boxes are to be chosen; expected at most {allowed} of so many")
    threshold = node.optional(3)
    overlap = node.emit.constant(np.float32(0)) if threshold is None else threshold.reshape([])
    corners = _corners(boxes, bool(node.attribute("center_point_box")))
    operands = corners, _priorities(scores, node.optional(4)), overlap
    found = node.emit.value(NonMaxSuppressionOp(*(each.ssa for each in operands), most=most))
    return _listed(found, count)


def _corners(boxes: Value, centred: bool) -> Value:
    """Low y, low x, high y, high x, out of any two opposite corners, or of the centre's x and y, width and height."""
    first, second = boxes.take(2, 0, 2), boxes.take(2, 2, 4)
    if not centred:
        return first.minimum(second).concatenate([first.maximum(second)], 2)
    half = second / 2
    return (first - half).reverse([2]).concatenate([(first + half).reverse([2])], 2)


def _priorities(scores: Value, threshold: Value | None) -> Value:
    """Words in the order of the scores; 0 where the score is not above the threshold."""
    bits = scores.apply(BitcastOp, element_type=ui32)
    word = bits.compare("ge", SIGN).where(bits.apply(XorOp, LAST), bits.apply(OrOp, SIGN))
    word = scores.compare("eq", 0).where(word.full(SIGN), word)
    word = scores.apply(IsNanOp).where(word.full(LAST), word)
    return word if threshold is None else scores.compare("gt", threshold.reshape([])).where(word, word.full(0))


def _listed(found: Value, count: int) -> Counted:
    """The places found as rows, those that hold a box first."""
    batch, classes, most = found.shape
    flat = found.reshape([batch * classes * most])
    flags = flat.compare("ge", 0)
    places = chosen(flags)
    boxes = as_positions(taken(flat, places, 0), count)
    columns = [digit(places, classes * most, batch), digit(places, most, classes), boxes]
    first, *others = [column.reshape([*column.shape, 1]) for column in columns]
    return Counted(first.concatenate(others, 1), 0, number_of(flags))


RULES = rules_of(globals())
