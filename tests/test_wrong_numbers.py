"""Tests that planted faults are found and named: a wrong constant, a wrong pass, an edited shader, a NaN."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from networks import network
from onnx import ModelProto, TensorProto, helper
from planted_faults import install, wrong_constant, wrong_rewrite

import tstorch
from tstorch.artifact.format import Artifact, Kernel
from tstorch.diagnostics import UsageError
from tstorch.frontend.graph import ModelGraph
from tstorch.numerics import capture, hunt
from tstorch.runtime.client import Worker
from tstorch.session import Model
from tstorch.tools import opt, trace
from tstorch.tools.run import main

NETWORK = "residual_plain"
STARTED = Worker.start
pytestmark = [pytest.mark.gpu, pytest.mark.model]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wrong")


@pytest.fixture(scope="module")
def path(folder: Path) -> Path:
    """A network that no part of this was developed on."""
    onnx.save(network(NETWORK), folder / f"{NETWORK}.onnx")
    return folder / f"{NETWORK}.onnx"


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    return lambda plugin: install(plugin, tmp_path / "site", monkeypatch)


def node_of(path: Path, op_type: str, place: int) -> onnx.NodeProto:
    return [node for node in onnx.load(path).graph.node if node.op_type == op_type][place]


def examined(path: Path, tmp_path: Path, *options: object) -> tuple[int, dict]:
    code = main([str(path), "--check", "--iterations", "1", "--json", str(tmp_path / "r.json"), *map(str, options)])
    return code, json.loads((tmp_path / "r.json").read_text())


@pytest.mark.parametrize("fault", [wrong_constant, wrong_rewrite])
def test_a_wrong_kernel_and_a_wrong_pass_are_found_at_their_node(path, tmp_path, planted, fault, capsys):
    relu = node_of(path, "Relu", 2)
    planted(fault(ModelGraph(path).makers[relu.output[0]].id))
    code, report = examined(path, tmp_path)
    first = report["check"]["first"]
    assert code == 1
    assert (first["op_type"], first["tensor"]) == ("Relu", relu.output[0])
    assert first["error"] > report["check"]["tolerance"]
    assert all(row["error"] < 1e-4 for row in first["inputs"])
    assert len(first["inputs"]) == 1
    assert first["rounds"] <= 3
    out = capsys.readouterr().out
    assert f"first wrong: '{first['node']}' (Relu)" in out
    told = (
        "no dispatch serves the node: elided: wrong"
        if fault is wrong_rewrite
        else f"kernel {first['kernel']}, which fuses"
    )
    assert told in out


def test_what_is_right_has_no_first_wrong_node(path, tmp_path, capsys):
    code, report = examined(path, tmp_path)
    assert code == 0
    assert "first" not in report["check"]
    assert "first wrong" not in capsys.readouterr().out


def test_an_edited_shader_of_a_stored_artifact_is_found_by_its_dispatch(path, tmp_path, capsys):
    stored = path.with_suffix(".tsart")
    main([str(path), "--iterations", "1", "--save-artifact", str(stored)])
    artifact = Artifact.read(stored)
    victim = next(row for row in artifact.dispatches if row["entry"] == "run" and row["kernel"].startswith("conv"))
    kernel = artifact.kernels[victim["kernel"]]
    assert "max(" in kernel.wgsl
    edited = {**artifact.kernels, victim["kernel"]: Kernel(kernel.wgsl.replace("max(", "min(", 1), kernel.map)}
    replace(artifact, kernels=edited).write(stored)
    code, report = examined(stored, tmp_path)
    first = report["check"]["first"]
    assert code == 1
    runs = [row for row in artifact.dispatches if row["kernel"] == victim["kernel"] and row["entry"] == "run"]
    assert first["tensor"] == f"result of dispatch {runs[0]['id']}"
    assert first["kernel"] == victim["kernel"]
    assert set(first["fused"]) == {share["id"] for share in runs[0]["shares"]}
    assert "another shader" in first["reference"]
    assert "First wrong node" in capsys.readouterr().out


def test_an_artifact_of_a_changed_model_is_said_to_be_stale(path, tmp_path, capsys):
    main([str(path), "--iterations", "1", "--save-artifact", str(tmp_path / "a.tsart")])
    onnx.save(with_sqrt(network(NETWORK), 1)[0], tmp_path / path.name)
    Artifact.read(tmp_path / "a.tsart")
    capsys.readouterr()
    assert main([str(tmp_path / "a.tsart"), "--check", "--iterations", "1"]) == 1
    assert "the model has changed since" in capsys.readouterr().err


def with_sqrt(model: ModelProto, place: int) -> tuple[ModelProto, onnx.NodeProto]:
    """The model with a root in the place of a relu: NaN wherever that reads a negative number."""
    node = [node for node in model.graph.node if node.op_type == "Relu"][place]
    node.op_type = "Sqrt"
    return model, node


def test_a_node_that_makes_nans_is_named_inside_its_fused_kernel(tmp_path, capsys):
    model, node = with_sqrt(network(NETWORK), 1)
    onnx.save(model, tmp_path / "nan.onnx")
    assert main([str(tmp_path / "nan.onnx"), "--nan-hunt"]) == 1
    out, err = capsys.readouterr()
    assert f"(Sqrt) makes '{node.output[0]}', of whose" in out
    assert "NaN" in out.splitlines()[0]
    assert f"it reads '{node.input[0]}' all finite" in out
    assert "it runs in the fused dispatch of" in out
    assert "Traceback" not in err


def test_a_hunt_that_finds_nothing_says_what_it_looked_at(path, capsys):
    assert main([str(path), "--nan-hunt"]) == 0
    assert (
        f"no node makes a NaN or an infinity ({len(ModelGraph(path).tensors)} tensors looked at"
        in capsys.readouterr().out
    )


def chain(*steps: tuple[str, list[str], list[str]], **weights: np.ndarray) -> ModelProto:
    """x[4] -> y[4] through nodes called n0, n1, ..."""
    nodes = [helper.make_node(op, taken, given, name=f"n{at}") for at, (op, taken, given) in enumerate(steps)]
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, [4])] for name in "xy"]
    initializers = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "chain", *ends, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


X = np.array([-1, 0, 1, 2], np.float32)
MASK = np.array([0, -np.inf, 0, 0], np.float32)
SCALE = np.array([1, 0, 1, 1], np.float32)


@pytest.mark.parametrize(
    ("model", "node", "tensor"),
    [
        (chain(("Neg", ["x"], ["a"]), ("Log", ["a"], ["b"]), ("Relu", ["b"], ["y"])), "n1", "b"),
        (chain(("Reciprocal", ["x"], ["a"]), ("Neg", ["a"], ["y"])), "n0", "a"),
        (chain(("Add", ["x", "mask"], ["a"]), ("Exp", ["a"], ["y"]), mask=MASK), None, ""),
        (chain(("Add", ["x", "mask"], ["a"]), ("Mul", ["a", "scale"], ["y"]), mask=MASK, scale=SCALE), "n1", "y"),
    ],
    ids=["a logarithm", "a division by 0", "a mask's infinity is none", "a NaN made of infinities"],
)
def test_what_counts_as_making_one(model, node, tensor):
    with tstorch.load(model) as loaded:
        found = hunt(loaded, {"x": X})
    if node is None:
        assert found.maker is None
    else:
        assert found.maker is not None
        assert (found.maker.node.id, found.maker.tensor) == (node, tensor)


def test_a_tensor_that_fusion_swallows_is_captured_and_what_was_taken_apart_is_said(tmp_path, capsys):
    weight = np.eye(4, dtype=np.float32)
    steps = [("MatMul", ["x", "w"], ["a"]), ("Exp", ["a"], ["b"]), ("MatMul", ["b", "w"], ["c"]), ("Abs", ["c"], ["y"])]
    onnx.save(chain(*steps, w=weight), tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", x=X)
    options = ["--input", tmp_path / "x.npz", "--capture", "a,b", "--output", tmp_path / "y.npz", "--iterations", "1"]
    assert main([str(tmp_path / "m.onnx"), *map(str, options)]) == 0
    assert "capture: " in capsys.readouterr().err
    with np.load(tmp_path / "y.npz") as found:
        assert sorted(found) == ["a", "b", "y"]
        np.testing.assert_allclose(found["a"], X, rtol=1e-6)
        np.testing.assert_allclose(found["b"], np.exp(X), rtol=1e-5)


@pytest.fixture(scope="module")
def looped():
    """A model with a body: its inner tensors have a value each time that it runs."""
    body = helper.make_graph(
        [helper.make_node("Log", ["x"], ["inner"])], "then", [], [helper.make_tensor_value_info("inner", 1, [4])]
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["outer"])], "else", [], [helper.make_tensor_value_info("outer", 1, [4])]
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], name="largest", keepdims=0),
        helper.make_node("Cast", ["m"], ["c"], name="test", to=TensorProto.BOOL),
        helper.make_node("If", ["c"], ["i"], name="branch", then_branch=body, else_branch=other),
        helper.make_node("Relu", ["i"], ["y"], name="relu"),
    ]
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, [4])] for name in "xy"]
    model = helper.make_model(
        helper.make_graph(nodes, "looped", *ends), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    with tstorch.load(model) as loaded:
        yield loaded


def test_a_program_is_looked_at_between_its_steps(looped: Model):
    assert looped.artifact.program["control"]
    maker = hunt(looped, {"x": X}).maker
    assert maker is not None
    assert (maker.node.id, maker.tensor, maker.has_body) == ("branch", "i", True)
    np.testing.assert_array_equal(capture(looped, {"x": X}, ["m"]).arrays["m"], np.float32(2))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("inner", "tensor 'inner' is made inside 'branch'"),
        ("x", "tensor 'x' is an input or initializer"),
        ("mm", "the model has no tensor 'mm'; is it 'm'?"),
    ],
)
def test_a_name_that_cannot_be_captured_is_refused(looped: Model, name: str, says: str):
    with pytest.raises(UsageError, match=says):
        capture(looped, {"x": X}, [name])


def test_the_model_itself_is_back_after_an_instrument_was_at_work(looped: Model):
    before = looped.run({"x": X})
    capture(looped, {"x": X}, ["m", "c"])
    assert looped.run({"x": X}).keys() == before.keys()


def test_memory_is_bounded_by_cutting_what_is_given_out(path, monkeypatch):
    from tstorch.numerics import probe

    with tstorch.load(path) as model:
        looker = probe.Probe(model, model.draw_inputs())
        largest = max(map(looker.size, looker.graph.tensors))
        monkeypatch.setattr(probe, "MOST_BYTES", largest)
        parts = list(looker.chunks(looker.graph.tensors, 64))
    assert [name for part in parts for name in part] == looker.graph.tensors
    assert len(parts) > 1
    assert all(sum(map(looker.size, part)) <= largest for part in parts)


def test_an_artifact_without_its_model_can_be_neither_hunted_nor_captured(tmp_path, capsys):
    from tiny_artifact import write_tiny_artifact

    stored = str(write_tiny_artifact(tmp_path))
    for options in (["--nan-hunt"], ["--capture", "y", "--output", str(tmp_path / "y.npz")]):
        assert main([stored, *options]) == 1
        assert "give the model it was compiled from" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--capture", "a"], "--capture says which tensors to save"),
        (["--nan-hunt", "--check"], "--nan-hunt is a run of its own; leave out --check"),
        (["--nan-hunt", "--json", "r.json"], "leave out --json"),
    ],
)
def test_flags_that_do_not_go_together_are_wrong_usage(options, says, capsys):
    assert main(["m.onnx", *options]) == 2
    assert says in capsys.readouterr().err


def test_a_stale_trace_is_refused_by_what_changed(path, tmp_path, capsys):
    """The model was trained further, or other passes run, since the trace was taken."""
    trace, changed = tmp_path / "t.jsonl", tmp_path / path.name
    assert main([str(path), "--iterations", "1", "--trace", str(trace)]) == 0
    onnx.save(with_sqrt(network(NETWORK), 1)[0], changed)
    annotate = ["--compile-to", "flow", "-p", f'annotate-trace{{file="{trace}"}}', "-o", str(tmp_path / "a.mlir")]
    for model, more, says in (
        (changed, [], "does not belong to this IR: its model is"),
        (path, ["--without", "propagate-layout"], "does not belong to this IR: pass"),
    ):
        capsys.readouterr()
        assert opt.main([str(model), *annotate, *more]) == 1
        assert says in capsys.readouterr().err
    assert opt.main([str(path), *annotate]) == 0
    assert "trace.measured" in (tmp_path / "a.mlir").read_text()


@pytest.mark.parametrize(
    ("fault", "pass_name", "says"),
    [
        (wrong_rewrite, "planted-wrong-rewrite", "does: pattern DropMaximum at 'prim.maximum'"),
        (wrong_constant, "planted-wrong-constant", "found on the GPU"),
    ],
)
def test_bisection_names_the_pass_that_breaks_the_result(path, planted, capsys, fault, pass_name, says):
    node = ModelGraph(path).makers[node_of(path, "Relu", 2).output[0]].id
    planted(fault(node))
    assert opt.main([str(path), "--bisect"]) == 1
    out = capsys.readouterr().out
    assert f'{pass_name}{{node="{node}"}} (plugin planted), breaks the result' in out
    assert says in out


def test_bisection_finds_nothing_where_nothing_is_wrong(path, capsys):
    assert opt.main([str(path), "--bisect"]) == 0
    assert "no pass breaks the result" in capsys.readouterr().out


def test_bisection_of_text_needs_no_gpu(tmp_path, planted, capsys, monkeypatch):
    planted(wrong_rewrite("m"))
    monkeypatch.setattr("tstorch.tools.bisection.load", None)
    (tmp_path / "f.mlir").write_text(
        """func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
          %z = prim.constant dense<0.0> : tensor<4xf32>
          %m = prim.maximum %x, %z : tensor<4xf32> loc("m")
          func.return %m : tensor<4xf32>
        }"""
    )
    words = [str(tmp_path / "f.mlir"), "--bisect", "-p"]
    assert opt.main([*words, "cse,dce,canonicalize"]) == 0
    assert opt.main([*words, 'cse,planted-wrong-rewrite{node="m"},dce']) == 1
    assert "pass 2 of 3, planted-wrong-rewrite" in capsys.readouterr().out


def test_a_leaked_allocation_is_named(path, tmp_path, monkeypatch, capsys):
    """A runtime that allocates in every run, as a fault that tests can inject makes it do."""
    for fault, says in ((None, "steady runs: nothing"), ("encode:leak=4096", "steady runs: ")):
        monkeypatch.setattr(Worker, "start", partial(STARTED, fault=fault))
        assert main([str(path), "--iterations", "3", "--trace", str(tmp_path / "t.trace")]) == 0
        assert trace.main(["memory", str(tmp_path / "t.trace")]) == 0
        out = capsys.readouterr().out
        assert says in out
        assert ("x leak (" in out) == (fault is not None)
