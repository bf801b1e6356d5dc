"""The interface by which ONNX's own suite and tools drive a backend (`onnx.backend.base`), on the GPU.

    rep = tstorch.backend.prepare(model)
    outputs = rep.run([image])

Graph inputs are never constants, also where `run_node` knows their values. Only an input that shapes depend on
(Reshape's shape, Slice's bounds) specialises the plan by its values: `Rep.specialised` names those.
"""

from __future__ import annotations

import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper
from onnx.backend.base import Backend as OnnxBackend
from onnx.backend.base import BackendRep, namedtupledict

from tstorch.compiled import Compiled, Recipe, compile_model
from tstorch.diagnostics import DiagnosticError, RunError
from tstorch.passes.convert.onnx.node import DataDependentError
from tstorch.runtime.client import Worker
from tstorch.runtime.marshal import check_range
from tstorch.specialise import Specialiser
from tstorch.target import Target

MOST_PLANS = 32
"""So many plans of one model are kept: the least used one goes first."""

Arrays = dict[str, np.ndarray]
Key = tuple[tuple[str, tuple[int, ...], bytes], ...]
"""Of each input its name, its shape and, where shapes follow from it, its values."""


@dataclass(frozen=True)
class Plan:
    """What was compiled for inputs of certain shapes, where its artifact lies, and what compiles the rest of it."""

    compiled: Compiled
    path: Path
    specialise: Specialiser

    @property
    def inputs(self) -> list[str]:
        """The inputs that reach the GPU."""
        return [value["name"] for value in self.compiled.artifact.interface["inputs"]]


class Gpu:
    """The one worker that all models of this process share: it holds the plan that ran last."""

    def __init__(self) -> None:
        self._worker = Worker.start()
        self._folder = tempfile.TemporaryDirectory(prefix="tstorch-")
        self._loaded: Plan | None = None
        self._lock = Lock()
        self._plans = 0
        self.recipe = Recipe(target=Target.default(self._worker.adapter_info()["class"]), plugins=False)
        weakref.finalize(self, _close, self._worker, self._folder)

    def plan(self, model: ModelProto, *, cut: bool = False) -> Plan:
        """Compiles a model for this GPU; `cut` where shapes are computed from data, too. Raises DiagnosticError."""
        compiled = compile_model(model, self.recipe, cut=cut)
        with self._lock:
            self._plans += 1
            path = Path(self._folder.name) / f"{self._plans}.tst"
        compiled.artifact.write(path)
        folder = tempfile.TemporaryDirectory(prefix="segments-", dir=self._folder.name)
        plan = Plan(compiled, path, Specialiser(compiled, Path(folder.name)))
        weakref.finalize(plan, folder.cleanup)
        weakref.finalize(plan, path.unlink, missing_ok=True)
        return plan

    def run(self, plan: Plan, inputs: Arrays) -> Arrays:
        """The outputs by name. Raises RunError."""
        with self._lock:
            if self._loaded is not plan:
                self._loaded = None
                self._worker.load(plan.path, plan.compiled.sources, specialise=plan.specialise)
                self._loaded = plan
            return self._worker.run(inputs)


def _close(worker: Worker, folder: tempfile.TemporaryDirectory) -> None:
    worker.close()
    folder.cleanup()


@cache
def shared_gpu() -> Gpu:
    """The GPU of this process, started on first use. Raises RunError where there is none."""
    return Gpu()


