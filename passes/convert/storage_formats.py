"""Stored types made legal: codes become the bytes or halves of words that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from xdsl.dialects.builtin import UNKNOWN_LOC, TensorType
from xdsl.ir import Attribute, Block, Operation, SSAValue

from tstorch.dialects.prim.elementwise import AndOp, ShiftRightOp
from tstorch.dialects.prim.generator import ConstantOp
from tstorch.dialects.prim.shape import BroadcastInDimOp, ReshapeOp, SliceOp
from tstorch.dialects.prim.stored import FORMATS, Format, codes_of, format_of
from tstorch.dialects.prim.types import code_type, is_stored, tensor, ui8
from tstorch.dialects.prim.values import ValuesAttr
from tstorch.dialects.prim.weight import WeightOp


def store_codes(block: Block) -> None:
    """Turns every value of a stored type in a block, and in its ops' regions, into one of plain codes.

    Codes of 8 and 16 bits are elements of ui8 and ui16; smaller ones take a byte each, but in weights, which stay
    packed as the model holds them: a kernel cuts the codes out where it reads them.
    """
    for op in list(block.walk()):
        if isinstance(op, WeightOp) and (format := format_of(op.type.element_type)) is not None:  # pyright: ignore[reportAttributeAccessIssue]
            _store_weight(op, format)
        elif isinstance(op, ConstantOp) and is_stored(op.value.type.element_type):
            op.properties["value"] = ValuesAttr.of(codes_of(op.value.array()))
        _replace_properties(op)
        for value in (*op.results, *(arg for region in op.regions for arg in region.block.args)):
            _retype(value)
    for arg in block.args:
        _retype(arg)


def host_name(type: Attribute) -> str | None:
    """The dtype in which callers pass numbers of a stored type; None for other types."""
    format = format_of(type)
    return None if format is None else format.host


def _replace_properties(op: Operation) -> None:
    """Result types that ops carry as properties."""
    for name, value in op.properties.items():
        if name == "element_type" and is_stored(value):
            op.properties[name] = code_type(FORMATS[value])
        elif name == "type" and isinstance(value, TensorType):
            op.properties[name] = _legal(value)


def _legal(type: TensorType) -> TensorType:
    format = format_of(type.element_type)
    return type if format is None else tensor(type.get_shape(), code_type(format))


def _retype(value: SSAValue) -> None:
    if isinstance(value.type, TensorType) and is_stored(value.type.element_type):
        value._type = _legal(value.type)  # pyright: ignore[reportAttributeAccessIssue]


def _store_weight(op: WeightOp, format: Format) -> None:
    shape = op.result.type.get_shape()  # pyright: ignore[reportAttributeAccessIssue]
    if format.per_byte == 1 or not op.result.uses:
        return
    new = _unpacked(op, format, shape)
    block = op.parent
    assert block is not None
    user = next(iter(op.result.uses)).operation
    for each in new:
        each.location = user.location if op.location == UNKNOWN_LOC else op.location
        block.insert_op_before(each, op)
    op.result.replace_all_uses_with(new[-1].results[0])
    op.detach()
    op.erase()


def _unpacked(op: WeightOp, format: Format, shape: Sequence[int]) -> list[Operation]:
    """The weight's bytes, each as often as it holds codes, moved to the right so far that one's bits stand lowest."""
    count, each = prod(shape), format.per_byte
    size = -(-count // each)
    packed = WeightOp(file=op.file.data, key=op.key.data, digest=op.digest.data, type=tensor([size], ui8))
    shifts = ConstantOp(np.arange(0, 8, format.bits, dtype=np.uint8))
    mask = ConstantOp.scalar((1 << format.bits) - 1, ui8)
    bytes_ = BroadcastInDimOp(packed.result, shape=[size, each], dimensions=[0])
    places = BroadcastInDimOp(shifts.result, shape=[size, each], dimensions=[1])
    masks = BroadcastInDimOp(mask.result, shape=[size, each], dimensions=[])
    codes = AndOp(ShiftRightOp(bytes_.result, places.result), masks.result)
    shifted = codes.lhs.owner
    assert isinstance(shifted, Operation)
    flat = ReshapeOp(codes.result, shape=[size * each])
    found: list[Operation] = [packed, shifts, mask, bytes_, places, masks, shifted, codes, flat]
    if size * each != count:
        found.append(SliceOp(flat.result, start=[0], limit=[count], stride=[1]))
    return [*found, ReshapeOp(found[-1].results[0], shape=list(shape))]
