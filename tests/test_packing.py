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


def test_a_crowd_is_packed_in_order_of_time():
    crowd = [Tensor(256 * (1 + i % 3), i % 500, 400 + i % 600, frozenset({i ^ 1})) for i in range(1200)]
    packer = Packer(crowd, LIMIT)
    plan = packer.best()
    for i, one in enumerate(crowd):
        arena, offset = plan.place[i]
        assert offset + one.padded <= plan.arenas[arena]
        assert plan.place[i ^ 1][0] != arena
        for j in range(i):
            other, (there, begin) = crowd[j], plan.place[j]
            if there == arena and one.lives_with(other):
                assert offset + one.padded <= begin or begin + other.padded <= offset
    alive = [sum(each.padded for each in crowd if each.first <= now <= each.last) for now in range(1000)]
    assert plan.peak <= 1.25 * max(alive)


def test_what_ends_in_time_leaves_its_bytes_to_others():
    packer = Packer([Tensor(256, at, at + 1) for at in range(0, 40, 2)], LIMIT)
    assert packer.in_time().peak == 256


def test_an_arena_that_is_full_is_followed_by_another():
    packer = Packer([Tensor(1000, 0, 9) for _ in range(9)], 2048)
    assert max(packer.in_time().arenas) <= 2048
    assert packer.in_time().peak == 9 * 1024
