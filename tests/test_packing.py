"""Tests of the packer on life times as networks have them."""

from dataclasses import replace

from tstorch.passes.buffers.packing import Packer, Tensor

# A transformer block's values, in the order of its dispatches: bytes, first and last command, what lies elsewhere.
BLOCK = [
    Tensor(64, 0, 3, frozenset({3})),
    Tensor(64, 1, 5, frozenset({5})),
    Tensor(64, 2, 11, frozenset({10})),
    Tensor(64, 3, 4, frozenset({0, 4})),
    Tensor(2048, 4, 7, frozenset({3, 5, 6})),
    Tensor(64, 5, 6, frozenset({1, 4})),
    Tensor(2048, 7, 15, frozenset({4, 7, 8, 9, 12, 13})),
    Tensor(2048, 8, 11, frozenset({6, 10})),
    Tensor(2048, 9, 13, frozenset({6, 12})),
    Tensor(2048, 10, 11, frozenset({6, 10})),
    Tensor(2048, 11, 12, frozenset({2, 7, 9, 11})),
    Tensor(2048, 12, 13, frozenset({10, 12})),
    Tensor(2048, 13, 14, frozenset({6, 8, 11})),
    Tensor(2048, 15, 18, frozenset({6, 14, 15})),
    Tensor(8192, 16, 17, frozenset({13})),
    Tensor(2048, 18, 19, frozenset({13})),
]
# The largest value, and two that must lie elsewhere than it and than each other.
LEAST = 8192 + 2 * 2048
LIMIT = 2**28


def test_changes_of_an_order_find_what_no_order_does():
    assert Packer(BLOCK, LIMIT).first().peak > LEAST
    assert Packer(BLOCK, LIMIT).best().peak == LEAST


def test_the_same_values_get_the_same_plan():
    assert Packer(BLOCK, LIMIT).best() == Packer(BLOCK, LIMIT).best()


def test_an_arena_stays_within_the_largest_buffer():
    plan = Packer([replace(tensor, apart=frozenset()) for tensor in BLOCK], 8192).best()
    assert max(plan.arenas) == 8192


def test_nothing_needs_no_arena():
    assert Packer([], LIMIT).best().peak == 0
