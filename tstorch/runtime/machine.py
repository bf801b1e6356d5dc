"""Runs segments on the GPU for a program: values stay there, the host looks at a few bytes, and both are timed."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tstorch.diagnostics import RunError
from tstorch.runtime.control import Loaded, Looks
from tstorch.runtime.device import Buffer
from tstorch.runtime.marshal import stored_bytes, unpack
from tstorch.runtime.plan import Copy, Pair, Plan, Stamp
from tstorch.runtime.recorder import APART, Pending, Recorder, Timed, Watch
from tstorch.runtime.values import Pool, Value, on_gpu
from tstorch.runtime.wire import Kind

LOOK_BYTES = 1024
"""The most that the host receives at one synchronisation."""
_MOST_PENDING = 32


@dataclass(frozen=True)
class Look:
    """A synchronisation: the tensors of which the host looks at so many bytes, and why.

    It lies in gap number `gap` between a run's spans of the GPU.
    """

    tensors: tuple[str, ...]
    bytes: int
    cause: str
    gap: int

    def to_json(self) -> dict[str, Any]:
        """As it travels."""
        return {"tensors": list(self.tensors), "bytes": self.bytes, "cause": self.cause, "gap": self.gap}


class GpuMachine:
    """One run of a program: runs of segments in order, synchronisations (`looks`) between them."""

    def __init__(self, recorder: Recorder, pool: Pool, kind: Kind) -> None:
        self._recorder, self._device, self._pool, self._kind = recorder, recorder.device, pool, kind
        self._pending: list[Pending] = []
        self._timed: list[Timed] = []
        self._look_buffer = pool.look_buffer(LOOK_BYTES)
        self.first = Watch()
        self.looks: list[Look] = []
        self._launched = 0
        self._settled_ns = 0
        self.between_ns = 0
        self.steps: list[tuple[int, int]] | None = None  # of a run a dispatch at a time: (id, wall nanoseconds) each

    # ---- what a program asks for

    def run(
        self, program: Loaded, entry: str, takes: Sequence[tuple[str, Value]], gives: Sequence[str], looks: Looks
    ) -> list[Value]:
        """Submits a segment; waits only where the host looks at what it gives."""
        executor = program.executor
        with self._span("upload"):
            rooms = [on_gpu(value, executor.inputs[name], self._pool, self._device) for name, value in takes]
        before = [executor.copy_in(name, room.buffer) for (name, _), room in zip(takes, rooms, strict=True)]
        outputs = [self._fresh(executor.outputs[name]) for name in gives]
        after = [executor.copy_out(name, value.buffer) for name, value in zip(gives, outputs, strict=True)]
        seen = [outputs[at] for at in sorted(looks)]
        copies = self._look_copies(seen)
        core = executor.core(entry, self._kind)
        self._launch(core.between(before, [*after, *copies]))
        if seen:
            self._receive(seen, " and ".join(dict.fromkeys(looks[at] for at in sorted(looks))))
        return outputs

    def look(self, cause: str, *values: Value) -> list[np.ndarray]:
        """The numbers of values, as they lie: what the host does not know comes in one synchronisation."""
        unseen = [value for value in dict.fromkeys(values) if value.host is None]
        if unseen:
            self._launch(Plan(tuple(self._look_copies(unseen))))
            self._receive(unseen, cause)
        found = [value.host for value in values]
        return [numbers for numbers in found if numbers is not None]

    def stack(self, values: Sequence[Value], element: Mapping[str, Any]) -> Value:
        """Values of one shape, one behind the other, by copies on the GPU."""
        if not values:
            return Value.known(np.zeros([0, *self._element_shape(element)], element["dtype"]))
        first, count = values[0], len(values)
        if any((value.dtype, value.shape) != (first.dtype, first.shape) for value in values):
            raise RunError("an output of a loop's body changes its shape from one iteration to the next")
        if all(value.host is not None for value in values):
            return Value.known(np.stack([value.host for value in values if value.host is not None]))
        declared = next(value.declared for value in values if value.host is None)
        size = declared["bytes"]
        if size != stored_bytes(declared) or any(value.axis is not None for value in values):
            raise RunError(f"elements of {first.dtype}{list(first.shape)} fill no whole words; they cannot be stacked")
        room = self._pool.take(size * count)
        rooms = [on_gpu(value, declared, self._pool, self._device) for value in values]
        self._launch(Plan(tuple(Copy(each.buffer, 0, room.buffer, size * at, size) for at, each in enumerate(rooms))))
        return Value.computed({**declared, "shape": [count, *first.shape], "bytes": size * count}, room)

    # ---- the caller's end

    def outputs(self, named: Mapping[str, Value], watch: Watch) -> dict[str, np.ndarray]:
        """What the caller gets: all outputs that lie on the GPU, in one readback."""
        remote = {name: value for name, value in named.items() if value.host is None}
        buffers = {name: self._pool.take_readback(value.declared["bytes"]) for name, value in remote.items()}
        copies = [Copy(value.buffer, 0, buffers[name], 0, value.declared["bytes"]) for name, value in remote.items()]
        if remote:
            stamped = self._kind == "light" and self._device.has_encoder_timestamps
            steps = (Stamp(0), *copies, Stamp(1)) if stamped else tuple(copies)
            self._launch(Plan(steps, (Pair("readback"),) if stamped else ()))
        self._settle(list(buffers.values()))
        with watch.span("readback"):
            found = {name: value.exact(value.host) for name, value in named.items() if value.host is not None}
            for name, value in remote.items():
                read = self._device.mapped(buffers[name])[: value.declared["bytes"]]
                found[name] = value.exact(unpack(value.declared, read))
            for buffer in buffers.values():
                self._device.unmap(buffer)
                self._pool.give_readback(buffer)
        return {name: found[name].copy(order="C") for name in named}

    def timed(self) -> Timed | None:
        """All timestamps of the run, in order."""
        if not self._timed:
            return None
        pairs = tuple(pair for each in self._timed for pair in each.pairs)
        ticks = [tick for each in self._timed for tick in each.ticks]
        return Timed(pairs, ticks, self._timed[0].period_ns, apart=True)

    # ----

    def _span(self, part: str) -> Any:
        """The parts of a run are those before its first GPU work; later ones stand between two spans of the GPU."""
        return (self.first if not self._launched else Watch()).span(part)

    def _launch(self, plan: Plan) -> None:
        watch = self.first if not self._launched else Watch()
        if self._settled_ns:
            self.between_ns += time.perf_counter_ns() - self._settled_ns
            self._settled_ns = 0
        self._launched += 1
        if self.steps is not None:
            self.steps += self._recorder.run_stepwise(plan)
            return
        self._pending.append(self._recorder.launch(plan, watch))
        if len(self._pending) > _MOST_PENDING:
            self._settle([])

    def _settle(self, maps: Sequence[Buffer]) -> None:
        self._timed += self._recorder.finish(self._pending, self.first, maps)
        self._pending = []
        self._settled_ns = time.perf_counter_ns()

    def _fresh(self, declared: Mapping[str, Any]) -> Value:
        """Room for an output."""
        return Value.computed(declared, self._pool.take(declared["bytes"]))

    def _look_copies(self, values: Sequence[Value]) -> list[Copy]:
        sizes = [value.declared["bytes"] for value in values]
        if sum(sizes) > LOOK_BYTES:
            raise RunError(
                f"{sum(sizes)} bytes decide how the program goes on; the host looks at {LOOK_BYTES} at once: "
                "conditions, counts and shapes"
            )
        starts = [sum(sizes[:at]) for at in range(len(sizes))]
        return [
            Copy(value.buffer, 0, self._look_buffer, start, size)
            for value, start, size in zip(values, starts, sizes, strict=True)
        ]

    def _receive(self, values: Sequence[Value], cause: str) -> None:
        """Waits for what was copied for the host: one synchronisation."""
        self._settle([self._look_buffer])
        view, start = self._device.mapped(self._look_buffer), 0
        for value in values:
            end = start + value.declared["bytes"]
            value.host, start = unpack(value.declared, view[start:end]), end
        self._device.unmap(self._look_buffer)
        names = tuple(dict.fromkeys(value.declared["name"].rpartition(" ")[2] for value in values))
        spans = sum(pair.what in APART for timed in self._timed for pair in timed.pairs)
        self.looks.append(Look(names, start, cause, spans - 1))

    @staticmethod
    def _element_shape(element: Mapping[str, Any]) -> list[int]:
        if element["shape"] is None or None in element["shape"]:
            raise RunError("a loop that never runs has an output whose size nothing tells")
        return element["shape"]
