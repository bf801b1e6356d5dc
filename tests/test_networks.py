"""Tests that whole networks run on the GPU and give what onnxruntime gives, at their ends and inside.

Of the large ones a third is drawn by seed, which pytest names when it is done; `--all-networks` takes them all.
"""

import numpy as np
import pytest
from chain import Chain
from models import Builder
from networks import EXAMPLE, LARGE, MNIST, SMALL, before_softmax, network, onnxruntime_outputs, with_drawn_outputs
from onnx import ModelProto, TensorProto

from tstorch.artifact.format import Artifact
from tstorch.check import TOLERANCE, relative_error
from tstorch.runtime.client import Worker

pytestmark = pytest.mark.gpu

SEED = 0
NETWORKS = [*SMALL, *MNIST, *(pytest.param(name, marks=[pytest.mark.model, pytest.mark.large]) for name in LARGE)]
DISPATCHES = {
    EXAMPLE: 30,
    "resnet18": 30,
    "resnet18_ts": 30,
    "resnet50": 60,
    "light_resnet50": 60,
    "mobilenet_v2": 60,
    "squeezenet1_1": 32,
    "light_squeezenet": 32,
}
DIMS = {"mnist_mlp": {"batch": 3}}


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    with Worker.start() as worker:
        yield Chain(worker, tmp_path_factory.mktemp("networks"))


def assert_within_its_bars(artifact: Artifact, name: str) -> None:
    """Few dispatches, and arenas not much larger than what lives at once."""
    dispatches = [row for row in artifact.dispatches if row["entry"] == "run"]
    assert len(dispatches) <= DISPATCHES.get(name, len(dispatches))
    assert 1 <= artifact.memory["arena_peak"] / artifact.memory["lower_bound"] <= (1.2 if name in DISPATCHES else 1.3)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_what_onnxruntime_gives_before_its_softmax(chain, name):
    compiled, errors = chain.errors(before_softmax(network(name)), dims=DIMS.get(name))
    assert {output: error for output, error in errors.items() if error > TOLERANCE} == {}
    assert_within_its_bars(compiled.artifact, name)


@pytest.mark.parametrize("name", NETWORKS)
def test_three_drawn_tensors_inside_are_what_onnxruntime_has_there(chain, name):
    _, errors = chain.errors(with_drawn_outputs(before_softmax(network(name)), 3, SEED), dims=DIMS.get(name))
    assert len(errors) == 4
    assert {output: error for output, error in errors.items() if error > TOLERANCE} == {}


def mixed_types() -> ModelProto:
    """A camera's bytes, cast and scaled; a table by int64 ids, a choice by bool; an index as output."""
    build = Builder(5)
    image = build.node("Cast", "bytes", name="cast", to=TensorProto.FLOAT)
    image = build.node("Mul", image, build.constant("scale", np.float32(1 / 255)), name="scaled")
    x = build.node("Conv", image, build.weight("weight", 6, 3, 3, 3), name="conv", pads=[1, 1, 1, 1])
    x = build.node("Flatten", build.node("GlobalAveragePool", x, name="pool"), name="flatten")
    row = build.node("Gather", build.weight("table", 9, 6, scale=1.0), "ids", name="row")
    both = build.node("Where", "flags", build.node("Add", x, row, name="sum"), row, name="where")
    best = build.node("ArgMax", both, name="best", axis=1, keepdims=0)
    inputs = {
        "bytes": (TensorProto.UINT8, [1, 3, 5, 7]),
        "ids": (TensorProto.INT64, [4]),
        "flags": (TensorProto.BOOL, [4, 1]),
    }
    return build.model(inputs, {both: (TensorProto.FLOAT, [4, 6]), best: (TensorProto.INT64, [4])})


def test_bytes_ids_and_flags_go_in_and_an_index_comes_out(chain):
    model = mixed_types()
    compiled = chain.compiled(model)
    given = {
        "bytes": np.random.default_rng(0).integers(0, 256, (1, 3, 5, 7)).astype(np.uint8),
        "ids": np.array([0, 8, -1, 3]),
        "flags": np.array([[True], [False], [True], [True]]),
    }
    found, expected = chain.run(compiled, given), onnxruntime_outputs(model, given)
    assert {name: array.dtype for name, array in found.items()} == {name: each.dtype for name, each in expected.items()}
    assert max(relative_error(found[name], expected[name]) for name in expected) < TOLERANCE
