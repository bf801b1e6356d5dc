"""One artifact on one device: everything made once, then run any number of times."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tstorch.artifact.format import Artifact
from tstorch.diagnostics import RunError
from tstorch.runtime.device import Buffer, Dispatch
from tstorch.runtime.marshal import check_inputs, pack, start_bytes, unpack
from tstorch.runtime.pipelines import PipelineMaker
from tstorch.runtime.plan import Copy, Fill, Plan, Program, make_core, make_plan
from tstorch.runtime.recorder import Recorder, Timed, Watch
from tstorch.runtime.transfer import Staging, allocate_slots
from tstorch.runtime.weights import upload_weights, write_bytes
from tstorch.runtime.wire import Kind, Progress


@dataclass
class LoadReport:
    """Milliseconds of loading: `stages` on the critical path (they sum to `total`), `busy` each stage's own."""

    stages: dict[str, float] = field(default_factory=dict)
    busy: dict[str, float] = field(default_factory=dict)
    total: float = 0.0
    uploaded_bytes: int = 0

    def add(self, stage: str, begin: float, busy: float | None = None) -> None:
        """Adds the seconds since `begin` (perf_counter) to a stage."""
        milliseconds = 1e3 * (time.perf_counter() - begin)
        self.stages[stage] = self.stages.get(stage, 0.0) + milliseconds
        self.busy[stage] = self.busy.get(stage, 0.0) + (milliseconds if busy is None else busy)

    def to_json(self) -> dict[str, Any]:
        """By name."""
        return {"stages": self.stages, "busy": self.busy, "total": self.total, "uploaded_bytes": self.uploaded_bytes}


@dataclass(frozen=True)
class Sample:
    """What one run gave: outputs by name, host nanoseconds by part, and timestamps where it had some; and when it began
    and ended, by time.perf_counter_ns. `looks` are the synchronisations of a program (`Look.to_json`)."""

    outputs: dict[str, np.ndarray]
    spans: dict[str, int]
    timed: Timed | None
    begin_ns: int
    end_ns: int
    looks: tuple[dict[str, Any], ...] = ()


