"""The imported graph: one op per ONNX node, under ONNX's own name, held against what `onnx.defs` says of it.

    %w = onnx.initializer <"net.onnx", "conv.weight", "9f86d0..."> : tensor<8x3x3x3xf32>
    %y = onnx.Conv(%x, %w, _) {strides = array<i64: 2, 2>} : (tensor<1x3x8x8xf32>, ...) -> tensor<1x8x3x3xf32>

`_` stands for an optional operand that is absent. Operators of other domains carry theirs: `onnx.ai.onnx.ml.Scaler`.
The module says which opsets it speaks (`onnx.opset = {ai.onnx = 20 : i64}`); an op that speaks another says so itself.
Values whose type the file does not state have the type `!onnx.any`: the conversion to prim finds it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, ClassVar

from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto, defs
from onnx.helper import make_attribute, make_node, make_tensor_type_proto
from onnx.numpy_helper import to_array
from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    DictionaryAttr,
    Float4E2M1FNType,
    Float8E4M3FNType,
    Float8E4M3FNUZType,
    Float8E5M2FNUZType,
    Float8E5M2Type,
    Float8E8M0FNUType,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    Signedness,
    StringAttr,
    TensorType,
    bf16,
    f16,
    f32,
    f64,
    i1,
    i8,
    i16,
    i32,
    i64,
)
from xdsl.ir import Attribute, Dialect, Operation, Region, SSAValue
from xdsl.irdl import traits_def
from xdsl.parser import Parser, UnresolvedOperand
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.onnx_contrib import CONTRIB, Kind, Signature
from tstorch.dialects.onnx_values import AnyType, InitializerOp, StringType, TensorWeightAttr, WeightAttr, YieldOp
from tstorch.dialects.prim.types import ui8, ui16, ui32, ui64
from tstorch.dialects.prim.values import ValuesAttr

__all__ = [
    "DEFAULT_DOMAIN",
    "ELEMENT_TYPES",
    "OPSET",
    "AnyType",
    "AttributeProto",
    "FunctionProto",
    "GraphProto",
    "InitializerOp",
    "NodeOp",
    "NodeProto",
    "Onnx",
    "StringType",
    "TensorProto",
    "TensorWeightAttr",
    "WeightAttr",
    "YieldOp",
    "element_type",
    "find_schema",
    "function_body",
    "is_defined",
    "known_domains",
    "misuse",
    "node_class",
    "plain",
    "to_array",
    "type_name",
]

OPSET = "onnx.opset"
Schema = Any
"""An `OpSchema`: onnx's stubs leave out what it says of function bodies."""
DEFAULT_DOMAIN = "ai.onnx"


ELEMENT_TYPES: Mapping[int, Attribute] = {
    TensorProto.FLOAT: f32, TensorProto.FLOAT16: f16, TensorProto.DOUBLE: f64, TensorProto.BFLOAT16: bf16,
    TensorProto.INT8: i8, TensorProto.INT16: i16, TensorProto.INT32: i32, TensorProto.INT64: i64,
    TensorProto.UINT8: ui8, TensorProto.UINT16: ui16, TensorProto.UINT32: ui32, TensorProto.UINT64: ui64,
    TensorProto.BOOL: i1, TensorProto.STRING: StringType(),
    17: Float8E4M3FNType(), 18: Float8E4M3FNUZType(), 19: Float8E5M2Type(), 20: Float8E5M2FNUZType(),
    21: IntegerType(4, Signedness.UNSIGNED), 22: IntegerType(4), 23: Float4E2M1FNType(), 24: Float8E8M0FNUType(),
    25: IntegerType(2, Signedness.UNSIGNED), 26: IntegerType(2),  # numbers: older versions of onnx lack the names
}  # fmt: skip
"""ONNX's element type numbers and ours."""


def element_type(number: int) -> Attribute:
    """The element type of one of ONNX's numbers. Raises VerifyException for a type that has no form here."""
    if (element := ELEMENT_TYPES.get(number)) is None:
        raise VerifyException(
            f"element type {type_name(number)} has no form here; expected a float, integer or bool type"
        )
    return element


def type_name(number: int) -> str:
    """What ONNX calls an element type; its number where it knows none of it."""
    return TensorProto.DataType.Name(number) if number in TensorProto.DataType.values() else f"number {number}"


