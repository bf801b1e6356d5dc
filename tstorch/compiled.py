"""From a model to an artifact in one call, with the time that each stage of compilation took."""

from __future__ import annotations

import gc
import hashlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from xdsl.dialects.builtin import ModuleOp

from tstorch.artifact.emit import emit_artifact
from tstorch.artifact.format import Artifact
from tstorch.diagnostics import DiagnosticError
from tstorch.dialects.program import SegmentOp
from tstorch.frontend import import_model
from tstorch.frontend.weights import WeightStore
from tstorch.levels import Level, get_pipeline
from tstorch.passes.convert.demote_doubles import DemoteDoublesPass
from tstorch.passes.convert.legalize_types import LegalizeTypesPass
from tstorch.passes.convert.onnx.node import DataDependentError
from tstorch.passes.program.cut_segments import CutSegmentsPass
from tstorch.pipeline import compile, parse_passes, plan, run_passes
from tstorch.plugins import Extensions
from tstorch.registry import CompilerContext, make_context
from tstorch.target import Target, set_target

if TYPE_CHECKING:
    from tstorch.frontend.model_file import ModelProto

AnyModel: TypeAlias = "str | Path | bytes | ModelProto"
Sources = dict[str, dict[str, Any]]
"""Digest of a weight to {path, offset, bytes}: where the runtime finds it."""


@dataclass
class Stages:
    """Milliseconds of each named stage, in the order in which they first ran."""

    ms: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Adds the time of the block to stage `name`."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.ms[name] = self.ms.get(name, 0.0) + (time.perf_counter() - begin) * 1e3


@dataclass(frozen=True)
class Recipe:
    """What shapes compilation, apart from the model: everything that enters the fingerprint."""

    target: Target = field(default_factory=Target.default)
    dims: Mapping[str, int] = field(default_factory=dict)
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    rules: Sequence[str] = ()
    without: Sequence[str] = ()
    keep: Collection[str] = ()
    give: Sequence[str] = ()
    instead: Mapping[str, Sequence[str]] = field(default_factory=dict)
    plugins: bool = True

    def context(self) -> CompilerContext:
        """A context that knows all dialects and passes, the plugins' too unless they are left out."""
        return make_context(Extensions.load() if self.plugins else Extensions())


@dataclass(frozen=True)
class Compiled:
    """An artifact, where its weights' bytes lie, and how long it took. Keep it while the artifact is in use.

    `model` is what it was compiled from, by `recipe`; None for an artifact that was read from its file.
    """

    artifact: Artifact
    sources: Sources
    stages: Stages
    model: AnyModel | None = None
    recipe: Recipe = field(default_factory=Recipe)
    store: WeightStore = field(default_factory=WeightStore)
    module: ModuleOp = field(default_factory=lambda: ModuleOp([]))
    """What the artifact was made of, without its kernels: segments that wait for shapes, and whose module it is."""

    @property
    def segments(self) -> dict[str, SegmentOp]:
        """The segments that are compiled once a run tells their shapes, by name."""
        return {op.sym_name.data: op for op in self.module.body.block.ops if isinstance(op, SegmentOp)}


def compile_model(
    model: AnyModel,
    recipe: Recipe,
    settle: Callable[[Recipe], Recipe] | None = None,
    *,
    cut: bool = True,
) -> Compiled:
    """Compiles a model to an artifact. Raises DiagnosticError for what a user can act on.

    `settle` gives the recipe with its final target, as late as it can be known: after the import. Where a shape is
    computed from data the graph is cut there, and a run tells it; without `cut` that is refused.
    """
    with rare_collections():
        return _compile_model(model, recipe, settle, cut)


def _compile_model(model: AnyModel, recipe: Recipe, settle: Callable[[Recipe], Recipe] | None, cut: bool) -> Compiled:
    stages, store, context = Stages(), WeightStore(), recipe.context()
    with stages.measure("import"):
        module = imported(model, recipe, store)
    with stages.measure("passes"):
        prepare(recipe, context)
    recipe = settle(recipe) if settle else recipe
    made = Compiled(Artifact.empty(), {}, stages, model, recipe, store)
    try:
        return _lowered(module, made, context)
    except DiagnosticError as error:
        if not cut or not isinstance(error.__cause__, DataDependentError):
            raise
    recipe = replace(recipe, instead=always_cut(recipe))
    return _lowered(imported(model, recipe, store), replace(made, recipe=recipe), context)


