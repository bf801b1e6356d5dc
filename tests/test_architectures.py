"""Tests that networks of the kinds that people export run on the GPU, give what onnxruntime gives, and lose no node."""

import pytest
from architectures import ARCHITECTURES
from chain import Chain

from tstorch.runtime.client import Worker

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    with Worker.start() as worker:
        yield Chain(worker, tmp_path_factory.mktemp("architectures"))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_gives_what_onnxruntime_gives_and_every_node_is_somewhere(chain, name):
    model = ARCHITECTURES[name]()
    compiled, errors = chain.errors(model)
    assert {output: error for output, error in errors.items() if error > 1e-5} == {}
    rows = compiled.artifact.nodes
    assert sorted(row["id"] for row in rows) == sorted(node.name for node in model.graph.node)
    assert {row["where"] for row in rows} <= {"run", "init", "host", "elided"}
    assert all(row["reason"] for row in rows if row["where"] == "elided")
