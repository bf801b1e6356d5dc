"""The numbers of a constant, as an attribute whose text loses no bit."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from xdsl.dialects.builtin import BytesAttr, DenseIntOrFPElementsAttr, TensorType
from xdsl.ir import Attribute, ParametrizedAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.types import dtype_of, is_element_type, type_of

_WORDS = {"true": 1.0, "false": 0.0, "inf": np.inf, "nan": np.nan}


@irdl_attr_definition
class ValuesAttr(ParametrizedAttribute):
    """Little-endian numbers of a tensor type.

    Not builtin's `dense`: xDSL 0.74 prints infinities, NaN and some floats as hexadecimal bits, and reads those back
    as integers. Here floats are the shortest decimals that read back the same, else the bytes are printed.
    """

    name = "prim.values"
    type: TensorType
    data: BytesAttr

    @classmethod
    def of(cls, value: ValuesAttr | DenseIntOrFPElementsAttr | np.ndarray | np.generic) -> ValuesAttr:
        """The numbers of an array or a `dense` attribute."""
        if isinstance(value, ValuesAttr):
            return value
        if isinstance(value, DenseIntOrFPElementsAttr):
            if not isinstance(value.type, TensorType):
                raise VerifyException(f"a constant is a tensor, not {value.type}")
            return cls.of(np.array(value.get_values()).astype(dtype_of(value.type)).reshape(value.get_shape()))
        array = np.ascontiguousarray(value).reshape(np.shape(value))
        return cls(type_of(array), BytesAttr(array.tobytes()))

    def array(self) -> np.ndarray:
        """The numbers as a read-only array."""
        return np.frombuffer(self.data.data, dtype_of(self.type)).reshape(self.type.get_shape())

    def get_values(self) -> tuple:
        """The numbers in row-major order."""
        return tuple(self.array().ravel().tolist())

    def __len__(self) -> int:
        return prod(self.type.get_shape())

    def is_splat(self) -> bool:
        """Whether all elements have the same bits."""
        size = dtype_of(self.type).itemsize
        return len(self) > 0 and self.data.data == self.data.data[:size] * len(self)

    def verify(self) -> None:
        if not is_element_type(self.type.element_type):
            raise VerifyException(f"{self.type.element_type} is no element type of a primitive")
        if len(self.data.data) != len(self) * dtype_of(self.type).itemsize:
            raise VerifyException(f"{len(self.data.data)} bytes do not fill {self.type}")

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string(self._text())
        printer.print_string(" : ")
        printer.print_attribute(self.type)

    def _text(self) -> str:
        array = self.array()
        if array.dtype.kind == "V":
            return f'"0x{self.data.data.hex()}"'
        if self.is_splat():
            array = array.ravel()[:1].reshape(())
        text = _nested(array)
        exact = array.size == 0 or _array(_numbers(array), array.dtype, array.shape).tobytes() == array.tobytes()
        return text if exact else f'"0x{self.data.data.hex()}"'

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            data = parser.parse_optional_str_literal()
            numbers = _parse_numbers(parser) if data is None else []
        parser.parse_punctuation(":")
        type = parser.parse_attribute()
        if not isinstance(type, TensorType) or not is_element_type(type.element_type):
            parser.raise_error(f"expected the tensor type of these numbers, got {type}")
        if data is not None:
            return type, BytesAttr(bytes.fromhex(data.removeprefix("0x")))
        size = prod(type.get_shape())
        if len(numbers) not in (1, size):
            parser.raise_error(f"{len(numbers)} numbers do not fill {type}")
        return type, BytesAttr(_array(numbers * (size // len(numbers) if numbers else 0), dtype_of(type)).tobytes())


def _numbers(array: np.ndarray) -> list[int | float]:
    """The numbers as they will be read: each float from its shortest text."""
    if array.dtype.kind != "f":
        return array.ravel().tolist()
    return [float(_float_text(number)) for number in array.ravel()]


def _array(numbers: Sequence[int | float], dtype: np.dtype, shape: Sequence[int] = (-1,)) -> np.ndarray:
    return np.array(numbers, dtype).reshape(shape)


def _float_text(number: np.floating) -> str:
    if not np.isfinite(number):
        return str(float(number))
    magnitude = abs(float(number))
    if magnitude == 0 or 1e-4 <= magnitude < 1e7:
        return np.format_float_positional(number, trim="0")
    return np.format_float_scientific(number, trim="0")


def _nested(array: np.ndarray) -> str:
    if array.ndim:
        return "[" + ", ".join(map(_nested, array)) + "]"
    if array.dtype.kind == "f":
        return _float_text(array.flat[0])
    return str(array.item()).lower()


def _parse_numbers(parser: AttrParser) -> list[int | float]:
    nested = parser.parse_optional_comma_separated_list(parser.Delimiter.SQUARE, lambda: _parse_numbers(parser))
    if nested is not None:
        return [number for row in nested for number in row]
    sign = -1 if parser.parse_optional_punctuation("-") else 1
    for word, number in _WORDS.items():
        if parser.parse_optional_keyword(word) is not None:
            return [sign * number]
    return [sign * parser.parse_number(allow_boolean=False)]
