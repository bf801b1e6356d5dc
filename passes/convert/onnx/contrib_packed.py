"""ONNX Runtime's operators on weights of a few bits, several to a byte: they stay packed until a product reads them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.dialects.builtin import i32
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.onnx_contrib import DOMAIN
from tstorch.dialects.prim.elementwise import AndOp, ShiftRightOp
from tstorch.dialects.prim.generator import IotaOp
from tstorch.dialects.prim.types import ui8, ui32
from tstorch.passes.convert.onnx.indexing import looked_up
from tstorch.passes.convert.onnx.linear import dot
from tstorch.passes.convert.onnx.node import Node, normalized, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value

BITS = (1, 2, 4, 8)


@onnx_op("MatMulNBits", domain=DOMAIN)
def matmul_of_few_bits(node: Node) -> Value:
    """A product with a matrix whose rows are cut into blocks, each with a scale and a zero point."""
    if node.attribute("weight_prepacked"):
        raise VerifyException("prepacked weights have no form here; expected weight_prepacked = 0")
    value, packed, bias = node.input(0), node.input(1), node.optional(5)
    rows, columns, block = (node.attribute(name) for name in ("N", "K", "block_size"))
    if value.shape[-1:] != (columns,):
        raise VerifyException(f"a first operand of shape {list(value.shape)}; expected K = {columns} columns")
    blocks = -(-columns // block)
    codes = unpacked(_shaped(packed, [rows, blocks, _bytes(block, node)]), node.attribute("bits"))
    if (groups := node.optional(4)) is None:
        weights = _scaled(node, codes, [rows, blocks], (2, 3)).reshape([rows, blocks * block]).take(1, 0, columns)
    else:
        weights = _grouped(node, codes.reshape([rows, blocks * block]).take(1, 0, columns), groups, blocks)
    result = dot(value, weights, contract=(value.rank - 1, 1))
    return result if bias is None else result + bias


@onnx_op("GatherBlockQuantized", domain=DOMAIN)
def gather_of_few_bits(node: Node) -> Value:
    """Rows of a quantised table, as real numbers: what is looked up is packed, and only that is unpacked."""
    table, rank = node.input(0), node.input(0).rank
    axis, along = (normalized(node.attribute(name), rank) for name in ("gather_axis", "quantize_axis"))
    if along != rank - 1 or axis == along:
        raise VerifyException(f"it looks up along axis {axis} and is quantised along {along}; expected the last one")
    indices = node.input(1)
    indices = indices.compare("lt", 0).where(indices + table.shape[axis], indices)
    data, scales = (looked_up(node.input(position), indices, axis) for position in (0, 2))
    zeros = None if node.optional(3) is None else looked_up(node.input(3), indices, axis)
    bits = node.attribute("bits")
    codes = unpacked(data, bits) if data.element == ui8 else data
    *outer, count = codes.shape
    blocks, size = scales.shape[-1], node.attribute("block_size")
    padded = codes.pad([0] * codes.rank, [*[0] * len(outer), blocks * size - count])
    if zeros is not None:
        zeros = unpacked(zeros, bits) if zeros.element == ui8 else zeros
        centre = zeros.convert(i32).take(zeros.rank - 1, 0, blocks).reshape([*scales.shape, 1])
    else:
        centre = codes.emit.full(1 << bits - 1 if data.element == ui8 else 0, (), i32)
    whole = padded.reshape([*outer, blocks, size]).convert(i32) - centre
    real = whole.convert(scales.element) * scales.reshape([*scales.shape, 1])
    return real.reshape([*outer, blocks * size]).take(len(outer), 0, count)


def unpacked(packed: Value, bits: int) -> Value:
    """The numbers that bytes hold along the last axis, the lowest bits first, as unsigned words."""
    if bits not in BITS:
        raise VerifyException(f"{bits} bits a number; expected one of {', '.join(map(str, BITS))}")
    words, count = packed.convert(ui32), 8 // bits
    if count == 1:
        return words
    apart = [*packed.shape, count]
    places = packed.emit.value(IotaOp(shape=apart, dimension=packed.rank, element_type=ui32)) * bits
    shifted = words.reshape([*packed.shape, 1]).broadcast_to(apart).apply(ShiftRightOp, places)
    return shifted.apply(AndOp, (1 << bits) - 1).reshape([*packed.shape[:-1], packed.shape[-1] * count])


def _scaled(node: Node, codes: Value, blocks: Sequence[int], places: tuple[int, int]) -> Value:
    """Codes less their block's zero point, times its scale; without one, half of what the bits can hold."""
    scales, zeros = node.input(places[0]), node.optional(places[1])
    scales = _shaped(scales, [*blocks, 1])
    bits = node.attribute("bits")
    if zeros is None:
        return (codes.convert(i32) - (1 << bits - 1)).convert(scales.element) * scales
    if zeros.element != ui8:
        return (codes.convert(scales.element) - _shaped(zeros, [*blocks, 1])) * scales
    whole = unpacked(_shaped(zeros, [blocks[0], _bytes(blocks[1], node)]), bits).take(1, 0, blocks[1])
    return (codes.convert(i32) - whole.reshape([*blocks, 1]).convert(i32)).convert(scales.element) * scales


def _grouped(node: Node, codes: Value, groups: Value, blocks: int) -> Value:
    """As `_scaled`, where each column says which scale and zero point are its own."""
    rows, columns = codes.shape
    groups, bits = groups.take(0, 0, columns), node.attribute("bits")
    scales = looked_up(_shaped(node.input(2), [rows, blocks]), groups, 1)
    if (zeros := node.optional(3)) is None:
        return (codes.convert(i32) - (1 << bits - 1)).convert(scales.element) * scales
    if zeros.element == ui8:
        zeros = unpacked(_shaped(zeros, [rows, _bytes(blocks, node)]), bits).take(1, 0, blocks).convert(i32)
    centre = looked_up(_shaped(zeros, [rows, blocks]), groups, 1)
    return (codes.convert(i32).convert(scales.element) - centre.convert(scales.element)) * scales


def _bytes(count: int, node: Node) -> int:
    """Bytes of so many numbers."""
    return -(-count * node.attribute("bits") // 8)


def _shaped(value: Value, shape: Sequence[int]) -> Value:
    """The value in a shape that its elements must fill."""
    if prod(value.shape) != prod(shape):
        raise VerifyException(f"an operand of shape {list(value.shape)}; expected {list(shape)}")
    return value.reshape(shape)


RULES = rules_of(globals())
