"""Inner tensors of a model by ONNX's names: what the GPU makes of them, what a reference does, how large they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute

from tstorch.artifact.format import Artifact
from tstorch.check import OnnxRuntime, numpy_outputs
from tstorch.compiled import Compiled, imported
from tstorch.diagnostics import DiagnosticError, UsageError
from tstorch.dialects.prim.types import dtype_of, is_float, is_stored, is_stored_float
from tstorch.dialects.program import OutputOp, control_of
from tstorch.frontend.graph import ModelGraph
from tstorch.passes.convert.convert_onnx_to_prim import ConvertOnnxToPrimPass
from tstorch.passes.program.cut_segments import CutSegmentsPass
from tstorch.pipeline import run_passes
from tstorch.session import Model

MOST_BYTES = 256 << 20
"""The most bytes of inner tensors that are given out at once: the bound on what an instrument adds to a run. A tensor
that alone is larger goes alone."""
OPEN_BYTES = 16 << 20
"""What a tensor counts for whose size only a run tells."""

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Seen:
    """What one run gave out, the model's own outputs too, and the artifact that it was compiled to for that."""

    arrays: Arrays
    artifact: Artifact


class Probe:
    """A loaded model and its inputs. Raises DiagnosticError where the model was read from an artifact."""

    def __init__(self, model: Model, inputs: Arrays) -> None:
        if model.compiled.model is None:
            raise DiagnosticError(
                "an artifact holds no graph whose tensors could be given out; give the model it was compiled from"
            )
        self._model = model
        self._inputs = inputs
        self.graph = ModelGraph(model.compiled.model)

    def on_gpu(self, tensors: Sequence[str]) -> Seen:
        """The model, compiled anew with these tensors as further outputs, and run once."""
        with self._model.giving(self._asked(tensors)) as wider:
            return Seen(wider.run(self._inputs), wider.compiled.artifact)

    def by_reference(self, reference: str, tensors: Sequence[str]) -> Arrays:
        """The same tensors as "NumPy" or "onnxruntime" computes them."""
        if reference == "NumPy":
            found = numpy_outputs(self._model.compiled, self._inputs, give=self._asked(tensors))
            return {name: found[name] for name in tensors}
        other = OnnxRuntime.of(self._model.compiled.model, self._inputs)
        if other is None:
            raise DiagnosticError("onnxruntime is not installed, so nothing can be compared with it")
        return other.giving(self.graph, tensors).outputs(optimised=False)

    def check_names(self, names: Iterable[str]) -> None:
        """Raises UsageError for a name that no node of the main graph makes, with names like it."""
        for name in names:
            if name in self.graph.makers:
                continue
            if owner := self.graph.inside.get(name):
                raise UsageError(
                    f"tensor '{name}' is made inside '{owner}', once for each time that its body runs; name one of the "
                    "main graph"
                )
            if name in self.graph.given:
                raise UsageError(f"tensor '{name}' is an input or initializer: nothing computes it")
            raise UsageError(f"the model has no tensor '{name}'; {self._like(name)}")

    @property
    def compiled(self) -> Compiled:
        """What the model was compiled to, as it is run."""
        return self._model.compiled

    @cached_property
    def floats(self) -> list[str]:
        """The names of what is made of floats and read by somebody, in program order."""
        return [name for name in self.graph.tensors if _is_float(self._types[name])]

    def size(self, name: str) -> int:
        """Bytes of a tensor as the caller gets it."""
        return _bytes(self._types[name])

    def chunks(self, tensors: Sequence[str], most: int) -> Iterator[list[str]]:
        """The tensors in order, cut so that none of the parts holds more than `most` or than MOST_BYTES."""
        part: list[str] = []
        for name in tensors:
            if part and (len(part) == most or sum(map(self.size, [*part, name])) > MOST_BYTES):
                yield part
                part = []
            part.append(name)
        if part:
            yield part

    @cached_property
    def _types(self) -> dict[str, Attribute]:
        """The type of every tensor, once converted to primitives; of open sizes where only a run tells them."""
        names = self._asked(self.graph.tensors)
        recipe = replace(self.compiled.recipe, give=names, plugins=False)
        assert self.compiled.model is not None
        module = imported(self.compiled.model, recipe)
        run_passes(module, [CutSegmentsPass(always=True), ConvertOnnxToPrimPass()], recipe.context())
        return dict(zip([*self.graph.outputs, *names], _result_types(module), strict=True))

    def _asked(self, tensors: Sequence[str]) -> tuple[str, ...]:
        """Those that the model does not give out by itself."""
        return tuple(name for name in dict.fromkeys(tensors) if name not in self.graph.outputs)

    def _like(self, name: str) -> str:
        from difflib import get_close_matches

        close = get_close_matches(name, self.graph.makers, 3)
        return f"is it {' or '.join(map(repr, close))}?" if close else "names are those of the model's file"


def _result_types(module: ModuleOp) -> list[Attribute]:
    entry = control_of(module)
    if entry is not None:
        return [op.operands[0].type for op in entry.body.block.ops if isinstance(op, OutputOp)]
    main = next(op for op in module.ops if isinstance(op, FuncOp) and op.sym_name.data == "main")
    return list(main.function_type.outputs)


def _is_float(type: Attribute) -> bool:
    """Whether a value may hold floats: also one whose type only a run tells."""
    return not isinstance(type, TensorType) or is_float(type.element_type) or is_stored_float(type.element_type)


def _bytes(type: Attribute) -> int:
    if not isinstance(type, TensorType) or any(size < 0 for size in type.get_shape()):
        return OPEN_BYTES
    width = 1 if is_stored(type.element_type) else dtype_of(type).itemsize
    return prod(type.get_shape()) * width
