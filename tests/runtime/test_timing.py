"""The arithmetic of measured time, on ticks made up for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tstorch.runtime.timing import (
    agreement,
    drift,
    durations_ns,
    is_valid,
    judge_clock,
    quiet,
    quieter_half,
    scale_parts,
    subtract_probe,
    summary,
)

EPOCH = 1_800_000_000_000_000_000  # Unix nanoseconds: far beyond what a float holds exactly


def test_ticks_are_subtracted_as_integers():
    assert durations_ns([EPOCH + 1, EPOCH + 33, EPOCH + 40, EPOCH + 40 + 7], 1.0) == [32.0, 7.0]
    assert float(EPOCH + 33) - float(EPOCH + 1) != 32.0  # what a reader of floats would have seen


@pytest.mark.parametrize(
    ("ticks", "label", "quantum"),
    [
        ([[EPOCH, EPOCH + 32, EPOCH + 96]], "device", 32.0),
        ([[EPOCH, EPOCH + 65536 * 3, EPOCH + 65536 * 5]], "quantised", 65536.0),
        ([[EPOCH, EPOCH + 100_000], [EPOCH + 5, EPOCH + 300_005]], "quantised", 100_000.0),
        ([[0, 0, 0, 0]], "invalid", 0.0),
        ([[EPOCH, EPOCH + 32], [EPOCH + 32, EPOCH]], "invalid", 0.0),
        ([[EPOCH, EPOCH, EPOCH]], "invalid", 0.0),
        ([[EPOCH, 0]], "invalid", 0.0),
        ([], "untimed", 0.0),
    ],
)
def test_clock_is_judged_by_its_ticks(ticks, label, quantum):
    quality = judge_clock(ticks, 1.0)
    assert (quality.label, quality.quantum_ns) == (label, quantum)


def test_period_scales_the_quantum():
    assert judge_clock([[EPOCH, EPOCH + 20]], 80.0).quantum_ns == 1600.0
    assert judge_clock([[EPOCH, EPOCH + 20]], 80.0).label == "quantised"


def test_a_timestamp_may_repeat_within_a_run_but_not_go_back():
    assert is_valid([5, 5, 9])
    assert not is_valid([5, 4, 9])
    assert not is_valid([5])


def test_probe_is_what_the_parts_exceed_the_whole_by():
    constant, parts = subtract_probe([10.0, 20.0, 30.0], 54.0)
    assert constant == pytest.approx(2.0)
    assert parts == pytest.approx([8.0, 18.0, 28.0])


def test_a_part_shorter_than_the_probe_is_zero_and_the_sum_still_holds():
    constant, parts = subtract_probe([1.0, 20.0, 30.0], 41.0)
    assert parts == pytest.approx([0.0, 15.5, 25.5])
    assert constant == pytest.approx(4.5)


def test_probe_is_never_negative():
    assert subtract_probe([1.0, 2.0], 5.0) == (0.0, [1.0, 2.0])


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0, 1))
def test_parts_sum_to_the_whole_and_none_is_negative(raw, share):
    whole = sum(raw) * share
    constant, parts = subtract_probe(raw, whole)
    assert sum(parts) == pytest.approx(whole, abs=1e-6 * max(1.0, sum(raw)))
    assert constant >= 0
    assert all(0 <= part <= before for part, before in zip(parts, raw, strict=True))


def test_agreement_uses_the_other_constant_which_the_first_does_not_bear():
    assert agreement(30.0, 25.0, 3, 2.5) == pytest.approx(100.0)
    assert agreement(30.0, 25.0, 3, 0.0) == pytest.approx(120.0)
    assert agreement(30.0, 25.0, 3, -1.0) == pytest.approx(120.0)
    assert agreement(0.0, 0.0, 0, 1.0) is None


def test_on_shared_cores_parts_are_shortened_then_scaled():
    factor, parts = scale_parts([10.0, 35.0, 65.0], 120.0, tiny=25.0, floor=5.0)
    assert factor == pytest.approx(2.0)  # 10 + 10 + 40 share 120
    assert parts == pytest.approx([20.0, 20.0, 80.0])


def test_on_shared_cores_no_part_is_shorter_than_a_kernel_that_does_nothing():
    _, parts = scale_parts([50.0, 20.0, 3.0], 58.0, tiny=25.0, floor=5.0)
    assert parts == pytest.approx([50.0, 5.0, 3.0])  # and none is longer than it was measured


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=50), st.floats(1, 1e6), st.floats(-10, 100), st.floats(0.5, 50))
def test_scaled_parts_sum_to_the_whole_and_none_vanishes(raw, whole, tiny, floor):
    factor, parts = scale_parts(raw, whole, tiny, floor)
    assert sum(parts) == pytest.approx(whole)
    assert min(parts) > 0
    assert factor > 0


def test_a_noisy_core_does_not_change_who_is_slow():
    """Ten runs of two kernels, true times 100 and 300; in three, something else ran for 1000 during the first."""
    columns = [[100.0] * 7 + [1100.0] * 3, [300.0] * 10]
    _, parts = scale_parts([quiet(column) for column in columns], 440.0, 0.0, 1.0)
    assert parts == pytest.approx([110.0, 330.0])


def test_quiet_is_the_lower_quartile():
    assert quiet([5.0, 1.0, 4.0, 2.0, 3.0]) == 2.0
    assert quiet([7.0]) == 7.0
    assert quiet([]) == 0.0


def test_the_quieter_half_keeps_its_order():
    assert quieter_half("abcde", [3, 9, 1, 2, 8]) == ["a", "c", "d"]
    assert quieter_half("a", [3]) == ["a"]
    assert quieter_half("", []) == []


def test_drift_is_the_worse_of_both_sides():
    assert drift(100.0, 101.0, 104.0) == pytest.approx(0.04)
    assert drift(100.0, 100.0, 100.0) == 0.0


def test_summary_of_samples():
    found = summary([1.0, 2.0, 3.0, 4.0, 100.0])
    assert found == {"median": 3.0, "p90": 100.0, "mad": 1.0, "mean": 22.0, "runs": 5}
    assert summary([])["runs"] == 0
