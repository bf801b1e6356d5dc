"""What lies in a buffer, what it is for and what is done to it."""

from collections.abc import Sequence
from enum import auto
from math import prod

from xdsl.dialects.builtin import (
    IntegerAttr,
    IntegerType,
    StringAttr,
    TensorType,
    i64,
)
from xdsl.ir import (
    Attribute,
    ParametrizedAttribute,
    SSAValue,
    TypeAttribute,
)
from xdsl.irdl import (
    irdl_attr_definition,
)
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.str_enum import StrEnum

WORD = 4


class Category(StrEnum):
    """What a buffer holds; every byte that we request is in exactly one."""

    WEIGHT = auto()
    INPUT = auto()
    OUTPUT = auto()
    ACTIVATION = auto()
    GRADIENT = auto()
    OPTIMIZER = auto()
    STATE = auto()
    SCRATCH = auto()


class Access(StrEnum):
    """What a dispatch does with a binding. INOUT reads what it then overwrites; WGSL calls both writes `read_write`."""

    READ = auto()
    WRITE = auto()
    INOUT = auto()

    @property
    def writes(self) -> bool:
        return self is not Access.READ

    @property
    def reads(self) -> bool:
        return self is not Access.WRITE


def view_bytes(view: SSAValue) -> int:
    """Bytes that a value of view type names."""
    assert isinstance(view.type, ViewType)
    return view.type.bytes


def storage_bytes(type: TensorType) -> int:
    """Bytes of a tensor in a buffer: whole words; bool takes a word an element."""
    element = type.element_type
    bits = element.width.data if isinstance(element, IntegerType) else getattr(element, "bitwidth", 32)
    bits = 8 * WORD if bits == 1 else bits
    return -(-prod(type.get_shape()) * bits // (8 * WORD)) * WORD


def storage_dtype(type: TensorType) -> str:
    """How the artifact calls a buffer's elements: f32, f16, i32, u32, u8."""
    return str(type.element_type).replace("ui", "u")


@irdl_attr_definition
class ViewType(ParametrizedAttribute, TypeAttribute):
    """Bytes of a buffer that hold a tensor."""

    name = "buf.view"
    tensor: TensorType

    @property
    def bytes(self) -> int:
        return storage_bytes(self.tensor)


@irdl_attr_definition
class WeightRefAttr(ParametrizedAttribute):
    """Where a weight's bytes come from: a file, a key in it, and the sha256 of the raw bytes."""

    name = "buf.weight_ref"
    file: StringAttr
    key: StringAttr
    digest: StringAttr

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_list([self.file, self.key, self.digest], lambda part: printer.print_string_literal(part.data))

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            parts = parser.parse_comma_separated_list(parser.Delimiter.NONE, parser.parse_str_literal)
        if len(parts) != 3:
            parser.raise_error("expected a file, a key and a digest")
        return [StringAttr(part) for part in parts]


def integer(value: int) -> IntegerAttr:
    """A number as an attribute."""
    return IntegerAttr(value, i64)
