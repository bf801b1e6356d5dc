"""Tests that a hundred random graphs compute what NumPy and onnxruntime do; two thousand are
`python tests/random_graphs/run.py`."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from random_graphs.graphs import KINDS, TYPES, graphs
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
