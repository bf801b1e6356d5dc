"""Memory that session and worker both see, so that large arrays need no pipe: an optimisation, never a need."""

import contextlib
import mmap
import os
import tempfile
import weakref
from pathlib import Path
from typing import Self

import numpy as np

LEAST_BYTES = 32 << 10
"""An array of fewer bytes goes through the pipe as quickly."""
LENT_BYTES = 1 << 20
"""Replies of at least so many bytes are not copied, but lent to the caller."""
MOST_BLOCKS = 3
_ALIGNMENT = 64
_IN_MEMORY = Path("/dev/shm")


class SharedBlock:
    """A file that both processes map. The session creates it; the worker opens it by its path."""

    def __init__(self, path: Path, memory: mmap.mmap) -> None:
        self.path = path
        self._memory = memory
        self._lent: list[weakref.ref] = []

    @classmethod
    def create(cls, nbytes: int) -> Self | None:
        """A new block; None where the system has no room for it: what does not fit goes through the pipe."""
        folder = _IN_MEMORY if _IN_MEMORY.is_dir() else None
        path: Path | None = None
        try:
            handle, name = tempfile.mkstemp(prefix="tstorch-", dir=folder)
            path = Path(name)
            with os.fdopen(handle, "r+b") as file:
                file.write(bytes(nbytes))  # takes the room now: a full disk met later would be a fatal signal
                file.flush()
                return cls(path, mmap.mmap(file.fileno(), nbytes))
        except (OSError, ValueError):
            if path is not None:
                _remove(path)
            return None

    @classmethod
    def open(cls, path: str | Path) -> Self | None:
        """The block at `path`; None where it is out of reach, as on another machine."""
        try:
            with open(path, "r+b") as file:
                return cls(Path(path), mmap.mmap(file.fileno(), 0))
        except (OSError, ValueError):
            return None

    @property
    def name(self) -> str:
        """What both processes call it."""
        return self.path.name

    @property
    def bytes(self) -> int:
        """Its size."""
        return len(self._memory)

    def places(self, sizes: list[int]) -> list[int | None]:
        """Where arrays of these many bytes go; None for those that are too small, or that no longer fit."""
        found: list[int | None] = []
        offset = 0
        for size in sizes:
            fits = size >= LEAST_BYTES and offset + size <= self.bytes
            found.append(offset if fits else None)
            offset += -(-size // _ALIGNMENT) * _ALIGNMENT if fits else 0
        return found

    def view(self, offset: int, nbytes: int) -> np.ndarray:
        """Those bytes, without a copy: they change with the next message."""
        return np.frombuffer(self._memory, np.uint8, nbytes, offset)

    def lend(self, array: np.ndarray) -> None:
        """Leaves what `receive` found here to the caller: nothing is written here while he keeps any part of it."""
        self._lent.append(weakref.ref(array if array.base is None else array.base))

    @property
    def is_free(self) -> bool:
        """Whether nobody keeps arrays that were lent."""
        self._lent = [each for each in self._lent if each() is not None]
        return not self._lent

    def unlink(self) -> None:
        """Takes the file's name away, where the system lets one; both maps stay."""
        _remove(self.path)

    @staticmethod
    def needed(sizes: list[int]) -> int:
        """The bytes of a block that takes arrays of these sizes; 0 where none of them is large enough."""
        return sum(-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes if size >= LEAST_BYTES)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
