"""Messages between a session and its worker: a length, a JSON header, then the raw bytes of its arrays.

    "TST1"  u32 length of the header  header (JSON, UTF-8)  arrays, one after the other, little-endian, C order

The header's `arrays` lists name, dtype and shape of each in order. Nothing is pickled: a browser, a phone or a remote
host can speak the same.
"""

import json
import struct
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import numpy as np

PROTOCOL = "tstorch-worker/1"
_MAGIC = b"TST1"
_PREFIX = struct.Struct("<4sI")
_LARGEST_HEADER = 1 << 30

Kind = Literal["plain", "light", "detailed"]  # of a run: no timestamps, around the GPU's work, around each dispatch
Progress = Callable[[str, int, int], None]  # stage, done, total

Header = dict[str, Any]
Arrays = Mapping[str, np.ndarray]


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


def send(stream: ByteStream, header: Header, arrays: Arrays) -> None:
    """Sends one message. Raises OSError when the other end is gone."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    listed = [{"name": n, "dtype": a.dtype.str, "shape": list(arrays[n].shape)} for n, a in contiguous.items()]
    text = json.dumps({**header, "arrays": listed}).encode("utf-8")
    _write(stream, _PREFIX.pack(_MAGIC, len(text)) + text)
    for array in contiguous.values():
        if array.nbytes:
            _write(stream, array.reshape(-1).view(np.uint8).data)


def receive(stream: ByteStream) -> tuple[Header, dict[str, np.ndarray]]:
    """Waits for one message. Raises WireError when the stream ends or holds something else."""
    magic, length = _PREFIX.unpack(_read(stream, bytearray(_PREFIX.size)))
    if magic != _MAGIC or length > _LARGEST_HEADER:
        raise WireError(f"expected a message of {PROTOCOL}, found {bytes(magic)!r}")
    header = json.loads(_read(stream, bytearray(length)))
    arrays = {}
    for entry in header.pop("arrays"):
        array = np.empty(entry["shape"], np.dtype(entry["dtype"]))
        if array.nbytes:
            _read(stream, array.reshape(-1).view(np.uint8))
        arrays[entry["name"]] = array
    return header, arrays


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
