"""Tests that a hundred random graphs compute what NumPy and onnxruntime do; two thousand are
`python tests/random_graphs/run.py`."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from random_graphs.graphs import KINDS, TYPES, graphs, numbered
from random_graphs.run import wrong

MANY = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of integers that wrap
@MANY
@given(graphs())
def test_a_random_graph_computes_what_numpy_and_onnxruntime_do(graph):
    assert not wrong(graph)


def test_random_graphs_are_drawn_of_enough_operators_and_types():
    assert len(set(KINDS)) >= 60
    assert len(TYPES) >= 6


def test_the_stored_results_are_of_two_thousand_graphs_without_a_wrong_one():
    chunks = json.loads((Path(__file__).parent / "random_graphs" / "results.json").read_text())
    assert sum(chunk["graphs"] for chunk in chunks.values()) >= 2000
    assert [bad for chunk in chunks.values() for bad in chunk["bad"].items()] == []
    assert len({name for chunk in chunks.values() for name in chunk["nodes"]}) >= 60
    assert len({name for chunk in chunks.values() for name in chunk["types"]}) >= 6
    assert sum(chunk["confirmed"]["onnxruntime"] for chunk in chunks.values()) >= 1900


def test_a_number_tells_its_graph():
    first, again, other = numbered(7), numbered(7), numbered(8)
    assert first.model() == again.model()
    assert first.model() != other.model()
