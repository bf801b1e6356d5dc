"""What a worker does for its session: one method per request, the same in a process of its own and in the caller's."""

import gc
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tstorch.artifact.format import Artifact
from tstorch.diagnostics import RunError
from tstorch.runtime.adapters import choose
from tstorch.runtime.ceilings import measure_ceilings
from tstorch.runtime.control import Need
from tstorch.runtime.device import Device, adapters
from tstorch.runtime.executor import Executor, Sample
from tstorch.runtime.faults import Faults
from tstorch.runtime.instruments import LOOPS_TO_COUNT, Instruments, check_iterations
from tstorch.runtime.programs import Programs
from tstorch.runtime.recorder import Recorder, Timed
from tstorch.runtime.timing import Quality
from tstorch.runtime.wire import PROTOCOL, Arrays, Header, Progress

Reply = tuple[Header, Arrays]

# wgpu allocates its first block with the device, before any buffer of ours; later ones are seen as they come.
_START_BLOCK = 64 << 20


class Service:
    """One adapter, and at most one artifact loaded on it."""

    def __init__(self, adapter: str | None = None, faults: Faults | None = None) -> None:
        begin = time.perf_counter()
        found = adapters()
        chosen = choose([info for info, _ in found], adapter)
        self._info, self._adapter = found[chosen]
        self._others = [info.label for i, (info, _) in enumerate(found) if i != chosen]
        self._adapter_ms = 1e3 * (time.perf_counter() - begin)
        self._faults = faults
        self._device: Device | None = None
        self._executor: Executor | None = None
        self._programs: Programs | None = None
        self._quality: Quality | None = None
        self._loop_cap: int | None = None
        self._fresh_for: dict[str, Any] | None = None  # the target of a device on which nothing was loaded yet
        self._opening_ms: dict[str, float] = {}

    def handle(self, header: Header, arrays: Arrays, progress: Progress) -> Reply:
        """Answers one request. Raises DiagnosticError for what the user can act on."""
        requests: dict[str, Callable[[Header, Arrays, Progress], Reply]] = {
            "hello": self._hello,
            "open": self._open,
            "load": self._load,
            "run": self._run,
            "resume": self._resume,
            "stepwise": self._stepwise,
            "read_state": self._read_state,
            "write_state": self._write_state,
            "instrument": self._instrument,
            "facts": self._facts,
        }
        request = requests.get(header.get("request", ""))
        if request is None:
            raise RunError(f"the worker does not know the request {header.get('request')!r}; it speaks {PROTOCOL}")
        return request(header, arrays, progress)

    def answered(self) -> None:
        """The reply has been passed on: outputs of a run may stand in memory that the GPU gets back now."""
        if self._executor is not None:
            self._executor.release()

    # ---- requests

    def _hello(self, header: Header, arrays: Arrays, progress: Progress) -> Reply:
        if header.get("protocol") != PROTOCOL:
            raise RunError(
                f"the session speaks {header.get('protocol')!r}, this worker {PROTOCOL}; install one tstorch"
            )
        adapter = self._info.to_json() | {"label": self._info.label, "others": self._others}
        return {"protocol": PROTOCOL, "adapter": adapter, "adapter_ms": self._adapter_ms}, {}

    def _open(self, header: Header, arrays: Arrays, progress: Progress) -> Reply:
        self._open_device(header["target"])
        return {}, {}

    def _open_device(self, target: dict[str, Any]) -> None:
        """A new device with the target's limits, and what its driver does to long loops."""
        if self._device is not None:
            self._recorder.forget()
            self._device.close()
        self._executor = self._programs = self._fresh_for = None
        begin = time.perf_counter()
        self._device = Device(self._info, self._adapter, target["limits"], target.get("features", ()))
        self._recorder = Recorder(self._device, self._faults)
        self._instruments = Instruments(self._recorder)
        gc.collect()  # wgpu's object of a device before stands in a cycle, and holds the device until that is found
        made = time.perf_counter()
        self._loop_cap = self._instruments.loop_cap()
        self._opening_ms = {"device": 1e3 * (made - begin), "self_test": 1e3 * (time.perf_counter() - made)}
        self._fresh_for = target

    def _load(self, header: Header, arrays: Arrays, progress: Progress) -> Reply:
        begin = time.perf_counter()
        artifact = Artifact.read(header["artifact"])
        stages = {"read": 1e3 * (time.perf_counter() - begin)}
        opened = self._fresh_for == artifact.manifest["target"]
        if not opened:
            self._open_device(artifact.manifest["target"])
        stages |= dict.fromkeys(self._opening_ms, 0.0) if opened else self._opening_ms
        self._fresh_for = None
        tested = time.perf_counter()
        self._check_loops(artifact)
        stages["self_test"] += 1e3 * (time.perf_counter() - tested)
        control = "control" in artifact.program
        self._executor = Executor(self._recorder, artifact, header["sources"], progress, staged=not control)
        self._programs = Programs(self._executor, self._beside) if control else None
        report = self._executor.report
        report.stages |= stages
        report.busy |= stages | self._opening_ms
        report.total = 1e3 * (time.perf_counter() - begin)
        facts = {
            "loop_cap": self._loop_cap,
            "limits": self._device.limits if self._device else {},
            "has_state": bool(artifact.program["state"]),
        }
        return {"report": report.to_json(), **facts}, {}

    def _check_loops(self, artifact: Artifact) -> None:
        """Refuses kernels that the driver would cut short; counts further where one loops longer than was tested."""
        iterations = {name: kernel.map.get("iterations", 0) for name, kernel in artifact.kernels.items()}
        longest = max(iterations.values(), default=0)
        if self._loop_cap is None and longest > LOOPS_TO_COUNT:
            self._loop_cap = self._instruments.loop_cap(longest)
        check_iterations(iterations, self._loop_cap)

    def _beside(self, artifact: Artifact, sources: Mapping[str, Any]) -> Executor:
        """Loads what a program needs beside what is loaded."""
        self._check_loops(artifact)
        return Executor(self._recorder, artifact, sources, lambda *_: None, staged=False)

    def _run(self, header: Header, arrays: Arrays, progress: Progress) -> Reply:
        executor = self._loaded
        if self._programs is not None and header["entry"] == "run":
            return _answer(self._programs.start(arrays, header.get("kind", "plain")))
        return _answer(executor.run(arrays, header["entry"], header.get("outputs"), header.get("kind", "plain")))

    def _resume(self, header: Header, arrays: Arrays, progress: Progress) -> Reply:
        """A run goes on that waited for a segment."""
        begin = time.perf_counter_ns()
        if self._programs is None:
            raise RunError("no run waits for a segment")
        artifact = Artifact.read(header["artifact"])
        reply, outputs = _answer(self._programs.resume(header["number"], artifact, header["sources"]))
        return {**reply, "received_ns": begin}, outputs

    def _stepwise(self, header: Header, arrays: Arrays, progress: Progress) -> Reply:
        if self._programs is not None and header["entry"] == "run":
            return {"dispatches": self._programs.stepwise(arrays)}, {}
        return {"dispatches": self._loaded.run_stepwise(arrays, header["entry"])}, {}

    def _read_state(self, header: Header, arrays: Arrays, progress: Progress) -> Reply:
        return {}, self._loaded.read_state(header["names"])

    def _write_state(self, header: Header, arrays: Arrays, progress: Progress) -> Reply:
        self._loaded.write_state(arrays)
        return {}, {}

    def _instrument(self, header: Header, arrays: Arrays, progress: Progress) -> Reply:
        """One reading of a named instrument: nanoseconds, or the ceilings' rates."""
        if self._device is None:
            raise RunError("no device is open; call open() or load() first")
        match header["name"]:
            case "warm":
                return {"ns": self._instruments.warm(header["seconds"])}, {}
            case "sentinel":
                return {"ns": self._instruments.sentinel_ns()}, {}
            case "launch":
                wait, gpu = self._instruments.launch()
                return {"ns": wait - gpu, "wait_ns": wait}, {}
            case "tiny":
                added, alone = self._instruments.tiny_ns()
                return {"ns": added, "alone_ns": alone}, {}
            case "ceilings":
                cache = header.get("cache")
                where, again = Path(cache) if cache else None, bool(header.get("again"))
                return {"ceilings": measure_ceilings(self._recorder, where, again=again)}, {}
        raise RunError(f"the worker has no instrument '{header['name']}'")

    def _facts(self, header: Header, arrays: Arrays, progress: Progress) -> Reply:
        """What does not change from run to run: the clock's quality, memory, counters, the driver's loop cap."""
        executor, device = self._loaded, self._device
        assert device is not None
        if self._quality is None:
            self._quality = self._instruments.judge_clock()
        artifact = executor.artifact
        return {
            "clock": {
                "quality": self._quality.label,
                "quantum_ns": self._quality.quantum_ns,
                "period_ns": device.period_ns,
            },
            "memory": self._memory(executor, device),
            "allocations": device.allocations.events() if header.get("events") else [],
            "submitted": self._recorder.submitted.to_json(),
            "loop_cap": self._loop_cap,
            "fingerprint": artifact.manifest.get("fingerprint", ""),
            "dispatches": {
                entry: [command["id"] for command in commands if command["op"] == "dispatch"]
                for entry, commands in artifact.program["entries"].items()
            },
        }, {}

    # ----

    @property
    def _loaded(self) -> Executor:
        if self._executor is None:
            raise RunError("no artifact is loaded; call load() first")
        return self._executor

    def _memory(self, executor: Executor, device: Device) -> dict[str, Any]:
        requested = device.requested_bytes()
        measured = (
            self._info.device_class == "cpu" and device.reserved_bytes >= 0 and Path("/proc/self/status").exists()
        )
        return {
            "live": device.live_bytes,
            "made": device.allocations.made(),
            "resident": _resident_bytes(),
            "buffers": len(device.buffers),
            "counted_buffers": device.counted("buffers"),
            "requested": sum(requested.values()),
            "peak": max(executor.load_peak_bytes, sum(requested.values())),
            "requested_by": requested,
            "reserved": _START_BLOCK + device.reserved_bytes if measured else None,
            "reserved_source": "address space taken around allocations, and the driver's start block of 64 MiB"
            if measured
            else "this driver does not report it",
        }