def demoting() -> dict[str, Sequence[str]]:
    """Passes in the place of others, so that float64 is computed as float32 and not refused."""
    return {LegalizeTypesPass.name: [DemoteDoublesPass.name, LegalizeTypesPass.name]}


def always_cut(recipe: Recipe) -> dict[str, Sequence[str]]:
    """Passes in the place of others, so that the graph is cut also where a shape is computed from data."""
    return {**recipe.instead, CutSegmentsPass.name: [str(CutSegmentsPass(always=True).pipeline_pass_spec())]}


def compile_module(module: ModuleOp, parent: Compiled) -> Compiled:
    """Compiles a segment of what was compiled, as that was. Raises DiagnosticError."""
    recipe = replace(parent.recipe, instead=always_cut(parent.recipe))
    with rare_collections():
        return _lowered(module, replace(parent, stages=Stages(), recipe=recipe), recipe.context())


def compile_by(model: str | Path, recipe: Recipe, specs: Sequence[str]) -> Compiled:
    """Compiles a model by these passes and no others, as an artifact's manifest lists them. Raises DiagnosticError."""
    store, context = WeightStore(), recipe.context()
    module = imported(model, recipe, store)
    run_passes(module, parse_passes(",".join(specs), context.extensions), context)
    artifact = emit_artifact(module, pipeline=specs, rules=())
    return Compiled(artifact, weight_sources(artifact, store), Stages(), model, recipe, store)


def _lowered(module: ModuleOp, made: Compiled, context: CompilerContext) -> Compiled:
    """Compiles a module at level onnx to the end."""
    recipe, stages = made.recipe, made.stages
    with stages.measure("passes"):
        set_target(module, recipe.target)
        lower(module, Level.FLOW, recipe, context)
    with stages.measure("codegen"):
        lower(module, Level.BUF, recipe, context)
        artifact = emit_artifact(module, pipeline=get_pipeline(module), rules=rule_digests(recipe.rules))
    for op in list(module.body.block.ops):
        if not isinstance(op, SegmentOp):
            op.detach()
    return replace(made, artifact=artifact, sources=weight_sources(artifact, made.store), module=module)


@contextmanager
def rare_collections() -> Iterator[None]:
    """Makes Python look for garbage in cycles every 500,000 new objects, not every 700: of IR, which is nothing but
    cycles, hardly any is garbage. Compilation takes a fifth less time, and a tenth more memory."""
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], 500_000) if before[0] else 0, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def prepare(recipe: Recipe, context: CompilerContext) -> None:
    """Loads the code of the passes, which is a good part of a small model's compilation, ahead of their use."""
    specs = plan(
        *(Level.ONNX, Level.BUF),
        without=recipe.without,
        rules=recipe.rules,
        instead=recipe.instead,
        extensions=context.extensions,
    )
    parse_passes(",".join(specs), context.extensions)


def imported(model: AnyModel, recipe: Recipe, store: WeightStore | None = None) -> ModuleOp:
    """The model at level onnx, for the recipe's target."""
    module = import_model(model, recipe.dims, store, recipe.keep, recipe.shapes, recipe.give)
    set_target(module, recipe.target)
    return module


def lower(module: ModuleOp, to: Level, recipe: Recipe, context: CompilerContext) -> None:
    """Compiles the module further, as the recipe says."""
    compile(module, to=to, without=recipe.without, rules=recipe.rules, instead=recipe.instead, context=context)


def rule_digests(paths: Sequence[str]) -> list[str]:
    """What identifies files of rules on any machine: `name sha256:digest`. Raises DiagnosticError."""
    try:
        return [f"{Path(path).name} sha256:{hashlib.sha256(Path(path).read_bytes()).hexdigest()}" for path in paths]
    except OSError as error:
        raise DiagnosticError(f"cannot read the rules '{error.filename}': {error.strerror}") from error


def weight_sources(artifact: Artifact, store: WeightStore) -> Sources:
    """Where the bytes of the artifact's weights lie."""
    weights = artifact.program["weights"]
    return store.sources((weight["file"], weight["key"], weight["digest"]) for weight in weights)
