"""Tests of how a trace is made from an artifact and a profile: joined by id, in one unit, with nothing invented."""

import copy

import pytest
from tiny_artifact import tiny_artifact

from tstorch.report.build import build_report
from tstorch.report.terminal import report_lines
from tstorch.trace.record import cold_stages, record_trace
from tstorch.trace.schema import TraceError

PARTS = ("handoff", "upload", "encode", "submit", "launch", "gpu", "sync", "readback", "unattributed", "whole")
ADAPTER = {"name": "none", "backend": "none", "driver": "", "class": "cpu", "limits": {}, "features": []}
PROFILE = {
    "entry": "run",
    "fingerprint": "7" * 64,
    "latency_ms": {"median": 1.0, "p90": 1.0, "mad": 0.0, "mean": 1.0, "runs": 2},
    "parts_us": dict.fromkeys(PARTS, 0.0) | {"gpu": 10.0, "unattributed": 2.0, "whole": 12.0},
    "parts_median_us": {},
    "timing": {"quality": "device", "period_ns": 1.0, "probe_us": 1.0, "raw_sum_us": 11.0, "agreement": 99.0},
    "dispatches": [{"id": 1, "us": 3.0, "raw_us": 4.0}, {"id": 0, "us": 6.0, "raw_us": 7.0}],
    "residual_us": 1.0,
    "warmup_runs": 2,
    "memory": {
        "requested": 192,
        "peak": 256,
        "requested_by": {"weight": 32, "activation": 32, "input": 64, "staging": 48, "timestamps": 16},
        "reserved": None,
        "reserved_source": "this driver does not report it",
    },
    "submitted": {"runs": 6, "model": 12, "other": 40},
    "loop_cap": None,
    "samples": {
        "plain_ns": [1_000_000, 1_000_000],
        "light_ns": [{"gpu": 10_000.0, "whole": 12_000.0}],
        "launch_ns": [5_000.0],
        "detailed_ns": [[7_000.0, 4_000.0]],
    },
}


def traced(profile):
    return record_trace(tiny_artifact(), adapter=ADAPTER, inputs=[], stages=[], profile=profile)


def test_times_join_by_id_whatever_their_order():
    trace = traced(PROFILE)
    assert [(row["id"], row["us"], row["grid"]) for row in trace.dispatches] == [
        (0, 6.0, [1, 1, 1]),
        (1, 3.0, [1, 1, 1]),
    ]


def test_raw_samples_are_kept_in_microseconds():
    runs = traced(PROFILE).runs
    assert [run["kind"] for run in runs] == ["plain", "plain", "light", "launch", "detailed"]
    assert runs[0]["whole"] == 1000.0
    assert runs[2]["gpu"] == 10.0
    assert runs[4]["raw_us"] == [7.0, 4.0]


def test_every_requested_byte_is_in_one_category():
    memory = traced(PROFILE).measured["memory"]
    assert (memory["weights"], memory["activations"], memory["staging"]) == (32, 96, 64)
    assert memory["weights"] + memory["activations"] + memory["staging"] == memory["requested"]


def test_dispatches_and_what_lies_between_them_add_up_to_the_gpu_part():
    report = build_report(traced(PROFILE))
    table = sum(row["us"] for row in report["dispatch_table"])
    assert table + report["timing"]["residual_us"] == report["parts_us"]["gpu"]


def test_a_profile_of_another_artifact_is_refused():
    with pytest.raises(TraceError, match="not of this artifact"):
        traced(PROFILE | {"fingerprint": "8" * 64})


def test_without_one_good_light_run_parts_are_unknown_not_zero():
    profile = copy.deepcopy(PROFILE)
    profile["samples"]["light_ns"] = []
    report = build_report(traced(profile))
    assert set(report["parts_us"].values()) == {None}
    assert any("untimed" in line.plain for line in report_lines(report) if line.plain.startswith("Parts"))


def test_cold_stages_sum_to_the_wall_and_keep_their_own_time_apart():
    load = {"read": 1.0, "device": 2.0, "self_test": 3.0, "prepare": 1.0, "pipelines": 4.0, "bind": 1.0, "upload": 5.0}
    rows = cold_stages(
        session={"import": 10.0, "device": 40.0, "passes": 20.0, "codegen": 30.0},
        startup={"total": 100.0},
        load=load | {"init": 1.0},
        busy=load | {"pipelines": 40.0, "init": 1.0},
        first_run=7.0,
        wall=130.0,
    )
    assert sum(row["ms"] for row in rows) == 130.0
    stages = {row["name"]: row for row in rows}
    assert (stages["device"]["ms"], stages["codegen"]["ms"]) == (45.0, 31.0)
    assert stages["device"]["busy_ms"] == 105.0, "the worker started while the session compiled"
    assert (stages["pipelines"]["ms"], stages["pipelines"]["busy_ms"]) == (6.0, 42.0)
    assert stages["unattributed"]["ms"] == 5.0
