"""Messages between a session and its worker: a length, a JSON header, then the raw bytes of its arrays.

    "TST1"  u32 length of the header  header (JSON, UTF-8)  arrays, one after the other, little-endian, C order

The header's `arrays` lists name, dtype (`<f4`; of a type that NumPy lacks its name and width, `["bfloat16", 2]`) and
shape of each in order. Nothing is pickled: a browser, a phone or a remote
host can speak the same. Where both ends share blocks of memory, the header names one as `block`, and an array with a
number `at` stands there and not in the stream.
"""

import json
import math
import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, Protocol

import numpy as np

from tstorch.runtime.dtypes import dtype_name, is_foreign, named_dtype
from tstorch.runtime.shared import SharedBlock

PROTOCOL = "tstorch-worker/1"
_MAGIC = b"TST1"
_PREFIX = struct.Struct("<4sI")
_LARGEST_HEADER = 1 << 30

Kind = Literal["plain", "light", "detailed"]  # of a run: no timestamps, around the GPU's work, around each dispatch
Progress = Callable[[str, int, int], None]  # stage, done, total

Header = dict[str, Any]
Arrays = Mapping[str, np.ndarray]


NO_BLOCKS: Mapping[str, SharedBlock] = MappingProxyType({})


class ByteStream(Protocol):
    """An unbuffered binary file, as the ends of a pipe are."""

    def write(self, data: Any, /) -> int | None:
        """Writes some of `data`; gives how many bytes."""
        ...

    def readinto(self, buffer: Any, /) -> int | None:
        """Reads some bytes into `buffer`; gives how many, 0 at the end."""
        ...


class WireError(Exception):
    """The other end closed the stream or speaks something else."""


def send(stream: ByteStream, header: Header, arrays: Arrays, block: SharedBlock | None = None) -> None:
    """Sends one message. Raises OSError when the other end is gone."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    places = block.places([a.nbytes for a in contiguous.values()]) if block else [None] * len(contiguous)
    listed, streamed = [], []
    for (name, array), place in zip(contiguous.items(), places, strict=True):
        entry = {"name": name, "dtype": _written(array.dtype), "shape": list(arrays[name].shape)}
        if block and place is not None:
            block.view(place, array.nbytes)[:] = _bytes(array)
            entry["at"] = place
        elif array.nbytes:
            streamed.append(array)
        listed.append(entry)
    named = {"block": block.name} if block else {}
    text = json.dumps({**header, **named, "arrays": listed}).encode("utf-8")
    _write(stream, _PREFIX.pack(_MAGIC, len(text)) + text)
    for array in streamed:
        _write(stream, _bytes(array).data)


def receive(stream: ByteStream, blocks: Mapping[str, SharedBlock] = NO_BLOCKS) -> tuple[Header, dict[str, np.ndarray]]:
    """Waits for one message. Raises WireError when the stream ends or holds something else.

    Arrays that stand in one of `blocks`, which are by name, are views of it, and change with its next message.
    """
    magic, length = _PREFIX.unpack(_read(stream, bytearray(_PREFIX.size)))
    if magic != _MAGIC or length > _LARGEST_HEADER:
        raise WireError(f"expected a message of {PROTOCOL}, found {bytes(magic)!r}")
    header = json.loads(_read(stream, bytearray(length)))
    arrays, block = {}, blocks.get(header.get("block", ""))
    for entry in header.pop("arrays"):
        arrays[entry["name"]] = _array(stream, entry, block)
    return header, arrays


def _array(stream: ByteStream, entry: Header, block: SharedBlock | None) -> np.ndarray:
    dtype, shape = _read_dtype(entry["dtype"]), entry["shape"]
    if "at" in entry:
        if block is None:
            raise WireError(f"array '{entry['name']}' stands in a memory that this end does not share")
        return block.view(entry["at"], dtype.itemsize * math.prod(shape)).view(dtype).reshape(shape)
    array = np.empty(shape, dtype)
    if array.nbytes:
        _read(stream, _bytes(array))
    return array


def _written(dtype: np.dtype) -> str | list[str | int]:
    """NumPy's code for a dtype; of one that NumPy lacks, its name and the bytes that an element takes."""
    return [dtype_name(dtype), dtype.itemsize] if is_foreign(dtype) else dtype.str


def _read_dtype(written: str | list) -> np.dtype:
    return np.dtype(written) if isinstance(written, str) else named_dtype(*written)


def _bytes(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1).view(np.uint8)


def _write(stream: ByteStream, data: Any) -> None:
    view = memoryview(data)
    while view.nbytes:
        view = view[stream.write(view) or 0 :]


def _read(stream: ByteStream, buffer: Any) -> Any:
    """Fills `buffer` whole."""
    view = memoryview(buffer)
    while view.nbytes:
        count = stream.readinto(view)
        if not count:
            raise WireError("the other end closed the stream")
        view = view[count:]
    return buffer
