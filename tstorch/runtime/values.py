"""What goes from segment to segment: tensors on the GPU, or numbers that the host knows."""

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tstorch.diagnostics import RunError
from tstorch.runtime.device import Buffer, Device
from tstorch.runtime.dtypes import dtype_name
from tstorch.runtime.marshal import check_range, pack

_LEAST = 256


class Room:
    """Bytes on the GPU that belong to whoever holds this; they go back to the pool when nobody does."""

    def __init__(self, pool: "Pool", buffer: Buffer) -> None:
        self.buffer = buffer
        weakref.finalize(self, pool.give_back, buffer)


class Pool:
    """Buffers of a run's values, used again from run to run."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._free: dict[int, list[Buffer]] = {}
        self._look: Buffer | None = None
        self._readbacks: dict[int, list[Buffer]] = {}

    def take(self, nbytes: int) -> Room:
        """Room for so many bytes. Raises RunError where memory ends."""
        size = max(1 << (max(nbytes, 1) - 1).bit_length(), _LEAST) if nbytes < 1 << 20 else -(-nbytes >> 20) << 20
        spare = self._free.setdefault(size, [])
        return Room(self, spare.pop() if spare else self._device.buffer("value", size, "activation"))

    def look_buffer(self, nbytes: int) -> Buffer:
        """Where the host looks at bytes, the same for every run."""
        if self._look is None:
            self._look = self._device.buffer("look", nbytes, "readback")
        return self._look

    def take_readback(self, nbytes: int) -> Buffer:
        """Memory of the host into which an output is copied; `give_readback` keeps it for the next run."""
        size = max(-(-nbytes // 4) * 4, 4)
        spare = self._readbacks.setdefault(size, [])
        return spare.pop() if spare else self._device.buffer("output", size, "readback")

    def give_readback(self, buffer: Buffer) -> None:
        """Keeps an output's memory, which is mapped no more."""
        self._readbacks[buffer.bytes].append(buffer)

    def give_back(self, buffer: Buffer) -> None:
        """Keeps a buffer for the next who asks for its size."""
        self._free.setdefault(buffer.bytes, []).append(buffer)


@dataclass(eq=False)
class Value:
    """A tensor. `room` is its shape where it lies, which has more along `axis` than counts: the first `count` do.

    `host` holds the numbers in its room where the host knows them; `stored` its bytes on the GPU, by how they are
    stored, and `declared` what the segment that computed them says of these.
    """

    dtype: str
    room: tuple[int, ...]
    axis: int | None = None
    count: int = 0
    host: np.ndarray | None = None
    stored: dict[str, Room] = field(default_factory=dict)
    declared: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def computed(cls, declared: Mapping[str, Any], room: Room) -> "Value":
        """What a segment computes into a room."""
        return cls(declared["dtype"], tuple(declared["shape"]), stored={declared["storage"]: room}, declared=declared)

    @classmethod
    def known(cls, array: np.ndarray) -> "Value":
        """Numbers that the host has."""
        return cls(dtype_name(array.dtype), array.shape, host=array)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that counts."""
        if self.axis is None:
            return self.room
        return (*self.room[: self.axis], self.count, *self.room[self.axis + 1 :])

    @property
    def placed(self) -> tuple[int, ...]:
        """The shape under which a segment finds it: where the leading elements count, they are all that there is."""
        return self.shape if self.axis == 0 and self.count else self.room

    def first(self, count: int, axis: int) -> "Value":
        """The first `count` along an axis. Raises RunError for more than there are."""
        if not 0 <= count <= self.room[axis]:
            raise RunError(f"a count of {count} for a result with room for {self.room[axis]}")
        if self.host is not None:
            return Value.known(np.take(self.host, np.arange(count), axis))
        return Value(self.dtype, self.room, axis, count, None, self.stored, self.declared)

    @property
    def buffer(self) -> Buffer:
        """Where a segment computed it."""
        return self.stored[self.declared["storage"]].buffer

    def exact(self, array: np.ndarray) -> np.ndarray:
        """What counts of the numbers that lie in the room."""
        return array if self.axis is None else np.take(array, np.arange(self.count), self.axis)


def on_gpu(value: Value, declared: Mapping[str, Any], pool: Pool, device: Device) -> Room:
    """The value's bytes as a segment's input is declared; numbers of the host are written there once.

    Raises RunError where the value is not what is declared: each program is made for the values that it gets.
    """
    storage = declared["storage"]
    if (value.dtype, list(value.placed)) != (declared["dtype"], declared["shape"]):
        raise RunError(
            f"a segment takes {declared['dtype']}{declared['shape']}, and was given {value.dtype}{list(value.placed)}"
        )
    if value.host is not None and "range" in declared:
        check_range(declared, value.host)
    if storage not in value.stored:
        if value.host is None:
            have = ", ".join(value.stored)
            raise RunError(f"a value of {value.dtype} is stored as {have}; the next segment takes it as {storage}")
        content = bytearray(max(declared["bytes"], 4))
        array = value.exact(value.host) if value.placed != value.room else value.host
        pack(declared, np.ascontiguousarray(array), memoryview(content)[: declared["bytes"]])
        room = pool.take(len(content))
        device.write(room.buffer, 0, content)
        value.stored[storage] = room
    return value.stored[storage]


def describe(value: Value, *, with_numbers: bool) -> dict[str, Any]:
    """What a compiler must be told of a segment's input."""
    stored = next(iter(value.stored), None) if value.host is None else None
    facts: dict[str, Any] = {
        "dtype": value.dtype,
        "room": list(value.placed),
        "shape": list(value.shape),
        "storage": stored,
    }
    if with_numbers:
        assert value.host is not None
        facts["numbers"] = np.ascontiguousarray(value.host).tobytes().hex()
    return facts