class NodeOp(Operation):
    """One ONNX node. There is a subclass per operator: `node_class` makes it.

    Properties are the node's attributes under ONNX's names, `absent` the positions of absent operands, and `opset` the
    version it speaks where that is not the module's. Each name of `GRAPHS` has a region, empty where that subgraph is
    absent.
    """

    name = "onnx.node"
    OP_TYPE: ClassVar[str] = ""
    DOMAIN: ClassVar[str] = ""
    GRAPHS: ClassVar[tuple[str, ...]] = ()
    traits = traits_def()

    @property
    def inputs(self) -> list[SSAValue | None]:
        """The operands by ONNX's positions, None where absent."""
        operands = iter(self.operands)
        absent = self.absent
        count = len(self.operands) + len(absent)
        return [None if position in absent else next(operands) for position in range(count)]

    @property
    def absent(self) -> tuple[int, ...]:
        """Positions of the optional operands that are absent."""
        positions = self.properties.get("absent")
        return tuple(positions.iter_values()) if isinstance(positions, DenseArrayBase) else ()

    @property
    def opset(self) -> int | None:
        """The version of its domain that the op speaks; None where nobody says."""
        own = self.properties.get("opset")
        if isinstance(own, IntegerAttr):
            return own.value.data
        parent: Operation | None = self
        while (parent := parent.parent_op()) is not None:
            if isinstance(opsets := parent.attributes.get(OPSET), DictionaryAttr):
                version = opsets.data.get(self.DOMAIN or DEFAULT_DOMAIN)
                return version.value.data if isinstance(version, IntegerAttr) else None
        return None

    @property
    def schema(self) -> defs.OpSchema | None:
        """What `onnx.defs` says of the operator at that opset; None where it knows none."""
        opset = self.opset
        return None if opset is None else find_schema(self.DOMAIN, self.OP_TYPE, opset)

    def attribute(self, name: str) -> Any:
        """An attribute as a Python value: as given, else the schema's default, else None. Tensors are arrays."""
        if (given := self.properties.get(name)) is not None:
            return plain(given)
        schema = self.schema
        declared = schema.attributes.get(name) if schema else None
        return plain_default(declared) if declared else None

    def subgraph(self, name: str) -> Region | None:
        """The region of a graph attribute; None where the node lacks it."""
        region = self.regions[self.GRAPHS.index(name)]
        return region if region.blocks else None

    @property
    def subgraphs(self) -> Iterator[tuple[str, Region]]:
        """The subgraphs that the node has, by name."""
        return ((name, region) for name, region in zip(self.GRAPHS, self.regions, strict=True) if region.blocks)

    def print(self, printer: Printer) -> None:
        with printer.in_parens():
            printer.print_list(self.inputs, lambda value: _print_operand(printer, value))
        for graph, region in self.subgraphs:
            printer.print_string(f" {graph} ")
            printer.print_region(region)
        named = {name: value for name, value in self.properties.items() if name != "absent"}
        printer.print_op_attributes(named | self.attributes)
        printer.print_string(" : ")
        printer.print_function_type(self.operand_types, self.result_types)

    @classmethod
    def parse(cls, parser: Parser) -> NodeOp:
        position = parser.pos
        inputs = parser.parse_comma_separated_list(parser.Delimiter.PAREN, lambda: _parse_operand(parser))
        regions = [parser.parse_region() if parser.parse_optional_keyword(graph) else Region() for graph in cls.GRAPHS]
        given = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        types = parser.parse_function_type()
        present = [value for value in inputs if value is not None]
        properties = {name: value for name, value in given.items() if "." not in name}
        if absent := [at for at, value in enumerate(inputs) if value is None]:
            properties["absent"] = DenseArrayBase.from_list(i64, absent)
        return cls.create(
            operands=parser.resolve_operands(present, types.inputs.data, position),
            result_types=types.outputs.data,
            properties=properties,
            attributes={name: value for name, value in given.items() if "." in name},
            regions=regions,
        )

    def verify_(self) -> None:
        if (opset := self.opset) is None:
            domain = self.DOMAIN or DEFAULT_DOMAIN
            raise VerifyException(f"no opset of domain {domain}; state it: {OPSET} = {{{domain} = 20 : i64}}")
        if (schema := self.schema) is None:
            raise VerifyException(f"onnx.defs knows no {self.OP_TYPE} at opset {opset} of '{self.DOMAIN}'")
        if problem := misuse(schema, self):
            raise VerifyException(f"{self.OP_TYPE} (opset {opset}): {problem}")


def _print_operand(printer: Printer, value: SSAValue | None) -> None:
    printer.print_string("_") if value is None else printer.print_ssa_value(value)


