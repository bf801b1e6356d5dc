"""What the imported graph holds beside its nodes: types that a file leaves open, and its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.dialects.builtin import StringAttr, TensorType
from xdsl.ir import Attribute, ParametrizedAttribute, SSAValue, TypeAttribute
from xdsl.irdl import (
    AnyAttr,
    IRDLOperation,
    irdl_attr_definition,
    irdl_op_definition,
    opt_prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.parser import AttrParser, Parser
from xdsl.printer import Printer
from xdsl.traits import IsTerminator, Pure
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.values import ValuesAttr


@irdl_attr_definition
class AnyType(ParametrizedAttribute, TypeAttribute):
    """The type of a value of which the file states none."""

    name = "onnx.any"


@irdl_attr_definition
class StringType(ParametrizedAttribute, TypeAttribute):
    """The element type of a tensor of strings: it can be imported and shown, not computed with."""

    name = "onnx.string"


@irdl_attr_definition
class WeightAttr(ParametrizedAttribute):
    """A tensor whose bytes stay in a file: the model's base name, a key unique in it, sha256 of the raw bytes."""

    name = "onnx.weight"
    file: StringAttr
    key: StringAttr
    digest: StringAttr

    @classmethod
    def get(cls, file: str, key: str, digest: str) -> WeightAttr:
        """The reference to `key` in `file`."""
        return cls(StringAttr(file), StringAttr(key), StringAttr(digest))

    @property
    def names(self) -> dict[str, Any]:
        """The parts by name."""
        return {"file": self.file.data, "key": self.key.data, "digest": self.digest.data}

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_list((self.file, self.key, self.digest), printer.print_attribute)

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        with parser.in_angle_brackets():
            file = parser.parse_str_literal()
            parser.parse_punctuation(",")
            key = parser.parse_str_literal()
            parser.parse_punctuation(",")
            return [StringAttr(file), StringAttr(key), StringAttr(parser.parse_str_literal())]


@irdl_attr_definition
class TensorWeightAttr(ParametrizedAttribute):
    """A tensor attribute of a node that is too large to stand in the text: where its bytes are, and its type."""

    name = "onnx.tensor"
    weight: WeightAttr
    type: TensorType


@irdl_op_definition
class InitializerOp(IRDLOperation):
    """A tensor stored in the model: inline (`"scale" dense<0.5>`) or by reference."""

    name = "onnx.initializer"
    weight = opt_prop_def(WeightAttr)
    key = opt_prop_def(StringAttr)
    value = opt_prop_def(ValuesAttr)
    result = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, content: WeightAttr | tuple[str, ValuesAttr], type: Attribute):
        if isinstance(content, WeightAttr):
            properties: dict[str, Attribute | None] = {"weight": content}
        else:
            properties = {"key": StringAttr(content[0]), "value": content[1]}
        super().__init__(result_types=[type], properties=properties)

    @property
    def initializer_name(self) -> str:
        """The initializer's name in the model."""
        return self.weight.key.data if self.weight is not None else self.key.data if self.key is not None else ""

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        if self.weight is not None:
            self.weight.print_parameters(printer)
            printer.print_op_attributes(self.attributes)
            printer.print_string(" : ")
            printer.print_attribute(self.result.type)
        if self.key is not None and self.value is not None:
            printer.print_attribute(self.key)
            printer.print_op_attributes(self.attributes)
            printer.print_string(" dense")
            self.value.print_parameters(printer)

    @classmethod
    def parse(cls, parser: Parser) -> InitializerOp:
        if (key := parser.parse_optional_str_literal()) is not None:
            attributes = parser.parse_optional_attr_dict()
            parser.parse_keyword("dense")
            value = ValuesAttr(*ValuesAttr.parse_parameters(parser))  # pyright: ignore[reportArgumentType]
            op = cls((key, value), value.type)
        else:
            weight = WeightAttr(*WeightAttr.parse_parameters(parser))  # pyright: ignore[reportArgumentType]
            attributes = parser.parse_optional_attr_dict()
            parser.parse_punctuation(":")
            op = cls(weight, parser.parse_type())
        op.attributes.update(attributes)
        return op

    def verify_(self) -> None:
        if (self.weight is None) == (self.value is None) or (self.key is None) != (self.value is None):
            raise VerifyException("an initializer has either a reference, or a name and a value")
        if self.value is not None and self.value.type != self.result.type:
            raise VerifyException(f"the value's type {self.value.type} is not the result's, {self.result.type}")


@irdl_op_definition
class YieldOp(IRDLOperation):
    """Ends the body of a node's subgraph with its outputs."""

    name = "onnx.yield"
    values = var_operand_def(AnyAttr())
    assembly_format = "($values^ `:` type($values))? attr-dict"
    traits = traits_def(IsTerminator(), Pure())

    def __init__(self, values: Sequence[SSAValue]):
        super().__init__(operands=[values])
