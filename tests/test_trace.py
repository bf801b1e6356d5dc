"""Tests of the trace: what is written is read back, every broken file is refused by name, and times join to nodes."""

import json

import pytest
from report_fixtures import small_trace

from tstorch.artifact.fingerprint import fingerprint
from tstorch.diagnostics import DiagnosticError
from tstorch.trace.file import read_trace, trace_lines, write_trace
from tstorch.trace.join import fused_into, gpu_us, leader, led_us, node_us
from tstorch.trace.schema import TraceError

FACTS = {
    "model_sha256": "ab",
    "dims": {"batch": 1, "time": 2},
    "target": {"id": "cpu", "limits": {"a": 1}},
    "rules": ["x.rules"],
    "pipeline": ["cse", "dce"],
}


def test_a_trace_is_read_back_as_written(tmp_path):
    write_trace(small_trace(), tmp_path / "t.jsonl")
    assert read_trace(tmp_path / "t.jsonl") == small_trace()


def test_unknown_kinds_and_keys_are_ignored(tmp_path):
    first, *middle, last = trace_lines(small_trace())
    header = json.dumps(json.loads(first) | {"colour": "red"})
    end = json.dumps({"t": "end", "records": json.loads(last)["records"] + 1})
    (tmp_path / "t.jsonl").write_text("\n".join([header, *middle, '{"t":"weather","sun":true}', end]))
    assert read_trace(tmp_path / "t.jsonl").dispatches == small_trace().dispatches


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda lines: [], "no header"),
        (lambda lines: lines[1:], "no header"),
        (lambda lines: lines[:-1], "truncated after"),
        (lambda lines: lines[:4] + lines[5:], "truncated after"),
        (lambda lines: [*lines[:-1], lines[-1][:9]], "not JSON"),
        (lambda lines: ["[1, 2]"], "an object with a kind"),
        (lambda lines: [lines[0].replace("tstorch-trace/1", "tstorch-trace/2"), *lines[1:]], "newer than"),
        (lambda lines: [lines[0].replace("tstorch-trace/1", "ireeperf/1"), *lines[1:]], "expected 'tstorch-trace/1'"),
        (lambda lines: [lines[0].replace('"fingerprint"', '"print"'), *lines[1:]], "a header has no fingerprint"),
        (lambda lines: [line.replace('"grid"', '"grit"') for line in lines], "a dispatch has no grid"),
        (lambda lines: [line.replace('"parts_us"', '"part_us"') for line in lines], "a measured has no parts_us"),
        (lambda lines: [line.replace('"adapter"', '"adaptor"') for line in lines], "a header has no adapter"),
    ],
)
def test_a_broken_trace_is_refused_by_name(tmp_path, spoil, says):
    path = tmp_path / "broken.jsonl"
    path.write_text("".join(f"{line}\n" for line in spoil(list(trace_lines(small_trace())))))
    with pytest.raises(TraceError, match=says) as caught:
        read_trace(path)
    assert "broken.jsonl" in str(caught.value)


def test_a_missing_or_binary_file_is_refused(tmp_path):
    with pytest.raises(TraceError, match="No such file"):
        read_trace(tmp_path / "none.jsonl")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TraceError, match="not text"):
        read_trace(tmp_path / "binary")


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text("old")
    bad = small_trace()
    bad.dispatches[1]["us"] = float("nan")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_trace(bad, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(DiagnosticError, match="cannot write"):
        write_trace(small_trace(), tmp_path / "no" / "folder.jsonl")


def test_nodes_add_up_to_dispatches_and_those_to_the_gpu_part():
    trace = small_trace()
    assert gpu_us(trace) == 1000.0
    assert sum(node_us(trace).values()) == pytest.approx(1000.0)
    assert sum(led_us(trace).values()) == pytest.approx(1000.0)
    assert node_us(trace)["bn1"] == pytest.approx(30.0), "its share of dispatch 1; what init took is not latency"


def test_a_fused_node_names_where_it_went():
    assert fused_into(small_trace()) == {"bn1": "conv1", "relu1": "conv1", "bn2": "conv2", "relu2": "conv2"}


def test_the_first_of_equals_leads_and_a_dispatch_without_nodes_has_no_leader():
    def led_by(*shares):
        return leader({"shares": [{"id": node, "role": "forward", "share": share} for node, share in shares]})

    assert led_by(("conv", 0.49), ("norm", 0.51)) == "conv"
    assert led_by(("relu", 0.1), ("conv", 0.9)) == "conv"
    assert led_by() is None


def test_an_untimed_dispatch_makes_its_sums_unknown_not_zero():
    trace = small_trace()
    trace.dispatches[1]["us"] = None
    assert gpu_us(trace) is None
    assert node_us(trace)["conv1"] is None
    assert node_us(trace)["pool"] == 100.0


def test_the_fingerprint_ignores_the_order_of_dims_only():
    base = fingerprint(**FACTS)
    assert len(base) == 64
    assert fingerprint(**FACTS | {"dims": {"time": 2, "batch": 1}}) == base
    assert fingerprint(**FACTS | {"pipeline": ["dce", "cse"]}) != base


@pytest.mark.parametrize(
    "change",
    [{"model_sha256": "ac"}, {"dims": {"batch": 2}}, {"target": {"id": "gpu"}}, {"rules": []}, {"pipeline": ["cse"]}],
)
def test_the_fingerprint_tells_each_fact_apart(change):
    assert fingerprint(**FACTS | change) != fingerprint(**FACTS)
