"""From an ONNX file to a module at level onnx: one op per node, weights by reference, every node under its own name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from types import MappingProxyType

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto
from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    IntegerAttr,
    LocationAttr,
    ModuleOp,
    StringAttr,
    TensorType,
    i64,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Region
from xdsl.utils.exceptions import VerifyException

from tstorch.diagnostics import OnnxImportError
from tstorch.dialects.onnx import (
    DEFAULT_DOMAIN,
    ELEMENT_TYPES,
    OPSET,
    InitializerOp,
    NodeOp,
    TensorWeightAttr,
    WeightAttr,
    YieldOp,
    find_schema,
    misuse,
)
from tstorch.dialects.onnx_graph import ANY, Environment, NodeBuilder, dense, name_hint
from tstorch.frontend.check import (
    check_calls,
    check_dense,
    check_doubles,
    check_names,
    check_notes,
    check_operators,
    check_versions,
    function_key,
    in_order,
    takes_as_setting,
)
from tstorch.frontend.laws import input_law
from tstorch.frontend.model_file import ModelFile, attribute_key, expected_bytes, is_external
from tstorch.frontend.provenance import NodeIds, module_path, source_line
from tstorch.frontend.types import Dimensions
from tstorch.frontend.weights import WeightStore
from tstorch.levels import Level, Source, set_dims, set_level, set_source
from tstorch.locations import node_location
from tstorch.remarks import add_elided

INLINE = 64
"""Up to so many elements a constant stands in the text."""
MOST_NODES = 500_000
"""Functions that call functions can make any number of nodes out of a small file."""


def import_model(
    source: str | Path | bytes | ModelProto,
    dims: Mapping[str, int] | None = None,
    store: WeightStore | None = None,
    keep: Collection[str] = (),
    shapes: Mapping[str, Sequence[int]] = MappingProxyType({}),
    give: Sequence[str] = (),
) -> ModuleOp:
    """The model as a module at level onnx.

    `dims` binds symbolic dimensions by name, or open ones by place (`image.0`), `shapes` those that are left, by what
    the graph inputs of these names have. `store` learns where the weights lie.
    `keep` names initializers that stay references however small they are (to be trained, say). `give` names tensors
    of the main graph that are given out behind its own outputs.
    Raises OnnxImportError for what cannot be read or is no ONNX, UsageError for a dimension that does not exist.
    """
    file = ModelFile(source)
    (store if store is not None else WeightStore()).add(file)
    return _Importer(file, dict(dims or {}), frozenset(keep), shapes, give).module()


class _Importer:
    """The state of one import: what is the same for the main graph, its subgraphs and its functions."""

    def __init__(
        self,
        file: ModelFile,
        dims: Mapping[str, int],
        keep: Collection[str],
        shapes: Mapping[str, Sequence[int]],
        give: Sequence[str],
    ):
        self.file = file
        self.keep = keep
        self.results = [*(value.name for value in file.proto.graph.output), *give]
        model = file.proto
        check_names(model)
        check_dense(model)
        check_doubles(model)
        check_notes(model.graph)
        self.opsets = _versions(model.opset_import)
        check_versions(self.opsets)
        check_operators(model, self.opsets)
        check_calls(model, MOST_NODES)
        self.functions = {function_key(function): function for function in model.functions}
        stored = {tensor.name for tensor in model.graph.initializer}
        self.inputs = [value for value in model.graph.input if value.name not in stored]
        self.dimensions = Dimensions(dims, self.inputs, shapes)
        self.ids = NodeIds()
        self.nodes: list[DictionaryAttr] = []
        self.calls: dict[str, str] = {}

    def _input_type(self, value: ValueInfoProto, graph: GraphProto) -> Attribute:
        """The type of a graph input. Raises OnnxImportError, led by the first node that takes it, for what is none."""
        try:
            return self.dimensions.input_type(value)
        except OnnxImportError as error:
            user = next((node for node in graph.node if value.name in node.input), None)
            if user is None:
                raise
            version = self.opsets.get("" if user.domain == DEFAULT_DOMAIN else user.domain)
            place = f"onnx '{user.name or next(iter(user.output), '')}' ({user.op_type}, opset {version})"
            raise OnnxImportError(f"{place}: {error}") from error

    def module(self) -> ModuleOp:
        """The whole model."""
        graph = self.file.proto.graph
        block = Block(arg_types=[self._input_type(value, graph) for value in self.inputs])
        environment: Environment = dict(zip((value.name for value in self.inputs), block.args, strict=True))
        for name, argument in environment.items():
            argument.name_hint = name_hint(name)
        builder = _GraphBuilder(self, graph, self.opsets, "", "")
        builder.fill(graph, environment, block)
        missing = [name for name in self.results if name not in environment]
        if missing:
            raise OnnxImportError(f"graph output '{missing[0]}' is computed by no node")
        for value in graph.output:
            if value.type.WhichOneof("value") not in (None, "tensor_type"):
                kind = str(value.type.WhichOneof("value")).removesuffix("_type").replace("_", " ")
                raise OnnxImportError(f"graph output '{value.name}' is stated as a {kind}; it must be a tensor")
        block.add_op(ReturnOp(*(environment[name] for name in self.results)))
        module = ModuleOp([self._function(block)])
        self._annotate(module)
        return module

    def _function(self, block: Block) -> FuncOp:
        returned = block.last_op
        types = [value.type for value in block.args], [value.type for value in returned.operands] if returned else []
        function = FuncOp("main", types, Region(block))
        function.arg_attrs = ArrayAttr(
            DictionaryAttr({"tst.name": StringAttr(value.name), "tst.law": input_law(value.name, argument)})
            for value, argument in zip(self.inputs, block.args, strict=True)
        )
        function.res_attrs = ArrayAttr(DictionaryAttr({"tst.name": StringAttr(name)}) for name in self.results)
        return function

    def _annotate(self, module: ModuleOp) -> None:
        set_level(module, Level.ONNX)
        set_dims(module, self.dimensions.bound)
        set_source(module, Source(self.file.name, self.file.sha256))
        named = {domain or DEFAULT_DOMAIN: IntegerAttr(version, i64) for domain, version in sorted(self.opsets.items())}
        module.attributes[OPSET] = DictionaryAttr(named)
        module.attributes["tst.nodes"] = ArrayAttr(self.nodes)
        add_elided(module, self.calls)

    def record(self, node_id: str, node: NodeProto, opset: int | None) -> None:
        """Lists a node with where it comes from. Raises OnnxImportError where functions multiply beyond all measure."""
        if len(self.nodes) >= MOST_NODES:
            raise OnnxImportError(f"the model's functions make more than {MOST_NODES} nodes", node=node_id)
        facts = {"id": node_id, "op_type": node.op_type, "module": module_path(node), "source": source_line(node)}
        if opset is not None:
            facts["opset"] = str(opset)
        self.nodes.append(DictionaryAttr({key: StringAttr(value) for key, value in facts.items()}))


class _GraphBuilder(NodeBuilder):
    """One graph of the model: `at` begins the keys of its tensors, `scope` the ids of its nodes."""

    def __init__(
        self, importer: _Importer, graph: GraphProto | FunctionProto, opsets: Mapping[str, int], at: str, scope: str
    ):
        super().__init__(opsets, importer.opsets)
        self._importer = importer
        self._at = at
        self._scope = scope
        self._arguments: Mapping[str, Attribute] = {}
        self._types = {value.name: importer.dimensions.stated_type(value) for value in _typed_values(graph)}
        self._calls: frozenset[str] = frozenset()
        self._ids: Sequence[str] = ()

    def fill(self, graph: GraphProto, environment: Environment, block: Block) -> None:
        """Appends the graph's initializers and nodes."""
        settings = _settings(graph) if graph.initializer else frozenset()
        names = Counter(proto.name for proto in graph.initializer)
        if twice := [name for name, count in names.items() if count > 1]:
            raise OnnxImportError(f"tensor '{twice[0]}' is stored {names[twice[0]]} times; a value has one definition")
        for proto in graph.initializer:
            op = self._initializer(proto, proto.name in settings)
            block.add_op(op)
            op.result.name_hint = name_hint(proto.name)
            environment[proto.name] = op.result
        self.fill_nodes(graph.node, environment, block)

    def fill_nodes(self, nodes: Sequence[NodeProto], environment: Environment, block: Block) -> None:
        """Appends nodes in an order in which every value is computed before it is used."""
        self._ids = self._importer.ids.of(nodes, self._scope)
        for index in in_order(nodes, environment, self._ids):
            self.node_or_call(index, nodes[index], environment, block)

    def node_or_call(self, index: int, node: NodeProto, environment: Environment, block: Block) -> None:
        """Appends the node's op, or the body of the model's own function that it calls."""
        version = self.opsets.get("" if node.domain == DEFAULT_DOMAIN else node.domain)
        self._importer.record(self._ids[index], node, version)
        function = self._importer.functions.get(function_key(node))
        try:
            if function is not None:
                self._call(index, node, function, environment, block)
            else:
                self._checked(self.node(index, node, environment, block))
        except VerifyException as error:
            domain = "" if node.domain == DEFAULT_DOMAIN else node.domain
            place = f"onnx '{self._ids[index]}' ({node.op_type}, opset {self.opsets.get(domain)})"
            raise OnnxImportError(f"{place}: {error}") from error

    def _checked(self, op: NodeOp) -> None:
        """Raises VerifyException where the node breaks its operator's signature."""
        schema = find_schema(op.DOMAIN, op.OP_TYPE, self.opsets[op.DOMAIN])
        if schema is not None and (problem := misuse(schema, op)):
            raise VerifyException(problem)

    def location(self, index: int, node: NodeProto) -> LocationAttr:
        return node_location(self._ids[index])

    def value_type(self, name: str) -> Attribute:
        return self._types.get(name, ANY)

    def argument(self, name: str) -> Attribute | None:
        if not self._calls:
            raise VerifyException(f"an attribute refers to '{name}' of a function, and the node stands in none")
        return self._arguments.get(name)

    def tensor(self, index: int, attribute: AttributeProto) -> Attribute:
        key = attribute_key(self._at, index, attribute.name)
        if self._is_small(attribute.t, key):
            return dense(attribute.t)
        return TensorWeightAttr(self._weight(key), _tensor_type(attribute.t, key))

    def subgraph(self, index: int, node: NodeProto, attribute: AttributeProto, outer: Environment) -> Region:
        at = f"{attribute_key(self._at, index, attribute.name)}/"
        scope = f"{self._ids[index]}/{attribute.name}"
        inner = _GraphBuilder(self._importer, attribute.g, self.opsets, at, scope)
        inner._arguments, inner._calls = self._arguments, self._calls
        block = Block(arg_types=[inner.value_type(value.name) for value in attribute.g.input])
        environment = {**outer, **dict(zip((value.name for value in attribute.g.input), block.args, strict=True))}
        inner.fill(attribute.g, environment, block)
        inner.finish(attribute.g, environment, block)
        return Region(block)

    def finish(self, graph: GraphProto, environment: Environment, block: Block) -> None:
        """Ends a subgraph with its outputs. Raises VerifyException for one that no node computes."""
        names = [value.name for value in graph.output]
        if missing := next((name for name in names if name not in environment), None):
            raise VerifyException(f"output '{missing}' of a subgraph is computed by no node")
        block.add_op(YieldOp([environment[name] for name in names]))

    def _call(
        self, index: int, node: NodeProto, function: FunctionProto, environment: Environment, block: Block
    ) -> None:
        """Puts a function's body in the place of its call: its nodes' ids begin with the call's."""
        call = self._ids[index]
        at = f"{function.domain}.{function.name}:"
        if at in self._calls:
            raise VerifyException(f"function {function.name} calls itself")
        inner = _GraphBuilder(self._importer, function, _versions(function.opset_import), at, call)
        inner._arguments = self._call_arguments(index, node, function)
        inner._calls = self._calls | {at}
        names = [name for name in node.input]
        given = {formal: environment[name] for formal, name in zip(function.input, names, strict=False) if name}
        inner.fill_nodes(function.node, given, block)
        for formal, name in zip(function.output, node.output, strict=False):
            if name and formal not in given:
                raise VerifyException(f"output '{formal}' of function {function.name} is computed by no node")
            if name:
                environment[name] = given[formal]
        self._importer.calls[call] = f"call: the nodes of function {function.name} stand in its place"

    def _call_arguments(self, index: int, node: NodeProto, function: FunctionProto) -> dict[str, Attribute]:
        given = {attribute.name: self._attribute(index, attribute) for attribute in function.attribute_proto}
        given |= {attribute.name: self._attribute(index, attribute) for attribute in node.attribute}
        return {name: value for name, value in given.items() if value is not None}

    def _initializer(self, proto: TensorProto, is_setting: bool) -> InitializerOp:
        key = self._at + proto.name
        type = _tensor_type(proto, key)
        number = proto.data_type not in _FLOATS or prod(proto.dims) == 1 or is_setting
        if number and key not in self._importer.keep and self._is_small(proto, key):
            value = dense(proto)
            return InitializerOp((key, value), value.type)
        return InitializerOp(self._weight(key), type)

    def _is_small(self, proto: TensorProto, key: str) -> bool:
        """Whether the tensor stands in the text. What the file says of its size is checked before it is believed."""
        if is_external(proto) or prod(proto.dims) > INLINE:
            return False
        self._importer.file.stored(key)
        return True

    def _weight(self, key: str) -> WeightAttr:
        return WeightAttr.get(self._importer.file.name, key, self._importer.file.stored(key).digest)


_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16})


def _settings(graph: GraphProto) -> frozenset[str]:
    """Names of the values that nodes take as settings (scales, bounds), never as numbers to compute with."""
    uses: dict[str, bool] = {}
    for node in graph.node:
        for position, name in enumerate(node.input):
            uses[name] = uses.get(name, True) and takes_as_setting(node, position)
    return frozenset(name for name, only in uses.items() if only)


def _tensor_type(proto: TensorProto, key: str) -> TensorType:
    expected_bytes(proto, key)
    if (element := ELEMENT_TYPES.get(proto.data_type)) is None:
        kind = TensorProto.DataType.Name(proto.data_type)
        raise OnnxImportError(f"tensor '{key}' has element type {kind}; expected one of f32, f16, integers, bool")
    return TensorType(element, proto.dims)


def _versions(imports: Iterable) -> dict[str, int]:
    return {"" if entry.domain == DEFAULT_DOMAIN else entry.domain: entry.version for entry in imports}


def _typed_values(graph: GraphProto | FunctionProto) -> Iterator:
    yield from graph.value_info
    if isinstance(graph, GraphProto):
        yield from graph.output
        yield from graph.input