def _resident_bytes() -> int | None:
    """Memory of this process that is in use, the driver's and all; None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _answer(found: Sample | Need) -> Reply:
    """What a run gave, or what it needs to go on."""
    if isinstance(found, Need):
        return {"need": found.to_json()}, {}
    return _measured(found), found.outputs


def _measured(sample: Sample) -> Header:
    """A run's times as they travel: nanoseconds by part, and what the timestamps say.

    All before and after the run itself is handing over.
    """
    timed = sample.timed
    times = {"received_ns": sample.begin_ns, "replied_ns": sample.end_ns}
    facts = {"spans": sample.spans, "looks": list(sample.looks)}
    return {**times, **facts, "timed": None if timed is None else _timed(timed)}


def _timed(timed: Timed) -> dict[str, Any]:
    found: dict[str, Any] = {"valid": timed.valid, "ticks": timed.ticks}
    if timed.valid:
        for what in ("gpu", "upload", "readback"):
            found[what] = sum(timed.nanoseconds(what))
        found["gaps"] = timed.gaps()
        found["sync"] = sum(found["gaps"])
        ids = [pair.id for pair in timed.pairs if pair.what == "dispatch"]
        found["dispatches"] = list(zip(ids, timed.nanoseconds("dispatch"), strict=True))
    return found
