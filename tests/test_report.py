"""Tests of the report: its figures add up, its text keeps its bounds, and nothing unknown is printed as a number."""

import io
import json
from itertools import pairwise

import pytest
from report_fixtures import small_trace, untimed, wide_trace
from rich.console import Console

from tstorch.report.build import PARTS, build_report
from tstorch.report.chrome_trace import chrome_trace
from tstorch.report.terminal import HEADLINE_LINES, REPORT_LINES, print_report, report_lines
from tstorch.report.units import bytes_text, count_text, share_text, time_text

KEYS = {
    "schema": None,
    "model": {"path", "sha256"},
    "target": None,
    "adapter": {"name", "backend", "driver"},
    "verdict": {"status", "reasons"},
    "latency_ms": {"median", "p90", "mad", "runs"},
    "cold_ms": {"import", "passes", "pipelines", "unattributed", "total"},
    "cold_busy_ms": {"import", "passes", "pipelines"},
    "parts_us": {*PARTS, "whole"},
    "timing": {"quality", "period_ns", "probe_us", "raw_sum_us", "agreement", "sentinel_drift", "idle_run_ms"},
    "dispatches": None,
    "submitted": {"runs", "model", "other"},
    "fusion": {"done", "missed"},
    "memory": {
        *("weights", "activations", "staging", "arena_peak", "lower_bound"),
        *("requested", "reserved", "reserved_source"),
    },
    "fingerprint": None,
}
ROW_KEYS = {
    "dispatch_table": {"id", "kernel", "us", "grid", "nodes"},
    "kernels": {"name", "us", "dispatches", "nodes", "bytes", "flops", "bound", "share_of_ceiling"},
    "nodes": {"id", "module", "us", "where", "reason"},
}


def text_of(report, **options) -> str:
    return "\n".join(line.plain for line in report_lines(report, **options))


def test_the_report_has_every_documented_key():
    report = json.loads(json.dumps(build_report(small_trace())))
    assert report["schema"] == "tstorch-report/1"
    for key, inner in KEYS.items():
        assert key in report
        assert inner is None or inner <= set(report[key]), key
    for key, inner in ROW_KEYS.items():
        assert all(inner <= set(row) for row in report[key]), key
    assert {"id", "reason", "nodes", "us"} <= set(report["fusion"]["missed"][0])


def test_figures_add_up():
    report = build_report(small_trace())
    table = sum(row["us"] for row in report["dispatch_table"])
    assert table == report["parts_us"]["gpu"]
    assert sum(row["us"] for row in report["kernels"]) == table
    assert sum(row["us"] for row in report["nodes"] if row["us"] is not None) == pytest.approx(table)
    assert sum(report["parts_us"][part] for part in PARTS) == pytest.approx(report["parts_us"]["whole"])
    assert sum(ms for name, ms in report["cold_ms"].items() if name != "total") == report["cold_ms"]["total"]
    assert report["dispatches"] == len(report["dispatch_table"]) == 3, "init is no part of a run"


def test_each_kernel_has_the_bound_that_it_meets_first():
    first, second = build_report(small_trace())["kernels"]
    assert (first["bound"], first["share_of_ceiling"]) == ("compute", pytest.approx(400 / 900))
    assert (second["bound"], second["share_of_ceiling"]) == ("memory", pytest.approx(80 / 100))


def test_without_ceilings_no_bound_is_claimed():
    trace = small_trace()
    trace.measured["ceilings"] = None
    assert {(kernel["bound"], kernel["share_of_ceiling"]) for kernel in build_report(trace)["kernels"]} == {
        (None, None)
    }


def test_fusions_are_counted_and_refusals_ranked_by_time():
    fusion = build_report(small_trace())["fusion"]
    (done,) = fusion["done"]
    assert (done["label"], done["occurrences"], done["us"]) == ("conv + batchnorm + relu", 2, 900.0)
    assert done["as"] == ["conv_relu"]
    assert [(row["id"], row["us"]) for row in fusion["missed"]] == [("TST-F001", 810.0), ("TST-F002", 15.0)]


def test_the_headline_answers_in_the_models_own_names():
    lines = text_of(build_report(small_trace())).split("\n")
    headline = "\n".join(lines[: lines.index("")])
    assert lines.index("") <= HEADLINE_LINES
    for label in (
        *("Model", "Total latency", "Peak GPU memory", "GPU dispatches"),
        *("Top latency contributors", "Operator fusion", "Conclusion"),
    ):
        assert f"\n{label}" in f"\n{headline}"
    assert "0.600 ms  60 %  conv1 (layer1.conv)" in headline
    assert "5.50 KiB requested, weights and all" in headline
    assert "; 8.00 KiB while loading" in headline
    assert "fused        bn1 (layer1.bn), relu1 (layer1.relu) into conv1 (layer1.conv)" in headline
    assert "conv + batchnorm + relu -> fused (2 occurrences)" in headline
    assert "RUNS on llvmpipe" in headline


