"""Tests that input which cannot work is answered by both tools in one message that names it, with exit code 1, no
traceback, and nothing written."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from models import Builder, mlp, transformer_block
from onnx import TensorProto, helper
from tiny_model import tiny_model

from tstorch.tools import opt, run

SMALL_TARGET = """
id = "{id}"
class = "cpu"
[limits]
{limits}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Models, and files that are none."""
    folder = tmp_path_factory.mktemp("bad")
    whole = tiny_model().SerializeToString()
    (folder / "tiny.onnx").write_bytes(whole)
    (folder / "truncated.onnx").write_bytes(whole[:-500])
    (folder / "text.onnx").write_text("This is no model, whatever its name says.\n")
    (folder / "empty.onnx").write_bytes(b"")
    onnx.save(unsupported(), folder / "unsupported.onnx")
    onnx.save(mlp(), folder / "open.onnx")
    onnx.save(transformer_block(), folder / "block.onnx")
    (folder / "syntax.rules").write_text("pattern p {\n  match r = prim.maximum(s zero)\n}\n")
    (folder / "unknown.rules").write_text('pattern p {\n  match r = prim.magic(s)\n  outline r as "x"\n}\n')
    (folder / "good.trace").write_bytes((Path(__file__).parent / "data" / "tiny.trace").read_bytes())
    (folder / "cut.trace").write_bytes((folder / "good.trace").read_bytes()[:3000])
    assert (
        opt.main([str(folder / "tiny.onnx"), "--dim", "batch=1", "--compile-to=artifact", "-o", str(folder / "a")]) == 0
    )
    (folder / "cut.tst").write_bytes((folder / "a").read_bytes()[:-300])
    return folder


def unsupported():
    """Two kinds of operator that nobody converts, one of them twice, beside one that is."""
    build = Builder()
    x = build.node("Relu", "x", name="fine")
    for name in ("first", "second"):
        x = build.node("StringNormalizer", x, name=name)
    x = build.node("Multinomial", x, name="third", sample_size=1)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", x)]
    graph = helper.make_graph(build.nodes, "g", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def refused(folder, tmp_path, monkeypatch, capsys):
    """Runs a tool that must refuse; gives its message."""
    monkeypatch.chdir(tmp_path)

    def refused(tool, *arguments):
        before = sorted(folder.rglob("*"))
        code = tool.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert code == 1, err
        assert out == ""
        assert "Traceback" not in err
        assert err.count("error: ") == 1
        assert list(tmp_path.iterdir()) == [], "nothing is written"
        assert sorted(folder.rglob("*")) == before
        return err[err.index("error: ") :]

    return refused


OPT = (opt, ["--compile-to=artifact", "-o", "out.tst"])
RUN = (
    run,
    ["--iterations", "1", "--json", "r.json", "--trace", "t.trace", "--output", "y.npz", "--annotate", "a.mlir"],
)
BOTH = pytest.mark.parametrize(("tool", "files"), [OPT, pytest.param(*RUN, marks=pytest.mark.gpu)], ids=["opt", "run"])


@BOTH
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.onnx"], r"missing\.onnx' does not exist"),
        (["truncated.onnx", "--dim", "batch=1"], r"truncated\.onnx' is (not|no) .*ONNX"),
        (["text.onnx"], r"text\.onnx' is (not|no) .*ONNX"),
        (["empty.onnx"], r"empty\.onnx"),
        (["open.onnx"], r"the size of 'batch' .*input 'image'.* is open; bind it with --dim batch="),
        (["tiny.onnx", "--dim", "batch=1", "--rules", "{dir}/missing.rules"], r"missing\.rules'"),
        (["tiny.onnx", "--dim", "batch=1", "--rules", "{dir}/syntax.rules"], r"syntax\.rules:2:\d+: found 'zero'"),
        (["tiny.onnx", "--dim", "batch=1", "--rules", "{dir}/unknown.rules"], r"unknown\.rules:2:\d+: .*'prim\.magic'"),
        (["tiny.onnx", "--dim", "batch=1", "--target", "toaster"], r"target 'toaster' is neither"),
        (["tiny.onnx", "--dim", "batch=1", "--without", "nothing"], r"cannot leave out nothing; "),
        (["tiny.onnx", "--dim", "batch=1", "--without", "plan-buffers"], r"cannot leave out plan-buffers; "),
    ],
    ids=lambda value: "" if isinstance(value, str) else value[0] if len(value) < 3 else Path(value[-1]).name,
)  # fmt: skip
def test_one_message_names_what_is_wrong(refused, folder, tool, files, arguments, says):
    name, *rest = (text.format(dir=folder) for text in arguments)
    assert re.search(says, refused(tool, folder / name, *rest, *files))


@BOTH
def test_all_unsupported_operators_are_listed_at_once_with_counts_and_names(refused, folder, tool, files):
    message = refused(tool, folder / "unsupported.onnx", *files)
    assert re.search(r"StringNormalizer.*2", message)
    assert all(f"'{name}'" in message or name in message for name in ("first", "second", "third"))
    assert re.search(r"Multinomial.*1", message)
    assert "Relu" not in message


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"x": None}, r"input 'x' is missing"),
        ({"extra": np.zeros(3, np.float32)}, r"there is no input 'extra'.*x"),
        ({"x": np.zeros((1, 16))}, r"input 'x' is float64\[1, 16\].*float32\[1, 16\]"),
        ({"x": np.zeros((2, 16), np.float32)}, r"input 'x' is float32\[2, 16\].*float32\[1, 16\]"),
    ],
    ids=["missing", "unknown", "dtype", "shape"],
)
def test_inputs_that_do_not_fit_are_named_with_what_would(refused, folder, tmp_path_factory, change, says):
    arrays = {"x": np.zeros((1, 16), np.float32)} | change
    path = tmp_path_factory.mktemp("given") / "x.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    tool, files = RUN
    assert re.search(says, refused(tool, folder / "tiny.onnx", "--dim", "batch=1", "--input", path, *files))


@pytest.mark.gpu
def test_an_index_out_of_its_table_is_refused_before_the_gpu_reads_it(refused, folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("given") / "x.npz"
    ids, mask = np.full((1, 16), 2**40), np.ones((1, 16), np.float32)
    np.savez(path, ids=ids, positions=np.arange(16)[None], mask=mask)
    tool, files = RUN
    assert "'ids' holds values from" in refused(tool, folder / "block.onnx", "--input", path, *files)


@pytest.mark.gpu
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_corrupt_artifact_is_refused(refused, folder, damage):
    path = folder / "cut.tst"
    if damage == "flipped":
        whole = bytearray((folder / "a").read_bytes())
        at = whole.index(b'"tstorch-program/1"')
        whole[at + 3 : at + 9] = b"\xff" * 6
        path = folder / "flipped.tst"
        path.write_bytes(bytes(whole))
    message = refused(run, path, "--iterations", "1", "--json", "r.json")
    assert path.name in message


def test_a_corrupt_trace_is_refused(refused, folder):
    words = ["--compile-to=flow", "-p", f'annotate-trace{{file="{folder}/cut.trace"}}', "-o", "out.mlir"]
    assert "cut.trace" in refused(opt, folder / "tiny.onnx", *words)


def test_a_trace_of_another_model_is_refused(refused, folder):
    words = ["--compile-to=flow", "-p", f'annotate-trace{{file="{folder}/good.trace"}}', "-o", "out.mlir"]
    assert "does not belong to this IR: its model is" in refused(opt, folder / "open.onnx", *words)


@BOTH
@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ("max_buffer_size = 64\nmax_storage_buffer_binding_size = 64", r"'[a-z0-9]+'.* \d+ bytes.* 64\b"),
        ("max_storage_buffers_per_shader_stage = 1", r"'fc1' \(Gemm, opset 17\): .* \d bindings; the target allows 1"),
    ],
    ids=["memory", "bindings"],
)  # fmt: skip
def test_a_target_that_cannot_hold_the_model_is_named_with_its_limit(refused, folder, tool, files, limits, says):
    target = folder.parent / "target.toml"
    target.write_text(SMALL_TARGET.format(id="tiny-device", limits=limits))
    assert re.search(says, refused(tool, folder / "tiny.onnx", "--dim", "batch=1", "--target", target, *files))
