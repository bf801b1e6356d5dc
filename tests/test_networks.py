"""Tests that whole networks run on the GPU and give what onnxruntime gives, at their ends and inside.

Of the large ones a third is drawn by seed, which pytest names when it is done; `--all-networks` takes them all.
"""

import pytest
from chain import Chain
from networks import EXAMPLE, LARGE, SMALL, before_softmax, network, with_drawn_outputs

from tstorch.runtime.client import Worker

pytestmark = pytest.mark.gpu

TOLERANCE = 1e-3
SEED = 0
NETWORKS = [*SMALL, *(pytest.param(name, marks=[pytest.mark.model, pytest.mark.large]) for name in LARGE)]
DISPATCHES = {EXAMPLE: 30, "light_resnet50": 60}


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    with Worker.start() as worker:
        yield Chain(worker, tmp_path_factory.mktemp("networks"))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_what_onnxruntime_gives_before_its_softmax(chain, name):
    compiled, errors = chain.errors(before_softmax(network(name)))
    assert {output: error for output, error in errors.items() if error > TOLERANCE} == {}
    dispatches = [row for row in compiled.artifact.dispatches if row["entry"] == "run"]
    assert len(dispatches) <= DISPATCHES.get(name, len(dispatches))


@pytest.mark.parametrize("name", NETWORKS)
def test_three_drawn_tensors_inside_are_what_onnxruntime_has_there(chain, name):
    _, errors = chain.errors(with_drawn_outputs(before_softmax(network(name)), 3, SEED))
    assert len(errors) == 4
    assert {output: error for output, error in errors.items() if error > TOLERANCE} == {}
