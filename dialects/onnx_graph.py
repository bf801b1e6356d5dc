"""ONNX's protobuf nodes made into ops: for the importer, and for operators that are their own function body."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    FloatAttr,
    IntegerAttr,
    LocationAttr,
    StringAttr,
    f32,
    i64,
)
from xdsl.ir import Attribute, Block, Region, SSAValue
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.onnx import (
    ELEMENT_TYPES,
    AnyType,
    AttributeProto,
    FunctionProto,
    GraphProto,
    NodeOp,
    NodeProto,
    TensorProto,
    YieldOp,
    node_class,
    to_array,
)
from tstorch.dialects.prim.stored import from_host
from tstorch.dialects.prim.values import ValuesAttr

Environment = dict[str, SSAValue]
ANY = AnyType()


class NodeBuilder:
    """Appends nodes to a block. Values are found by name in an environment, as ONNX does.

    The base class serves function bodies: all ops get one location, and tensors are inline. The importer overrides
    how a node is located, how a tensor attribute is stored, and what type a value has.
    """

    def __init__(self, opsets: Mapping[str, int], module_opsets: Mapping[str, int]):
        self.opsets = opsets
        self.module_opsets = module_opsets

    def location(self, index: int, node: NodeProto) -> LocationAttr:
        """The location of the op that is made for a node."""
        raise VerifyException(f"node {index} has no location")

    def value_type(self, name: str) -> Attribute:
        """The type of a value, by name."""
        return ANY

    def tensor(self, index: int, attribute: AttributeProto) -> Attribute:
        """A tensor attribute of the node at `index`."""
        return dense(attribute.t)

    def subgraph(self, index: int, node: NodeProto, attribute: AttributeProto, outer: Environment) -> Region:
        """The region of a graph attribute of the node at `index`."""
        return self.region(attribute.g, outer)

    def argument(self, name: str) -> Attribute | None:
        """What the caller of a function gave for one of its attributes."""
        return None

    def region(self, graph: GraphProto, outer: Environment) -> Region:
        """A subgraph as a region: its inputs are block arguments, values of the graphs around it are visible."""
        block = Block(arg_types=[self.value_type(value.name) for value in graph.input])
        environment = dict(outer)
        environment.update(zip((value.name for value in graph.input), block.args, strict=True))
        self.build(graph.node, environment, block)
        block.add_op(YieldOp([environment[value.name] for value in graph.output]))
        return Region(block)

    def build(self, nodes: Iterable[NodeProto], environment: Environment, block: Block) -> None:
        """Appends an op per node, in order; every input must be in the environment by then."""
        for index, node in enumerate(nodes):
            self.node(index, node, environment, block)

    def node(self, index: int, node: NodeProto, environment: Environment, block: Block) -> NodeOp:
        """Appends the op of one node and makes its outputs known."""
        domain = "" if node.domain == "ai.onnx" else node.domain
        outputs = _without_trailing_gaps(node.output)
        operands, absent = self._operands(node, environment)
        kind = node_class(domain, node.op_type)
        op = kind.create(
            operands=operands,
            result_types=[self.value_type(name) for name in outputs],
            properties=self._properties(index, node, kind, domain, absent),
            regions=self._regions(index, node, kind, environment),
            location=self.location(index, node),
        )
        block.add_op(op)
        for name, result in zip(outputs, op.results, strict=True):
            if name:
                environment[name] = result
                result.name_hint = name_hint(name)
        return op

    def _operands(self, node: NodeProto, environment: Environment) -> tuple[list[SSAValue], list[int]]:
        names = _without_trailing_gaps(node.input)
        operands = [environment[name] for name in names if name]
        return operands, [at for at, name in enumerate(names) if not name]

    def _properties(
        self, index: int, node: NodeProto, kind: type[NodeOp], domain: str, absent: Sequence[int]
    ) -> dict[str, Attribute]:
        properties: dict[str, Attribute] = {}
        for attribute in node.attribute:
            if attribute.name not in kind.GRAPHS and (value := self._attribute(index, attribute)) is not None:
                properties[attribute.name] = value
        if absent:
            properties["absent"] = DenseArrayBase.from_list(i64, absent)
        if (opset := self.opsets.get(domain)) is not None and opset != self.module_opsets.get(domain):
            properties["opset"] = IntegerAttr(opset, i64)
        return properties

    def _regions(self, index: int, node: NodeProto, kind: type[NodeOp], outer: Environment) -> list[Region]:
        graphs = {attribute.name: attribute for attribute in node.attribute if attribute.name in kind.GRAPHS}
        return [self.subgraph(index, node, graphs[name], outer) if name in graphs else Region() for name in kind.GRAPHS]

    def _attribute(self, index: int, attribute: AttributeProto) -> Attribute | None:
        if attribute.ref_attr_name:
            return self.argument(attribute.ref_attr_name)
        if attribute.type == AttributeProto.TENSOR:
            return self.tensor(index, attribute)
        return scalar_attribute(attribute)


def scalar_attribute(attribute: AttributeProto) -> Attribute:
    """A node's attribute that is a number, a string, or a list of them. Raises VerifyException for other kinds."""
    match attribute.type:
        case AttributeProto.INT:
            return IntegerAttr(attribute.i, i64)
        case AttributeProto.FLOAT:
            return FloatAttr(attribute.f, f32)
        case AttributeProto.STRING:
            return StringAttr(attribute.s.decode(errors="replace"))
        case AttributeProto.INTS:
            return DenseArrayBase.from_list(i64, list(attribute.ints))
        case AttributeProto.FLOATS:
            return DenseArrayBase.from_list(f32, list(attribute.floats))
        case AttributeProto.STRINGS:
            return ArrayAttr([StringAttr(text.decode(errors="replace")) for text in attribute.strings])
    kind = AttributeProto.AttributeType.Name(attribute.type)
    raise VerifyException(f"attribute {attribute.name} is of kind {kind}, which has no form here")


