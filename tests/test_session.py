"""Tests of the session: a model is loaded, run and measured in a few lines, and wrong use is answered in one."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_artifact import SCALE, tiny_artifact, write_tiny_artifact

import tstorch
from tstorch.diagnostics import DiagnosticError, RunError
from tstorch.inputs import draw_inputs, law_text, load_arrays, save_arrays
from tstorch.trace.file import read_trace

X, Z = np.linspace(-1, 1, 8, dtype=np.float32), np.ones(8, np.float32)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tiny_artifact(tmp_path_factory.mktemp("session"))


@pytest.fixture(scope="module")
def model(path):
    with tstorch.load(path) as model:
        yield model


@pytest.fixture(scope="module")
def trace(model):
    return model.profile(iterations=3, warmup=1)


@pytest.mark.gpu
def test_an_artifact_runs(model):
    (y,) = model.run({"x": X, "z": Z}).values()
    np.testing.assert_allclose(y, SCALE * X + Z, rtol=1e-6)


@pytest.mark.gpu
def test_a_profile_reports_on_itself_and_adds_up(trace):
    report = trace.report()
    assert report["latency_ms"]["runs"] == 3
    assert report["dispatches"] == 2
    parts = report["parts_us"]
    assert sum(us for name, us in parts.items() if name != "whole") == pytest.approx(parts["whole"])
    cold = report["cold_ms"]
    assert sum(ms for name, ms in cold.items() if name != "total") == pytest.approx(cold["total"])
    assert report["memory"]["weights"] == 32
    assert report["fingerprint"] == "7" * 64


@pytest.mark.gpu
def test_every_dispatch_of_the_process_is_counted(path):
    with tstorch.load(path) as model:
        model.run({"x": X, "z": Z})
        counted = model.profile(iterations=3, warmup=1).report()["submitted"]
        assert counted == model._worker.facts()["submitted"]
        assert counted["model"] == 2 * counted["runs"]


@pytest.mark.gpu
def test_kernels_and_nodes_add_up_to_the_gpu_part(trace):
    report = trace.report()
    gpu = report["parts_us"]["gpu"] - report["timing"]["residual_us"]
    for rows in (report["dispatch_table"], report["kernels"], report["nodes"]):
        assert sum(row["us"] for row in rows) == pytest.approx(gpu)


@pytest.mark.gpu
def test_a_trace_written_and_read_gives_the_same_report(trace, tmp_path):
    from tstorch.report.build import build_report

    trace.write(tmp_path / "t.jsonl")
    assert build_report(read_trace(tmp_path / "t.jsonl")) == trace.report()


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"x": X}, "input 'z' is missing"),
        ({"x": X, "z": Z, "w": Z}, "there is no input 'w'"),
        ({"x": X, "z": Z.astype(np.float64)}, r"input 'z' is float64\[8\]"),
        ({"x": X, "z": Z[:4]}, r"input 'z' is float32\[4\]"),
    ],
)
def test_wrong_inputs_are_refused_and_the_model_lives_on(model, inputs, says):
    with pytest.raises(RunError, match=says):
        model.run(inputs)
    assert model.run({"x": X, "z": Z})["y"].shape == (8,)


@pytest.mark.gpu
def test_a_saved_artifact_needs_no_other_file(model, path, tmp_path):
    model.save_artifact(tmp_path / "again.tst", embed_weights=True)
    assert (tmp_path / "again.tst").read_bytes() == path.read_bytes()


@pytest.mark.gpu
def test_an_artifact_whose_weights_are_elsewhere_says_where_it_looked(tmp_path):
    tiny_artifact().write(tmp_path / "bare.tst")
    with pytest.raises(DiagnosticError, match=r"1 of them \(32 bytes\) are in 'tiny\.onnx', which was not found in"):
        tstorch.load(tmp_path / "bare.tst")


@pytest.mark.gpu
@pytest.mark.parametrize("late", [{"dims": {"batch": 1}}, {"target": "webgpu-default-cpu"}, {"without": ["cse"]}])
def test_what_shapes_compilation_comes_too_late_for_an_artifact(path, late):
    with pytest.raises(DiagnosticError, match=f"compiled already: {next(iter(late))}"):
        tstorch.load(path, **late)


@pytest.mark.gpu
def test_an_artifact_has_no_ir_to_annotate(model, trace):
    from tstorch.levels import Level

    with pytest.raises(DiagnosticError, match="give the model it was compiled from"):
        model.annotated(trace, Level.FLOW)


@pytest.mark.gpu
def test_a_missing_model_and_an_unknown_adapter_are_named(path, tmp_path):
    with pytest.raises(DiagnosticError, match=r"none\.onnx' does not exist"):
        tstorch.load(tmp_path / "none.onnx")
    with pytest.raises(RunError, match="no adapter matches 'voodoo'"):
        tstorch.load(path, adapter="voodoo")


@pytest.mark.gpu
def test_without_isolation_the_answer_is_the_same(path):
    with tstorch.load(path, isolation="none") as model:
        np.testing.assert_allclose(model.run({"x": X, "z": Z})["y"], SCALE * X + Z, rtol=1e-6)


def value(name, dtype, law, shape=(50,)):
    return {"name": name, "dtype": dtype, "shape": list(shape), "law": law}


def test_drawn_inputs_obey_their_laws():
    arrays = draw_inputs(
        [
            value("a", "float32", {"kind": "normal"}),
            value("b", "float32", {"kind": "uniform", "low": 2, "high": 3}),
            value("c", "int64", {"kind": "int", "low": 0, "high": 4}),
            value("d", "bool", {"kind": "ones"}),
            value("e", "float16", {"kind": "zeros"}),
        ]
    )
    assert {name: str(array.dtype) for name, array in arrays.items()} == {
        **{"a": "float32", "b": "float32", "c": "int64"},
        **{"d": "bool", "e": "float16"},
    }
    assert arrays["a"].std() > 0.5
    assert arrays["b"].min() >= 2
    assert arrays["b"].max() <= 3
    assert set(arrays["c"]) == {0, 1, 2, 3}
    assert arrays["d"].all()
    assert not arrays["e"].any()


def test_drawing_depends_on_seed_and_name_alone():
    one, two = (value(name, "float32", {"kind": "normal"}) for name in ("a", "b"))
    assert np.array_equal(draw_inputs([one, two])["b"], draw_inputs([two, one])["b"])
    assert not np.array_equal(draw_inputs([one])["a"], draw_inputs([one], seed=1)["a"])
    assert not np.array_equal(draw_inputs([one, two])["a"], draw_inputs([one, two])["b"])


def test_an_unknown_law_is_refused():
    with pytest.raises(DiagnosticError, match="input 'a': unknown law"):
        draw_inputs([value("a", "float32", {"kind": "cauchy"})])


def test_laws_read_well():
    assert law_text({"kind": "int", "low": 0, "high": 4}) == "integers from 0 to 3"
    assert law_text({"kind": "uniform", "low": -1, "high": 1}) == "uniform from -1 to 1"
    assert law_text({"kind": "ones"}) == "ones"


def test_arrays_survive_a_file_under_any_name(tmp_path):
    arrays = {"file": np.arange(3), "/layer1/out": np.ones((2, 2), np.float16), "empty": np.zeros((0, 4), np.int64)}
    save_arrays(tmp_path / "a.npz", arrays)
    found = load_arrays(tmp_path / "a.npz")
    assert {name: (a.dtype, a.tolist()) for name, a in found.items()} == {
        name: (a.dtype, a.tolist()) for name, a in arrays.items()
    }


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 cut off", b"\x93NUMPY\x01\x00"])
def test_a_broken_input_file_is_refused_by_name(tmp_path, content):
    if content is not None:
        (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(DiagnosticError, match=r"bad\.npz"):
        load_arrays(tmp_path / "bad.npz")


@pytest.mark.gpu
@pytest.mark.parametrize("embed", [False, True])
def test_a_weight_of_bytes_need_not_fill_whole_words(embed, tmp_path):
    table = np.arange(81, dtype=np.int8).reshape(9, 9)
    nodes = [helper.make_node("Cast", ["w"], ["f"], to=TensorProto.FLOAT), helper.make_node("Add", ["f", "x"], ["y"])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [9, 9]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(table, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    inputs = {"x": np.ones((9, 9), np.float32)}
    with tstorch.load(model, isolation="none") as loaded:
        found = loaded.run(inputs)["y"]
        loaded.save_artifact(tmp_path / "bytes.tst", embed_weights=embed)
    np.testing.assert_array_equal(found, table + np.float32(1))
    if embed:
        with tstorch.load(tmp_path / "bytes.tst", isolation="none") as loaded:
            np.testing.assert_array_equal(loaded.run(inputs)["y"], found)
