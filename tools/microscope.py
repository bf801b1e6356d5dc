"""What tstorch-run does, step by step: load, measure, check, report; files come last, each whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from tstorch.check import check_outputs
from tstorch.diagnostics import DiagnosticError, ExitCode, write_text_atomically
from tstorch.fit.classes import judge_classes
from tstorch.inputs import law_text, load_arrays, save_arrays
from tstorch.levels import Level
from tstorch.numerics import capture, find_deviation, find_divergence, hunt
from tstorch.numerics.probe import Probe
from tstorch.report.chrome_trace import write_chrome_trace
from tstorch.report.html import write_html
from tstorch.report.terminal import print_report
from tstorch.saved import is_artifact, recompiled
from tstorch.session import Arrays, Measured, Model, load
from tstorch.tools.unfuse import unfuse, unfused_lines
from tstorch.training import LoadOptions, Trainer, cut_batches, train


@dataclass(frozen=True)
class Training:
    """What `--train` asks for; `labels` is a file with one array, or one called labels."""

    loss: str
    optimizer: str = "adam"
    lr: float = 1e-3
    steps: int = 100
    labels: str | None = None


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line; a path that is None is a file that nobody wants."""

    model: str
    dims: dict[str, int] = field(default_factory=dict)
    target: str | None = None
    adapter: str | None = None
    rules: Sequence[str] = ()
    without: Sequence[str] = ()
    no_fuse: Sequence[str] = ()
    demote_f64: bool = False
    plugins: bool = True
    weights: str | None = None
    isolation: Any = "process"
    inputs: str | None = None
    seed: int = 0
    outputs: str | None = None
    iterations: int | None = None
    warmup: int = 2
    idle: float | None = None
    check: bool = False
    capture: Sequence[str] = ()
    nan_hunt: bool = False
    full: bool = False
    report: str | None = None
    trace: str | None = None
    chrome_trace: str | None = None
    html: str | None = None
    annotate: str | None = None
    annotate_level: Level = Level.FLOW
    artifact: str | None = None
    embed_weights: bool = False
    training: Training | None = None


def examine(request: Request, *, out: TextIO, err: TextIO) -> ExitCode:
    """Runs and measures the model; the report goes to `out`, all else to `err`. Raises DiagnosticError."""
    notes = Console(file=err, highlight=False, markup=False, soft_wrap=True)
    given = load_arrays(request.inputs) if request.inputs else None
    if request.training is not None:
        return _train(request, request.training, given, notes, out)
    with _progress(notes) as progress, _load(request, given, progress) as model:
        _say_adapter(notes, model)
        inputs = given if given is not None else _drawn(notes, model, request.seed)
        if request.nan_hunt:
            return _hunt(model, inputs, progress, out)
        if request.capture:
            Probe(model, inputs).check_names(request.capture)
        outputs = model.run(inputs)
        counts = {"iterations": request.iterations, "warmup": request.warmup, "idle": request.idle}
        trace = model.profile(given, **counts, seed=request.seed)
        if request.check:
            progress("check", 0, 0)
            trace.measured["check"] = _checked(request, model, inputs, outputs, progress)
        trace.measured["classes"] = list(judge_classes(model.whole, model.compiled))
        if request.no_fuse:
            progress("unfuse", 0, 0)
            unfuse(model, trace, inputs, request.no_fuse, _apart(request, given, progress), request.trace)
        report = trace.report()
        outputs |= _captured(request, model, inputs, notes)
        _write_files(request, model, trace, report, outputs)
    console = Console(file=out, highlight=False, markup=False)
    print_report(report, console, full=request.full)
    for line in unfused_lines(trace.measured["unfused"]) if request.no_fuse else ():
        console.print(line, soft_wrap=True)
    return ExitCode.DIAGNOSTIC if report["verdict"]["status"] == "WONT-RUN" else ExitCode.OK


