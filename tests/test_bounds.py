"""Tests of what limits a kernel: the ceiling it meets, its launch or its latency; and ceilings that a kernel beats."""

import pytest
from report_fixtures import small_trace

from tstorch.report.build import build_report
from tstorch.trace.bounds import MOST_SHARE, Ceilings, limit_of
from tstorch.trace.ceilings import beaten, raise_ceilings

COPIES = ((1 << 14, 4_000.0), (1 << 16, 8_000.0), (1 << 20, 2_000.0))
CEILINGS = Ceilings(2_000.0, 10_000.0, COPIES, launch_us=10.0, step_us=0.1, units=4)


def dispatch(nbytes, flops, groups=64, **more):
    return {"bytes": nbytes, "flops": flops, "grid": [groups, 1, 1], **more}


def test_a_bandwidth_lies_between_those_of_the_sizes_around_it():
    assert CEILINGS.bandwidth(1 << 14) == 4_000
    assert CEILINGS.bandwidth(1 << 15) == pytest.approx(4_000 * 2**0.5)
    assert CEILINGS.bandwidth(1 << 18) == pytest.approx(4_000)
    assert (CEILINGS.bandwidth(100), CEILINGS.bandwidth(1 << 30)) == (4_000, 2_000)
    assert Ceilings(5.0, 1.0).bandwidth(77) == 5


@pytest.mark.parametrize(
    ("row", "iterations", "us", "bound"),
    [
        (dispatch(1 << 20, 1_000), 0, 1_000.0, "memory"),
        (dispatch(1 << 14, 10_000_000), 0, 2_000.0, "compute"),
        (dispatch(1 << 14, 0), 0, 19.0, "launch"),
        (dispatch(1 << 14, 0), 0, 21.0, "memory"),
        (dispatch(1 << 14, 10_000_000, groups=3), 0, 2_000.0, "latency"),
        (dispatch(1 << 14, 10_000_000), 20_000, 2_000.0, "latency"),
        (dispatch(1 << 14, 10_000_000), 20_000, 1_500.0, "compute"),
    ],
    ids=["memory", "compute", "near a launch", "beyond a launch", "few groups", "long chain", "near the roof"],
)
def test_what_limits_a_kernel(row, iterations, us, bound):
    assert limit_of(CEILINGS, [row], {"iterations": iterations}, us).bound == bound


def test_the_distance_to_the_roof_is_what_a_kernel_could_save():
    limit = limit_of(CEILINGS, [dispatch(1 << 20, 0), dispatch(1 << 20, 0)], {}, 2_000.0)
    assert limit.roof_us == pytest.approx(2 * (1 << 20) / 2_000)
    assert limit.share == pytest.approx(limit.roof_us / 2_000)
    assert limit.saves_us == pytest.approx(2_000 - limit.roof_us)


def test_a_loop_does_its_work_as_often_as_it_runs():
    once, thrice = (limit_of(CEILINGS, [dispatch(1 << 20, 0, runs=runs)], {}, 9_000.0) for runs in (1, 3))
    assert once.roof_us == pytest.approx((1 << 20) / 2_000)
    assert thrice.roof_us == pytest.approx(3 * (1 << 20) / 2_000)


def test_a_kernel_near_its_launch_has_no_share_of_any_ceiling():
    limit = limit_of(CEILINGS, [dispatch(1 << 14, 0)], {}, 3.0)
    assert (limit.bound, limit.share) == ("launch", None)


def fast_trace(us, copy=None):
    """A trace whose convolutions take `us` microseconds each, and whose pool moves 0.8 MB in a hundred."""
    trace = small_trace()
    trace.measured["ceilings"] |= {} if copy is None else {"copy": copy}
    for row in trace.dispatches[1:3]:
        row["us"] = us
    return trace


def test_no_kernel_beats_its_ceiling_for_long():
    trace = fast_trace(100.0)
    (found,) = beaten(trace)
    assert (found.kernel, found.bound, found.share) == ("k0", "compute", pytest.approx(2.0))
    raise_ceilings(trace)
    assert not beaten(trace)
    assert max(row["share_of_ceiling"] for row in build_report(trace)["kernels"]) <= MOST_SHARE
    assert trace.measured["ceilings"]["fma_gflop_s"] == pytest.approx(1000)
    assert trace.measured["ceilings"]["raised"] == [{"kernel": "k0", "ceiling": "compute", "factor": pytest.approx(2)}]


def test_only_the_copies_around_the_working_set_are_raised():
    copy = [{"bytes": size, "us": 1.0, "gb_s": 4.0} for size in (1 << 14, 1 << 18, 1 << 20, 1 << 24)]
    trace = fast_trace(900.0, copy)
    assert [(found.kernel, found.bound) for found in beaten(trace)] == [("k1", "memory")]
    raise_ceilings(trace)
    assert not beaten(trace)
    assert [row["gb_s"] for row in trace.measured["ceilings"]["copy"]] == pytest.approx([4, 8, 8, 4])


def test_a_ceiling_that_nothing_beats_stays():
    trace = small_trace()
    raise_ceilings(trace)
    assert "raised" not in trace.measured["ceilings"]
