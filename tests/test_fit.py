"""Tests of tstorch-fit: each check by the rule that breaks it, plans against what a run requests, device files."""

import json
from dataclasses import replace

import onnx
import pytest
from chain import Chain
from models import Builder
from networks import network
from onnx import TensorProto

from tstorch.compiled import compile_model
from tstorch.diagnostics import DiagnosticError
from tstorch.fit.checks import MEMORY, planned_memory
from tstorch.fit.classes import CLASSES, judge_classes
from tstorch.fit.device import Device
from tstorch.fit.judge import Fit, Status, judge, judge_artifact
from tstorch.fit.probe import device_text
from tstorch.runtime.client import Worker
from tstorch.session import load, make_recipe
from tstorch.target import known_devices
from tstorch.tools import fit as tool

RECIPE = make_recipe("cpu", plugins=False)
MODELS = ("mlp", "cnn", "residual", "transformer", "light_shufflenet")
AMPLE = "[memory]\nhard = 4000000000\n[ceilings]\ncopy_gb_s = 10\nfma_gflop_s = 100\n"


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Models in files, by name."""
    folder = tmp_path_factory.mktemp("fit")
    for name in MODELS:
        onnx.save(network(name), folder / f"{name}.onnx")
    return {name: str(folder / f"{name}.onnx") for name in MODELS}


@pytest.fixture
def device(tmp_path):
    """Makes a device of what its file says beside an id and a class."""

    def make(text: str) -> Device:
        path = tmp_path / "own.toml"
        path.write_text(f'id = "own"\nclass = "cpu"\n{text}')
        return Device.load(str(path))

    return make


def rules(fit: Fit) -> set[str]:
    return {violation.rule for violation in fit.forbids}


@pytest.mark.parametrize("name", MODELS)
def test_a_device_with_room_runs_everything(paths, device, name):
    fit = judge(paths[name], device(AMPLE), RECIPE)
    assert (fit.status, fit.forbids, fit.conditions, fit.missing) == (Status.RUNS, [], [], [])
    assert fit.floor_ms > 0
    assert fit.memory["total"] == sum(fit.memory[part] for part in MEMORY)


def test_a_binding_that_is_too_small_is_the_rule_that_breaks(paths, device):
    fit = judge(paths["cnn"], device(f"[limits]\nmax_storage_buffer_binding_size = 4096\n{AMPLE}"), RECIPE)
    assert fit.status is Status.WONT_RUN
    assert rules(fit) == {"max_storage_buffer_binding_size"}
    (violation,) = fit.forbids
    assert violation.value > violation.limit == 4096
    assert violation.node


def test_too_few_bindings_are_the_rule_that_breaks(paths, device):
    fit = judge(paths["cnn"], device(f"[limits]\nmax_storage_buffers_per_shader_stage = 2\n{AMPLE}"), RECIPE)
    assert (fit.status, rules(fit)) == (Status.WONT_RUN, {"max_storage_buffers_per_shader_stage"})


def test_a_budget_that_is_too_small_is_the_rule_that_breaks_and_names_the_largest_weight(paths, device):
    fit = judge(paths["mlp"], device("[memory]\nhard = 100000\noverhead = 1000\n"), RECIPE)
    assert (fit.status, rules(fit)) == (Status.WONT_RUN, {"memory budget"})
    (violation,) = fit.forbids
    assert violation.value == fit.memory["requested"] + fit.memory["loading"] + 1000
    assert violation.node.startswith("weight '")
    assert f"save {violation.value - 100000:,} bytes" in violation.change


def test_a_required_feature_that_is_not_there_is_the_rule_that_breaks(paths, device):
    fit = judge(paths["cnn"], device(AMPLE), RECIPE, require=("shader-f16",))
    assert (fit.status, rules(fit)) == (Status.WONT_RUN, {"feature shader-f16"})
    with_it = device(f'features = ["shader-f16"]\n{AMPLE}')
    assert judge(paths["cnn"], with_it, RECIPE, require=("shader-f16",)).status is Status.RUNS


def test_a_time_that_no_schedule_could_meet_is_a_rule_too(paths, device):
    own = device(AMPLE)
    least = judge(paths["residual"], own, RECIPE).floor_ms
    assert judge(paths["residual"], own, RECIPE, within_ms=2 * least).status is Status.RUNS
    fit = judge(paths["residual"], own, RECIPE, within_ms=least / 2)
    assert (fit.status, rules(fit)) == (Status.WONT_RUN, {"time floor in ms"})
    unknown = judge(paths["residual"], device("[memory]\nhard = 4000000000\n"), RECIPE, within_ms=1.0)
    assert unknown.status is Status.UNKNOWN
    assert "ceilings of own" in unknown.missing[0]


def test_between_sure_and_hard_budget_it_runs_if_the_memory_is_granted(paths, device):
    fit = judge(paths["mlp"], device("[memory]\nhard = 4000000000\npessimistic = 1000\n"), RECIPE)
    assert fit.status is Status.RUNS_IF
    assert "1,000 are what the device is sure to give" in fit.conditions[0]


def test_limits_beyond_webgpus_own_have_to_be_asked_for(device, tmp_path):
    build = Builder(0)
    result = build.node("Relu", "x", name="relu")
    shape = [1, 40_000_000]
    onnx.save(build.model({"x": (TensorProto.FLOAT, shape)}, {result: (TensorProto.FLOAT, shape)}), tmp_path / "big")
    limits = "max_storage_buffer_binding_size = 1073741824\nmax_buffer_size = 1073741824\n"
    fit = judge(str(tmp_path / "big"), device(f"[limits]\n{limits}{AMPLE}"), RECIPE)
    assert fit.status is Status.RUNS_IF
    assert any("maxStorageBufferBindingSize >= 160,000,000" in condition for condition in fit.conditions)
    assert judge(str(tmp_path / "big"), device(AMPLE), RECIPE).status is Status.WONT_RUN


def test_workgroup_memory_is_a_rule_of_its_own_before_and_after_compiling(paths, device):
    """Schedules of class discrete share tiles; what a kernel shares stands in the artifact."""
    artifact = compile_model(paths["residual"], make_recipe("discrete", plugins=False)).artifact
    used = max(kernel.map["workgroup_bytes"] for kernel in artifact.kernels.values())
    assert used
    assert {kernel.wgsl.count("var<workgroup>") > 0 for kernel in artifact.kernels.values()} == {True, False}
    for kernel in artifact.kernels.values():
        assert (kernel.map["workgroup_bytes"] > 0) == ("var<workgroup>" in kernel.wgsl)
    own = device(f"[limits]\nmax_compute_workgroup_storage_size = {used - 1}\n{AMPLE}")
    fit = judge_artifact(artifact, own)
    assert (fit.status, rules(fit)) == (Status.WONT_RUN, {"max_compute_workgroup_storage_size"})
    assert max(violation.value for violation in fit.forbids) == used


def test_the_classes_are_judged_on_what_ran_and_compiled_again_where_that_would_not_fit(paths, tmp_path):
    compiled = compile_model(paths["cnn"], RECIPE)
    found = list(judge_classes(compiled.artifact, compiled))
    assert [fit["class"] for fit in found] == list(CLASSES) == ["phone", "integrated", "discrete"]
    assert [fit["device"] for fit in found] == list(CLASSES.values())
    assert {fit["status"] for fit in found} == {"RUNS"}
    for row in compiled.artifact.program["entries"]["run"]:
        if row["op"] == "dispatch":
            row["grid"] = [70_000, 1, 1]
    again = list(judge_classes(compiled.artifact, compiled))
    assert {fit["status"] for fit in again} == {"RUNS"}, "compiled for the device itself it fits"
    saved = list(judge_classes(compiled.artifact, replace(compiled, model=None)))
    assert {fit["status"] for fit in saved} == {"WONT-RUN"}, "without its model it stays what it is"
    assert {reason["rule"] for fit in saved for reason in fit["reasons"]} == {"max_compute_workgroups_per_dimension"}


def test_what_only_a_run_tells_is_unknown(device, tmp_path):
    build = Builder(0)
    found = build.node("NonZero", "x", name="places")
    result = build.node("Cast", found, name="cast", to=TensorProto.FLOAT)
    model = build.model({"x": (TensorProto.FLOAT, [4, 4])}, {result: (TensorProto.FLOAT, [2, None])})
    onnx.save(model, tmp_path / "open.onnx")
    fit = judge(str(tmp_path / "open.onnx"), device(AMPLE), RECIPE)
    assert fit.status is Status.UNKNOWN
    assert "'cast'" in fit.missing[0]


def test_without_a_budget_nothing_is_promised(paths):
    fit = judge(paths["cnn"], Device.load("webgpu-default-discrete"), RECIPE)
    assert fit.status is Status.UNKNOWN
    assert fit.missing == ["memory.hard of webgpu-default-discrete: no source says how much memory it gives"]


@pytest.mark.gpu
@pytest.mark.parametrize("name", MODELS)
def test_what_is_planned_is_what_a_run_requests(paths, name):
    with load(paths[name], isolation="none", plugins=False) as model:
        planned = planned_memory(model.artifact)["requested"]
        memory = model.profile(iterations=1, warmup=0).report()["memory"]
    own = {kind: size for kind, size in memory["requested_by"].items() if kind not in ("instrument", "timestamps")}
    assert planned == pytest.approx(sum(own.values()), rel=0.02, abs=1024)


@pytest.mark.gpu
def test_a_device_refuses_where_the_verdict_says_and_runs_where_it_says_runs(paths, device, tmp_path):
    with Worker.start() as worker:
        chain = Chain(worker, tmp_path)
        roomy = device(f"[limits]\nmax_storage_buffers_per_shader_stage = 4\n{AMPLE}")
        narrow = device(f"[limits]\nmax_storage_buffers_per_shader_stage = 2\n{AMPLE}")
        model = network("cnn")
        assert judge(paths["cnn"], roomy, RECIPE).status is Status.RUNS
        _, errors = chain.errors(model, target=roomy.target)
        assert max(errors.values()) < 1e-3
        assert judge(paths["cnn"], narrow, RECIPE).status is Status.WONT_RUN
        with pytest.raises(DiagnosticError, match="bindings; the target allows 2"):
            chain.compiled(model, target=narrow.target)


def test_every_known_device_has_a_name_sources_and_a_verdict(paths):
    for name in known_devices():
        known = Device.load(name)
        assert known.target.id == name
        assert known.sources
        fit = judge(paths["mlp"], known, RECIPE)
        assert fit.status in (Status.RUNS, Status.UNKNOWN)
        assert (known.memory.hard is None) == (fit.status is Status.UNKNOWN)
        assert known.memory.hard is None or known.memory.source


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[memory]\nhard = -1\n", "memory.hard is -1; expected a number of bytes"),
        ("[memory]\nhart = 1\n", "unknown key memory.hart"),
        ("[ceilings]\ncopy = [[2048, 5.0], [1024, 6.0]]\n", "expected [bytes, GB/s] pairs, the smallest bytes first"),
        ("[ceilings]\ncopy = [[1024.5, 5.0]]\n", "expected [bytes, GB/s] pairs"),
        ("[ceilings]\ncopy = 7\n", "ceilings.copy is 7; expected [bytes, GB/s] pairs"),
        ("[ceilings]\ncopy_gb_s = 0\n", "ceilings.copy_gb_s is 0; expected a positive number"),
        ('[about]\nconfidence = "sure"\n', "about.confidence is 'sure'"),
        ("about = 3\n", "about is 3; expected a table"),
        ("[limits]\nmax_size = 1\n", "unknown key limits.max_size"),
    ],
)
def test_a_device_file_with_an_error_says_which(device, text, says):
    with pytest.raises(DiagnosticError, match=r"own\.toml") as error:
        device(text)
    assert says in str(error.value)


RATES = {"copy_gb_s": 5.5, "fma_gflop_s": 50.25, "units": 7, "copy": [{"bytes": 1024, "gb_s": 2.5, "us": 1.0}]}


def test_what_is_probed_is_a_device_file(tmp_path):
    info = {
        "name": 'Some "GPU"',
        "backend": "Vulkan",
        "driver": "",
        "class": "cpu",
        "features": ["shader-f16", "other"],
        "limits": {"max_buffer_size": 1 << 30},
    }
    (tmp_path / "probed.toml").write_text(device_text(info, RATES, 123))
    found = Device.load(str(tmp_path / "probed.toml"))
    assert (found.name, found.confidence, found.target.features) == ('Some "GPU"', "measured", ("shader-f16",))
    assert (found.target.limits.max_buffer_size, found.target.units) == (1 << 30, 7)
    assert (found.memory.hard, found.rates.copy_gb_s, found.rates.fma_gflop_s) == (123, 5.5, 50.25)
    assert found.rates.copy == ((1024, 2.5),)


def test_small_working_sets_have_a_ceiling_of_their_own(paths, device):
    """Where the device file has copies by their size, a small model's floor is theirs."""
    flat = judge(paths["mlp"], device("[ceilings]\ncopy_gb_s = 100\nfma_gflop_s = 1e9\n"), RECIPE)
    curve = "copy = [[4096, 1.0], [1073741824, 100.0]]"
    steep = judge(paths["mlp"], device(f"[ceilings]\ncopy_gb_s = 100\nfma_gflop_s = 1e9\n{curve}\n"), RECIPE)
    assert flat.floor_ms < steep.floor_ms < 100 * flat.floor_ms


def test_the_tool_prints_a_verdict_for_each_device_and_fails_where_one_wont_run(paths, device, tmp_path, capsys):
    device("[memory]\nhard = 1000\n")
    own = str(tmp_path / "own.toml")
    assert tool.main([paths["cnn"], "--device", f"safari-ios,{own}", "--no-plugins"]) == 1
    out = capsys.readouterr().out
    assert "RUNS on iPhone, Safari (safari-ios, cited)" in out
    assert "WONT-RUN on own (own, assumed)" in out
    assert tool.main([paths["cnn"], "--device", "safari-ios", "--json", "--no-plugins"]) == 0
    (verdict,) = json.loads(capsys.readouterr().out)
    assert (verdict["device"], verdict["status"], verdict["reasons"]) == ("safari-ios", "RUNS", [])
    assert tool.main(["--list-devices"]) == 0
    assert "android-4gb" in capsys.readouterr().out


def test_the_tool_wants_a_model_and_a_known_device(paths, capsys):
    assert tool.main([paths["cnn"]]) == 2
    assert tool.main([paths["cnn"], "--device", "nokia-3310"]) == 1
    assert "target 'nokia-3310' is neither a known id nor a file" in capsys.readouterr().err
