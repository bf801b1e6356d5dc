"""Tests of how a dispatch's time is split over its nodes: by what its ops compute, each op counted once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tstorch.artifact.emit import shares

CONV, NORM, RELU, POOL = [(name, "forward") for name in ("conv", "norm", "relu", "pool")]


def test_a_normalisation_folded_into_a_convolution_has_no_share_of_it():
    assert shares([[CONV, NORM], [RELU]], [900, 100]) == pytest.approx({CONV: 0.9, NORM: 0.0, RELU: 0.1})


def test_an_op_counts_for_what_no_earlier_dispatch_serves():
    moved = [[CONV, NORM, POOL]]  # a transpose of the convolution's went into the pool
    assert shares(moved, [50], {CONV, NORM}) == {CONV: 0.0, NORM: 0.0, POOL: 1.0}
    assert shares(moved, [50], {CONV, NORM, POOL}) == {CONV: 1.0, NORM: 0.0, POOL: 0.0}


def test_where_nothing_computes_each_op_counts_the_same():
    assert shares([[CONV], [POOL], [POOL]], [0, 0, 0]) == pytest.approx({CONV: 1 / 3, POOL: 2 / 3})
    assert shares([[], []], [0, 0]) == {}


@given(st.lists(st.tuples(st.lists(st.sampled_from([CONV, NORM, RELU, POOL]), unique=True), st.integers(0, 10**9))))
def test_shares_sum_to_one_over_all_nodes_named(ops):
    found = shares([pairs for pairs, _ in ops], [flops for _, flops in ops], {NORM})
    assert set(found) == {pair for pairs, _ in ops for pair in pairs}
    assert sum(found.values()) == pytest.approx(1.0 if found else 0.0)
