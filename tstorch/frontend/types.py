"""The types that a model file states, with its symbolic dimensions bound."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from types import MappingProxyType

from onnx import TensorShapeProto, TypeProto, ValueInfoProto
from xdsl.dialects.builtin import DYNAMIC_INDEX, TensorType
from xdsl.ir import Attribute

from tstorch.diagnostics import OnnxImportError, UsageError
from tstorch.dialects.onnx import ELEMENT_TYPES, AnyType, type_name
from tstorch.dialects.prim.types import MOST_ELEMENTS

ANY = AnyType()


class Dimensions:
    """The symbolic dimensions of a model, bound by name ("batch"), by place ("image.0"), or by the shapes of inputs."""

    def __init__(
        self,
        bound: Mapping[str, int],
        inputs: Iterable[ValueInfoProto],
        shapes: Mapping[str, Sequence[int]] = MappingProxyType({}),
    ):
        self.bound = dict(bound)
        self._inputs = list(inputs)
        for value in self._inputs:
            if value.name in shapes:
                self._bind(value, shapes[value.name])
        self._check()

    def _bind(self, value: ValueInfoProto, shape: Sequence[int]) -> None:
        """Gives the open dimensions of an input the sizes that its array has. A run refuses arrays that do not fit."""
        for (at, dim), size in zip(_dims(value), shape, strict=False):
            if self._size(value, at, dim) is None:
                self.bound[dim.dim_param or f"{value.name}.{at}"] = size

    def input_type(self, value: ValueInfoProto) -> TensorType:
        """The static type of a graph input. Raises OnnxImportError for what is no tensor of a known element type."""
        element = ELEMENT_TYPES.get(value.type.tensor_type.elem_type)
        if not value.type.HasField("tensor_type") or element is None:
            raise OnnxImportError(
                f"input '{value.name}' is {_described(value.type)}; a graph input must be a tensor of floats, integers "
                "or truth values"
            )
        sizes = [self._size(value, at, dim) or 0 for at, dim in _dims(value)]
        if prod(sizes) > MOST_ELEMENTS:
            raise OnnxImportError(f"input '{value.name}' has shape {sizes}: more elements than a device holds")
        return TensorType(element, sizes)

    def stated_type(self, value: ValueInfoProto) -> Attribute:
        """The type of any other value: open dimensions where the file leaves them so, else `!onnx.any`."""
        tensor = value.type.tensor_type
        element = ELEMENT_TYPES.get(tensor.elem_type)
        if not value.type.HasField("tensor_type") or element is None or not tensor.HasField("shape"):
            return ANY
        return TensorType(element, [self._open_size(dim) for dim in tensor.shape.dim])

    def _open_size(self, dim: TensorShapeProto.Dimension) -> int:
        size = dim.dim_value if dim.HasField("dim_value") else self.bound.get(dim.dim_param, DYNAMIC_INDEX)
        return size if size >= 0 else DYNAMIC_INDEX

    def _size(self, value: ValueInfoProto, at: int, dim: TensorShapeProto.Dimension) -> int | None:
        if dim.HasField("dim_value") and dim.dim_value >= 0:
            return dim.dim_value
        return self.bound.get(f"{value.name}.{at}", self.bound.get(dim.dim_param))

    def _check(self) -> None:
        """Every dimension of every input must have a size, and every name given must be one of theirs."""
        names: dict[str, str] = {}
        for value in self._inputs:
            if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape"):
                raise OnnxImportError(f"input '{value.name}' has no shape in the file; export it with one")
            for at, dim in _dims(value):
                place = f"{value.name}.{at}"
                if not dim.HasField("dim_value") or dim.dim_value < 0:
                    names[place] = dim.dim_param or place
                    if self._size(value, at, dim) is not None:
                        del names[place]
        if names:
            raise OnnxImportError(_unbound(names))
        self._check_given()

    def _check_given(self) -> None:
        dims = [(value, at, dim) for value in self._inputs for at, dim in _dims(value)]
        known = {dim.dim_param for _, _, dim in dims if dim.dim_param} | {f"{value.name}.{at}" for value, at, _ in dims}
        for name, size in self.bound.items():
            if name not in known:
                symbolic = sorted({dim.dim_param for _, _, dim in dims if dim.dim_param})
                raise UsageError(
                    f"--dim {name}: the model has no such dimension; it has {', '.join(symbolic) or 'none'}"
                )
            if size < 0:
                raise UsageError(f"--dim {name}={size}: a dimension's size is 0 or more")


def _dims(value: ValueInfoProto) -> Iterable[tuple[int, TensorShapeProto.Dimension]]:
    return enumerate(value.type.tensor_type.shape.dim)


def _unbound(names: Mapping[str, str]) -> str:
    places: dict[str, list[str]] = {}
    for place, name in names.items():
        value, _, axis = place.rpartition(".")
        places.setdefault(name, []).append(f"axis {axis} of input '{value}'")
    listed = "; ".join(f"'{name}' ({', '.join(where)})" for name, where in places.items())
    flags = " ".join(f"--dim {name}=N" for name in places)
    return f"the size of {listed} is open; bind it with {flags}, or by the inputs given"


def _described(type: TypeProto) -> str:
    kind = type.WhichOneof("value")
    if kind == "tensor_type":
        return f"a tensor of element type {type_name(type.tensor_type.elem_type)}"
    return f"a {kind.removesuffix('_type')}" if kind else "of no stated type"
