"""Tests of tstorch-run: the report on stdout, all else on stderr, files whole or not at all, and its exit codes."""

import io
import json
from functools import partial

import numpy as np
import pytest
from tiny_artifact import SCALE, write_tiny_artifact

from tstorch.levels import Level
from tstorch.report.terminal import REPORT_LINES
from tstorch.runtime.client import Worker
from tstorch.tools.microscope import Request, examine
from tstorch.tools.run import main, split_level
from tstorch.trace.file import read_trace

FILES = {
    "--json": "r.json",
    "--trace": "t.jsonl",
    "--chrome-trace": "c.json",
    "--output": "y.npz",
    "--save-artifact": "a",
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tiny_artifact(tmp_path_factory.mktemp("run"))


@pytest.fixture
def run(capsys):
    """Runs the tool; gives its exit code, stdout and stderr."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.mark.gpu
def test_the_report_is_stdout_and_all_files_agree_with_it(run, path, tmp_path):
    wanted = [word for flag, name in FILES.items() for word in (flag, tmp_path / name)]
    code, out, err = run(path, "--iterations", 3, *wanted, "--embed-weights")
    assert code == 0
    assert out.startswith("Model")
    assert len(out.splitlines()) <= REPORT_LINES
    assert "input 'x': float32[8], normal, seed 0" in err
    assert "adapter: " in err
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["inputs"][0]["law"] == "normal"
    assert read_trace(tmp_path / "t.jsonl").fingerprint == report["fingerprint"]
    assert json.loads((tmp_path / "c.json").read_text())["otherData"]["fingerprint"] == report["fingerprint"]
    assert (tmp_path / "a").read_bytes() == path.read_bytes()
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(FILES.values()), "nothing half-written is left"


@pytest.mark.gpu
def test_inputs_come_from_a_file_and_outputs_go_to_one(run, path, tmp_path):
    x = np.linspace(0, 1, 8, dtype=np.float32)
    np.savez(tmp_path / "x.npz", x=x, z=np.zeros(8, np.float32))
    code, _, err = run(path, "--iterations", 1, "--input", tmp_path / "x.npz", "--output", tmp_path / "y.npz")
    assert code == 0
    assert "seed" not in err
    with np.load(tmp_path / "y.npz") as found:
        np.testing.assert_allclose(found["y"], SCALE * x, rtol=1e-6)


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("make", "arguments", "says"),
    [
        (None, ["{dir}/none.onnx"], "none.onnx' does not exist"),
        (b"", ["{dir}/bad"], "bad"),
        (b"not a model", ["{dir}/bad"], "is not an ONNX model"),
        (b"PK\x05\x06" + b"\0" * 18, ["{dir}/bad"], "is not an artifact"),
        (None, ["{tiny}", "--input", "{dir}/none.npz"], "none.npz' does not exist"),
        (None, ["{tiny}", "--dim", "batch=2"], "is compiled already: dims"),
        (None, ["{tiny}", "--adapter", "voodoo"], "no adapter matches 'voodoo'"),
        (None, ["{tiny}", "--check"], "--check needs the model"),
        (None, ["{tiny}", "--annotate", "{dir}/a.mlir"], "an artifact has no IR to annotate"),
    ],
)
def test_bad_input_is_one_message_and_leaves_no_file(run, path, tmp_path, make, arguments, says):
    if make is not None:
        (tmp_path / "bad").write_bytes(make)
    before = set(tmp_path.iterdir())
    texts = [text.format(dir=tmp_path, tiny=path) for text in arguments]
    code, out, err = run(*texts, "--iterations", 1, "--json", tmp_path / "r.json", "--trace", tmp_path / "t.jsonl")
    assert code == 1
    assert out == ""
    (message,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert says in message
    assert "Traceback" not in err
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "arguments",
    [[], ["m.onnx", "--iterations", "0"], ["m.onnx", "--dim", "batch"], ["m.onnx", "--embed-weights"], ["m", "--nope"]],
)
def test_wrong_usage_exits_with_2(arguments, capsys):
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("text", "path", "level"),
    [
        (None, None, Level.FLOW),
        ("out.mlir", "out.mlir", Level.FLOW),
        ("out.mlir:buf", "out.mlir", Level.BUF),
        ("out.mlir:artifact", "out.mlir:artifact", Level.FLOW),
        ("C:\\out.mlir", "C:\\out.mlir", Level.FLOW),
    ],
)
def test_the_level_of_an_annotation_is_a_suffix(text, path, level):
    assert split_level(text) == (path, level)


@pytest.mark.gpu
def test_a_wrong_answer_exits_with_1(path, monkeypatch):
    wrong = {"tolerance": 1e-3, "outputs": [{"output": "y", "reference": "NumPy", "error": 0.5, "ok": False}]}
    monkeypatch.setattr("tstorch.tools.microscope.check_outputs", lambda *_: wrong)
    for name in ("recompiled", "find_deviation"):  # the artifact of this test was compiled from no model
        monkeypatch.setattr(f"tstorch.tools.microscope.{name}", lambda *_: None)
    out = io.StringIO()
    assert examine(Request(model=str(path), iterations=1, check=True), out=out, err=io.StringIO()) == 1
    assert "WONT-RUN" in out.getvalue()


@pytest.mark.gpu
def test_a_worker_that_dies_is_one_message_and_the_next_run_works(run, path, tmp_path, monkeypatch):
    wanted = [path, "--iterations", 1, "--json", tmp_path / "r.json", "--output", tmp_path / "y.npz"]
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "start", partial(Worker.start, fault="encode:abort"))
        code, out, err = run(*wanted)
    assert (code, out) == (1, "")
    assert "error: the GPU worker died (SIGABRT)" in err
    assert list(tmp_path.iterdir()) == []
    assert run(*wanted)[0] == 0
