"""The host's side of inputs and outputs: buffers that stay, mapped between runs (inputs) or after one (outputs)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tstorch.artifact.slots import shelves
from tstorch.runtime.device import Buffer, Device


@dataclass(frozen=True)
class Slot:
    """Where one value passes through host memory."""

    buffer: Buffer
    offset: int
    bytes: int


def allocate_slots(device: Device, values: Sequence[Mapping[str, Any]], category: str) -> dict[str, Slot]:
    """A slot for each value, by name, in as few buffers as the limits allow; `category`: staging or readback."""
    sizes = {value["name"]: value["bytes"] for value in values}
    slots = {}
    for number, shelf in enumerate(shelves(values, device.limits["max_buffer_size"])):
        buffer = device.buffer(f"{category}{number}", shelf.bytes, category)
        slots |= {name: Slot(buffer, offset, sizes[name]) for name, offset in shelf.offsets.items()}
    return slots


class Staging:
    """Input memory that the host may write between runs: the GPU has it only while a run is under way."""

    def __init__(self, device: Device, slots: Mapping[str, Slot]) -> None:
        self._device = device
        self._buffers = list({id(slot.buffer): slot.buffer for slot in slots.values()}.values())
        self._slots = slots
        self._mapped = True  # staging buffers are born mapped

    def open(self) -> dict[str, memoryview]:
        """The bytes of each input, to be written before `close`."""
        if not self._mapped:  # the last run failed on its way
            self.reopen()
            self._device.flush(wait=True)
        views = {id(buffer): self._device.mapped(buffer) for buffer in self._buffers}
        return {n: views[id(slot.buffer)][slot.offset : slot.offset + slot.bytes] for n, slot in self._slots.items()}

    def close(self) -> None:
        """Hands what was written to the GPU."""
        for buffer in self._buffers:
            self._device.unmap(buffer)
        self._mapped = False

    def reopen(self) -> None:
        """Asks for the memory back once the GPU has copied it."""
        for buffer in self._buffers:
            self._device.request_map(buffer)
        self._mapped = True
