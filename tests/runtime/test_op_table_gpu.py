"""Tests that what the GPU computes for every primitive, on its own samples, is what its reference says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr, f16, f32, i1, i8, i16, i32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, SSAValue

from tstorch.artifact.emit import emit_artifact
from tstorch.dialects import program
from tstorch.dialects.prim.base import PrimOp
from tstorch.dialects.prim.dialect import Prim
from tstorch.dialects.prim.sample import Sample
from tstorch.dialects.prim.types import type_of, ui8, ui16, ui32
from tstorch.dialects.prim.weight import ExternalOp
from tstorch.levels import Level, set_level
from tstorch.locations import node_location
from tstorch.pipeline import compile, parse_passes, run_passes
from tstorch.plugins import Extensions
from tstorch.registry import make_context
from tstorch.runtime.client import Worker
from tstorch.target import Target, set_target

pytestmark = pytest.mark.gpu

STORED = (f32, i32, ui32, i1, ui8, i8, ui16, i16, f16)

# Largest |GPU - reference| / max |reference| on the samples. Drivers compute these functions less exactly than NumPy:
# WGSL allows exp 3 + 2|x| ulp, log 3 ulp or 2^-21 absolute, sin and cos 2^-11 absolute, atan2 4096 ulp, others as built
# from them.
DEFAULT_ERROR = 2e-6
ERRORS = {
    "prim.pow": 2e-5, "prim.sin": 1e-5, "prim.cos": 1e-5, "prim.tan": 2e-5, "prim.asin": 2e-5, "prim.acos": 2e-5,
    "prim.atan": 2e-5, "prim.atan2": 2e-5, "prim.sinh": 1e-5, "prim.cosh": 1e-5, "prim.asinh": 1e-5,
    "prim.acosh": 1e-5, "prim.atanh": 1e-5, "prim.exp": 1e-5, "prim.expm1": 1e-5, "prim.log1p": 1e-5,
}  # fmt: skip


HALF_ERROR = 2**-10  # a half has 11 significant bits; the result of an f32 computation is rounded once more


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    started = Worker.start(None, "process")
    yield started
    started.close()


def stored_samples(op_class: type[PrimOp]) -> list[Sample]:
    """The samples whose operands and results have a storable type and at least one element."""
    return [sample for sample in op_class.samples() if _stored(op_class, sample)]


def _stored(op_class: type[PrimOp], sample: Sample) -> bool:
    operands = sample.operands(np.random.default_rng(0))
    block = Block(arg_types=[type_of(x) for x in operands])
    op = op_class(*block.args, **sample.keywords())
    types = [value.type for value in (*op.operands, *op.results)]
    return all(t.element_type in STORED and 0 not in t.get_shape() for t in types)  # pyright: ignore[reportAttributeAccessIssue]


def module_of(
    op_class: type[PrimOp], samples: list[Sample]
) -> tuple[ModuleOp, dict[str, np.ndarray], list[np.ndarray]]:
    """A module that computes every sample, its inputs, and the results in order."""
    drawn = [sample.operands(np.random.default_rng(number)) for number, sample in enumerate(samples)]
    flat = [x for operands in drawn for x in operands]
    function = FuncOp("main", ([type_of(x) for x in flat], []))
    block, arguments = function.body.block, iter(function.body.block.args)
    results: list[SSAValue] = []
    expected: list[np.ndarray] = []
    for number, (sample, operands) in enumerate(zip(samples, drawn, strict=True)):
        op = op_class(*[next(arguments) for _ in operands], **sample.keywords())
        op.location = node_location(f"sample_{number}")
        block.add_op(op)
        results += op.results
        expected += op.reference(*operands)
    block.add_op(ReturnOp(*results))
    function.update_function_type()
    function.arg_attrs = ArrayAttr([DictionaryAttr({"tst.name": StringAttr(f"x{n}")}) for n in range(len(flat))])
    function.res_attrs = ArrayAttr([DictionaryAttr({"tst.name": StringAttr(f"y{n}")}) for n in range(len(results))])
    module = ModuleOp([program.EntryOp("run", [program.RunOp("main")]), function])
    set_level(module, Level.PRIM)
    set_target(module, Target.default())
    return module, {f"x{n}": x for n, x in enumerate(flat)}, expected


@pytest.mark.parametrize(
    "op_class",
    [op for op in Prim.operations if issubclass(op, PrimOp) and not issubclass(op, ExternalOp) and stored_samples(op)],
    ids=lambda op: op.name,
)
def test_gpu_agrees_with_reference(op_class: type[PrimOp], worker: Worker, tmp_path: Path) -> None:
    module, inputs, expected = module_of(op_class, stored_samples(op_class))
    run_passes(module, parse_passes("legalize-types"), make_context(Extensions()))
    compile(module, to=Level.BUF)
    path = tmp_path / "op.tst"
    emit_artifact(module).write(path)
    worker.load(path, {})
    outputs = worker.run(inputs)
    for number, want in enumerate(expected):
        assert_close(outputs[f"y{number}"], want, ERRORS.get(op_class.name, DEFAULT_ERROR), f"sample result {number}")


def assert_close(got: np.ndarray, want: np.ndarray, error: float, what: str) -> None:
    """Equal to the bit for integers; floats to `error` of the largest finite one, with NaN and infinities in place."""
    assert got.shape == want.shape, what
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want, what)
        return
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want), what)
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite & ~np.isnan(want)], want[~finite & ~np.isnan(want)], what)
    largest = max(float(np.abs(want[finite]).max(initial=0)), 1e-30)
    error = max(error, HALF_ERROR) if want.dtype == np.float16 else error
    assert float(np.abs(got[finite].astype(np.float64) - want[finite]).max(initial=0)) <= error * largest, what