def _parse_operand(parser: Parser) -> UnresolvedOperand | None:
    return None if parser.parse_optional_keyword("_") else parser.parse_unresolved_operand()


def misuse(schema: defs.OpSchema, op: NodeOp) -> str | None:
    """How the node breaks its operator's signature; None where it does not."""
    inputs, absent = len(op.inputs), op.absent
    if schema.deprecated:
        return "deprecated at this opset; convert the model with onnx.version_converter"
    if not schema.min_input <= inputs <= schema.max_input:
        return f"{inputs} inputs; expected {schema.min_input} to {schema.max_input}"
    if not schema.min_output <= len(op.results) <= schema.max_output:
        return f"{len(op.results)} outputs; expected {schema.min_output} to {schema.max_output}"
    for position in absent:
        formal = schema.inputs[min(position, len(schema.inputs) - 1)]
        if formal.option == defs.OpSchema.FormalParameterOption.Single:
            return f"input {formal.name} is absent and not optional"
    given = op.properties.keys() - {"absent", "opset"}
    if unknown := sorted(given - schema.attributes.keys()):
        return f"unknown attribute {unknown[0]}; expected one of {', '.join(sorted(schema.attributes)) or 'none'}"
    for name, declared in schema.attributes.items():
        if name in given and not _fits(op.properties[name], declared.type):
            return f"attribute {name} is {op.properties[name]}; expected {_kind(declared.type)}"
        if declared.required and name not in given and (name not in op.GRAPHS or op.subgraph(name) is None):
            return f"attribute {name} is missing"
    return None


@lru_cache(maxsize=4096)
def find_schema(domain: str, op_type: str, opset: int) -> defs.OpSchema | None:
    """The operator's schema at an opset version; None where neither `onnx.defs` nor ONNX Runtime's list has one."""
    try:
        return defs.get_schema(op_type, opset, domain)
    except defs.SchemaError:
        return _contrib_schemas().get((domain, op_type))


@cache
def _contrib_schemas() -> Mapping[tuple[str, str], defs.OpSchema]:
    """The signatures of ONNX Runtime's operators in the form of ONNX's own."""
    return {key: _contrib_schema(signature) for key, signature in CONTRIB.items()}


def _contrib_schema(signature: Signature) -> defs.OpSchema:
    required = [_declared(key, kind, required=True) for key, kind in signature.required.items()]
    return defs.OpSchema(
        *(signature.name, signature.domain, 1, ""),
        inputs=_formals(signature.inputs),
        outputs=_formals(signature.outputs),
        attributes=[*required, *(_declared(key, value) for key, value in signature.attributes.items())],
    )


_OPTIONS: Mapping[str, Any] = {
    "": defs.OpSchema.FormalParameterOption.Single,
    "?": defs.OpSchema.FormalParameterOption.Optional,
    "*": defs.OpSchema.FormalParameterOption.Variadic,
}


def _formals(text: str) -> list[defs.OpSchema.FormalParameter]:
    """Formal operands. What types they take is for the operator's conversion to say: one stands for all here."""
    names = [(name.rstrip("?*"), name[len(name.rstrip("?*")) :]) for name in text.split()]
    return [
        defs.OpSchema.FormalParameter(name, "tensor(float)", param_option=_OPTIONS[option]) for name, option in names
    ]


def _declared(key: str, value: object, *, required: bool = False) -> defs.OpSchema.Attribute:
    """An attribute by its kind, or by its default."""
    if isinstance(value, Kind):
        return defs.OpSchema.Attribute(key, getattr(defs.OpSchema.AttrType, value.value), "", required=required)
    return defs.OpSchema.Attribute(key, make_attribute(key, value), "")


@cache
def known_domains() -> frozenset[str]:
    """The operator domains with a schema; the default one is the empty string."""
    return frozenset(schema.domain for schema in (*defs.get_all_schemas(), *_contrib_schemas().values()))


@cache
def node_class(domain: str, op_type: str) -> type[NodeOp]:
    """The op class of an operator."""
    schemas = _schemas_by_name().get((domain, op_type), ())
    graphs = {name for schema in schemas for name, declared in schema.attributes.items() if _is_graph(declared)}
    name = ".".join(filter(None, ("onnx", domain, op_type)))
    facts = {"name": name, "OP_TYPE": op_type, "DOMAIN": domain, "GRAPHS": tuple(sorted(graphs)), "__doc__": op_type}
    return type(f"{op_type}Op", (NodeOp,), facts)


