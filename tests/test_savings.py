"""Tests of what fusing saves: estimated from what the compiler counts, ranked by cost, and measured by undoing it."""

import json

import numpy as np
import pytest
from models import mlp
from onnx import TensorProto, helper
from report_fixtures import small_trace

import tstorch
from tstorch.compiled import compile_model
from tstorch.diagnostics import DiagnosticError
from tstorch.report.build import build_report
from tstorch.report.views import fusion
from tstorch.session import Measured, make_recipe
from tstorch.tools.run import main
from tstorch.tools.unfuse import unfuse
from tstorch.trace.bounds import Ceilings
from tstorch.trace.file import read_trace
from tstorch.trace.savings import estimates, saved_us

SCREEN = 40
CEILINGS = {"copy_gb_s": 10.0, "fma_gflop_s": 500.0, "launch_us": 7.0}


def fused(nodes, nbytes, dispatches=1):
    metric = {"bytes": nbytes, "dispatches": dispatches}
    return {"id": "TST-F010", "kind": "passed", "reason": "one kernel", "nodes": nodes, "metric": metric}


def refused(nodes, nbytes, id="TST-F001"):
    metric = {"bytes": nbytes, "dispatches": 1}
    return {"id": id, "kind": "missed", "reason": f"no {nbytes}", "nodes": nodes, "metric": metric, "suggest": "change"}


@pytest.fixture
def trace():
    """Two convolutions with what was fused into them, and refusals of two kinds."""
    trace = small_trace()
    trace.measured["ceilings"] = CEILINGS
    trace.remarks = [
        fused(["conv1", "relu1"], 1_000_000),
        fused(["conv2", "bn2", "relu2"], 2_000_000, 2),
        refused(["conv1", "conv2"], 10_000),
        refused(["relu2", "pool"], 500_000, "TST-F005"),
        refused(["relu1", "conv2"], 600_000, "TST-F005"),
        refused(["conv1"], 9_000_000, "TST-F021"),
    ]
    return trace


def test_bytes_and_dispatches_are_worth_what_the_ceilings_say():
    ceilings = Ceilings.of({"ceilings": CEILINGS})
    assert saved_us(ceilings, {"bytes": 1_000_000, "dispatches": 2}) == pytest.approx(100 + 14)
    assert saved_us(ceilings, {"dispatches": 1}) == 7
    assert saved_us(ceilings, {"bytes": 8}) is None
    assert saved_us(None, {"bytes": 8, "dispatches": 1}) is None


def test_each_fused_dispatch_has_an_estimate_the_largest_first(trace):
    rows = estimates(trace)
    assert [(row["dispatch"], row["us"]) for row in rows] == [(2, pytest.approx(214)), (1, pytest.approx(107))]
    assert rows[0]["nodes"] == ["conv2", "bn2", "relu2"]
    (done,) = build_report(trace)["fusion"]["done"]
    assert (done["saved_us"], done["saved_bytes"], done["saved_dispatches"]) == (pytest.approx(321), 3_000_000, 3)


def test_refusals_are_grouped_by_reason_and_ranked_by_what_they_cost(trace):
    data = fusion.view(trace).data
    assert [row["saved_us"] for row in data["missed"]] == pytest.approx([67, 57, 8])
    assert [(group["id"], group["saved_us"]) for group in data["refusals"]] == [
        ("TST-F005", pytest.approx(124)),
        ("TST-F001", pytest.approx(8)),
    ]
    lines = fusion.view(trace).lines
    first = next(line for line in lines if "TST-F005" in line)
    assert first.split()[:4] == ["124", "us", "2", "TST-F005"]
    assert first.endswith("change")


def test_fusion_is_never_more_than_a_screen(trace):
    trace.remarks += [refused(["conv1"], 1000 * n, f"TST-F1{n % 30:02}") for n in range(900)]
    lines = fusion.view(trace).lines
    assert len(lines) <= SCREEN
    assert any("more reasons (--json)" in line for line in lines)