def _checked(
    request: Request, model: Model, inputs: Arrays, outputs: Arrays, progress: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """The comparison with references and, where an output is wrong, the first node or dispatch that is."""
    stored = is_artifact(request.model)
    compiled = recompiled(request.model, request.weights) if stored else model.compiled
    found = check_outputs(compiled, inputs, outputs)
    if not all(row["ok"] for row in found["outputs"]):
        progress("find the first wrong node", 0, 0)
        first = find_deviation(model, compiled, inputs) if stored else find_divergence(model, inputs, found)
        found["first"] = first.to_json() if first else None
    return found


def _captured(request: Request, model: Model, inputs: Arrays, notes: Console) -> Arrays:
    """The tensors that `--capture` names; what had to be taken apart for them is said."""
    if not request.capture:
        return {}
    found = capture(model, inputs, request.capture)
    for each in found.unfused:
        notes.print(f"capture: taken apart: {each}")
    if not found.unfused:
        notes.print("capture: nothing had to be taken apart")
    return found.arrays


def _hunt(model: Model, inputs: Arrays, progress: Callable[[str, int, int], None], out: TextIO) -> ExitCode:
    """Says the first node that makes a NaN or an infinity; exits with 1 where there is one."""
    progress("look for a NaN or an infinity", 0, 0)
    found = hunt(model, inputs)
    looked = f"{found.tensors} tensors looked at, in {found.runs} runs"
    if found.maker is None:
        out.write(f"no node makes a NaN or an infinity ({looked})\n")
        return ExitCode.OK
    out.write(f"{found.maker}\n({looked})\n")
    return ExitCode.DIAGNOSTIC


def _train(request: Request, asked: Training, given: Arrays | None, notes: Console, out: TextIO) -> ExitCode:
    """Trains, then measures a step; `--output` holds the parameters as training left them."""
    labels = _labels(asked.labels) if asked.labels else {}
    with (
        _progress(notes) as progress,
        train(
            request.model, loss=asked.loss, optimizer=asked.optimizer, lr=asked.lr, **_options(request, progress)
        ) as trainer,
    ):
        _say_adapter(notes, trainer)
        if given is None:
            given = {**_drawn(notes, trainer, request.seed), **labels}
        batches = cut_batches(trainer.inputs, given | labels)
        losses = _steps(trainer, batches, asked.steps, notes)
        parameters = trainer.parameters()
        counts = {"iterations": request.iterations, "warmup": request.warmup, "idle": request.idle}
        trace = trainer.profile(batches[0], **counts)
        trace.measured["classes"] = list(judge_classes(trainer.whole, trainer.compiled))
        report = trace.report()
        report["training"] = {"loss": asked.loss, "optimizer": asked.optimizer, "lr": asked.lr, "losses": losses}
        _write_files(request, trainer, trace, report, parameters)
    console = Console(file=out, highlight=False, markup=False)
    console.print(f"Trained {len(losses)} steps, {asked.optimizer}, lr {asked.lr:g}: loss {_first_to_last(losses)}")
    print_report(report, console, full=request.full)
    return ExitCode.OK


def _steps(trainer: Trainer, batches: Sequence[Arrays], count: int, notes: Console) -> list[float]:
    """The loss before each step; ten of them are said on the way."""
    losses: list[float] = []
    for step in range(count):
        losses.append(trainer.step(batches[step % len(batches)]))
        if step % max(count // 10, 1) == 0:
            notes.print(f"step {step + 1}: loss {losses[-1]:.6g}")
    return losses


def _first_to_last(losses: Sequence[float]) -> str:
    return f"{losses[0]:.6g} -> {losses[-1]:.6g}"


def _labels(path: str) -> Arrays:
    arrays = load_arrays(path)
    if "labels" not in arrays and len(arrays) != 1:
        raise DiagnosticError(
            f"labels file '{path}' holds {', '.join(arrays)}; expected one array, or one called labels"
        )
    return {"labels": arrays.get("labels", next(iter(arrays.values())))}


def _apart(
    request: Request, given: Arrays | None, progress: Callable[[str, int, int], None]
) -> Callable[[Sequence[str]], Model]:
    """Loads the model beside the one at hand, with nodes kept apart."""
    return lambda nodes: load(request.model, inputs=given, apart=nodes, **_options(request, progress))


def _load(request: Request, given: Arrays | None, progress: Callable[[str, int, int], None]) -> Model:
    return load(request.model, inputs=given, weights=request.weights, **_options(request, progress))


def _options(request: Request, progress: Callable[[str, int, int], None]) -> LoadOptions:
    return {
        "dims": request.dims,
        "target": request.target,
        "adapter": request.adapter,
        "rules": request.rules,
        "without": request.without,
        "demote_f64": request.demote_f64,
        "plugins": request.plugins,
        "isolation": request.isolation,
        "progress": progress,
    }


def _write_files(request: Request, model: Model, trace: Measured, report: dict[str, Any], outputs: Arrays) -> None:
    """Makes everything before it writes anything, so that what fails leaves no file behind."""
    annotated = model.annotated(trace, request.annotate_level) if request.annotate else ""
    if request.outputs:
        save_arrays(request.outputs, outputs)
    if request.report:
        write_text_atomically(Path(request.report), json.dumps(report, indent=1, allow_nan=False) + "\n")
    if request.trace:
        trace.write(request.trace)
    if request.chrome_trace:
        write_chrome_trace(trace, request.chrome_trace)
    if request.html:
        write_html(trace, request.html)
    if request.annotate:
        write_text_atomically(Path(request.annotate), annotated)
    if request.artifact:
        model.save_artifact(request.artifact, embed_weights=request.embed_weights)


def _say_adapter(notes: Console, model: Model) -> None:
    adapter = model.adapter
    notes.print(f"adapter: {adapter['label']}")
    if adapter["others"]:
        notes.print(f"others, by --adapter NAME: {'; '.join(adapter['others'])}")


def _drawn(notes: Console, model: Model, seed: int) -> Arrays:
    """Inputs where the user gave none; the law of each is said."""
    for value in model.inputs:
        notes.print(f"input '{value['name']}': {value['dtype']}{value['shape']}, {law_text(value['law'])}, seed {seed}")
    return model.draw_inputs(seed)


@contextmanager
def _progress(notes: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Shows what is being done and how far it is, on a terminal only; a log gets one line a stage."""
    if not notes.is_terminal:
        yield _StageLines(notes)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"))
    # Drawn when there is news and at no other time: a thread that draws would be seen in what is measured.
    with Progress(*columns, console=notes, transient=True, auto_refresh=False) as bars:
        task = bars.add_task("compile", total=None, state="")

        def show(stage: str, done: int, total: int) -> None:
            state = f"{100 * done // total} %" if total else ""
            bars.update(task, description=stage, completed=done, total=total or None, state=state)
            bars.refresh()

        yield show


@dataclass
class _StageLines:
    """Says each stage once."""

    notes: Console
    said: set[str] = field(default_factory=set)

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self.said:
            self.said.add(stage)
            self.notes.print(stage)
