"""Element types of memory, and the register types that scalar code computes in."""

from functools import cache

from xdsl.dialects.builtin import (
    BFloat16Type,
    Float16Type,
    Float32Type,
    IntegerType,
    MemRefType,
    Signedness,
    VectorType,
    f32,
    i1,
    i32,
)
from xdsl.ir import Attribute
from xdsl.irdl import EqAttrConstraint

from tstorch.dialects.loop.access import LANES

ui32 = IntegerType(32, Signedness.UNSIGNED)


# Constraints on operands and results.
integer_word = EqAttrConstraint(i32) | EqAttrConstraint(ui32)
number = EqAttrConstraint(f32) | integer_word
float_value = EqAttrConstraint(f32) | EqAttrConstraint(VectorType(f32, [LANES]))
condition_type = EqAttrConstraint(i1) | EqAttrConstraint(VectorType(i1, [LANES]))


def register_type(element: Attribute) -> Attribute | None:
    """The scalar type that a load of the element yields; None for an element that no memory holds.

    f32, i32, ui32 are themselves. i1 is stored as a word 0 or 1. Narrow ones are packed in words and widened when
    loaded: i8, i16 (signed) to i32; ui8, ui16 to ui32; f16, bf16 to f32.
    """
    match element:
        case Float32Type():
            return f32
        case Float16Type() | BFloat16Type():
            return f32
        case IntegerType() if element.width.data in (8, 16, 32):
            return ui32 if element.signedness.data is Signedness.UNSIGNED else i32
        case IntegerType() if element.width.data == 1:
            return i1
    return None


def packed_per_word(element: Attribute) -> int:
    """How many elements share a 32-bit word of memory: 4, 2 or 1."""
    match element:
        case Float16Type() | BFloat16Type():
            return 2
        case IntegerType() if element.width.data in (8, 16):
            return 32 // element.width.data
    return 1


@cache
def vector_of(scalar: Attribute) -> VectorType:
    """vector<4xT>."""
    return VectorType(scalar, [LANES])


def scalar_of(type: Attribute) -> Attribute:
    """The type of one lane."""
    return type.element_type if isinstance(type, VectorType) else type


def is_vector(type: Attribute) -> bool:
    """Whether the type has lanes."""
    return isinstance(type, VectorType)


def is_register_type(type: Attribute) -> bool:
    """Whether scalar code may compute in it: f32, i32, ui32, i1 and vectors of 4 of them."""
    scalar = scalar_of(type)
    if isinstance(type, VectorType) and type.get_shape() != (LANES,):
        return False
    return scalar in (f32, i32, ui32, i1)


def element_count(memory: MemRefType) -> int:
    """The number of elements."""
    count = 1
    for size in memory.get_shape():
        count *= size
    return count
