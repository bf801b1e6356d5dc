"""Artifacts read back from their files: compiled already, their weights found where they lie."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tstorch.artifact.format import Artifact
from tstorch.compiled import Compiled, Recipe, Sources, Stages, compile_by
from tstorch.diagnostics import DiagnosticError
from tstorch.frontend.model_file import ModelFile
from tstorch.frontend.weights import WeightStore
from tstorch.target import Target


def is_artifact(model: object) -> bool:
    """Whether `model` is the path of an artifact (a zip) and not of a model."""
    return isinstance(model, str | Path) and zipfile.is_zipfile(model)


def read_artifact(path: Any, given: Mapping[str, Any], weights: str | Path | None = None) -> Compiled:
    """An artifact as it was compiled. `given` is what would shape compilation: it comes too late.

    `weights` is the model that it was compiled from, or the folder where that lies: by default the artifact's own.
    Raises DiagnosticError.
    """
    if late := [name for name, value in given.items() if value]:
        raise DiagnosticError(
            f"'{path}' is compiled already: {', '.join(late)} come too late; give the model it was compiled from"
        )
    begin = time.perf_counter()
    artifact = Artifact.read(path)
    sources = _sources(Path(path), artifact, weights)
    return Compiled(artifact, sources, Stages({"import": 1e3 * (time.perf_counter() - begin)}))


def recompiled(path: str | Path, weights: str | Path | None = None) -> Compiled:
    """What an artifact's model compiles to now, for its target and dims and by its passes.

    The model is looked for as `read_artifact` does. Raises DiagnosticError where it is not found, or is another one.
    """
    manifest = Artifact.read(path).manifest
    place = Path(weights) if weights is not None else Path(path).parent
    name, digest = manifest["model"]["path"], manifest["model"]["sha256"]
    file = place / name if place.is_dir() else place
    if not file.is_file():
        raise DiagnosticError(
            f"--check needs the model: '{path}' was compiled from '{name}', which was not found in '{place}'; "
            "say where it is with --weights"
        )
    if (found := ModelFile(file).sha256) != digest:
        raise DiagnosticError(
            f"--check needs the model: '{path}' was compiled from a '{name}' of sha256 {digest[:16]}..., and '{file}' "
            f"has {found[:16]}...: the model has changed since; compile it again"
        )
    recipe = Recipe(Target.from_json(manifest["target"]), manifest["dims"])
    return compile_by(file, recipe, manifest["pipeline"])


def read_sources(sources: Mapping[str, Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The weights' bytes by digest, as views of the files that hold them."""
    return {
        digest: np.memmap(place["path"], np.uint8, "r", place["offset"], (place["bytes"],))
        if place["bytes"]
        else np.empty(0, np.uint8)
        for digest, place in sources.items()
    }


def _sources(path: Path, artifact: Artifact, weights: str | Path | None) -> Sources:
    """Where the weights lie: in the artifact itself, else in the model's file."""
    wanted = [weight for weight in artifact.program["weights"] if weight["digest"] not in artifact.embedded]
    store = WeightStore()
    for name in sorted({weight["file"] for weight in wanted}):
        held = [weight for weight in wanted if weight["file"] == name]
        store.add(ModelFile(_model_file(path, name, held, weights)), name)
    found = store.sources((weight["file"], weight["key"], weight["digest"]) for weight in wanted)
    return {**artifact.embedded, **found}


def _model_file(path: Path, name: str, held: Sequence[Mapping[str, Any]], weights: str | Path | None) -> Path:
    place = Path(weights) if weights is not None else path.parent
    file = place / name if place.is_dir() else place
    if not file.is_file():
        size = sum(weight["bytes"] for weight in held)
        raise DiagnosticError(
            f"'{path}' holds no weights: {len(held)} of them ({size} bytes) are in '{name}', which was not found in "
            f"'{place}'; put it there, say where it is with --weights, or save the artifact with --embed-weights"
        )
    return file