def test_every_refusal_of_the_compiler_says_what_it_costs_and_what_would_change_it():
    remarks = [row for row in _compiled().remarks if row["kind"] == "missed" and row["pass"] == "form-dispatch-regions"]
    assert {remark["id"] for remark in remarks} >= {"TST-F005"}
    for remark in remarks:
        assert remark["nodes"]
        assert remark["reason"]
        assert remark["suggest"]
        assert remark["metric"]["dispatches"] >= 1
        assert "bytes" in remark["metric"]


def _compiled():
    """What feeds products: one would be computed again for every tile, the other has another user."""
    nodes = [
        helper.make_node("Exp", ["x"], ["a"], "again"),
        helper.make_node("MatMul", ["a", "w"], ["b"], "first"),
        helper.make_node("Sin", ["b"], ["c"], "shared"),
        helper.make_node("Softmax", ["c"], ["s"], "soft"),
        helper.make_node("MatMul", ["c", "v"], ["d"], "second"),
        helper.make_node("Add", ["s", "d"], ["y"], "sum"),
    ]
    numbers = np.random.default_rng(0).normal(size=256).astype(np.float32)
    weights = [helper.make_tensor(name, TensorProto.FLOAT, [16, 16], numbers) for name in ("w", "v")]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [16, 16]) for name in ("x", "y"))
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    return compile_model(model, make_recipe("cpu")).artifact


@pytest.mark.gpu
def test_the_estimate_is_written_before_the_fusion_is_undone(tmp_path):
    """What undoes it fails here: the estimate stands in the trace all the same, and no measurement does."""
    path = tmp_path / "mlp.trace"

    def fail(nodes):
        raise DiagnosticError(f"not today: {nodes}")

    with tstorch.load(mlp(batch=1)) as model:
        inputs = model.draw_inputs()
        trace = model.profile(inputs, iterations=3, idle=0)
        node = estimates(trace)[0]["nodes"][-1]
        with pytest.raises(DiagnosticError, match="not today"):
            unfuse(model, trace, inputs, [node], fail, str(path))
    written = read_trace(path)
    assert [row["nodes"] for row in written.estimates] == [row["nodes"] for row in trace.estimates]
    assert written.estimates[0]["us"] > 0
    assert "unfused" not in written.measured


@pytest.mark.gpu
def test_a_fusion_is_undone_and_measured_beside_its_estimate(tmp_path, capsys):
    path, file = tmp_path / "mlp.onnx", tmp_path / "mlp.trace"
    path.write_bytes(mlp(batch=1).SerializeToString())
    words = [str(path), "--iterations", "3", "--idle", "0", "--trace", str(file)]
    assert main([*words, "--json", str(tmp_path / "r.json")]) == 0
    trace = read_trace(file)
    node = estimates(trace)[0]["nodes"][-1]
    capsys.readouterr()
    assert main([*words, "--no-fuse", node]) == 0
    assert "fusions taken apart (--no-fuse)" in capsys.readouterr().out
    (row, *_) = read_trace(file).measured["unfused"]
    assert node in row["nodes"]
    assert row["measured_us"] == pytest.approx(row["apart_us"] - row["fused_us"])
    assert row["apart_us"] > 0
    assert json.loads((tmp_path / "r.json").read_text())["fusion"]["done"][0]["saved_us"] > 0


@pytest.mark.parametrize(("node", "says"), [("nowhere", "has no node of that name"), ("pool", "shares no kernel")])
def test_a_node_that_is_in_no_fusion_is_refused(node, says, trace):
    measured = Measured(**vars(trace))
    with pytest.raises(DiagnosticError, match=says):
        unfuse(None, measured, {}, [node], None, None)


@pytest.mark.gpu
def test_nodes_kept_apart_give_the_same_numbers():
    model = mlp(batch=1)
    with tstorch.load(model) as fused_model:
        inputs = fused_model.draw_inputs()
        names = [node["id"] for node in fused_model.artifact.nodes]
        expected = fused_model.run(inputs)
        count = len(fused_model.artifact.dispatches)
    with tstorch.load(model, apart=names) as apart:
        assert len(apart.artifact.dispatches) > count
        for name, array in apart.run(inputs).items():
            np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-6)
