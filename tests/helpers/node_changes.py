"""Changes to one node of a model that keep every shape, and what of an artifact they change."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from tstorch.artifact.format import Artifact

FLOATS = ("epsilon", "alpha", "beta", "bias")
DEFAULTS = {"LayerNormalization": {"epsilon": 1e-5}, "BatchNormalization": {"epsilon": 1e-5}, "Gemm": {"alpha": 1.0}}
SYMMETRIC = ("Softmax", "LogSoftmax")


@dataclass(frozen=True)
class Change:
    """One change to one node: an operand that is a weight, a float attribute, or an axis of equal length."""

    network: str
    node: str
    what: str

    @property
    def kind(self) -> str:
        """weight, attribute or axis."""
        return self.what.partition(" ")[0]

    def __str__(self) -> str:
        return f"{self.network}:{self.node}:{self.what}".replace("/", ".")

    def applied(self, model: ModelProto, stored_as: str = "changed") -> ModelProto:
        """A copy of the model with the change. A weight is changed for this node alone, whoever else uses it."""
        changed = ModelProto()
        changed.CopyFrom(model)
        node = next(node for node in changed.graph.node if node.name == self.node)
        which = self.what.partition(" ")[2]
        if self.kind == "weight":
            _change_weight(changed, node, int(which), stored_as)
        elif self.kind == "attribute":
            _set_attribute(node, which, 1.5 * _float_attributes(node)[which])
        else:
            _set_attribute(node, "axis", int(which))
        return changed


def changed_whole(model: ModelProto, changes: Iterable[Change]) -> ModelProto:
    """A copy of the model with all the changes made."""
    for number, change in enumerate(changes):
        model = change.applied(model, stored_as=f"changed_{number}")
    return model


def changes(network: str, model: ModelProto) -> Iterator[Change]:
    """Every change that the nodes of a model allow."""
    stored = {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    shapes = _shapes(model)
    for node in model.graph.node:
        yield from (Change(network, node.name, f"weight {at}") for at, name in enumerate(node.input) if name in stored)
        yield from (Change(network, node.name, f"attribute {name}") for name in _float_attributes(node))
        yield from (Change(network, node.name, f"axis {axis}") for axis in _equal_axes(node, shapes))


def _shapes(model: ModelProto) -> dict[str, list[int]]:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = [*inferred.value_info, *inferred.input, *inferred.output]
    return {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}


def _float_attributes(node: NodeProto) -> dict[str, float]:
    written = {a.name: a.f for a in node.attribute if a.type == onnx.AttributeProto.FLOAT and a.name in FLOATS}
    return DEFAULTS.get(node.op_type, {}) | written


def _equal_axes(node: NodeProto, shapes: dict[str, list[int]]) -> list[int]:
    """Other axes than the node's own that are as long as it."""
    if node.op_type not in SYMMETRIC or node.input[0] not in shapes:
        return []
    shape = shapes[node.input[0]]
    own = next((a.i for a in node.attribute if a.name == "axis"), -1) % len(shape)
    return [axis for axis, length in enumerate(shape) if axis != own and length == shape[own] > 1]


def _change_weight(model: ModelProto, node: NodeProto, position: int, stored_as: str) -> None:
    stored = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[position])
    array = numpy_helper.to_array(stored)
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(array * 1.25 + 0.01, np.float32), stored_as))
    node.input[position] = stored_as
    if not any(stored.name in other.input for other in model.graph.node):
        model.graph.initializer.remove(stored)


def _set_attribute(node: NodeProto, name: str, value: float | int) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


class Contents:
    """What each dispatch of an artifact computes with: its shader, and the bytes that its weights have."""

    def __init__(self, artifact: Artifact) -> None:
        self._kernels = artifact.kernels
        entries = artifact.program["entries"]
        weights = artifact.program["weights"]
        self._written: list[tuple[dict[str, int], Any]] = [
            (piece, (weight["digest"], piece["source_offset"])) for weight in weights for piece in weight["pieces"]
        ]
        self._contents: dict[int, tuple[Any, ...]] = {}
        for name in sorted(entries):  # init stands before run
            for command in entries[name]:
                if command["op"] == "dispatch":
                    self._take(command, lasting=name == "init")
                elif command["op"] == "copy":
                    source, target = ({**command[end], "bytes": command["bytes"]} for end in ("source", "target"))
                    self._written.append((target, self._bytes(source)))

    def of(self, dispatch: int) -> tuple[Any, ...]:
        """Equal for two dispatches that run one shader, with one grid, on the same weights."""
        return self._contents[dispatch]

    def _take(self, command: dict[str, Any], *, lasting: bool) -> None:
        shader = self._kernels[command["kernel"]].wgsl
        views = list(enumerate(command["bindings"]))
        read = [view for number, view in views if view["access"] == "read" or is_loaded(shader, number)]
        content = self._contents[command["id"]] = (shader, *command["grid"], *map(self._bytes, read))
        if lasting:
            self._written += [(view, content) for _, view in views if view["access"] == "read_write"]

    def _bytes(self, view: dict[str, int]) -> tuple[Any, ...]:
        """What stands in a view: weights by digest, and what `init` wrote by what that was computed with."""
        found: list[Any] = []
        for place, content in reversed(self._written):
            if _overlap(view, place):
                found.append(content)
                if _covers(place, view):
                    break
        return tuple(found)


def is_loaded(shader: str, binding: int) -> bool:
    """Whether a shader reads the array of a binding: an array that it only assigns to stands left of `=`."""
    name = f"b{binding}["
    return any(
        name in (line.split(" = ", 1)[-1] if line.lstrip().startswith(name) else line) for line in shader.split("\n")
    )


def _overlap(a: dict[str, int], b: dict[str, int]) -> bool:
    apart = a["offset"] + a["bytes"] <= b["offset"] or b["offset"] + b["bytes"] <= a["offset"]
    return a["buffer"] == b["buffer"] and not apart


def _covers(a: dict[str, int], b: dict[str, int]) -> bool:
    return a["offset"] <= b["offset"] and b["offset"] + b["bytes"] <= a["offset"] + a["bytes"]
