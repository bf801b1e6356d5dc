"""Tests of tstorch-trace diff: aligned where fusion differs, causes that add up, noise that is called noise."""

import copy
import json

import pytest
from report_fixtures import small_trace

from tstorch.report.views import diff
from tstorch.tools import trace as tool
from tstorch.trace.compare import CAUSES, compare
from tstorch.trace.file import write_trace
from tstorch.trace.schema import TraceError


def pair():
    """Two equal traces whose runs and kernels are known as well as a real one's."""
    before = small_trace()
    before.runs = [{"kind": "plain", "run": n, "whole": 1500.0 + n % 3} for n in range(30)]
    before.kernels = [{"name": name, "digest": name * 8} for name in ("k0", "k1", "prep")]
    for dispatch in before.dispatches:
        dispatch["mad_us"] = 0.01 * dispatch["us"]
    return before, copy.deepcopy(before)


def slowed(trace, number, times):
    (dispatch,) = [row for row in trace.dispatches if row["id"] == number]
    dispatch["us"] *= times


def test_equal_traces_differ_by_nothing():
    comparison = compare(*pair())
    assert comparison.is_noise
    assert all(group.is_noise for group in comparison.groups)
    assert set(comparison.causes.values()) == {0.0}


@pytest.mark.parametrize("times", [1.0, 1.02, 2.0, 0.4])
def test_causes_add_up_to_the_difference(times):
    before, after = pair()
    slowed(after, 1, times)
    after.measured["ceilings"] = {"copy_gb_s": 20.0, "fma_gflop_s": 300.0}
    for group in compare(before, after).groups:
        assert sum(group.causes.values()) == pytest.approx(group.difference)


def test_a_slower_kernel_is_named_first_and_is_unexplained_where_its_shader_is_the_same():
    before, after = pair()
    slowed(after, 2, 2.0)
    first, *rest = compare(before, after).groups
    assert first.nodes == ("conv2", "bn2", "relu2")
    assert not first.is_noise
    assert first.causes["unexplained"] == pytest.approx(300)
    assert all(group.is_noise for group in rest)


def test_another_shader_for_the_same_work_is_the_kernels_doing():
    before, after = pair()
    slowed(after, 2, 2.0)
    after.kernels = [kernel | {"digest": "other"} for kernel in after.kernels]
    assert compare(before, after).groups[0].causes["kernel"] == pytest.approx(300)


def test_a_small_change_is_noise_and_so_is_one_inside_the_spread():
    before, after = pair()
    slowed(after, 2, 1.03)
    assert all(group.is_noise for group in compare(before, after).groups)
    slowed(after, 2, 1.3)
    assert not all(group.is_noise for group in compare(before, after).groups)
    for trace in (before, after):
        trace.dispatches[2]["mad_us"] = 100.0
    assert all(group.is_noise for group in compare(before, after).groups)


def sampled(trace, number, raw):
    """Gives the detailed runs of a trace: every dispatch as long as its mean, one as `raw` says."""
    order = [row for row in trace.dispatches if row["entry"] == "run"]
    for run, us in enumerate(raw):
        times = [us if row["id"] == number else row["us"] for row in order]
        trace.runs.append({"kind": "detailed", "run": run, "raw_us": times})


def test_single_runs_of_two_kinds_are_no_difference_however_their_means_lie():
    """On a driver that runs a kernel in one of two ways, a mean tells how often each was."""
    before, after = pair()
    sampled(before, 2, [160, 162, 165, 167, 170, 300, 301, 299, 168, 166])
    sampled(after, 2, [302, 310, 300, 305, 299, 163, 164, 308, 306, 165])
    slowed(after, 2, 1.6)
    assert all(group.is_noise for group in compare(before, after).groups)
    for run in after.runs[-10:]:
        run["raw_us"] = [2 * us for us in run["raw_us"]]
    assert not compare(before, after).groups[0].is_noise, "beyond both kinds it is one"


def test_a_machine_that_changed_its_pace_says_nothing_of_the_whole():
    before, after = pair()
    for run in after.runs:
        run["whole"] *= 1.2
    assert not compare(before, after).is_noise
    after.measured["timing"]["sentinel_drift"] = 0.3
    assert compare(before, after).is_noise


