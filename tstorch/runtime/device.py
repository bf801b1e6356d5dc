"""The one door to the GPU: adapters, device, buffers, pipelines and command buffers.

Only this file imports wgpu. Everything after the device request goes through wgpu-native's C functions: what a run
encodes costs a quarter of what wgpu-py's objects cost, and pipelines can be made in threads. Two tables of the same
functions are used: *checked* ones raise what wgpu reports, *raw* ones leave it to the log, read after each run.
"""

import contextlib
import itertools
import logging
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import wgpu
from wgpu.backends import wgpu_native
from wgpu.backends.wgpu_native import _api
from wgpu.backends.wgpu_native._helpers import get_wgpu_instance

from tstorch.diagnostics import RunError
from tstorch.runtime.adapters import AdapterInfo, describe
from tstorch.runtime.allocations import Allocations
from tstorch.runtime.limits import features_to_request, limits_to_request

Handle = Any  # a cffi pointer to one of wgpu-native's objects
ffi: Any = wgpu_native.ffi
lib: Any = wgpu_native.lib
_checked: Any = _api.libf
_raw: Any = lib

_STORAGE = lib.WGPUBufferUsage_Storage | lib.WGPUBufferUsage_CopySrc | lib.WGPUBufferUsage_CopyDst
_USAGES = {
    "staging": lib.WGPUBufferUsage_MapWrite | lib.WGPUBufferUsage_CopySrc,
    "readback": lib.WGPUBufferUsage_MapRead | lib.WGPUBufferUsage_CopyDst,
    "timestamps": lib.WGPUBufferUsage_QueryResolve | lib.WGPUBufferUsage_CopySrc,
}
_ACCESS = {"read": lib.WGPUBufferBindingType_ReadOnlyStorage, "read_write": lib.WGPUBufferBindingType_Storage}
_OPTIONAL_FEATURES = ("timestamp-query", "timestamp-query-inside-encoders")
_SPIN_SECONDS = 0.02
MAX_QUERIES = 4096
NO_QUERY = 0xFFFFFFFF


class ShaderError(Exception):
    """WGSL that the driver refused: the message as it gave it, and the 1-based line where it says one."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        found = re.search(r"┌─ [^\n]*:(\d+):\d+", message)
        self.line = int(found.group(1)) if found else None


@dataclass(frozen=True, eq=False)
class Buffer:
    """A GPU buffer of `bytes` bytes; `category` is its kind in reports."""

    name: str
    bytes: int
    category: str
    handle: Handle


@dataclass(frozen=True, eq=False)
class Dispatch:
    """One launch, ready to encode."""

    id: int
    pipeline: Handle
    bind_group: Handle
    grid: tuple[int, int, int]


def adapters() -> list[tuple[AdapterInfo, Any]]:
    """All adapters of this machine, each with wgpu's own object."""
    with _quiet_display():
        found = wgpu.gpu.enumerate_adapters_sync()
    return [(describe(a.info, sorted(a.features), a.limits), a) for a in found]


@contextlib.contextmanager
def _quiet_display() -> Iterator[None]:
    """Keeps Mesa from complaining, once per adapter, that XDG_RUNTIME_DIR is not set: nothing is displayed."""
    if os.environ.get("XDG_RUNTIME_DIR") or sys.platform in ("win32", "darwin"):
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder
        try:
            yield
        finally:
            del os.environ["XDG_RUNTIME_DIR"]


