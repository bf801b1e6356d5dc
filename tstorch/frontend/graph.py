"""A model's main graph by ONNX's own names: which node makes which tensor of what, and the model with more outputs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, defs

from tstorch.frontend.check import in_order, reads_of
from tstorch.frontend.model_file import ModelFile
from tstorch.frontend.provenance import NodeIds


@dataclass(frozen=True)
class GraphNode:
    """A node of the main graph; `inputs` holds what its subgraphs read from outside too."""

    id: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __str__(self) -> str:
        return f"'{self.id}' ({self.op_type})"


class ModelGraph:
    """The main graph of a model (path, bytes or ModelProto). Raises OnnxImportError where there is none."""

    def __init__(self, source: str | Path | bytes | ModelProto) -> None:
        self._file = ModelFile(source)
        proto = self._proto = self._file.proto.graph
        self.outputs = [value.name for value in proto.output]
        self.initializers = {tensor.name for tensor in proto.initializer}
        self.given = {value.name for value in proto.input} | self.initializers

    @cached_property
    def nodes(self) -> list[GraphNode]:
        """Each after those that make what it reads: the file's order, wherever that is one."""
        protos = self._proto.node
        ids = NodeIds().of(protos)
        return [_node(ids[at], protos[at]) for at in in_order(protos, self.given, ids)]

    @cached_property
    def makers(self) -> dict[str, GraphNode]:
        """The node that makes a tensor, in program order of the nodes."""
        return {name: node for node in self.nodes for name in node.outputs}

    @cached_property
    def tensors(self) -> list[str]:
        """What nodes make and somebody reads, in program order; sequences, optional values and strings are left out."""
        read = {name for node in self.nodes for name in node.inputs}.union(self.outputs)
        opsets = {entry.domain: entry.version for entry in self._file.proto.opset_import}
        other = {name for node in self._proto.node for name in _no_tensors(node, opsets)}
        return [name for name in self.makers if name in read and name not in other]

    @cached_property
    def inside(self) -> dict[str, str]:
        """What is made inside a node's subgraphs, with the id of that node."""
        ids = NodeIds().of(self._proto.node)
        return {
            name: ids[at]
            for at, node in enumerate(self._proto.node)
            for attribute in node.attribute
            for name in _made_in(attribute.g)
        }

    def initializer(self, name: str) -> np.ndarray:
        """The numbers of an initializer, as the file has them."""
        return self._file.array(name)

    def with_outputs(self, names: Collection[str]) -> tuple[bytes, Path]:
        """The model's bytes with these outputs instead of its own, and the folder where its external data lies."""
        model = ModelProto()
        model.CopyFrom(self._file.proto)
        del model.graph.output[:]
        model.graph.output.extend(ValueInfoProto(name=name) for name in names)
        return model.SerializeToString(), self._file.path.parent


def _node(id: str, proto: NodeProto) -> GraphNode:
    reads = tuple(dict.fromkeys(reads_of(proto)))
    return GraphNode(id, proto.op_type, reads, tuple(filter(None, proto.output)))


def _no_tensors(node: NodeProto, opsets: dict[str, int]) -> list[str]:
    """The outputs that can be no tensor of numbers, by the operator's schema."""
    version = opsets.get(node.domain, 0)
    if not defs.has(node.op_type, version, node.domain):
        return []
    formals = defs.get_schema(node.op_type, version, node.domain).outputs
    return [
        name for at, name in enumerate(node.output) if formals and not _is_tensor(formals[min(at, len(formals) - 1)])
    ]


def _is_tensor(formal: defs.OpSchema.FormalParameter) -> bool:
    return any(type.startswith("tensor(") and type != "tensor(string)" for type in formal.types)


def _made_in(graph: GraphProto) -> Sequence[str]:
    deeper = [name for node in graph.node for attribute in node.attribute for name in _made_in(attribute.g)]
    return [*(name for node in graph.node for name in node.output if name), *deeper]
