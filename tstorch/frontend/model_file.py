"""A model file opened: its parsed proto, and for each tensor in it where the raw bytes lie."""

from __future__ import annotations

import hashlib
import mmap
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper
from xdsl.dialects.builtin import TensorType

from tstorch.diagnostics import OnnxImportError
from tstorch.dialects.onnx import ELEMENT_TYPES
from tstorch.dialects.prim.stored import FORMATS, unpacked
from tstorch.dialects.prim.types import dtype_of as element_dtype
from tstorch.dialects.prim.types import is_stored
from tstorch.frontend.wire import Path as WirePath
from tstorch.frontend.wire import WireFile

# Field numbers of onnx.proto: they are part of the format and never change.
MODEL_GRAPH, MODEL_FUNCTIONS = 7, 25
GRAPH_NODE, GRAPH_INITIALIZER, FUNCTION_NODE = 1, 5, 7
NODE_ATTRIBUTE, ATTRIBUTE_TENSOR, ATTRIBUTE_GRAPH = 5, 5, 6
TENSOR_FLOATS, TENSOR_NAME, TENSOR_RAW, TENSOR_DOUBLES = 4, 8, 9, 10

_BITS: Mapping[int, int] = {
    number: FORMATS[type].bits for number, type in ELEMENT_TYPES.items() if type in FORMATS and FORMATS[type].bits < 8
}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor's raw little-endian bytes in some file."""

    path: Path
    offset: int
    nbytes: int
    digest: str


@dataclass(frozen=True)
class Located:
    """A tensor of the model under its key, and its place in the file's structure."""

    key: str
    proto: TensorProto
    place: WirePath


class ModelFile:
    """One ONNX file, memory-mapped. Tensors are found by key: see `tensors`.

    What does not lie raw in the file or its external data (unpacked integers, say) is written once to a folder of
    our own that goes with this object.
    """

    def __init__(self, source: str | Path | bytes | ModelProto):
        self._side = None
        self.path = Path(source) if isinstance(source, str | Path) else self._put("model.onnx", _serialized(source))
        self.given = str(source) if isinstance(source, str | Path) else self.path.name
        data = _read(self.path)
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.proto = _parse(data, self.given)
        self._map = cache(_mapped)
        self._wire = WireFile(self._map(self.path))
        self.stored: Callable[[str], StoredTensor] = cache(self._store)

    @property
    def name(self) -> str:
        """The base name, which stands in references."""
        return self.path.name

    @cached_property
    def tensors(self) -> dict[str, Located]:
        """Every tensor by key: an initializer's name, `@3.value` for what node 3 holds, `@3.body/w` inside."""
        return {found.key: found for found in _tensors(self.proto)}

    def array(self, key: str, type: TensorType | None = None) -> np.ndarray:
        """The tensor's bytes as numbers of its own or another type: a read-only view of the file, or codes unpacked."""
        stored, proto = self.stored(key), self.tensors[key].proto
        type = TensorType(ELEMENT_TYPES[proto.data_type], proto.dims) if type is None else type
        raw = np.frombuffer(self._map(stored.path), np.uint8, stored.nbytes, stored.offset) if stored.nbytes else b""
        if is_stored(type.element_type):
            found = unpacked(np.frombuffer(raw, np.uint8), type.element_type, prod(type.get_shape()))
        else:
            found = np.frombuffer(raw, element_dtype(type))
        return found.reshape(type.get_shape())

    def materialise(self, data: bytes) -> StoredTensor:
        """Writes bytes that lie in no file to a file of their own."""
        digest = hashlib.sha256(data).hexdigest()
        return StoredTensor(self._put(f"{digest}.bin", data), 0, len(data), digest)

    def _put(self, name: str, data: bytes) -> Path:
        if self._side is None:
            self._side = Path(tempfile.mkdtemp(prefix="tstorch-"))
            weakref.finalize(self, _remove, self._side)
        (self._side / name).write_bytes(data)
        return self._side / name

    def _store(self, key: str) -> StoredTensor:
        located = self.tensors[key]
        size = expected_bytes(located.proto, key)
        place = self._external(located, size) if is_external(located.proto) else self._inline(located, size)
        if place is None:
            return self.materialise(_to_bytes(located, size))
        path, offset = place
        with memoryview(self._map(path)) if size else memoryview(b"") as view:
            digest = hashlib.sha256(view[offset : offset + size]).hexdigest()
        return StoredTensor(path, offset, size, digest)

    def _inline(self, located: Located, size: int) -> tuple[Path, int] | None:
        """Where the bytes lie in the model file itself; None where they do not lie there raw and in one piece."""
        proto = located.proto
        held = len(proto.raw_data) if proto.HasField("raw_data") else size
        if held != size:
            raise OnnxImportError(
                f"tensor '{located.key}': the file holds {held} bytes, its shape {list(proto.dims)} of "
                f"{TensorProto.DataType.Name(proto.data_type)} needs {size}; the file is damaged"
            )
        field = _raw_field(proto)
        span = self._wire.locate(located.place) if field else None
        if field is None or span is None or self._wire.count(span, field) != 1:
            return None
        name, raw = (
            self._wire.locate([*located.place, (TENSOR_NAME, 0)]),
            self._wire.locate([*located.place, (field, 0)]),
        )
        same = (self._wire.read(name) if name else b"") == proto.name.encode()
        return (self.path, raw[0]) if raw and same and raw[1] - raw[0] == size else None

    def _external(self, located: Located, size: int) -> tuple[Path, int]:
        entries = {entry.key: entry.value for entry in located.proto.external_data}
        what = f"tensor '{located.key}': external data '{entries.get('location', '')}'"
        path = external_path(self.path, entries.get("location", ""), what)
        offset, length = _count(entries.get("offset", "0"), what), _count(entries.get("length", str(size)), what)
        if length != size or offset + size > path.stat().st_size:
            raise OnnxImportError(
                f"{what} gives bytes {offset} to {offset + length} of {path.stat().st_size}; "
                f"shape {list(located.proto.dims)} needs {size}; the file is truncated or not the model's"
            )
        return path, offset