class Device:
    """A logical device with exactly the target's limits, the target's features, and timestamps where there are any."""

    def __init__(self, info: AdapterInfo, adapter: Any, limits: dict[str, int], features: Sequence[str] = ()) -> None:
        self.info = info
        requested = limits_to_request(limits, info.limits)
        optional = [name for name in _OPTIONAL_FEATURES if name in info.features]
        names = [*features_to_request(tuple(features), info.features), *optional]
        with _quiet_display(), refused(f"adapter {info.label} refused the device"):
            self._wgpu = adapter.request_device_sync(required_limits=requested, required_features=names)
        self._device, self._queue = self._wgpu._internal, self._wgpu.queue._internal
        self.limits = {name.replace("-", "_"): value for name, value in self._wgpu.limits.items()}
        self.has_timestamps = "timestamp-query" in names
        self.has_encoder_timestamps = self.has_timestamps and "timestamp-query-inside-encoders" in names
        self.period_ns = float(lib.wgpuQueueGetTimestampPeriod(self._queue)) if self.has_timestamps else 0.0
        # Drivers that run on the CPU stamp with the host's own clock. They start within the submission, and only a
        # common clock can tell how much of it was already the GPU's work.
        self.has_host_clock = self.has_timestamps and info.device_class == "cpu" and sys.platform == "linux"
        self.errors = _ErrorLog()
        self.buffers: list[Buffer] = []
        self.live_bytes = self.peak_bytes = 0  # of our live buffers' sizes: the sum now, and the largest so far
        self.allocations = Allocations()
        self.reserved_bytes = 0
        self._layouts: dict[tuple[str, ...], tuple[Handle, Handle]] = {}
        self._made: list[tuple[str, Handle]] = []  # what else to give back, by the name of the call that does
        self._maps = _Maps()
        self._index = ffi.new("WGPUSubmissionIndex *")
        self._command_buffer = ffi.new("WGPUCommandBuffer[1]")

    def close(self) -> None:
        """Gives back all that was made here, and so the device: drivers have room for few (one for 64)."""
        if self._wgpu is None:
            return
        for buffer in list(self.buffers):
            self.free(buffer)
        for release, handle in reversed(self._made):
            getattr(_raw, release)(handle)
        for group_layout, pipeline_layout in self._layouts.values():
            _raw.wgpuPipelineLayoutRelease(pipeline_layout)
            _raw.wgpuBindGroupLayoutRelease(group_layout)
        self._made, self._layouts = [], {}
        self.errors.close()
        self._device = self._queue = self._wgpu = None

    # ---- buffers

    def buffer(self, name: str, nbytes: int, category: str) -> Buffer:
        """A buffer of `nbytes` (rounded up to 4), zeroed on first use. Raises RunError when memory or a limit ends."""
        descriptor = ffi.new("WGPUBufferDescriptor *")
        keep = _label(descriptor, name)
        descriptor.size, descriptor.usage = -(-nbytes // 4) * 4, _USAGES.get(category, _STORAGE)
        descriptor.mappedAtCreation = category == "staging"
        before = _address_space()
        with refused(f"cannot allocate {nbytes} bytes for {category} buffer '{name}'"):
            handle = _checked.wgpuDeviceCreateBuffer(self._device, descriptor)
        del keep
        self.reserved_bytes += _address_space() - before
        made = Buffer(name, int(descriptor.size), category, handle)
        self.buffers.append(made)
        self.live_bytes += made.bytes
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        self.allocations.note(name, category, made.bytes, self.live_bytes)
        return made

    def free(self, buffer: Buffer) -> None:
        """Gives the buffer's memory back."""
        self.buffers.remove(buffer)
        self.live_bytes -= buffer.bytes
        self.allocations.note(buffer.name, buffer.category, -buffer.bytes, self.live_bytes)
        before = _address_space()
        _raw.wgpuBufferDestroy(buffer.handle)
        _raw.wgpuBufferRelease(buffer.handle)
        self.reserved_bytes += _address_space() - before

    def counted(self, kind: Literal["buffers", "commandBuffers"]) -> int:
        """How many of a kind of object wgpu itself says that there are, of all devices of this process."""
        report = ffi.new("WGPUGlobalReport *")
        _raw.wgpuGenerateReport(get_wgpu_instance(), report)
        return int(getattr(report.hub, kind).numAllocated)

    def requested_bytes(self) -> dict[str, int]:
        """The sum of our live buffers' sizes, by category."""
        sums: Counter[str] = Counter()
        for buffer in self.buffers:
            sums[buffer.category] += buffer.bytes
        return dict(sorted(sums.items()))

    def write(self, buffer: Buffer, offset: int, data: Any) -> None:
        """Queues a copy of `data` (a whole number of words) into the buffer, through wgpu's own staging memory."""
        view = memoryview(data).cast("B")
        with refused(f"cannot write {view.nbytes} bytes to buffer '{buffer.name}'"):
            _checked.wgpuQueueWriteBuffer(self._queue, buffer.handle, offset, ffi.from_buffer(view), view.nbytes)

    def flush(self, wait: bool = False) -> None:
        """Submits what `write` has queued, so that its staging memory is given back."""
        _raw.wgpuQueueSubmit(self._queue, 0, ffi.NULL)
        _raw.wgpuDevicePoll(self._device, wait, ffi.NULL)

    # ---- mapping

    def request_map(self, buffer: Buffer) -> None:
        """Asks for the buffer's bytes on the host: granted by the `wait` for the submission before."""
        self._maps.request(buffer)

    def mapped(self, buffer: Buffer) -> memoryview:
        """The bytes of a mapped buffer, valid until `unmap`. Raises RunError when the mapping was refused."""
        self._maps.check(buffer)
        writable = buffer.category == "staging"
        get = _raw.wgpuBufferGetMappedRange if writable else _raw.wgpuBufferGetConstMappedRange
        pointer = get(buffer.handle, 0, buffer.bytes)
        if pointer == ffi.NULL:
            raise RunError(
                f"buffer '{buffer.name}' could not be mapped; {self.errors.text() or 'wgpu gives no reason'}"
            )
        return memoryview(ffi.buffer(ffi.cast("char *", pointer), buffer.bytes))

    def unmap(self, buffer: Buffer) -> None:
        """Hands the buffer back to the GPU."""
        _raw.wgpuBufferUnmap(buffer.handle)

    # ---- pipelines

    def pipeline(self, name: str, wgsl: str, entry: str, accesses: Sequence[str]) -> Handle:
        """Compiles one kernel; may be called from several threads at once. Raises ShaderError."""
        _, layout = self._layouts[tuple(accesses)]
        source, code = ffi.new("WGPUShaderSourceWGSL *"), ffi.new("char[]", wgsl.encode("utf-8"))
        source.chain.sType = lib.WGPUSType_ShaderSourceWGSL
        source.code.data, source.code.length = code, len(code) - 1
        module_descriptor = ffi.new("WGPUShaderModuleDescriptor *")
        module_descriptor.nextInChain = ffi.cast("WGPUChainedStruct *", source)
        descriptor = ffi.new("WGPUComputePipelineDescriptor *")
        keep = [_label(module_descriptor, name), _label(descriptor, name), _text(descriptor.compute.entryPoint, entry)]
        descriptor.layout = layout
        try:
            module = _checked.wgpuDeviceCreateShaderModule(self._device, module_descriptor)
            descriptor.compute.module = module
            pipeline = _checked.wgpuDeviceCreateComputePipeline(self._device, descriptor)
        except wgpu.GPUError as error:
            raise ShaderError(str(error)) from error
        del keep
        _raw.wgpuShaderModuleRelease(module)
        self._made.append(("wgpuComputePipelineRelease", pipeline))
        return pipeline

    def prepare_layout(self, accesses: Sequence[str]) -> None:
        """Makes the layout that kernels with these bindings share. Not for threads: call it before `pipeline`."""
        if tuple(accesses) in self._layouts:
            return
        entries = ffi.new("WGPUBindGroupLayoutEntry[]", max(len(accesses), 1))
        for i, access in enumerate(accesses):
            entries[i].binding, entries[i].visibility = i, lib.WGPUShaderStage_Compute
            entries[i].buffer.type = _ACCESS[access]
        group = ffi.new("WGPUBindGroupLayoutDescriptor *")
        group.entryCount, group.entries = len(accesses), entries
        with refused(f"cannot bind {len(accesses)} buffers to one kernel"):
            group_layout = _checked.wgpuDeviceCreateBindGroupLayout(self._device, group)
            layouts = ffi.new("WGPUBindGroupLayout[]", [group_layout])
            layout = ffi.new("WGPUPipelineLayoutDescriptor *")
            layout.bindGroupLayoutCount, layout.bindGroupLayouts = 1, layouts
            pipeline_layout = _checked.wgpuDeviceCreatePipelineLayout(self._device, layout)
        self._layouts[tuple(accesses)] = group_layout, pipeline_layout

    def bind_group(self, what: str, accesses: Sequence[str], views: Sequence[tuple[Buffer, int, int]]) -> Handle:
        """Binds views (buffer, offset in bytes, bytes) in order. Raises RunError led by `what`."""
        entries = ffi.new("WGPUBindGroupEntry[]", max(len(views), 1))
        for i, (buffer, offset, size) in enumerate(views):
            entries[i].binding, entries[i].buffer = i, buffer.handle
            entries[i].offset, entries[i].size = offset, size
        descriptor = ffi.new("WGPUBindGroupDescriptor *")
        descriptor.layout = self._layouts[tuple(accesses)][0]
        descriptor.entryCount, descriptor.entries = len(views), entries
        with refused(f"{what}: its buffers cannot be bound"):
            made = _checked.wgpuDeviceCreateBindGroup(self._device, descriptor)
        self._made.append(("wgpuBindGroupRelease", made))
        return made

    def query_set(self, count: int) -> Handle:
        """A set of `count` timestamps, at most MAX_QUERIES."""
        descriptor = ffi.new("WGPUQuerySetDescriptor *")
        descriptor.type, descriptor.count = lib.WGPUQueryType_Timestamp, count
        with refused(f"cannot make {count} timestamps"):
            made = _checked.wgpuDeviceCreateQuerySet(self._device, descriptor)
        self._made.append(("wgpuQuerySetRelease", made))
        return made

    # ---- submission

    def encoder(self, checked: bool = False) -> "Encoder":
        """A new command buffer to record; `checked` makes each error an exception where it happens."""
        return Encoder(self._device, _checked if checked else _raw)

    def submit(self, command_buffer: Handle) -> None:
        """Hands one command buffer to the GPU, which runs it at once."""
        self._command_buffer[0] = command_buffer
        self._index[0] = _raw.wgpuQueueSubmitForIndex(self._queue, 1, self._command_buffer)
        _raw.wgpuCommandBufferRelease(command_buffer)

    def wait(self) -> None:
        """Waits for the last submission and for the mappings that were asked for since.

        A driver that sleeps until its GPU interrupts wakes up to 0.2 ms late: for the first milliseconds the host asks
        again and again instead, except where the "GPU" needs that CPU itself.
        """
        if self.info.device_class != "cpu" and self._maps.pending():
            end = time.perf_counter() + _SPIN_SECONDS
            while time.perf_counter() < end:
                _raw.wgpuDevicePoll(self._device, False, ffi.NULL)
                if not self._maps.pending():
                    return
        _raw.wgpuDevicePoll(self._device, True, self._index)


class Encoder:
    """Records one command buffer."""

    def __init__(self, device: Handle, calls: Any) -> None:
        self._calls = calls
        self._encoder = calls.wgpuDeviceCreateCommandEncoder(device, ffi.NULL)
        self._pass = ffi.new("WGPUComputePassDescriptor *")
        self._writes = ffi.new("WGPUPassTimestampWrites *")

    def compute_pass(
        self, dispatches: Sequence[Dispatch], queries: Handle = None, begin: int = NO_QUERY, end: int = NO_QUERY
    ) -> None:
        """One pass over `dispatches`; writes a timestamp at query `begin` and at `end` of `queries` where given."""
        calls, writes = self._calls, self._writes
        if queries is not None:
            writes.querySet, writes.beginningOfPassWriteIndex, writes.endOfPassWriteIndex = queries, begin, end
        self._pass.timestampWrites = ffi.NULL if queries is None else writes
        encoder = calls.wgpuCommandEncoderBeginComputePass(self._encoder, self._pass)
        set_pipeline, set_bind_group = calls.wgpuComputePassEncoderSetPipeline, calls.wgpuComputePassEncoderSetBindGroup
        launch, null = calls.wgpuComputePassEncoderDispatchWorkgroups, ffi.NULL
        for dispatch in dispatches:
            set_pipeline(encoder, dispatch.pipeline)
            set_bind_group(encoder, 0, dispatch.bind_group, 0, null)
            launch(encoder, *dispatch.grid)
        calls.wgpuComputePassEncoderEnd(encoder)
        _raw.wgpuComputePassEncoderRelease(encoder)

    def copy(self, source: Buffer, source_offset: int, target: Buffer, target_offset: int, nbytes: int) -> None:
        """Copies bytes between two buffers (offsets and size in whole words)."""
        self._calls.wgpuCommandEncoderCopyBufferToBuffer(
            self._encoder, source.handle, source_offset, target.handle, target_offset, nbytes
        )

    def fill(self, target: Buffer, offset: int, nbytes: int) -> None:
        """Zeroes bytes of a buffer."""
        self._calls.wgpuCommandEncoderClearBuffer(self._encoder, target.handle, offset, nbytes)

    def timestamp(self, queries: Handle, index: int) -> None:
        """Writes a timestamp between passes (only where the device has encoder timestamps)."""
        self._calls.wgpuCommandEncoderWriteTimestamp(self._encoder, queries, index)

    def resolve(self, queries: Handle, count: int, target: Buffer, offset: int) -> None:
        """Copies `count` timestamps, 8 bytes each, to `offset` (a multiple of 256) of a buffer."""
        self._calls.wgpuCommandEncoderResolveQuerySet(self._encoder, queries, 0, count, target.handle, offset)

    def finish(self) -> Handle:
        """The command buffer. It can be submitted once. Raises RunError from a checked encoder."""
        with refused("the commands of this run are not valid"):
            command_buffer = self._calls.wgpuCommandEncoderFinish(self._encoder, ffi.NULL)
        _raw.wgpuCommandEncoderRelease(self._encoder)
        return command_buffer

    def drop(self) -> None:
        """Gives back what was recorded; nothing will submit it."""
        _raw.wgpuCommandEncoderRelease(self._encoder)


class _Maps:
    """The mappings under way: one callback serves all of them, by number."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._pending: dict[int, int] = {}  # buffer's id -> number of its request
        self._status: dict[int, str] = {}  # number -> "" when granted, else why not
        self._unanswered = 0
        self._callback = ffi.callback("void(WGPUMapAsyncStatus, WGPUStringView, void *, void *)", self._done)

    def request(self, buffer: Buffer) -> None:
        number = next(self._numbers)
        self._pending[id(buffer)] = number
        self._unanswered += 1
        info = ffi.new("WGPUBufferMapCallbackInfo *")
        info.mode, info.callback = lib.WGPUCallbackMode_AllowProcessEvents, self._callback
        info.userdata1 = ffi.cast("void *", number)
        mode = lib.WGPUMapMode_Write if buffer.category == "staging" else lib.WGPUMapMode_Read
        _raw.wgpuBufferMapAsync(buffer.handle, mode, 0, buffer.bytes, info[0])

    def pending(self) -> bool:
        """Whether the GPU owes an answer."""
        return self._unanswered > 0

    def check(self, buffer: Buffer) -> None:
        number = self._pending.pop(id(buffer), None)
        if number is None:
            return  # mapped when it was created, or checked before
        reason = self._status.pop(number, "the GPU did not answer")
        if reason:
            raise RunError(f"buffer '{buffer.name}' could not be mapped: {reason}")

    def _done(self, status: int, message: Any, number: Any, _: Any) -> None:
        self._unanswered -= 1
        granted = status == lib.WGPUMapAsyncStatus_Success
        text = "" if granted else bytes(ffi.buffer(message.data, message.length)).decode("utf-8", "replace")
        self._status[int(ffi.cast("uintptr_t", number))] = "" if granted else text or f"status {status}"


class _ErrorLog(logging.Handler):
    """Collects what wgpu logs as an error: raw calls report nowhere else."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._messages: list[str] = []
        logging.getLogger("wgpu").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.append(record.getMessage())

    def text(self) -> str:
        """What was logged since the last call, and forgets it."""
        text = "\n".join(self._messages)
        self._messages.clear()
        return text

    def close(self) -> None:
        logging.getLogger("wgpu").removeHandler(self)
        super().close()


@contextlib.contextmanager
def refused(what: str) -> Iterator[None]:
    """Turns wgpu's errors into a RunError led by `what`."""
    try:
        yield
    except (wgpu.GPUError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())
        if "Not enough memory" in reason or isinstance(error, wgpu.GPUOutOfMemoryError):
            reason = "the GPU is out of memory"
        raise RunError(f"{what}: {reason}") from error


def _label(descriptor: Any, text: str) -> Any:
    return _text(descriptor.label, text)


def _text(view: Any, text: str) -> Any:
    """Points a string view at `text`; keep what is returned alive for as long as it is read."""
    data = ffi.new("char[]", text.encode("utf-8"))
    view.data, view.length = data, len(data) - 1
    return data


def _address_space() -> int:
    """Bytes of address space this process holds (0 where the system does not tell)."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmSize:\s+(\d+) kB", status)
    return int(found.group(1)) * 1024 if found else 0