class Rep(BackendRep):
    """A prepared model. Plans are made for the shapes that it is run with, and kept."""

    def __init__(self, model: ModelProto, gpu: Gpu) -> None:
        self._model = model
        self._gpu = gpu
        held = {tensor.name for tensor in model.graph.initializer}
        self._inputs = [value for value in model.graph.input if value.name not in held]
        self._plans: OrderedDict[Key, Plan] = OrderedDict()
        self._specialised: set[str] = set()

    @property
    def specialised(self) -> list[str]:
        """The inputs that shapes depend on: each set of their values has a plan of its own."""
        return [value.name for value in self._inputs if value.name in self._specialised]

    @property
    def plans(self) -> list[Plan]:
        """What has been compiled, the latest used last."""
        return list(self._plans.values())

    def prepare(self) -> None:
        """Compiles ahead of the first run where the shapes are all in the file.

        Raises BackendIsNotSupposedToImplementIt for what has no form here.
        """
        if all(_is_static(value) for value in self._inputs):
            try:
                self._keep(_key({value.name: _shape(value) for value in self._inputs}, {}), self._gpu.plan(self._model))
            except DiagnosticError as error:
                if not self._learn(error) and not isinstance(error.__cause__, DataDependentError):
                    raise _refusal(error) from error

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs for arrays in the order of the graph's inputs, or by name.

        Raises RunError for inputs of wrong number or type, BackendIsNotSupposedToImplementIt for what has no form here.
        """
        given = self._named(inputs)
        plan = self._plan(given)
        _check_ranges(plan, given)
        try:
            outputs = self._gpu.run(plan, {name: given[name] for name in plan.inputs})
        except RunError:
            raise
        except DiagnosticError as error:  # of a segment that is compiled during the run
            raise _refusal(error) from error
        names = [value.name for value in self._model.graph.output]
        return namedtupledict("Outputs", names)(*(outputs[name] for name in names))

    def _named(self, inputs: Any) -> Arrays:
        names = [value.name for value in self._inputs]
        if isinstance(inputs, Mapping):
            given = {name: inputs[name] for name in names if name in inputs}
        else:
            given = dict(zip(names, [inputs] if isinstance(inputs, np.ndarray) else inputs, strict=False))
        if len(given) < len(names):
            raise RunError(f"{len(given)} inputs are given; expected {', '.join(names)}")
        return {name: np.asarray(value) for name, value in given.items()}

    def _plan(self, given: Arrays) -> Plan:
        while True:
            shapes = {name: array.shape for name, array in given.items()}
            key = _key(shapes, {name: given[name].tobytes() for name in self._specialised})
            if key in self._plans:
                self._plans.move_to_end(key)
                return self._plans[key]
            model = _specialise(self._model, given, self._specialised)
            try:
                return self._keep(key, self._gpu.plan(model))
            except DiagnosticError as error:
                if self._learn(error):
                    continue
                if not isinstance(error.__cause__, DataDependentError):
                    raise _refusal(error) from error
            try:  # no input decides it: a run does
                return self._keep(key, self._gpu.plan(model, cut=True))
            except DiagnosticError as error:
                raise _refusal(error) from error

    def _keep(self, key: Key, plan: Plan) -> Plan:
        self._plans[key] = plan
        if len(self._plans) > MOST_PLANS:
            self._plans.popitem(last=False)
        return plan

    def _learn(self, error: DiagnosticError) -> bool:
        """Whether the error names further inputs whose values would help."""
        cause = error.__cause__
        wanted = {self._open()[at].name for at in cause.arguments} if isinstance(cause, DataDependentError) else set()
        self._specialised |= wanted
        return bool(wanted)

    def _open(self) -> list[ValueInfoProto]:
        """The inputs that the compiler was not told the values of, in order."""
        return [value for value in self._inputs if value.name not in self._specialised]


class Backend(OnnxBackend):
    """ONNX's backend interface. Every device string is accepted: the GPU is the one that the worker finds."""

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """True: a device of ONNX's list never says which GPU."""
        return True

    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> Rep:
        """Compiles the model where its shapes are known, else on the first run.

        Raises BackendIsNotSupposedToImplementIt with the compiler's message for what has no form here.
        """
        rep = Rep(model, shared_gpu())
        rep.prepare()
        return rep

    @classmethod
    def run_model(cls, model: ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any) -> tuple[Any, ...]:
        """The model's outputs for these inputs."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls, node: NodeProto, inputs: Any, device: str = "CPU", outputs_info: Any = None, **kwargs: Any
    ) -> tuple[Any, ...]:
        """One node's outputs. `opset_version` says which version of the operator it is, by default the newest."""
        names = list(dict.fromkeys(name for name in node.input if name))
        given = {name: np.asarray(value) for name, value in zip(names, inputs, strict=True)}
        taken = [_declared(name, value) for name, value in given.items()]
        made = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        version = kwargs.get("opset_version", onnx.defs.onnx_opset_version())
        imports = [helper.make_opsetid(node.domain, version)]
        model = helper.make_model(helper.make_graph([node], "node", taken, made), opset_imports=imports)
        return cls.prepare(model, device).run(given)


prepare = Backend.prepare
run_model = Backend.run_model
run_node = Backend.run_node
supports_device = Backend.supports_device


def _declared(name: str, value: np.ndarray) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)


def _is_static(value: ValueInfoProto) -> bool:
    """Whether the file says how large an input is. What is no tensor counts: the compiler refuses it by name."""
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        return True
    return tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim)


def _shape(value: ValueInfoProto) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def _key(shapes: Mapping[str, tuple[int, ...]], values: Mapping[str, bytes]) -> Key:
    return tuple((name, tuple(shape), values.get(name, b"")) for name, shape in shapes.items())


def _specialise(model: ModelProto, given: Mapping[str, np.ndarray], names: Any) -> ModelProto:
    """The model for inputs of these shapes, and with the values of some of them as constants."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for value in copy.graph.input:
        if value.name not in given:
            continue
        shape = value.type.tensor_type.shape
        shape.ClearField("dim")
        shape.SetInParent()
        for size in given[value.name].shape:
            shape.dim.add(dim_value=size)
        if value.name in names:
            copy.graph.initializer.append(numpy_helper.from_array(given[value.name], value.name))
    return copy


def _check_ranges(plan: Plan, given: Arrays) -> None:
    for value in plan.compiled.artifact.interface["inputs"]:
        if "range" in value:
            try:
                check_range(value, given[value["name"]])
            except RunError as error:
                raise _refusal(error) from error


def _refusal(error: DiagnosticError) -> Exception:
    """ONNX's way to say that a model has no form here; the suite counts it as skipped."""
    from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt

    return BackendIsNotSupposedToImplementIt(str(error))
