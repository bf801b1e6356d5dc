"""A program with control, loaded: its root, what was specialised for it so far, and the run that waits for more."""

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tstorch.artifact.format import Artifact
from tstorch.diagnostics import RunError
from tstorch.runtime.control import Control, Loaded, Need, Steps
from tstorch.runtime.executor import Executor, Sample
from tstorch.runtime.machine import GpuMachine
from tstorch.runtime.marshal import check_inputs
from tstorch.runtime.recorder import Watch
from tstorch.runtime.values import Pool, Value
from tstorch.runtime.wire import Kind

MOST_SPECIALISED = 64
"""So many specialised segments stay on the device: the least used goes first."""

Make = Callable[[Artifact, Mapping[str, Any]], Executor]
"""Loads an artifact, given where its weights lie, beside what is loaded."""


@dataclass
class _Run:
    """A run that goes on when its segment is there."""

    steps: Steps
    machine: GpuMachine
    begin_ns: int
    need: Need | None = None


class Programs:
    """Runs the loaded program. Where it needs a segment that is not there, a run gives a `Need` instead of a sample."""

    def __init__(self, root: Executor, make: Make) -> None:
        self._root = Loaded(0, root.artifact, root)
        self._make = make
        self._pool = Pool(root.device)
        self._recorder = root.recorder
        self._special: OrderedDict[str, Loaded] = OrderedDict()
        self._run: _Run | None = None

    def start(self, inputs: Mapping[str, np.ndarray], kind: Kind) -> Sample | Need:
        """Begins a run. Raises RunError for wrong inputs."""
        return self._start(inputs, GpuMachine(self._recorder, self._pool, kind))

    def stepwise(self, inputs: Mapping[str, np.ndarray]) -> list[tuple[int, int]]:
        """Runs a dispatch at a time, after a run that told all shapes: (dispatch id, wall nanoseconds) each."""
        machine = GpuMachine(self._recorder, self._pool, "plain")
        machine.steps = []
        if isinstance(self._start(inputs, machine), Need):
            raise RunError("a run needs segments that are not compiled yet; run it once before it is timed")
        return machine.steps

    def _start(self, inputs: Mapping[str, np.ndarray], machine: GpuMachine) -> Sample | Need:
        begin = time.perf_counter_ns()
        table = self._root.artifact.program["control"]
        with machine.first.span("upload"):
            check_inputs(table["inputs"], inputs)
            given = [Value.known(np.asarray(inputs[value["name"]])) for value in table["inputs"]]
        self._recorder.submitted.runs += 1
        self._run = _Run(Control(machine).call(self._root, given), machine, begin)
        return self._go_on(None)

    def resume(self, number: int, artifact: Artifact, sources: Mapping[str, Any]) -> Sample | Need:
        """Goes on with the segment that was asked for; `number` is what the session calls it."""
        if self._run is None or self._run.need is None:
            raise RunError("no run waits for a segment")
        program = Loaded(number, artifact, self._make(artifact, sources))
        key = _key(self._run.need)
        self._special[key] = program
        if len(self._special) > MOST_SPECIALISED:
            _, oldest = self._special.popitem(last=False)
            oldest.executor.close()
        return self._go_on(program)

    def _go_on(self, program: Loaded | None) -> Sample | Need:
        run = self._run
        assert run is not None
        while True:
            self._run = None  # what fails on the way is not gone on with
            try:
                need = next(run.steps) if program is None else run.steps.send(program)
            except StopIteration as end:
                return self._sample(run, end.value)
            self._run = run
            if (program := self._special.get(_key(need))) is None:
                run.need = need
                return need
            self._special.move_to_end(_key(need))

    def _sample(self, run: _Run, values: list[Value]) -> Sample:
        names = [value["name"] for value in self._root.artifact.program["control"]["outputs"]]
        machine, last = run.machine, Watch()
        outputs = machine.outputs(dict(zip(names, values, strict=True)), last)
        spans = dict.fromkeys(("upload", "encode", "submit", "wait"), 0) | machine.first.spans | last.spans
        spans["sync"] = machine.between_ns
        return Sample(
            outputs,
            spans,
            machine.timed(),
            run.begin_ns,
            time.perf_counter_ns(),
            tuple(look.to_json() for look in machine.looks),
        )


def _key(need: Need) -> str:
    return json.dumps(need.to_json(), sort_keys=True)
