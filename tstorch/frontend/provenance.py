"""Who a node is and where it comes from: unique ids, and the PyTorch module and source line that exporters leave."""

from __future__ import annotations

import re
from ast import literal_eval
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath, PureWindowsPath

from onnx import NodeProto

_SCOPES = "pkg.torch.onnx.name_scopes"
_TRACE = "pkg.torch.onnx.stack_trace"
_NAMESPACE = "namespace"


class NodeIds:
    """Hands out ids that are unique in the model: the node's name where unique, else its first output's."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, nodes: Sequence[NodeProto], scope: str = "") -> list[str]:
        """The ids of a graph's nodes, in order; `scope` is what stands around the graph, joined by '/'."""
        names = Counter(node.name for node in nodes)
        return [self._unique(_own_name(node, names), scope, at) for at, node in enumerate(nodes)]

    def _unique(self, name: str, scope: str, position: int) -> str:
        plain = f"{scope}/{name}" if scope else name
        node_id, copy = plain or f"node_{position}", 1
        while node_id in self._taken:
            copy += 1
            node_id = f"{plain}#{copy}"
        self._taken.add(node_id)
        return node_id


def _own_name(node: NodeProto, names: Counter[str]) -> str:
    if node.name and names[node.name] == 1:
        return node.name
    return next((output for output in node.output if output), node.name or node.op_type)


def module_path(node: NodeProto) -> str:
    """The PyTorch module that the node was exported from ("layer3.0.conv1"); empty where the file does not say."""
    notes = {entry.key: entry.value for entry in node.metadata_props}
    if scopes := notes.get(_SCOPES):
        return _last_module(_listed(scopes))
    if namespace := notes.get(_NAMESPACE):
        return _last_module([part.partition(": ")[0] for part in re.split(r"/(?=[^/]*: )", namespace)])
    return _from_scoped_name(node.name)


def source_line(node: NodeProto) -> str:
    """The Python line that the node was exported from ("resnet.py:97"); empty where the file does not say."""
    trace = next((entry.value for entry in node.metadata_props if entry.key == _TRACE), "")
    found = re.findall(r'File "([^"\n]+)", line (\d+)', trace)
    if not found:
        return ""
    path, line = found[-1]
    name = (PureWindowsPath if "\\" in path else PurePosixPath)(path).name
    return f"{name}:{line}"


def _listed(text: str) -> list[str]:
    try:
        value = literal_eval(text)
    except (ValueError, SyntaxError):
        return []
    return [part for part in value if isinstance(part, str)] if isinstance(value, list) else []


def _last_module(scopes: Sequence[str]) -> str:
    """The innermost module: the last scope is the call itself."""
    return scopes[-2] if len(scopes) > 1 else ""


def _from_scoped_name(name: str) -> str:
    """TorchScript puts the scopes into the node's name: /layer3/layer3.0/conv1/Conv is layer3.0.conv1."""
    if not name.startswith("/"):
        return ""
    path: list[str] = []
    for part in name.split("/")[1:-1]:
        inside = bool(path) and part.startswith(f"{path[-1]}.")
        path[-1:] = [part] if inside else [*path[-1:], part]
    return ".".join(path)