def external_path(model: Path, location: str, what: str) -> Path:
    """The file that holds a tensor's bytes. Raises OnnxImportError where it leaves the model's folder or is missing."""
    parts = (PurePosixPath(location), PureWindowsPath(location))
    folder = model.parent
    try:
        found = (folder / location).resolve()
        is_file = found.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a null byte, links that go round
        raise OnnxImportError(f"{what} is no path of a file ({str(error)[:80]})") from error
    inside = (folder.resolve(), model.resolve().parent)
    leaves = any(part.is_absolute() or part.drive or ".." in part.parts for part in parts)
    if not location or leaves or not any(found.is_relative_to(root) for root in inside):
        raise OnnxImportError(f"{what} leaves the model's folder; external data must lie beside the model")
    if not is_file:
        raise OnnxImportError(f"{what} does not exist; put it beside '{model.name}'")
    return found


def is_external(proto: TensorProto) -> bool:
    """Whether the tensor's bytes lie in another file."""
    return proto.data_location == TensorProto.EXTERNAL


def dtype_of(proto: TensorProto) -> np.dtype:
    """The NumPy dtype of a tensor's elements."""
    return onnx.helper.tensor_dtype_to_np_dtype(proto.data_type)


def expected_bytes(proto: TensorProto, key: str) -> int:
    """Bytes that the tensor's shape and type need. Raises OnnxImportError where they make no sense."""
    if proto.data_type == TensorProto.STRING:
        raise OnnxImportError(f"tensor '{key}' holds strings; a GPU computes with numbers only")
    if proto.data_type not in TensorProto.DataType.values() or proto.data_type == TensorProto.UNDEFINED:
        raise OnnxImportError(f"tensor '{key}' has element type number {proto.data_type}, which ONNX does not define")
    if any(size < 0 for size in proto.dims):
        raise OnnxImportError(f"tensor '{key}' has shape {list(proto.dims)}; the file is damaged")
    count = prod(proto.dims)
    bits = _BITS.get(proto.data_type)
    return -(-count * bits // 8) if bits else count * dtype_of(proto).itemsize


def _raw_field(proto: TensorProto) -> int | None:
    """The field that holds the elements as raw bytes: `raw_data`, or a packed list of what is stored as such."""
    if proto.HasField("raw_data"):
        return TENSOR_RAW
    packed: Mapping[int, int] = {TensorProto.FLOAT: TENSOR_FLOATS, TensorProto.DOUBLE: TENSOR_DOUBLES}
    return packed.get(proto.data_type)


def _to_bytes(located: Located, size: int) -> bytes:
    try:
        proto = located.proto
        packed = proto.data_type in _BITS and not proto.HasField("raw_data")
        array = np.array(proto.int32_data).astype(np.uint8) if packed else numpy_helper.to_array(proto)
        data = proto.raw_data if proto.data_type in _BITS and not packed else array.tobytes()
    except (ValueError, TypeError) as error:
        raise OnnxImportError(f"tensor '{located.key}' cannot be read ({error}); the file is damaged") from error
    if len(data) != size:
        raise OnnxImportError(
            f"tensor '{located.key}' holds {len(data)} bytes where {size} belong; the file is damaged"
        )
    return data


def _tensors(model: ModelProto) -> Iterator[Located]:
    yield from _in_graph(model.graph, "", [(MODEL_GRAPH, 0)])
    for index, function in enumerate(model.functions):
        place = [(MODEL_FUNCTIONS, index)]
        yield from _in_nodes(function.node, f"{function.domain}.{function.name}:", place, FUNCTION_NODE)


def _in_graph(graph: GraphProto, at: str, place: Sequence[tuple[int, int]]) -> Iterator[Located]:
    for index, proto in enumerate(graph.initializer):
        yield Located(at + proto.name, proto, [*place, (GRAPH_INITIALIZER, index)])
    yield from _in_nodes(graph.node, at, place, GRAPH_NODE)


def _in_nodes(nodes: Sequence[NodeProto], at: str, place: Sequence[tuple[int, int]], field: int) -> Iterator[Located]:
    for index, node in enumerate(nodes):
        for which, attribute in enumerate(node.attribute):
            here = [*place, (field, index), (NODE_ATTRIBUTE, which)]
            key = attribute_key(at, index, attribute.name)
            if attribute.type == AttributeProto.TENSOR:
                yield Located(key, attribute.t, [*here, (ATTRIBUTE_TENSOR, 0)])
            elif attribute.type == AttributeProto.GRAPH:
                yield from _in_graph(attribute.g, f"{key}/", [*here, (ATTRIBUTE_GRAPH, 0)])


def attribute_key(at: str, index: int, attribute: str) -> str:
    """The key of what a node's attribute holds; `at` is the key of the graph around it."""
    return f"{at}@{index}.{attribute}"


def _serialized(source: bytes | ModelProto) -> bytes:
    return source if isinstance(source, bytes) else source.SerializeToString()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise OnnxImportError(f"model '{path}' does not exist") from error
    except OSError as error:
        raise OnnxImportError(f"model '{path}' cannot be read: {error.strerror}") from error


def _parse(data: bytes, name: str) -> ModelProto:
    try:
        model = ModelProto.FromString(data)
    except DecodeError as error:
        raise OnnxImportError(f"'{name}' is not an ONNX model, or is truncated ({len(data)} bytes)") from error
    if not model.HasField("graph") or not model.graph.output:
        raise OnnxImportError(f"'{name}' is not an ONNX model: it holds no graph with outputs ({len(data)} bytes)")
    return model


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _count(text: str, what: str) -> int:
    if not text.isdecimal():
        raise OnnxImportError(f"{what}: '{text}' is no byte count")
    return int(text)


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
