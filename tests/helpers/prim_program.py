"""A function of primitives as text: what its reference says, and what the GPU computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.parser import Parser

from tstorch.artifact.emit import emit_artifact
from tstorch.dialects.prim.reference import evaluate
from tstorch.dialects.prim.types import dtype_of
from tstorch.levels import Level, set_level
from tstorch.locations import node_location
from tstorch.pipeline import compile, parse_passes, run_passes
from tstorch.plugins import Extensions
from tstorch.registry import make_context
from tstorch.runtime.client import Worker
from tstorch.target import Target, set_target


class PrimProgram:
    """`(%x: tensor<3xf32>) -> tensor<3xf32> { ... func.return ... }`, in which each op is a node of its own."""

    def __init__(self, text: str) -> None:
        source = f'program.entry "run" {{ program.run @main }} func.func @main{text}'
        self._module = Parser(make_context(Extensions()), source).parse_module()
        self._function = next(op for op in self._module.body.block.ops if isinstance(op, FuncOp))
        for number, op in enumerate(self._function.body.block.ops):
            if not isinstance(op, ReturnOp):
                op.location = node_location(f"node_{number}")

    def inputs(self, seed: int = 0) -> list[np.ndarray]:
        """Small whole numbers of each argument's type, negative ones among them where it has such."""
        rng = np.random.default_rng(seed)
        drawn: list[np.ndarray] = []
        for argument in self._function.body.block.args:
            dtype = dtype_of(argument.type)
            low, high = (0, 2) if dtype.kind == "b" else (0 if dtype.kind == "u" else -9, 10)
            drawn.append(rng.integers(low, high, argument.type.get_shape()).astype(dtype))  # pyright: ignore[reportAttributeAccessIssue]
        return drawn

    def expected(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """The results by the primitives' references."""
        return evaluate(self._function, inputs)

    def module(self) -> ModuleOp:
        """The program at level prim, with legal types, not yet compiled further."""
        module = self._module.clone()
        function = next(op for op in module.body.block.ops if isinstance(op, FuncOp))
        taken, given = len(function.function_type.inputs), len(function.function_type.outputs)
        function.arg_attrs = ArrayAttr([DictionaryAttr({"tst.name": StringAttr(f"x{n}")}) for n in range(taken)])
        function.res_attrs = ArrayAttr([DictionaryAttr({"tst.name": StringAttr(f"y{n}")}) for n in range(given)])
        set_level(module, Level.PRIM)
        set_target(module, Target.default())
        run_passes(module, parse_passes("legalize-types,drop-empty-tensors"), make_context(Extensions()))
        return module

    def run(self, worker: Worker, folder: Path, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """The results as the GPU computes them."""
        module = self.module()
        compile(module, to=Level.BUF)
        path = folder / "program.tst"
        emit_artifact(module).write(path)
        worker.load(path, {})
        outputs = worker.run({f"x{n}": x for n, x in enumerate(inputs)})
        return [outputs[f"y{n}"] for n in range(len(outputs))]
