"""Tests what is said of a folder of models: whose answers are wrong, whose nodes are lost, which sizes are open."""

import json

import onnx
import pytest
from conformance.cases import HERE
from conformance.document import models_page
from conformance.run_models import lost_nodes, main, open_dims, told
from helpers import control_models

MODELS = json.loads((HERE / "models.json").read_text())


def test_every_stored_model_passes_and_each_of_its_nodes_is_somewhere():
    assert len(MODELS) >= 29
    assert {name: row["detail"] for name, row in MODELS.items() if row["status"] != "pass"} == {}
    for name, row in MODELS.items():
        assert sum(row["where"].values()) == row["nodes"], name
        assert row["errors"]["onnxruntime"] <= row["tolerance"], name
        assert row["load_s"]["cpu_s"] <= 15, name


def test_a_model_that_fails_has_a_line_that_says_why():
    page = models_page({"bad": {"status": "crash", "detail": "exit code -6", "nodes": 3}})
    assert "| bad | crash | 3 |" in page
    assert "exit code -6" in page
    assert "0 of 1 pass" in page


RIGHT = {"outputs": [{"output": "y", "reference": "onnxruntime", "error": 1e-6, "ok": True}], "unavailable": {}}


@pytest.mark.parametrize(
    ("row", "check", "says"),
    [
        ({}, {}, ""),
        ({}, {"outputs": [{"output": "y", "reference": "NumPy", "error": 0.5, "ok": False}]}, "y is off by 0.5"),
        ({}, {"unavailable": {"onnxruntime": "no kernel"}}, "onnxruntime: no kernel"),
        ({}, {"top_1": {"rows": 4, "same": 3}}, "1 of 4 rows"),
        ({"lost": ["conv"]}, {}, "nodes that are nowhere: conv"),
        ({"load_s": {"cpu_s": 16.0}}, {}, "compiled in 16.0 s"),
    ],
    ids=["right", "off", "no witness", "top 1", "lost", "slow"],
)
def test_what_a_model_must_keep_to(row, check, says):
    found = told({"lost": [], "load_s": {"cpu_s": 1.0}, **row}, {**RIGHT, "top_1": None, **check})
    assert found["status"] == ("wrong" if says else "pass")
    assert says in found["detail"]


@pytest.fixture
def branching(tmp_path):
    path = tmp_path / "branching.onnx"
    onnx.save(control_models.branching(), path)
    return path


NODES = ["sum", "positive", "choose", "choose/then_branch/t", "choose/else_branch/m", "choose/else_branch/e", "z"]


def entries(names, where="run"):
    return [{"id": name, "where": where} for name in names]


def test_a_node_of_which_nothing_is_said_is_found_in_subgraphs_too(branching):
    assert lost_nodes(branching, entries(NODES)) == []
    assert lost_nodes(branching, entries(NODES[1:]))[0] == "sum"
    assert lost_nodes(branching, entries([name for name in NODES if not name.endswith("/m")]))[0] == "m"
    assert lost_nodes(branching, entries([*NODES[:-1], "sum"]))[0] == "z"
    assert lost_nodes(branching, [*entries(NODES[:-1]), *entries(NODES[-1:], "nowhere")]) == ["z"]


def test_an_open_size_is_one_on_the_first_axis_and_small_on_others(tmp_path):
    path = tmp_path / "open.onnx"
    onnx.save(control_models.made([], [control_models.info("x", shape=("batch", 3, "seq"))], []), path)
    assert open_dims(path) == {"batch": 1, "seq": 32}


def test_a_folder_without_models_is_refused(tmp_path):
    with pytest.raises(SystemExit, match=r"no such \.onnx file"):
        main(["--models", str(tmp_path)])


@pytest.mark.gpu
def test_a_folder_is_run_once_and_a_changed_model_again(branching, tmp_path, capsys):
    results = tmp_path / "models.json"
    arguments = ["--models", str(tmp_path), "--json", str(results)]
    assert main(arguments) == 0
    row = json.loads(results.read_text())["branching"]
    assert row["status"] == "pass"
    assert row["where"] == {"run": 6, "init": 0, "host": 1, "elided": 0}
    assert row["subgraph_nodes"] == 3
    before = results.stat().st_mtime_ns
    assert main(arguments) == 0
    assert results.stat().st_mtime_ns == before
    onnx.save(control_models.fibonacci(), branching)
    main(arguments)
    assert json.loads(results.read_text())["branching"]["nodes"] == 4
    assert "| branching | pass |" in capsys.readouterr().out
