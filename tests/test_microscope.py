"""Tests of the whole chain on a small network: imported, compiled, run, checked, and measured onto its IR."""

import json

import numpy as np
import onnx
import pytest
from tiny_model import tiny_model

import tstorch
from tstorch.artifact.format import Artifact
from tstorch.diagnostics import RunError
from tstorch.levels import Level
from tstorch.tools.run import ANNOTATED, main
from tstorch.trace.file import read_trace

NODES = {"fc1", "relu", "fc2", "softmax"}

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One examined model: its report, trace, artifact and outputs, by the command line."""
    folder = tmp_path_factory.mktemp("microscope")
    onnx.save(tiny_model(), folder / "tiny.onnx")
    files = {"--json": "r.json", "--trace": "t.jsonl", "--annotate": "flow.mlir", "--save-artifact": "tiny.tst"}
    words = [word for flag, name in files.items() for word in (flag, str(folder / name))]
    given = ["--dim", "batch=2", "--iterations", "3", "--check", "--output", str(folder / "y.npz")]
    assert main([str(folder / "tiny.onnx"), *given, *words]) == 0
    return folder


@pytest.fixture(scope="module")
def report(folder):
    return json.loads((folder / "r.json").read_text())


def test_the_answer_is_right_by_both_references(report):
    assert {row["reference"] for row in report["check"]["outputs"]} == {"NumPy", "onnxruntime"}
    assert all(row["ok"] for row in report["check"]["outputs"])
    assert report["verdict"]["status"] == "RUNS"


def test_the_nodes_of_the_report_are_the_models(report):
    assert {node["id"] for node in report["nodes"]} == NODES
    owned = {share["id"] for row in report["dispatch_table"] for share in row["nodes"]}
    assert owned == {node["id"] for node in report["nodes"] if node["where"] == "run"}
    for row in report["dispatch_table"]:
        assert sum(share["share"] for share in row["nodes"]) == pytest.approx(1)


def test_cold_start_and_parts_add_up(report):
    assert sum(ms for name, ms in report["cold_ms"].items() if name != "total") == pytest.approx(
        report["cold_ms"]["total"]
    )
    assert report["cold_ms"]["passes"] > 0
    assert report["cold_ms"]["codegen"] > 0
    parts = report["parts_us"]
    assert sum(us for name, us in parts.items() if name != "whole") == pytest.approx(parts["whole"])


def test_what_was_measured_stands_on_the_ir(folder):
    text = (folder / "flow.mlir").read_text()
    dispatches = read_trace(folder / "t.jsonl").dispatches
    measured = [line for line in text.splitlines() if "flow.dispatch" in line]
    assert len(measured) == len(dispatches)
    assert all("trace.measured = {us = " in line for line in measured)


@pytest.mark.parametrize("level", ANNOTATED)
def test_every_level_can_be_annotated(folder, level):
    model = str(folder / "tiny.onnx")
    with tstorch.load(model, dims={"batch": 2}) as loaded:
        assert "trace.measured" in loaded.annotated(read_trace(folder / "t.jsonl"), Level(level))


def test_the_artifact_runs_as_the_model_does(folder):
    with tstorch.load(folder / "tiny.tst") as model, np.load(folder / "y.npz") as outputs:
        assert np.array_equal(model.run(model.draw_inputs(0))["y"], outputs["y"])


def test_bytes_and_protos_give_the_same_kernels(folder):
    of_file = Artifact.read(folder / "tiny.tst")
    for given in (tiny_model(), tiny_model().SerializeToString()):
        with tstorch.load(given, dims={"batch": 2}) as model:
            assert model.artifact.kernels == of_file.kernels
            assert model.artifact.manifest["fingerprint"] == of_file.manifest["fingerprint"]


def test_the_inputs_given_bind_what_is_open(folder):
    x = np.ones((3, 16), np.float32)
    np.savez(folder / "x.npz", x=x)
    found = [str(folder / "tiny.onnx"), "--input", str(folder / "x.npz"), "--iterations", "1"]
    assert main([*found, "--output", str(folder / "y3.npz")]) == 0
    with np.load(folder / "y3.npz") as outputs, tstorch.load(tiny_model(), inputs={"x": x}) as model:
        assert outputs["y"].shape == (3, 10)
        assert model.artifact.manifest["dims"] == {"batch": 3}
        with pytest.raises(RunError, match=r"\[3, 16\]"):
            model.run({"x": x[:2]})


def test_an_open_dimension_is_named_with_the_flag_that_binds_it(folder, capsys):
    assert main([str(folder / "tiny.onnx")]) == 1
    assert "--dim batch=" in capsys.readouterr().err
