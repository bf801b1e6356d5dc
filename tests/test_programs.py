"""Tests programs on the GPU: decisions and sizes that only a run tells, held against onnxruntime."""

import json
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from helpers import control_models as models

import tstorch
from tstorch import backend
from tstorch.artifact.errors import ArtifactError
from tstorch.check import check_outputs
from tstorch.diagnostics import DiagnosticError, RunError
from tstorch.runtime.device import Device
from tstorch.runtime.machine import LOOK_BYTES


def expected(model, inputs):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def assert_right(model, found, inputs):
    for mine, theirs in zip(found.values(), expected(model, inputs), strict=True):
        assert mine.dtype == theirs.dtype
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


def drawn(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def branching():
    with tstorch.load(models.branching(), isolation="none") as model:
        yield model


@pytest.fixture(scope="module")
def looping():
    with tstorch.load(models.looping(), isolation="none") as model:
        yield model


def loop_inputs(most, limit, start=True):
    return {
        "most": np.array(most),
        "start": np.array(start),
        "limit": np.array(limit, np.float32),
        "x": np.abs(drawn((3, 4))) / 4,
    }


@pytest.mark.parametrize("sign", [1, -1])
def test_an_if_goes_both_ways(branching, sign):
    inputs = {"x": sign * np.abs(drawn((3, 4)))}
    assert_right(models.branching(), branching.run(inputs), inputs)


@pytest.mark.parametrize(("most", "limit", "start"), [(0, 9, True), (5, 9, False), (1, 9, True), (40, 2, True)])
def test_a_loop_runs_no_time_once_and_many_times_without_compiling(looping, most, limit, start):
    inputs = loop_inputs(most, limit, start)
    assert_right(models.looping(), looping.run(inputs), inputs)
    assert not looping.specialised


def test_control_in_control():
    model = models.nested()
    with tstorch.load(model, isolation="none") as loaded:
        for most in (0, 1, 9):
            inputs = {"most": np.array(most), "x": np.float32([1, -0.5])}
            assert_right(model, loaded.run(inputs), inputs)


def test_what_is_carried_may_change_places():
    model = models.fibonacci()
    with tstorch.load(model, isolation="none") as loaded:
        inputs = {"most": np.array(7), "x": np.float32([1, 2])}
        assert_right(model, loaded.run(inputs), inputs)


@pytest.mark.parametrize("most", [0, 1, 6])
def test_what_a_loop_gives_of_each_iteration_is_stacked(most):
    model = models.looping(stacked=True)
    with tstorch.load(model, isolation="none") as loaded:
        inputs = loop_inputs(most, 99)
        assert_right(model, loaded.run(inputs), inputs)


def test_a_loop_that_changes_shapes_is_compiled_for_each():
    model = models.doubling()
    with tstorch.load(model, isolation="none") as loaded:
        for most in (3, 1, 3):
            inputs = {"most": np.array(most), "x": np.float32([1, 2, 3])}
            assert_right(model, loaded.run(inputs), inputs)
        assert len(loaded.specialised) == 3


def test_what_follows_a_result_of_unknown_size_is_compiled_once_for_each_size():
    model = models.picking()
    with tstorch.load(model, isolation="none") as loaded:
        sizes = set()
        for seed in (0, 1, 2, 1):
            inputs = {"x": drawn((3, 4), seed).clip(0)}
            sizes.add(np.count_nonzero(inputs["x"]))
            assert_right(model, loaded.run(inputs), inputs)
        assert len(loaded.specialised) == len(sizes)


CASES = {
    "doubling_integers": (
        models.doubling_integers(),
        [{"x": np.array(3), "limit": np.array(10**15)}, {"x": np.array(1), "limit": np.array(5)}],
    ),
    "reshaping": (
        models.reshaping(),
        [{"n": np.array(n), "x": drawn((3, 4))} for n in ([2, 1], [1, 6], [2, 2])],
    ),
    "counting_in_a_loop": (
        models.counting_in_a_loop(),
        [{"most": np.array(4), "x": np.float32([0.4, 1.2, 0.9, 3])}],
    ),
    "branches_of_two_shapes": (
        models.branches_of_two_shapes(),
        [{"x": sign * np.ones((3, 4), np.float32)} for sign in (1, -1)],
    ),
    "stacking_bytes": (
        models.stacking_bytes(),
        [{"most": np.array(most), "x": np.float32([0, 1, 2])} for most in (0, 1, 3)],
    ),
    "ramping": (
        models.ramping(),
        [{"most": np.array(most), "x": np.array(1, np.float32)} for most in (0, 1, 3)],
    ),
    "picking_in_a_known_branch": (
        models.picking_in_a_known_branch(),
        [{"x": drawn(12).clip(0)}, {"x": np.zeros(12, np.float32)}],
    ),
    "nothing_found": (models.picking(), [{"x": np.zeros((3, 4), np.float32)}]),
}


@pytest.mark.parametrize("name", CASES)
def test_what_only_a_run_can_tell(name):
    model, cases = CASES[name]
    with tstorch.load(model, isolation="none") as loaded:
        for inputs in cases:
            assert_right(model, loaded.run(inputs), inputs)


def test_a_loop_that_is_too_long_to_stand_unrolled_is_a_step(monkeypatch):
    monkeypatch.setattr("tstorch.passes.convert.convert_onnx_to_prim.MOST_COPIES", 20)
    model, inputs = models.patient(40), {"x": np.float32([0, 1, 2])}
    with tstorch.load(model, isolation="none") as loaded:
        assert_right(model, loaded.run(inputs), inputs)
        assert {node["id"]: node["where"] for node in loaded.artifact.nodes}["loop"] == "host"


@pytest.mark.parametrize("name", ["reshaping", "counting_in_a_loop", "branches_of_two_shapes"])
def test_a_program_is_checked_in_numpy(name):
    model, cases = CASES[name]
    with tstorch.load(model, isolation="none") as loaded:
        rows = check_outputs(loaded.compiled, cases[0], loaded.run(cases[0]))["outputs"]
    assert {row["reference"] for row in rows} == {"NumPy", "onnxruntime"}
    assert all(row["ok"] for row in rows)


def test_a_wrong_answer_of_a_program_is_seen():
    model, cases = CASES["reshaping"]
    with tstorch.load(model, isolation="none") as loaded:
        wrong = {name: array + 1 for name, array in loaded.run(cases[0]).items()}
        rows = check_outputs(loaded.compiled, cases[0], wrong)["outputs"]
    assert not any(row["ok"] for row in rows)


LOOKS = {
    "branching": (models.branching(), {"x": drawn((3, 4))}, [4]),
    "looping": (models.looping(), loop_inputs(4, 99), [4] * 4),
    "picking": (models.picking(), {"x": drawn((3, 4))}, [8]),
    "reshaping": (models.reshaping(), {"n": np.array([2, 1]), "x": drawn((3, 4))}, [16]),
}


@pytest.mark.parametrize("name", LOOKS)
def test_the_host_looks_at_conditions_counts_and_shapes_alone(name, monkeypatch):
    """All that comes to the host between upload and readback: each buffer that is mapped, and what is read of it."""
    model, inputs, sizes = LOOKS[name]
    assert seen_by_the_host(model, inputs, monkeypatch) == sizes


def seen_by_the_host(model, inputs, monkeypatch):
    """The bytes of each look in a run; nothing else is mapped, but the outputs at its end."""
    mapped = []
    with tstorch.load(model, isolation="none") as loaded:
        loaded.run(inputs)
        whole = Device.mapped
        with monkeypatch.context() as patch:
            patch.setattr(Device, "mapped", lambda self, buffer: mapped.append(buffer) or whole(self, buffer))
            looks = loaded._worker.measure(inputs).looks
    names = [buffer.name for buffer in mapped]
    assert names == ["look"] * len(looks) + ["output"] * (len(names) - len(looks))
    assert len(names) - len(looks) <= len(loaded.outputs)
    assert {buffer.bytes for buffer in mapped[: len(looks)]} <= {LOOK_BYTES}
    assert all(look["tensors"] and look["cause"] for look in looks)
    return [look["bytes"] for look in looks]


@pytest.mark.parametrize("name", CASES)
def test_no_synchronisation_hands_the_host_more_than_a_kilobyte(name, monkeypatch):
    model, cases = CASES[name]
    sizes = [size for inputs in cases for size in seen_by_the_host(model, inputs, monkeypatch)]
    assert bool(sizes) == (name not in NEVER_LOOKS)
    assert all(0 < size <= LOOK_BYTES for size in sizes)


NEVER_LOOKS = {"stacking_bytes", "ramping"}
"""Programs whose loops only count: the host knows how often from an input."""


def test_a_loop_that_only_counts_is_not_looked_at():
    """Whether it goes on is handed through the body: no iteration needs the host to know."""
    with tstorch.load(models.fibonacci(), isolation="none") as loaded:
        assert loaded._worker.measure({"most": np.array(6), "x": np.float32([1, 2])}).looks == ()


def test_a_synchronisation_is_a_part_of_a_run_and_parts_add_up(looping):
    inputs = loop_inputs(6, 99)
    looping.run(inputs)
    report = looping.profile(inputs, iterations=3, warmup=1).report()
    parts = report["parts_us"]
    assert parts["sync"] > 0
    assert sum(us for name, us in parts.items() if name != "whole") == pytest.approx(parts["whole"])
    assert report["synchronisations"]["count"] == 6
    assert report["synchronisations"]["us"] == parts["sync"]
    body = report["dispatch_table"]
    assert report["dispatches"] == 6 * len(body)
    assert sum(row["us"] for row in body) == pytest.approx(parts["gpu"], rel=0.01)


def test_every_node_of_every_subgraph_is_accounted_for(branching):
    branching.run({"x": drawn((3, 4))})
    report = branching.profile({"x": np.abs(drawn((3, 4)))}, iterations=1, warmup=0).report()
    found = {node["id"]: node["where"] for node in report["nodes"]}
    assert found == {
        "sum": "run",
        "positive": "run",
        "choose": "host",
        "choose/then_branch/t": "run",
        "choose/else_branch/m": "run",
        "choose/else_branch/e": "run",
        "z": "run",
    }
    ran = {share["id"] for row in report["dispatch_table"] for share in row["nodes"]}
    assert "choose/then_branch/t" in ran
    assert "choose/else_branch/m" not in ran


def test_nodes_behind_a_size_that_a_run_tells_have_its_dispatches():
    with tstorch.load(models.picking(), isolation="none") as loaded:
        waiting = {node["id"]: node["reason"] for node in loaded.artifact.nodes if not node["dispatches"]}
        assert waiting["y"] == "compiled when a run tells its shapes"
        inputs = {"x": drawn((3, 4)).clip(0)}
        trace = loaded.profile(inputs, iterations=1, warmup=1)
    report = trace.report()
    assert {node["id"]: node["where"] for node in report["nodes"]}["y"] == "run"
    assert any(share["id"] == "y" for row in report["dispatch_table"] for share in row["nodes"])
    assert report["specialised"][0]["ms"] > 0
    assert report["cold_ms"]["specialise"] == pytest.approx(report["specialised"][0]["ms"])


def test_a_stored_program_runs_without_a_compiler_and_refuses_new_shapes(tmp_path):
    for make, refused in ((models.branching, False), (models.picking, True)):
        path = tmp_path / f"{make.__name__}.tst"
        with tstorch.load(make(), isolation="none") as loaded:
            loaded.save_artifact(path, embed_weights=True)
        inputs = {"x": drawn((3, 4))}
        with tstorch.load(path, isolation="none") as stored:
            if refused:
                with pytest.raises(RunError, match=r"was not compiled for .*no compiler at hand"):
                    stored.run(inputs)
            else:
                assert_right(make(), stored.run(inputs), inputs)


def test_a_program_in_a_worker_process_asks_its_session_for_segments():
    model = models.picking()
    with tstorch.load(model) as loaded:
        inputs = {"x": drawn((3, 4)).clip(0)}
        assert_right(model, loaded.run(inputs), inputs)


def test_wrong_inputs_are_named(branching):
    with pytest.raises(RunError, match="input 'x' is float32\\[2, 4\\]; expected x: float32\\[3, 4\\]"):
        branching.run({"x": drawn((2, 4))})


def test_the_backend_runs_programs_and_does_not_take_a_condition_for_a_constant():
    model = models.nested()
    rep = backend.prepare(model)
    for most in (2, 5):
        inputs = {"most": np.array(most), "x": np.float32([1, -0.5])}
        np.testing.assert_allclose(rep.run(inputs)[0], expected(model, inputs)[0], rtol=1e-5)
    assert rep.specialised == []
    assert len(rep.plans) == 1


def test_too_much_to_look_at_is_refused(tmp_path):
    """More than 1 KiB that shapes follow from is data."""
    nodes = [
        models.node("Cast", ["x"], ["s"], to=models.INT),
        models.node("Expand", ["one", "s"], ["y"]),
    ]
    model = models.made(nodes, [models.info("x", shape=(300,))], [models.info("y")], {"one": np.float32(1)})
    with (
        tstorch.load(model, isolation="none") as loaded,
        pytest.raises(RunError, match="bytes decide how the program goes on; the host looks at 1024 at once"),
    ):
        loaded.run({"x": np.ones(300, np.float32)})


def test_a_run_needs_no_worker_state_of_an_earlier_one(branching):
    """The same program answers for one input after the other as if each were the first."""
    first = {"x": np.abs(drawn((3, 4)))}
    one = branching.run(first)
    branching.run({"x": -first["x"]})
    np.testing.assert_array_equal(branching.run(first)["z"], one["z"])


def test_a_program_has_no_gradients():
    with pytest.raises(DiagnosticError, match=r"onnx 'choose'.*what is run, or how large it is, hangs on data"):
        tstorch.grads(models.branching(), {"x": drawn((3, 4))}, "a")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda steps: steps[1].update(entry="nowhere"), "runs entry 'nowhere', which does not exist"),
        (lambda steps: steps[1].update(takes=["nothing"]), "with inputs 'nothing', which does not exist"),
        (lambda steps: steps[1].update(inputs=[9]), "takes value 9, which no step before it gives"),
        (lambda steps: steps[1].update(op="jump"), "control has step 'jump'; expected one of input"),
        (lambda steps: steps[2]["then"].update(yields=[77]), "yields value 77, which none of its steps gives"),
        (lambda steps: steps[2]["then"].update(yields=[]), "0 arguments and 0 results"),
        (lambda steps: steps[0].update(name="other"), "declares inputs that its steps do not have"),
    ],
)
def test_a_control_that_lies_is_refused(branching, tmp_path, change, said):
    program = json.loads(json.dumps(branching.artifact.program))
    change(program["control"]["steps"])
    with pytest.raises(ArtifactError, match=said):
        replace(branching.artifact, program=program).write(tmp_path / "lying.tst")
