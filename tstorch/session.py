"""The one place that knows compiler and runtime: models loaded onto a GPU, run and measured."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from tstorch.artifact.format import Artifact
from tstorch.compiled import AnyModel, Compiled, Recipe, compile_model, demoting, imported, lower
from tstorch.diagnostics import DiagnosticError
from tstorch.inputs import draw_inputs, law_text
from tstorch.instruments import module_text
from tstorch.levels import Level
from tstorch.passes.fusion.form_dispatch_regions import FormDispatchRegionsPass
from tstorch.passes.trace.annotate_trace import annotate
from tstorch.report.build import build_report
from tstorch.runtime.client import Isolation, LoadReport, Worker
from tstorch.runtime.start import WorkerStart
from tstorch.saved import is_artifact, read_artifact, read_sources
from tstorch.specialise import Special, Specialiser
from tstorch.target import Target
from tstorch.trace.ceilings import beaten, raise_ceilings
from tstorch.trace.environment import environment
from tstorch.trace.file import write_trace
from tstorch.trace.record import cold_stages, record_trace
from tstorch.trace.schema import Trace

Arrays = dict[str, np.ndarray]
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""


class Measured(Trace):
    """A trace of a loaded model, which reports on itself."""

    def report(self) -> dict[str, Any]:
        """The report as `tstorch-run --json` writes it (schema `tstorch-report/1`)."""
        return build_report(self)

    def write(self, path: str | Path) -> None:
        """Writes the trace file, whole or not at all. Raises DiagnosticError."""
        write_trace(self, path)


class Model:
    """A compiled model on a GPU. `load` makes it; close it, or use it with `with`, to free the GPU."""

    ENTRY: ClassVar[str] = "run"
    """The entry of the artifact that a run is."""

    def __init__(self, worker: Worker, compiled: Compiled, progress: Progress, begin: float) -> None:
        """Loads what was compiled; `begin` is when `load` was called, by time.perf_counter."""
        self._worker = worker
        self._progress = progress
        self.compiled = compiled
        self._folder = tempfile.TemporaryDirectory(prefix="tstorch-")
        self._path = Path(self._folder.name) / "model.tst"
        with compiled.stages.measure("codegen"):
            compiled.artifact.write(self._path)
        self._special = Specialiser(compiled, Path(self._folder.name))
        self._loaded = self._load()
        self._startup_ms = dict(worker.startup_ms)
        self._load_ms = 1e3 * (time.perf_counter() - begin)
        self._first_run_ms: float | None = None
        self._is_away = False
        self._special_ms = 0.0
        self._added_ns: float | None = None

    def _load(self) -> LoadReport:
        known = {"specialise": self._specialise} if self.compiled.segments else {}
        return self._worker.load(self._path, self.compiled.sources, self._progress, **known)

    @contextmanager
    def giving(self, tensors: Sequence[str]) -> Iterator[Model]:
        """This model with inner tensors as further outputs: it takes this one's place on the GPU until the block ends.

        Compiles it again, as this one was; raises DiagnosticError where this one was read from an artifact.
        """
        made = self.compiled
        if made.model is None:
            raise DiagnosticError("an artifact gives out what it was compiled to; give the model it was compiled from")
        with self.beside(compile_model(made.model, replace(made.recipe, give=tuple(tensors)))) as model:
            yield model

    @contextmanager
    def beside(self, compiled: Compiled) -> Iterator[Model]:
        """Something else that was compiled, in this model's place on the GPU until the block ends."""
        other = Model(self._worker, compiled, self._progress, time.perf_counter())
        try:
            yield other
        finally:
            other._folder.cleanup()
            self._is_away = True

    @property
    def artifact(self) -> Artifact:
        """What the compiler made ahead of any run."""
        return self.compiled.artifact

    @property
    def whole(self) -> Artifact:
        """What the compiler made so far: ahead of any run, and for the shapes that runs told."""
        return self._special.whole()

    @property
    def specialised(self) -> Sequence[Special]:
        """The segments that were compiled for shapes that runs told, in order."""
        return self._special.made

    @property
    def adapter(self) -> dict[str, Any]:
        """The GPU in use: name, backend, driver, class, features, limits."""
        return self._worker.adapter_info()

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """Name, dtype, shape and law of each input."""
        return self.artifact.interface["inputs"]

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """Name, dtype and shape of each output; a size that only a run tells is None."""
        return self.artifact.interface["outputs"]

    def _specialise(self, need: Mapping[str, Any]) -> Special:
        """Compiles what a run waits for."""
        self._progress(f"compile {need['segment']}", 0, 0)
        return self._special(need)

    def draw_inputs(self, seed: int = 0) -> Arrays:
        """Legal inputs, the same for the same seed."""
        return draw_inputs(self.inputs, seed)

    def run(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """The model's outputs by name. Raises RunError for inputs of wrong name, dtype or shape, and a dead worker."""
        self._return()
        measured = self._worker.measure(dict(inputs), self.ENTRY)
        self._note_first_run(measured.whole_ns / 1e6)
        return measured.outputs

    def _return(self) -> None:
        """Takes its place on the GPU again, where something else had it."""
        if self._is_away:
            self._is_away = False
            self._load()

    def _note_first_run(self, milliseconds: float) -> None:
        """Keeps how long the first run took, and what of that went to segments whose shapes it told."""
        if self._first_run_ms is None:
            self._first_run_ms = milliseconds
            self._special_ms = sum(special.ms for special in self.specialised)

    def profile(
        self,
        inputs: Mapping[str, np.ndarray] | None = None,
        *,
        iterations: int | None = None,
        warmup: int = 2,
        seconds: float = 10.0,
        idle: float | None = None,
        seed: int = 0,
    ) -> Measured:
        """Measures about `seconds` of runs, or `iterations` of each kind, on drawn inputs where none are given.

        `idle` is the pause in seconds before the single run that is measured by itself (0: none).
        """
        given = self.draw_inputs(seed) if inputs is None else dict(inputs)
        counts = {"iterations": iterations, "warmup": warmup, "seconds": seconds, "idle": idle}
        before = environment()
        self._return()
        ceilings = self._worker.ceilings()  # first, so that the profile's count of dispatches is complete
        profile = self._worker.profile(given, entry=self.ENTRY, progress=self._progress, **counts)
        self._note_first_run(profile["first_run_ms"])
        trace = record_trace(
            self.whole,
            adapter=self.adapter,
            inputs=[self._input_facts(value, drawn=inputs is None) for value in self.inputs],
            stages=self._cold_stages(),
            profile=profile | {"ceilings": ceilings},
            environment=before,
            kind=Measured,
        )
        if beaten(trace):
            trace.measured["ceilings"] = self._worker.ceilings(again=True)
            raise_ceilings(trace)
        if self.specialised:
            trace.measured["specialised"] = [special.to_json() for special in self.specialised]
        return trace

    def timed_dispatches(self, inputs: Mapping[str, np.ndarray]) -> list[tuple[int, float]]:
        """One detailed run: (dispatch id, nanoseconds), less what timing adds to each. Raises DiagnosticError."""
        if self._added_ns is None:
            self._added_ns = self._worker.tiny()[0]
        timed = self._worker.measure(dict(inputs), self.ENTRY, kind="detailed").timed
        if not timed or not timed["valid"]:
            raise DiagnosticError("this adapter gives no times of single dispatches; a fusion cannot be measured here")
        return [(id, max(ns - self._added_ns, 0.0)) for id, ns in timed["dispatches"]]

    def annotated(self, trace: Trace, level: Level) -> str:
        """The IR at `level`, with locations, and on its ops what `trace` measured.

        Compiles again up to that level. Raises DiagnosticError where this model was read from an artifact.
        """
        model, recipe, store = self.compiled.model, self.compiled.recipe, self.compiled.store
        if model is None:
            raise DiagnosticError("an artifact has no IR to annotate; give the model it was compiled from")
        module = imported(model, recipe, store)
        lower(module, level, recipe, recipe.context())
        annotate(module, trace, "of this run")
        return module_text(module)

    def save_artifact(self, path: str | Path, *, embed_weights: bool = False) -> None:
        """Writes the artifact; with `embed_weights` it runs anywhere without the model's file. Raises ArtifactError."""
        self.artifact.write(path, read_sources(self.compiled.sources) if embed_weights else None)

    @staticmethod
    def _input_facts(value: Mapping[str, Any], *, drawn: bool) -> dict[str, Any]:
        law = law_text(value["law"]) if drawn else "given"
        return {"name": value["name"], "dtype": value["dtype"], "shape": value["shape"], "law": law}

    def _cold_stages(self) -> list[dict[str, Any]]:
        """From the call of `load` to the end of the first run; what the user did between them is in no stage."""
        first_run = self._first_run_ms or 0.0
        return cold_stages(
            session=self.compiled.stages.ms,
            startup=self._startup_ms,
            load=self._loaded.stages,
            busy=self._loaded.busy,
            first_run=first_run,
            wall=self._load_ms + first_run,
            specialise=self._special_ms,
        )

    def close(self) -> None:
        """Ends the worker and frees the GPU. Closing twice does nothing."""
        self._worker.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def unheard(stage: str, done: int, total: int) -> None:
    """The progress that nobody follows."""


def load(
    model: AnyModel,
    *,
    dims: Mapping[str, int] | None = None,
    inputs: Mapping[str, np.ndarray] | None = None,
    target: str | Target | None = None,
    adapter: str | None = None,
    rules: Sequence[str | Path] = (),
    without: Sequence[str] = (),
    demote_f64: bool = False,
    apart: Sequence[str] = (),
    plugins: bool = True,
    weights: str | Path | None = None,
    isolation: Isolation = "process",
    progress: Progress = unheard,
) -> Model:
    """Compiles a model (path, bytes or ModelProto) or reads an artifact, and loads it onto a GPU.

    `dims` binds symbolic dimensions, `inputs` those that are left, by the shapes that these arrays have. `target`
    is an id, a TOML file or a Target; left out, WebGPU's default limits with the adapter's class. `adapter` is part
    of the name of a GPU, `rules` are files of text rules. `without` leaves out passes or rules, `plugins=False`
    what is installed beside us; nodes in `apart` share a kernel with no other node. With `demote_f64` float64 is
    computed as float32 (inputs and outputs stay float64); without it it is refused. `weights` says where the model of
    an artifact without weights lies, a file or a folder (by default beside it). The GPU's work is done in a process of
    its own unless `isolation` is "none".
    Raises DiagnosticError for what a user can act on.
    """
    shapes = {name: np.shape(array) for name, array in (inputs or {}).items()}
    given: dict[str, Any] = {
        "dims": dims,
        "target": target,
        "rules": rules,
        "without": without,
        "demote_f64": demote_f64,
    }
    if is_artifact(model):
        if apart:
            raise DiagnosticError("an artifact is compiled already; keep nodes apart when compiling its model")
        return open_model(Model, lambda: read_artifact(model, given, weights), adapter, isolation, progress)
    if weights is not None:
        raise DiagnosticError("weights are for an artifact that holds none; a model brings its own")
    fusion = {"instead": _kept_apart(apart)} if apart else {}
    order = Order(model, {**given, **fusion, "shapes": shapes, "plugins": plugins})
    return open_model(Model, order, adapter, isolation, progress)


def _kept_apart(nodes: Sequence[str]) -> dict[str, list[str]]:
    """Fusion that leaves each of these nodes in kernels of its own."""
    fusion = FormDispatchRegionsPass(apart=tuple(nodes))
    return {fusion.name: [str(fusion.pipeline_pass_spec())]}


@dataclass(frozen=True)
class Order:
    """A model to compile, and what `make_recipe` takes; the target follows from the adapter where none is given."""

    model: AnyModel
    given: Mapping[str, Any]

    def compile(self, start: WorkerStart) -> Compiled:
        """Compiles the model while its worker starts. Raises DiagnosticError."""

        def settle(recipe: Recipe) -> Recipe:
            target = recipe.target if self.given.get("target") else _target(None, start.device_class())
            start.open(target.to_json())
            return replace(recipe, target=target)

        return compile_model(self.model, make_recipe("cpu", **self.given), settle)


Kind = TypeVar("Kind", bound=Model)


def open_model(
    kind: type[Kind],
    made: Order | Callable[[], Compiled],
    adapter: str | None,
    isolation: Isolation,
    progress: Progress,
) -> Kind:
    """A model of class `kind` on a GPU: one to compile, or one that was compiled already."""
    begin = time.perf_counter()
    with WorkerStart(adapter, isolation) as start:
        if isinstance(made, Order):
            progress("compile", 0, 0)
            compiled = made.compile(start)
        else:
            compiled = made()
        worker = start.ready()
        compiled.stages.ms["device"] = start.waited_ms
        return kind(worker, compiled, progress, begin)


def make_recipe(
    device_class: str,
    *,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    target: str | Target | None = None,
    rules: Sequence[str | Path] = (),
    without: Sequence[str] = (),
    demote_f64: bool = False,
    plugins: bool = True,
    keep: Sequence[str] = (),
    instead: Mapping[str, Sequence[str]] | None = None,
) -> Recipe:
    """How to compile, from what the user gave; see `load`. The target is by default that of the device's class."""
    return Recipe(
        target=_target(target, device_class),
        dims=dict(dims or {}),
        shapes=dict(shapes or {}),
        rules=[str(path) for path in rules],
        without=list(without),
        keep=tuple(keep),
        instead={**(instead or {}), **(demoting() if demote_f64 else {})},
        plugins=plugins,
    )


def _target(target: str | Target | None, device_class: Any) -> Target:
    if isinstance(target, Target):
        return target
    return Target.load(target) if target is not None else Target.default(device_class)
