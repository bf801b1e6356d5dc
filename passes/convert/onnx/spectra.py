"""Weights that sum the bins of a spectrum: MelWeightMatrix."""

from __future__ import annotations

import numpy as np
from xdsl.dialects.builtin import f32
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.onnx import ELEMENT_TYPES
from tstorch.dialects.prim.elementwise import AndOp
from tstorch.passes.convert.onnx.image import counted
from tstorch.passes.convert.onnx.node import Node, onnx_op, rules_of
from tstorch.passes.convert.onnx.tables import table
from tstorch.passes.convert.onnx.value import Value


@onnx_op("MelWeightMatrix")
def mel_weights(node: Node) -> Value:
    """(bins of the spectrum, mel bins): triangles from one mel frequency over the next to the one after it."""
    given = [node.constant(position) for position in range(5)]
    count, length, rate, low, high = (np.asarray(number).reshape(()) for number in given)
    if min(count, length, rate) < 1:
        raise VerifyException(f"{count} mel bins of a transform of {length} at a rate of {rate}; expected 1 or more")
    left, centre, right = _bins(int(count), int(length), rate, low, high)
    shape = [int(length) // 2 + 1, int(count)]
    row = counted(node.emit, shape, 0)
    begin, top, end = (table(node.emit, edge).along(1, shape) for edge in (left, centre, right))
    rising = (row - begin).convert(f32) / (top - begin).maximum(1).convert(f32)
    falling = (end - row).convert(f32) / (end - top).maximum(1).convert(f32)
    weight = row.compare("lt", top).where(rising, falling)
    inside = row.compare("ge", begin).apply(AndOp, row.compare("lt", end))
    peak = row.compare("eq", top)
    weight = peak.where(weight.full(1), inside.where(weight, weight.full(0)))
    element = ELEMENT_TYPES.get(node.attribute("output_datatype"))
    if element is None:
        raise VerifyException(f"output_datatype is {node.attribute('output_datatype')}; expected a type of numbers")
    return weight.convert(element)


def _bins(
    count: int, length: int, rate: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The bins where triangles begin, are highest, and end: equal steps in mel."""
    first, last = (2595 * np.log1p(hertz / 700) / np.log(10) for hertz in (low, high))
    mel = np.arange(count + 2) * ((last - first) / (count + 2)) + first
    hertz = 700 * np.expm1(mel / 2595 * np.log(10))
    bins = ((length + 1) * hertz // rate).astype(np.int32)
    return bins[:-2], bins[1:-1], bins[2:]


RULES = rules_of(globals())