def dense(proto: TensorProto) -> ValuesAttr:
    """A small tensor with its elements."""
    return ValuesAttr.of(from_host(to_array(proto), ELEMENT_TYPES.get(proto.data_type)))


def name_hint(name: str) -> str | None:
    """An SSA name that recalls an ONNX name, as far as the syntax allows."""
    hint = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    return None if not hint else f"v{hint}" if hint[0].isdigit() else hint


def _without_trailing_gaps(names: Sequence[str]) -> list[str]:
    kept = list(names)
    while kept and not kept[-1]:
        kept.pop()
    return kept


class BodyBuilder(NodeBuilder):
    """Builds the body of a standard function: all its nodes are the calling node's."""

    def __init__(self, function: FunctionProto, call: NodeOp):
        # No module opsets: the body's version may differ from the model's, so each op says its own.
        super().__init__({entry.domain: entry.version for entry in function.opset_import}, {})
        self._call = call

    def location(self, index: int, node: NodeProto) -> LocationAttr:
        return self._call.location

    def argument(self, name: str) -> Attribute | None:
        if (given := self._call.properties.get(name)) is not None:
            return given
        schema = self._call.schema
        declared = schema.attributes.get(name) if schema is not None else None
        has_default = declared is not None and declared.default_value.type
        return scalar_attribute(declared.default_value) if declared is not None and has_default else None


def body_block(
    function: FunctionProto, call: NodeOp, types: Sequence[Attribute | None]
) -> tuple[Block, list[SSAValue]]:
    """A function's nodes in a block of their own, and the values that are its outputs.

    The block has an argument per formal input; one of an absent operand has type `!onnx.any` and no use.
    """
    block = Block(arg_types=[type or ANY for type in types])
    environment: Environment = {
        name: argument for name, argument, type in zip(function.input, block.args, types, strict=False) if type
    }
    BodyBuilder(function, call).build(function.node, environment, block)
    return block, [environment[name] for name in function.output[: len(call.results)]]
