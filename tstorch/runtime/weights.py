"""Weights from their files to the GPU: memory-mapped, in chunks, with progress."""

import mmap
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from tstorch.diagnostics import RunError
from tstorch.runtime.device import Buffer, Device
from tstorch.runtime.wire import Progress

CHUNK = 4 << 20  # bytes; each chunk is submitted at once, so that its staging memory is free again soon


class Sources:
    """The raw bytes of weights by digest, wherever their files are: {digest: {path, offset, bytes}}."""

    def __init__(self, sources: Mapping[str, Mapping[str, Any]]) -> None:
        self._sources = sources
        self._files: dict[str, mmap.mmap] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "Sources":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def array(self, weight: Mapping[str, Any]) -> np.ndarray:
        """The weight's bytes, read as they are used: whole words, as buffers hold them.

        Raises RunError when they are missing or of another size.
        """
        source = self._sources[weight["digest"]]
        if source["bytes"] + -source["bytes"] % 4 != weight["bytes"]:
            raise RunError(f"weight '{weight['name']}' has {source['bytes']} bytes; expected {weight['bytes']}")
        content = self._map(str(source["path"]), weight["name"])
        if source["offset"] + source["bytes"] > len(content):
            raise RunError(f"'{source['path']}' ends before weight '{weight['name']}' does; the file is cut off")
        found = np.frombuffer(content, np.uint8, source["bytes"], source["offset"])
        return np.concatenate([found, np.zeros(-len(found) % 4, np.uint8)]) if len(found) % 4 else found

    def _map(self, path: str, name: str) -> mmap.mmap:
        if path not in self._files:
            try:
                with open(path, "rb") as file:
                    self._files[path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:
                raise RunError(f"cannot read weight '{name}' from '{path}': {error}") from error
        return self._files[path]


def upload_weights(
    device: Device,
    program: Mapping[str, Any],
    buffers: Mapping[int, Buffer],
    sources: Mapping[str, Mapping[str, Any]],
    progress: Progress,
) -> int:
    """Writes every weight's pieces, and the states that start from a weight; returns the bytes written."""
    weights = {weight["name"]: weight for weight in program["weights"]}
    jobs = [(weight, piece) for weight in program["weights"] for piece in weight["pieces"]]
    jobs += [
        (weights[state["start"]["weight"]], {"source_offset": 0, **_view(state)})
        for state in program["state"]
        if "weight" in state["start"]
    ]
    total = sum(piece["bytes"] for _, piece in jobs)
    done = 0
    check_sources(program["weights"], sources)
    with Sources(sources) as found:
        for weight, piece in jobs:
            content = found.array(weight)
            start = piece["source_offset"]
            if start + piece["bytes"] > len(content):
                raise RunError(f"weight '{weight['name']}' has {len(content)} bytes; a piece of it ends after them")
            write_bytes(device, buffers[piece["buffer"]], piece["offset"], content[start : start + piece["bytes"]])
            done += piece["bytes"]
            progress("upload", done, total)
    return total


def write_bytes(device: Device, buffer: Buffer, offset: int, content: np.ndarray) -> None:
    """Writes bytes to a buffer in chunks; the last one is padded with zeros to a whole word."""
    for begin in range(0, len(content), CHUNK):
        chunk = content[begin : begin + CHUNK]
        if len(chunk) % 4:
            chunk = np.concatenate([chunk, np.zeros(-len(chunk) % 4, np.uint8)])
        device.write(buffer, offset + begin, chunk)
        device.flush()


def _view(value: Mapping[str, Any]) -> dict[str, int]:
    return {key: value[key] for key in ("buffer", "offset", "bytes")}


def check_sources(weights: Sequence[Mapping[str, Any]], sources: Mapping[str, Any]) -> None:
    """Raises RunError naming all weights that nobody has, before anything is allocated."""
    if missing := [weight["name"] for weight in weights if weight["digest"] not in sources]:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise RunError(
            f"the model file does not hold what the artifact was compiled from: no bytes for {shown}; "
            "give the same model file, or save the artifact with --embed-weights"
        )