def test_what_empty_dispatches_cost_is_a_cause_of_its_own():
    before, after = pair()
    for trace, us in ((before, 10.0), (after, 30.0)):
        trace.measured["ceilings"] = {**trace.measured["ceilings"], "launch_us": us}
    for number in (1, 2, 3):
        (row,) = [row for row in after.dispatches if row["id"] == number]
        row["us"] += 20
    causes = compare(before, after).causes
    assert causes["launch"] == pytest.approx(60)
    assert sum(abs(us) for cause, us in causes.items() if cause != "launch") == pytest.approx(0, abs=1e-6)


def test_shaders_that_use_another_feature_are_told_apart_from_other_shaders():
    before, after = pair()
    slowed(after, 2, 2.0)
    after.kernels = [kernel | {"digest": "other", "features": ["shader-f16"]} for kernel in after.kernels]
    assert compare(before, after).groups[0].causes["feature"] == pytest.approx(300)


def test_what_is_not_the_gpus_is_the_hosts():
    before, after = pair()
    slowed(after, 2, 2.0)
    after.measured["parts_us"] |= {"gpu": 1300.0, "handoff": 350.0, "whole": 2050.0}
    comparison = compare(before, after)
    assert comparison.host == pytest.approx(250)
    whole = comparison.parts["whole"]
    assert sum(comparison.causes.values()) + comparison.host == pytest.approx(whole[1] - whole[0])


def test_a_faster_device_is_told_by_its_ceilings():
    before, after = pair()
    after.measured["ceilings"] = {"copy_gb_s": 10.0, "fma_gflop_s": 1000.0}
    for number in (1, 2):
        slowed(after, number, 0.5)
    causes = compare(before, after).causes
    assert causes["compute"] == pytest.approx(-450)
    assert sum(abs(causes[cause]) for cause in CAUSES if cause != "compute") == pytest.approx(0, abs=1e-6)


def test_nodes_fused_in_one_trace_only_are_compared_together():
    before, after = pair()
    split = copy.deepcopy(after.dispatches[1])
    split |= {"id": 9, "us": 200.0, "shares": [{"id": "relu1", "role": "forward", "share": 1.0}], "flops": 0}
    after.dispatches[1]["shares"] = after.dispatches[1]["shares"][:2]
    after.dispatches.insert(2, split)
    (group,) = [group for group in compare(before, after).groups if "relu1" in group.nodes]
    assert group.nodes == ("conv1", "bn1", "relu1")
    assert (len(group.before.dispatches), len(group.after.dispatches)) == (1, 2)
    assert group.difference == pytest.approx(200)


def test_traces_of_two_models_are_refused(tmp_path, capsys):
    before, after = pair()
    after.header["model"] = {"path": "other.onnx", "sha256": "b" * 64}
    with pytest.raises(TraceError, match="of two models"):
        compare(before, after)
    for name, trace in (("a", before), ("b", after)):
        write_trace(trace, tmp_path / name)
    assert tool.main(["diff", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    assert "of two models: model is aaaa" in capsys.readouterr().err
    assert tool.main(["diff", str(tmp_path / "a")]) == 2


def test_the_text_says_what_changed_and_what_did_not(tmp_path, capsys):
    before, after = pair()
    slowed(after, 2, 2.0)
    after.header["pipeline"] = ["convert-onnx-to-prim"]
    after.measured["timing"]["sentinel_drift"] = 0.3
    text = "\n".join(diff.view(before, after).lines)
    assert "passes only before: form-dispatch-regions" in text
    assert "+300 us   1->1  unexplained  conv2, bn2 and 1 more" in text
    assert "after   unfit for comparison: a fixed kernel ran +30% slower" in text
    assert "2 of 3 groups of nodes: no difference beyond the spread" in text
    for name, trace in (("a", before), ("b", after)):
        write_trace(trace, tmp_path / name)
    assert tool.main(["diff", str(tmp_path / "a"), str(tmp_path / "b"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["groups"][0]["nodes"] == ["conv2", "bn2", "relu2"]
    assert data["causes_us"]["unexplained"] == pytest.approx(300)
