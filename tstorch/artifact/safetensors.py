"""The safetensors container, as far as an artifact needs it: raw bytes by name, read without copying."""

import json
import math
from collections.abc import Mapping
from typing import IO, Any


def write_tensors(file: IO[bytes], tensors: Mapping[str, Any]) -> None:
    """Writes raw buffers under their names, sorted, as one-dimensional tensors of bytes."""
    header: dict[str, Any] = {}
    offset = 0
    for name in sorted(tensors):
        size = memoryview(tensors[name]).nbytes
        header[name] = {"dtype": "U8", "shape": [size], "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)  # the data starts aligned
    file.write(len(text).to_bytes(8, "little"))
    file.write(text)
    for name in sorted(tensors):
        file.write(memoryview(tensors[name]).cast("B"))


def read_header(file: IO[bytes]) -> tuple[dict[str, tuple[int, int]], int]:
    """The byte span of each tensor within the data, and where the data begins. Raises ValueError."""
    size = int.from_bytes(file.read(8), "little")
    text = file.read(size)
    if len(text) != size:
        raise ValueError("the safetensors header is cut off")
    spans = {}
    for name, entry in json.loads(text).items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        if not 0 <= begin <= end or (entry["dtype"] == "U8" and math.prod(entry["shape"]) != end - begin):
            raise ValueError(f"the safetensors entry '{name}' has impossible offsets")
        spans[name] = (begin, end)
    return spans, 8 + size