@pytest.mark.parametrize("trace", [small_trace(), wide_trace(), untimed()], ids=["small", "wide", "untimed"])
def test_the_report_keeps_to_its_lines_and_prints_no_zero_time(trace):
    lines = report_lines(build_report(trace))
    assert len(lines) <= REPORT_LINES
    assert "alive at" in lines[-1].plain, "nothing was cut off at the end"
    assert not any("\n" in line.plain for line in lines)
    text = f" {text_of(build_report(trace), full=True)} "
    assert not [unit for unit in (" 0 us", " 0.00 us", " 0.0 ms", " 0.00 ms", "None", "nan") if unit in text]


def test_full_leaves_nothing_out():
    report = build_report(wide_trace())
    assert "(--full)" in text_of(report)
    full = text_of(report, full=True)
    assert "(--full)" not in full
    assert "reason 209" in full
    assert "tensor209" in full
    assert "shape: folded to a constant" in full


def test_what_is_cut_is_summed_so_that_kernels_still_add_up():
    report = build_report(wide_trace())
    cut = sum(kernel["us"] for kernel in report["kernels"][5:])
    assert f"{time_text(cut)}" in next(line for line in text_of(report).split("\n") if "more kernels" in line)


def test_untimed_says_so():
    report = build_report(untimed())
    assert {row["us"] for row in report["dispatch_table"]} == {None}
    assert "untimed: this adapter gives no times of single dispatches" in text_of(report)


def test_a_wrong_answer_is_the_verdict():
    trace = small_trace()
    row = {"output": "logits", "reference": "onnxruntime", "error": 0.5, "ok": False}
    trace.measured["check"] = {"tolerance": 1e-3, "outputs": [row]}
    report = build_report(trace)
    assert report["verdict"]["status"] == "WONT-RUN"
    assert report["verdict"]["reasons"][0]["node"] == "logits"
    assert "outputs WRONG: largest error 5.0e-01 of 'logits' against onnxruntime" in text_of(report)


def test_an_answer_that_cannot_be_compared_is_wrong():
    trace = small_trace()
    rows = [
        {"output": name, "reference": "NumPy", "error": error, "ok": False} for name, error in (("a", None), ("b", 9))
    ]
    trace.measured["check"] = {"tolerance": 1e-3, "outputs": rows}
    assert "outputs WRONG: 'a' has not the shape, or not the NaNs, of NumPy's" in text_of(build_report(trace))


@pytest.mark.parametrize("terminal", [False, True])
def test_every_line_is_printed_whole_at_any_width(terminal):
    report, out = build_report(small_trace()), io.StringIO()
    print_report(report, Console(file=out, width=40, force_terminal=terminal, color_system=None))
    printed = [line.rstrip() for line in out.getvalue().rstrip("\n").split("\n")]
    assert printed == [line.plain.rstrip() for line in report_lines(report)]


@pytest.mark.parametrize(
    ("us", "text"),
    [
        *((None, "untimed"), (0.0, "< 1 us"), (0.99, "< 1 us"), (-0.5, "< 1 us"), (1.0, "1.00 us")),
        *((999.4, "999 us"), (999.6, "1.00 ms"), (-1234, "-1.23 ms"), (12_345_678, "12.3 s"), (999_600, "1.00 s")),
    ],
)
def test_times_read_well(us, text):
    assert time_text(us) == text


def test_sizes_counts_and_shares_read_well():
    assert [bytes_text(size) for size in (None, 0, 1023, 1024, 802816, 2**31)] == [
        *("unknown", "0 B", "1023 B", "1.00 KiB", "784 KiB", "2.00 GiB")
    ]
    assert [count_text(n, "FLOP") for n in (0, 999, 1.5e9)] == ["0 FLOP", "999 FLOP", "1.50 GFLOP"]
    assert [share_text(*pair) for pair in ((None, 1), (1, 0), (0.001, 1), (31, 100))] == ["-", "-", "< 1 %", "31 %"]


def test_the_chrome_trace_has_whole_events_that_do_not_overlap():
    document = json.loads(json.dumps(chrome_trace(small_trace())))
    events = document["traceEvents"]
    assert all({"ph", "ts", "dur", "pid", "tid"} <= set(event) for event in events)
    for track in {event["tid"] for event in events}:
        slices = [event for event in events if event["ph"] == "X" and event["tid"] == track]
        assert slices
        assert all(a["ts"] + a["dur"] <= b["ts"] + 1e-6 for a, b in pairwise(slices))


def test_dispatches_lie_within_the_gpu_part():
    slices = [event for event in chrome_trace(small_trace())["traceEvents"] if event["ph"] == "X"]
    part = next(event for event in slices if event["name"] == "gpu")
    dispatches = [event for event in slices if "kernel" in event["args"]]
    assert [event["dur"] for event in dispatches] == [600.0, 300.0, 100.0]
    assert dispatches[0]["ts"] == part["ts"]
    assert dispatches[-1]["ts"] + dispatches[-1]["dur"] <= part["ts"] + part["dur"]


def test_untimed_dispatches_have_no_slice():
    assert not [event for event in chrome_trace(untimed())["traceEvents"] if "kernel" in event["args"]]
