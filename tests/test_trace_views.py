"""Tests of tstorch-trace: what every view prints adds up, and faults of files are told by name."""

import json
from pathlib import Path

import pytest
from models import mlp
from report_fixtures import small_trace

from tstorch.compiled import compile_model
from tstorch.report.idle import idle_run
from tstorch.report.views import cold, fusion, kernels, memory, modules, nodes, summary
from tstorch.session import make_recipe
from tstorch.tools import trace as tool
from tstorch.trace.file import write_trace
from tstorch.trace.join import gpu_us
from tstorch.trace.order import serialised_by
from tstorch.trace.statistics import Spread, interval_of_median


@pytest.fixture
def path(tmp_path):
    write_trace(small_trace(), tmp_path / "small.trace")
    return str(tmp_path / "small.trace")


@pytest.mark.parametrize("view", tool.VIEWS)
def test_every_view_is_printed_as_text_and_as_json(path, view, capsys):
    assert tool.main([view, path]) == 0
    text = capsys.readouterr().out
    assert text.strip()
    assert tool.main([view, path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("view", tool.VIEWS)
def test_every_view_names_a_file_that_is_missing_or_cut(path, view, capsys, tmp_path):
    assert tool.main([view, str(tmp_path / "none.trace")]) == 1
    assert "none.trace: No such file" in capsys.readouterr().err
    cut = tmp_path / "cut.trace"
    cut.write_text(Path(path).read_text().rpartition("\n{")[0])
    assert tool.main([view, str(cut)]) == 1
    assert "truncated" in capsys.readouterr().err


def test_one_view_takes_one_file(path, capsys):
    assert tool.main(["kernels", path, path]) == 2
    assert "2 files given, 1 expected" in capsys.readouterr().err


def test_times_of_kernels_nodes_and_modules_are_the_gpu_time():
    trace = small_trace()
    whole = gpu_us(trace)
    assert whole == 1000
    assert sum(row["us"] for row in kernels.view(trace).data["kernels"]) == pytest.approx(whole)
    assert sum(row["us"] or 0 for row in nodes.view(trace).data["nodes"]) == pytest.approx(whole)
    assert modules.view(trace).data["us"] == pytest.approx(whole)


def test_the_tree_of_modules_has_subtotals_the_slowest_first():
    data = modules.view(small_trace()).data
    assert [(scope["name"], scope["us"], scope["nodes"]) for scope in data["inner"]] == [
        ("layer1", pytest.approx(600), 3),
        ("layer2", pytest.approx(300), 3),
    ]
    assert data["own_us"] == pytest.approx(100), "the pool belongs to no module"


@pytest.mark.parametrize(
    ("node", "path"),
    [
        ({"id": "n", "module": "layer1.0.conv"}, ["layer1", "0", "conv"]),
        ({"id": "/layer1/conv/Conv", "module": ""}, ["layer1", "conv"]),
        ({"id": "Conv_3", "module": ""}, []),
    ],
)
def test_the_scope_of_a_node(node, path):
    assert modules.scope_of(node) == path


def test_nodes_say_what_they_went_into_or_where_else_they_went():
    lines = nodes.view(small_trace()).lines
    assert any("bn1 (layer1.bn) -> fused into conv1 (layer1.conv)" in line for line in lines)
    assert any("elided" in line and "shape: folded to a constant" in line for line in lines)
    assert lines[-1] == "8 nodes: 1 elided, 7 run; 100 % of the gpu time is theirs"


def test_stages_of_a_cold_start_add_up():
    data = cold.view(small_trace()).data
    assert sum(row["ms"] for row in data["stages"]) == data["total_ms"] == 59


def test_what_reaching_the_roof_would_save_is_never_more_than_the_kernel_takes():
    for kernel in kernels.view(small_trace()).data["kernels"]:
        assert kernel["saves_us"] == pytest.approx(kernel["us"] * (1 - kernel["share_of_ceiling"]))
        assert 0 <= kernel["saves_us"] <= kernel["us"]


def test_fusion_has_both_sides():
    lines = fusion.view(small_trace()).lines
    assert any("TST-F001" in line for line in lines)
    assert any("both are contractions" in line for line in lines)
    assert not any("TST-S004" in line for line in lines), "that is no fusion"


def test_an_arenas_unused_part_is_taken_at_its_fullest():
    data = memory.view(small_trace()).data
    assert data["buffers"][0]["fragmentation"] == pytest.approx(1 - 1000 / 802816)
    assert data["peak"]["live_bytes"] == 1000


def test_what_lives_at_the_peak_has_its_node_and_module():
    trace = small_trace()
    trace.tensors[0]["name"] = trace.timeline[1]["tensors"][1] = "conv1"
    rows = {row["name"]: (row["node"], row["module"]) for row in memory.view(trace).data["peak"]["tensors"]}
    assert rows == {"conv1": ("conv1", "layer1.conv"), "conv2_out": ("", "")}


def test_memory_needs_no_run(tmp_path, capsys):
    artifact = compile_model(mlp(batch=1), make_recipe("cpu")).artifact
    artifact.write(tmp_path / "mlp.tst")
    assert tool.main(["memory", str(tmp_path / "mlp.tst"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["memory"] is None
    assert data["timeline"] == artifact.memory["timeline"]
    assert data["peak"]["live_bytes"] == artifact.memory["lower_bound"]
    assert sum(data["planned"].values()) == sum(buffer["bytes"] for buffer in artifact.program["buffers"])
    assert tool.main(["memory", str(tmp_path / "mlp.tst")]) == 0
    assert "as measured" not in capsys.readouterr().out
    assert tool.main(["kernels", str(tmp_path / "mlp.tst")]) == 1


def test_memory_over_time_and_what_runs_allocate_are_shown():
    trace = small_trace()
    event = {"ms": 1.0, "name": "a", "category": "weight", "bytes": 1024, "live_bytes": 1024}
    trace.allocations = [event, event | {"live_bytes": 2048}, event | {"bytes": -1024}]
    made = {"leak": {"count": 9, "bytes": 9216}}
    trace.measured["memory"]["steady"] = {
        "runs": 9, "allocations": 9, "bytes": 9216, "made": made, "slope": 1024.0, "resident_slope": None,
    }  # fmt: skip
    text = "\n".join(memory.view(trace).lines)
    assert "2.00 KiB made (weight, 2 x)" in text
    assert "1.00 KiB given back (weight, 1 x)" in text
    assert "allocated during 9 steady runs: 9 x leak (9.00 KiB)" in text
    assert "live bytes grow by 1.00 KiB a run, over 9 runs" in text


def test_each_wait_for_the_device_stands_under_its_part():
    trace = small_trace()
    trace.header["outputs"] = [{"name": "y", "bytes": 4000}]
    look = {"tensors": ["n"], "bytes": 8, "cause": "which branch is taken", "us": 40.0}
    trace.measured["synchronisations"] = {"count": 1, "bytes": 8, "us": 60.0, "each": [look], "other_us": 20.0}
    lines = [line.strip() for line in summary.view(trace).lines]
    first = next(at for at, line in enumerate(lines) if " sync" in line)
    assert lines[first + 1].endswith("the host waits for n (8 B): which branch is taken")
    assert lines[first + 2].endswith("another submission, without a look")
    assert any(line.endswith("the host waits for y (3.91 KiB): the caller gets the outputs") for line in lines)


def test_why_a_run_after_a_pause_is_slower_adds_up():
    trace = small_trace()
    parts = trace.measured["parts_us"] | {"gpu": 1500.0, "handoff": 130.0, "whole": 2100.0}
    trace.measured["idle"] = {"pause_s": 2.0, "parts_us": parts, "clock": 0.4}
    found = idle_run(trace)
    assert (found["clock"], found["caches"], found["host"]) == pytest.approx((400, 100, 30))
    assert found["whole"] - found["steady"] == pytest.approx(
        sum(found[part] for part in ("clock", "caches", "host", "waking"))
    )
    assert any("after 2 s of idling takes 2.10 ms, 1.40 x the steady one" in line for line in summary.view(trace).lines)
    trace.measured["idle"] = None
    assert idle_run(trace) is None


def binding(buffer, offset, size, access):
    return {"buffer": buffer, "offset": offset, "bytes": size, "access": access}


@pytest.mark.parametrize(
    ("before", "after", "cause"),
    [
        ([binding(0, 0, 8, "read_write")], [binding(0, 4, 8, "read")], "needs"),
        ([binding(0, 0, 8, "read")], [binding(0, 0, 8, "read_write")], "needs"),
        ([binding(0, 0, 8, "read_write")], [binding(0, 256, 8, "read")], "shares"),
        ([binding(0, 0, 8, "read")], [binding(0, 0, 8, "read")], "free"),
        ([binding(0, 0, 8, "read_write")], [binding(1, 0, 8, "read_write")], "free"),
    ],
)
def test_what_makes_a_dispatch_wait(before, after, cause):
    trace = small_trace()
    trace.dispatches = [trace.dispatches[1] | {"bindings": before}, trace.dispatches[2] | {"bindings": after}]
    first, second = serialised_by(trace)
    assert first["cause"] == "first"
    assert second["cause"] == cause
    assert second["buffer"] == (None if cause == "free" else "arena0")


def test_a_trace_without_bindings_says_nothing_of_order():
    assert serialised_by(small_trace()) == []


def test_quantiles_are_runs_that_were_measured():
    spread = Spread(tuple(float(time) for time in range(1, 101)))
    assert (spread.quantile(0.5), spread.quantile(0.9), spread.quantile(0.99)) == (50, 90, 99)
    assert Spread((3.0,)).quantile(0.99) == 3


def test_outliers_have_their_place_and_drift_its_sign():
    times = [10.0, 10.1, 9.9, 10.0, 10.1, 9.9, 30.0, 10.0]
    assert Spread(tuple(times)).outliers() == [(6, 30.0)]
    assert Spread((10.0,) * 4 + (11.0,) * 4).drift() == pytest.approx(0.1)
    assert Spread((10.0,) * 3).drift() is None
    assert Spread((10.0,) * 8).outliers() == [], "equal runs have none"


def test_the_interval_of_a_median_holds_it_and_narrows():
    few, many = interval_of_median(range(9)), interval_of_median([n / 100 for n in range(900)])
    assert few[0] <= 4 <= few[1]
    assert many[1] - many[0] < few[1] - few[0]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda trace: trace.header.update(environment={"load_1min": 3.0, "cpus": 2}), "busy before"),
        (lambda trace: trace.header.update(environment={"governor": "powersave"}), "powersave"),
        (lambda trace: trace.measured["timing"].update(sentinel_drift=0.3), "+30% slower"),
        (lambda trace: trace.measured["timing"].update(quality="host"), "times are the host's"),
        (lambda trace: trace.runs.extend({"kind": "plain", "run": n, "whole": 900.0 * n} for n in range(9)), "spread"),
    ],
)
def test_what_makes_a_run_unfit_is_said(spoil, says):
    trace = small_trace()
    assert summary.unfit(trace) == []
    spoil(trace)
    (warning,) = summary.unfit(trace)
    assert says in warning
    assert f"unfit for comparison: {warning}" in summary.view(trace).lines