class Executor:
    """Buffers, pipelines and bind groups of one artifact. Raises RunError when the device refuses any of them.

    `staged` makes memory through which the host passes inputs and outputs: a program's values are passed otherwise.
    """

    def __init__(
        self,
        recorder: Recorder,
        artifact: Artifact,
        sources: Mapping[str, Mapping[str, Any]],
        progress: Progress,
        *,
        staged: bool = True,
    ) -> None:
        self._staged = staged
        self._cores: dict[tuple[str, Kind], Plan] = {}
        self._lent: list[Buffer] = []
        self.artifact, self.device, self.recorder = artifact, recorder.device, recorder
        self.report = LoadReport()
        self._plans: dict[tuple[str, Kind, tuple[str, ...] | None], Plan] = {}
        begin = time.perf_counter()
        self._load({**sources, **artifact.embedded}, progress)
        self.report.total = 1e3 * (time.perf_counter() - begin)
        self.load_peak_bytes = recorder.device.peak_bytes

    def _load(self, sources: Mapping[str, Mapping[str, Any]], progress: Progress) -> None:
        program, report = self.artifact.program, self.report
        begin = time.perf_counter()
        with PipelineMaker(self.device, self.artifact) as maker:  # compiles while the weights go up
            report.add("prepare", begin)
            begin = started = time.perf_counter()
            self._allocate()
            report.uploaded_bytes = upload_weights(self.device, program, self._buffers, sources, progress)
            self._start_states()
            self.device.flush(wait=True)
            report.add("upload", begin)
            begin = time.perf_counter()
            pipelines = maker.pipelines()
            report.add("pipelines", begin, busy=1e3 * (time.perf_counter() - started))
        begin = time.perf_counter()
        self._program = self._bind(pipelines)
        report.add("bind", begin)
        begin = time.perf_counter()
        self._initialise()
        report.add("init", begin)

    # ---- loading

    def _allocate(self) -> None:
        program = self.artifact.program
        self._buffers: dict[int, Buffer] = {
            buffer["id"]: self.device.buffer(buffer["name"], buffer["bytes"], buffer["category"])
            for buffer in program["buffers"]
        }
        passed = program if self._staged else {"inputs": [], "outputs": []}
        self._uploads = allocate_slots(self.device, passed["inputs"], "staging")
        self._readbacks = allocate_slots(self.device, passed["outputs"], "readback")
        self._staging = Staging(self.device, self._uploads)

    def _start_states(self) -> None:
        for state in self.artifact.program["state"]:
            if "fill" in state["start"]:
                write_bytes(self.device, self._buffers[state["buffer"]], state["offset"], start_bytes(state))

    def _bind(self, pipelines: Mapping[str, Any]) -> Program:
        program = self.artifact.program
        commands = [c for entry in program["entries"].values() for c in entry if c["op"] == "dispatch"]
        return Program(
            values={kind: {value["name"]: value for value in program[kind]} for kind in ("inputs", "outputs")},
            entries=program["entries"],
            buffers=self._buffers,
            dispatches={command["id"]: self._dispatch(command, pipelines) for command in commands},
            uploads=self._uploads,
            readbacks=self._readbacks,
        )

    def _dispatch(self, command: Mapping[str, Any], pipelines: Mapping[str, Any]) -> Dispatch:
        views = [(self._buffers[view["buffer"]], view["offset"], view["bytes"]) for view in command["bindings"]]
        accesses = [view["access"] for view in command["bindings"]]
        group = self.device.bind_group(f"dispatch {command['id']} ('{command['kernel']}')", accesses, views)
        x, y, z = command["grid"]
        return Dispatch(command["id"], pipelines[command["kernel"]], group, (x, y, z))

    def _initialise(self) -> None:
        """Touches what no weight has written (wgpu zeroes memory on its first use), runs `init`, frees what it used."""
        declared = self.artifact.program["buffers"]
        written = {p["buffer"] for weight in self.artifact.program["weights"] for p in weight["pieces"]}
        written |= {state["buffer"] for state in self.artifact.program["state"]}
        fresh = [self._buffers[buffer["id"]] for buffer in declared if buffer["id"] not in written]
        self.recorder.run(Plan(tuple(Fill(buffer, 0, buffer.bytes) for buffer in fresh)), Watch())
        if self.artifact.program["entries"].get("init"):
            self.recorder.run(make_plan(self._program, "init", "plain"), Watch())
        for buffer in declared:
            if buffer.get("lifetime") == "init":
                self.device.free(self._buffers.pop(buffer["id"]))
        self.device.flush(wait=True)

    # ---- running

    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        entry: str = "run",
        outputs: Iterable[str] | None = None,
        kind: Kind = "plain",
    ) -> Sample:
        """Runs one entry on `inputs`; outputs may stand in mapped memory, until `release` or the next run.

        Raises RunError for wrong inputs, and for whatever the GPU reports.
        """
        begin = time.perf_counter_ns()
        self.release()
        watch, faults = Watch(), self.recorder.faults
        with watch.span("upload"):
            plan = self.plan(entry, kind, outputs)
            faults.at("upload")
            self._upload(plan, inputs)
        faults.at("between")
        slots = [self._readbacks[value["name"]] for value in plan.readbacks]
        maps = list({id(slot.buffer): slot.buffer for slot in slots}.values())
        timed = self.recorder.run(plan, watch, maps, self._staging.reopen, model=True)
        with watch.span("readback"):
            faults.at("readback")
            results = self._read(plan, maps)
        return Sample(results, watch.spans, timed, begin, time.perf_counter_ns())

    def run_stepwise(self, inputs: Mapping[str, np.ndarray], entry: str = "run") -> list[tuple[int, int]]:
        """Runs one entry a dispatch at a time: (dispatch id, wall nanoseconds) each, for GPUs without a clock."""
        self.release()
        plan = self.plan(entry, "plain", ())
        self._upload(plan, inputs)
        times = self.recorder.run_stepwise(plan)
        self._staging.reopen()
        self.device.flush(wait=True)
        return times

    def plan(self, entry: str, kind: Kind, outputs: Iterable[str] | None) -> Plan:
        """How to run an entry; made once for each combination."""
        key = (entry, kind, None if outputs is None else tuple(outputs))
        if key not in self._plans:
            self._plans[key] = make_plan(self._program, entry, kind, key[2], self.device.has_encoder_timestamps)
        return self._plans[key]

    def _upload(self, plan: Plan, inputs: Mapping[str, np.ndarray]) -> None:
        check_inputs(plan.uploads, inputs)
        views = self._staging.open()
        for value in plan.uploads:
            pack(value, inputs[value["name"]], views[value["name"]])
        self._staging.close()

    def _read(self, plan: Plan, maps: list[Buffer]) -> dict[str, np.ndarray]:
        views = {id(buffer): self.device.mapped(buffer) for buffer in maps}
        results = {}
        for value in plan.readbacks:
            slot = self._readbacks[value["name"]]
            source = views[id(slot.buffer)][slot.offset : slot.offset + slot.bytes]
            results[value["name"]] = unpack(value, source, copy=False)
        self._lent = maps
        return results

    def release(self) -> None:
        """Hands the memory of the last run's outputs back to the GPU."""
        for buffer in self._lent:
            self.device.unmap(buffer)
        self._lent = []

    # ---- as part of a program

    @property
    def inputs(self) -> Mapping[str, Mapping[str, Any]]:
        """What segments take, by name."""
        return self._program.values["inputs"]

    @property
    def outputs(self) -> Mapping[str, Mapping[str, Any]]:
        """What segments give, by name."""
        return self._program.values["outputs"]

    def copy_in(self, name: str, source: Buffer) -> Copy:
        """Brings an input's bytes to where the segment looks for them."""
        value = self.inputs[name]
        return Copy(source, 0, self._buffers[value["buffer"]], value["offset"], value["bytes"])

    def copy_out(self, name: str, target: Buffer) -> Copy:
        """Takes an output's bytes from where the segment leaves them."""
        value = self.outputs[name]
        return Copy(self._buffers[value["buffer"]], value["offset"], target, 0, value["bytes"])

    def core(self, entry: str, kind: Kind) -> Plan:
        """How to run a segment between such copies; made once for each kind of run."""
        if (entry, kind) not in self._cores:
            self._cores[entry, kind] = make_core(self._program, entry, kind)
        return self._cores[entry, kind]

    def close(self) -> None:
        """Gives back all buffers."""
        self.recorder.forget()
        for buffer in self._buffers.values():
            self.device.free(buffer)
        self._buffers = {}

    # ---- state

    def read_state(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Copies of states as they stand on the GPU."""
        states = [self._state(name) for name in names]
        slots = allocate_slots(self.device, states, "readback")
        buffers = list({id(slot.buffer): slot.buffer for slot in slots.values()}.values())
        steps = [
            Copy(self._buffers[s["buffer"]], s["offset"], slots[s["name"]].buffer, slots[s["name"]].offset, s["bytes"])
            for s in states
        ]
        self.recorder.run(Plan(tuple(steps)), Watch(), buffers)
        results = {}
        for state in states:
            slot = slots[state["name"]]
            results[state["name"]] = unpack(
                state, self.device.mapped(slot.buffer)[slot.offset : slot.offset + slot.bytes]
            )
        for buffer in buffers:
            self.device.unmap(buffer)
            self.device.free(buffer)
        return results

    def write_state(self, values: Mapping[str, np.ndarray]) -> None:
        """Replaces states on the GPU. Raises RunError for a wrong name, dtype or shape."""
        states = [self._state(name) for name in values]
        check_inputs(states, values)
        for state in states:
            content = np.zeros(state["bytes"], np.uint8)
            pack(state, values[state["name"]], content.data)
            write_bytes(self.device, self._buffers[state["buffer"]], state["offset"], content)
        self.device.flush(wait=True)

    def _state(self, name: str) -> Mapping[str, Any]:
        states = {state["name"]: state for state in self.artifact.program["state"]}
        if name not in states:
            raise RunError(f"there is no state '{name}'; expected one of {', '.join(sorted(states)) or 'none'}")
        return states[name]
