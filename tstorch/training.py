"""Gradients and training: a model compiled with a loss, its backward pass and an optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypedDict, TypeVar, Unpack

import numpy as np

from tstorch.diagnostics import DiagnosticError
from tstorch.passes.autodiff.expand_autodiff import ExpandAutodiffPass
from tstorch.passes.autodiff.expand_optimizer import ExpandOptimizerPass
from tstorch.passes.base import TSTorchPass
from tstorch.passes.convert.convert_onnx_to_prim import ConvertOnnxToPrimPass
from tstorch.runtime.client import Isolation
from tstorch.saved import is_artifact
from tstorch.session import AnyModel, Arrays, Model, Order, Progress, open_model, unheard
from tstorch.target import Target


class LoadOptions(TypedDict, total=False):
    """What `tstorch.load` takes beside the model; see there."""

    dims: Mapping[str, int] | None
    target: str | Target | None
    adapter: str | None
    rules: Sequence[str | Path]
    without: Sequence[str]
    demote_f64: bool
    plugins: bool
    isolation: Isolation
    progress: Progress


class Trainer(Model):
    """A model in training: its parameters and the optimizer's state stay on the GPU from step to step.

    Close it, or use it with `with`. What a Model does (`profile`, `annotated`, `save_artifact`) it does with a step; a
    profile's runs are steps too, and move the parameters.
    """

    ENTRY: ClassVar[str] = "step"

    def step(self, inputs: Mapping[str, np.ndarray]) -> float:
        """One step on the model's inputs and `labels`: the loss before it.

        `labels` are int64 class ids (cross-entropy) or floats of the output's shape (mse). Raises RunError.
        """
        return float(self.run(inputs)["loss"])

    def parameters(self) -> Arrays:
        """The parameters as they stand, by the names of the model's initializers."""
        return self._read([value for value in self.artifact.program["state"] if "weight" in value["start"]])

    def state(self) -> Arrays:
        """Everything that the next step depends on: parameters, the optimizer's moments, the number of steps."""
        return self._read(self.artifact.program["state"])

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Puts back what `state` or `parameters` gave. Raises RunError for a wrong name, dtype or shape."""
        self._worker.write_state(dict(state))

    def _read(self, states: Sequence[Mapping[str, Any]]) -> Arrays:
        return self._worker.read_state([state["name"] for state in states])


def train(
    model: AnyModel,
    *,
    loss: str = "cross-entropy",
    optimizer: str = "adam",
    lr: float = 1e-3,
    wrt: str | Sequence[str] = (),
    output: str = "",
    **options: Unpack[LoadOptions],
) -> Trainer:
    """Compiles a model for training and loads it onto a GPU.

    `loss` is cross-entropy (a final softmax is part of it and stepped over), mse, or empty: the model's own scalar
    output. `optimizer` is adam or sgd. `wrt` names the weights to train; left out, all that are floats but batch norm's
    statistics. `output` names the output that the loss is taken of, where there are several. Other options are those of
    `load`. Raises DiagnosticError for what a user can act on.
    """
    chosen = _names(wrt)
    convert = ConvertOnnxToPrimPass(trainable=True)
    autodiff = ExpandAutodiffPass(loss=loss, wrt=chosen, output=output)
    return _open(Trainer, model, chosen, [convert, autodiff, ExpandOptimizerPass(kind=optimizer, lr=lr)], options)


def grads(
    model: AnyModel,
    inputs: Mapping[str, np.ndarray],
    wrt: str | Sequence[str],
    loss: str | None = None,
    *,
    output: str = "",
    **options: Unpack[LoadOptions],
) -> Arrays:
    """The gradients of a loss by the graph inputs or initializers that `wrt` names, as arrays by name.

    Without a `loss` the model's own output is differentiated, which must be a scalar; with one, `inputs` hold `labels`
    too. `output` and the other options are those of `train`. Raises DiagnosticError for what a user can act on.
    """
    if not (chosen := _names(wrt)):
        raise DiagnosticError("grads needs the names of inputs or weights to differentiate by (wrt)")
    autodiff = ExpandAutodiffPass(loss=loss or "", wrt=chosen, output=output)
    with _open(Model, model, chosen, [ConvertOnnxToPrimPass(), autodiff], options) as loaded:
        results = loaded.run(inputs)
    return {name: results[f"gradient/{name}"] for name in chosen}


def cut_batches(declared: Sequence[Mapping[str, Any]], arrays: Mapping[str, np.ndarray]) -> list[Arrays]:
    """Arrays cut along their leading axes into batches of the declared shapes; one that fits as it is goes into each.

    `declared` are a model's inputs. Raises DiagnosticError for arrays that make no whole batches, or not equally many.
    """
    shapes = {value["name"]: tuple(value["shape"]) for value in declared}
    pieces = {name: _pieces(name, array, shapes[name]) for name, array in arrays.items() if name in shapes}
    counts = {name: len(parts) for name, parts in pieces.items() if len(parts) > 1}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"'{name}' {count}" for name, count in counts.items())
        raise DiagnosticError(f"the arrays hold different numbers of batches: {listed}")
    whole = {name: array for name, array in arrays.items() if name not in pieces}
    length = max(counts.values(), default=1)
    return [whole | {name: parts[at % len(parts)] for name, parts in pieces.items()} for at in range(length)]


def _pieces(name: str, array: np.ndarray, shape: tuple[int, ...]) -> list[np.ndarray]:
    if array.shape == shape or not shape:
        return [array]
    count, rest = divmod(len(array), shape[0]) if array.ndim else (0, 1)
    if rest or not count or array.shape[1:] != shape[1:]:
        raise DiagnosticError(
            f"'{name}' has shape {list(array.shape)}; expected {list(shape)}, or a multiple of its leading size"
        )
    return np.split(array, count)


Kind = TypeVar("Kind", bound=Model)


def _open(
    kind: type[Kind], model: AnyModel, keep: Sequence[str], steps: Sequence[TSTorchPass], options: LoadOptions
) -> Kind:
    """A model on a GPU, compiled with passes in the place of the plain conversion to primitives."""
    if is_artifact(model):
        raise DiagnosticError(f"'{model}' is compiled already; give the model itself to differentiate it")
    specs = [str(step.pipeline_pass_spec()) for step in steps]
    given: dict[str, Any] = {**options, "keep": keep, "instead": {ConvertOnnxToPrimPass.name: specs}}
    adapter, isolation = given.pop("adapter", None), given.pop("isolation", "process")
    progress = given.pop("progress", unheard)
    return open_model(kind, Order(model, given), adapter, isolation, progress)


def _names(wrt: str | Sequence[str]) -> tuple[str, ...]:
    return (wrt,) if isinstance(wrt, str) else tuple(wrt)
