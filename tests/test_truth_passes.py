"""Tests that every pass which only makes a program faster may be left out, and that the others are a closed list."""

import pytest
from chain import Chain
from networks import network

from tstorch.check import TOLERANCE
from tstorch.diagnostics import DiagnosticError
from tstorch.pipeline import PHASES, optional_passes
from tstorch.runtime.client import Worker

# Without one of these there is no program, or no legal one. A pass that joins them is no optimisation.
LEGALISING = [
    "cut-segments",
    "convert-onnx-to-prim",
    "split-oversized-bindings",
    "round-quotients",
    "legalize-types",
    "drop-empty-tensors",
    "split-sort",
    "form-dispatch-regions",
    "select-schedule",
    "convert-kernel-to-loop",
    "bound-trip-counts",
    "pack-words",
    "convert-loop-to-wgsl",
    "convert-flow-to-buf",
    "plan-buffers",
    "instrument-dispatches",
]


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    with Worker.start() as worker:
        yield Chain(worker, tmp_path_factory.mktemp("passes"))


def test_the_passes_that_legalise_are_these():
    required = [step.name for phase in PHASES for step in phase.steps if not step.optional]
    assert list(dict.fromkeys(required)) == LEGALISING
    assert not set(LEGALISING) & set(optional_passes())


@pytest.mark.parametrize("name", LEGALISING)
def test_a_legalising_pass_cannot_be_left_out(chain, name):
    with pytest.raises(DiagnosticError, match=f"cannot leave out {name}; optional passes"):
        chain.compiled(network("cnn"), without=[name])


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["mnist_cnn", pytest.param("resnet18_ts", marks=pytest.mark.model)])
@pytest.mark.parametrize("dropped", optional_passes())
def test_the_answer_is_right_without_an_optional_pass(chain, name, dropped):
    compiled, errors = chain.errors(network(name), without=[dropped])
    assert all(spec.partition("{")[0] != dropped for spec in compiled.artifact.manifest["pipeline"])
    assert {output: error for output, error in errors.items() if error > TOLERANCE} == {}


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["mnist_cnn", "residual", "transformer"])
def test_the_answer_is_right_without_any_optional_pass(chain, name):
    _, errors = chain.errors(network(name), without=optional_passes())
    assert {output: error for output, error in errors.items() if error > TOLERANCE} == {}