@cache
def _schemas_by_name() -> Mapping[tuple[str, str], Sequence[defs.OpSchema]]:
    found: dict[tuple[str, str], list[defs.OpSchema]] = {}
    for schema in (*defs.get_all_schemas_with_history(), *_contrib_schemas().values()):
        found.setdefault((schema.domain, schema.name), []).append(schema)
    return found


def _is_graph(declared: defs.OpSchema.Attribute) -> bool:
    return declared.type == defs.OpSchema.AttrType.GRAPH


_KINDS: Mapping[str, tuple[type[Attribute], ...]] = {
    "FLOAT": (FloatAttr,), "INT": (IntegerAttr,), "STRING": (StringAttr,), "FLOATS": (DenseArrayBase,),
    "INTS": (DenseArrayBase,), "STRINGS": (ArrayAttr,), "TENSOR": (ValuesAttr, TensorWeightAttr),
    "SPARSE_TENSOR": (ValuesAttr, TensorWeightAttr),
}  # fmt: skip


def _fits(value: Attribute, kind: defs.OpSchema.AttrType) -> bool:
    name = _kind(kind)
    if not isinstance(value, _KINDS.get(name, ())):
        return False
    return not isinstance(value, DenseArrayBase) or value.elt_type == (f32 if name == "FLOATS" else i64)


def _kind(kind: defs.OpSchema.AttrType) -> str:
    return kind.name  # pyright: ignore[reportAttributeAccessIssue]


def plain(attribute: Attribute) -> Any:
    """An attribute as a Python value: int, float, str, lists of them, or an array."""
    match attribute:
        case IntegerAttr():
            return attribute.value.data
        case FloatAttr():
            return attribute.value.data
        case StringAttr(data=text):
            return text
        case DenseArrayBase():
            return list(attribute.iter_values())  # pyright: ignore[reportAttributeAccessIssue]
        case ArrayAttr(data=parts):
            return [plain(part) for part in parts]
        case ValuesAttr():
            return attribute.array()
    return attribute


def plain_default(declared: defs.OpSchema.Attribute) -> Any:
    """The default of a declared attribute as a Python value; None where it has none."""
    default = declared.default_value
    match default.type:
        case AttributeProto.FLOAT:
            return default.f
        case AttributeProto.INT:
            return default.i
        case AttributeProto.STRING:
            return default.s.decode()
        case AttributeProto.INTS:
            return list(default.ints)
        case AttributeProto.FLOATS:
            return list(default.floats)
    return None


class OnnxDialect(Dialect):
    """Ops for every operator that any version of `onnx.defs`, or ONNX Runtime, knows."""

    @property
    def operations(self) -> Iterator[type[Operation]]:
        yield InitializerOp
        yield YieldOp
        for domain, op_type in _schemas_by_name():
            yield node_class(domain, op_type)


Onnx = OnnxDialect("onnx", [], [AnyType, StringType, WeightAttr, TensorWeightAttr])


def is_defined(schema: Schema | None) -> bool:
    """Whether ONNX defines the operator by simpler ones."""
    return schema is not None and (schema.has_function or schema.has_context_dependent_function)


def function_body(op: NodeOp, types: Sequence[Attribute | None]) -> FunctionProto | None:
    """The operator's own definition by simpler ones, for operands of these types; None where ONNX gives none."""
    schema: Schema | None = op.schema
    opset = op.opset
    if schema is None or opset is None or any(op.subgraphs):  # a definition that calls the subgraphs is none of ours
        return None
    if versions := [version for version in schema.function_opset_versions if version <= opset]:
        return FunctionProto.FromString(schema.get_function_with_opset_version(max(versions)))
    versions = [version for version in schema.context_dependent_function_opset_versions if version <= opset]
    if not versions:
        return None
    protos = [_type_proto(type) for type in types]
    body = schema.get_context_dependent_function_with_opset_version(max(versions), _node_proto(op), protos)
    return FunctionProto.FromString(body)


def _node_proto(op: NodeOp) -> bytes:
    inputs = ["" if value is None else f"input_{at}" for at, value in enumerate(op.inputs)]
    outputs = [f"output_{at}" for at in range(len(op.results))]
    given = {name: plain(value) for name, value in op.properties.items() if name not in ("absent", "opset")}
    return make_node(op.OP_TYPE, inputs, outputs, domain=op.DOMAIN, **given).SerializeToString()


def _type_proto(type: Attribute | None) -> bytes:
    if not isinstance(type, TensorType):
        return b""
    number = next(number for number, element in ELEMENT_TYPES.items() if element == type.element_type)
    return make_tensor_type_proto(number, type.get_shape()).SerializeToString()
