"""The gpu time as a tree: by PyTorch module where the file names them, else by the scopes in ONNX node names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tstorch.report.units import share_text, time_text
from tstorch.report.views.base import View, bar, columns
from tstorch.trace.join import gpu_us, node_us
from tstorch.trace.schema import Record, Trace


@dataclass
class Scope:
    """One module or scope: the time of its own nodes and of all scopes inside. A node without a time has none."""

    name: str
    nodes: int = 0
    own_us: float = 0.0
    inner: dict[str, Scope] = field(default_factory=dict)

    @property
    def us(self) -> float:
        """Microseconds, those of all scopes inside included."""
        return self.own_us + sum(scope.us for scope in self.inner.values())

    @property
    def all_nodes(self) -> int:
        """Nodes, those of all scopes inside included."""
        return self.nodes + sum(scope.all_nodes for scope in self.inner.values())

    def to_json(self) -> dict[str, Any]:
        """The tree as data, the slowest scope of each level first."""
        return {
            "name": self.name,
            "us": self.us,
            "own_us": self.own_us,
            "nodes": self.all_nodes,
            "inner": [scope.to_json() for scope in self.by_time()],
        }

    def by_time(self) -> list[Scope]:
        """The scopes right inside, the slowest first."""
        return sorted(self.inner.values(), key=lambda scope: (-scope.us, scope.name))


def view(trace: Trace) -> View:
    """A tree whose root is the model; subtotals add up to the gpu time that nodes have a part in."""
    root, times = Scope(str(trace.header["model"]["path"])), node_us(trace)
    for node in trace.nodes:
        scope = root
        for name in scope_of(node):
            scope = scope.inner.setdefault(name, Scope(name))
        scope.nodes += 1
        scope.own_us += times.get(node["id"]) or 0.0
    whole = gpu_us(trace)
    rows = [
        [
            time_text(scope.us),
            share_text(scope.us, whole),
            str(scope.all_nodes),
            f"{'  ' * depth}{scope.name}",
            bar(scope.us, whole),
        ]
        for depth, scope in _walk(root, 0)
    ]
    return View(root.to_json(), columns(["time", "of gpu", "nodes", "module", ""], rows, left=2))


def scope_of(node: Record) -> list[str]:
    """The path of a node: `layer1.0.conv1` by its module, else `/layer1/conv1/Conv` without the operator itself."""
    if node.get("module"):
        return str(node["module"]).split(".")
    path = [name for name in str(node["id"]).split("/") if name]
    return path[:-1]


def _walk(scope: Scope, depth: int) -> Iterator[tuple[int, Scope]]:
    yield depth, scope
    for inner in scope.by_time():
        yield from _walk(inner, depth + 1)
