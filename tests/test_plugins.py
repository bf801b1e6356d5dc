"""Tests of plugins: the example package installed for real, and the ways in which one can be broken."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from models import Builder
from onnx import ModelProto, TensorProto
from xdsl.universe import XDSL_UNIVERSE, Universe

import tstorch
from tstorch.diagnostics import DiagnosticError, UsageError
from tstorch.levels import Level
from tstorch.pipeline import hook_points, plan
from tstorch.plugins import Extensions
from tstorch.registry import pass_class
from tstorch.session import Model
from tstorch.testing import assert_documented, run
from tstorch.tools import opt

EXAMPLE = Path(__file__).parent / "example_plugin"
NEGATED_TWICE = """
func.func @f(%x: tensor<4xf32>) -> tensor<4xf32> {
  %a = prim.neg %x : tensor<4xf32>
  %b = prim.neg %a : tensor<4xf32>
  func.return %b : tensor<4xf32>
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example plugin, installed by pip into a folder of its own."""
    folder = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source") / "plugin"
    shutil.copytree(EXAMPLE, source)
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--target", str(folder), str(source)], check=True)
    return folder


@pytest.fixture
def acme(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Extensions]:
    monkeypatch.syspath_prepend(str(site))
    yield Extensions.load()
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme_tstorch"]:
        del sys.modules[name]


def relu_product(columns: int) -> ModelProto:
    """A relu ahead of a matrix product with so many columns."""
    build = Builder(9)
    x = build.node("Relu", "x", name="relu")
    x = build.node("MatMul", x, build.weight("w", 48, columns), name="product")
    shapes = {"x": (TensorProto.FLOAT, [8, 48])}, {x: (TensorProto.FLOAT, [8, columns])}
    return build.model(*shapes)


def fake(folder: Path, name: str, entry: str, module: str) -> None:
    """Writes a distribution with one entry point, as pip would leave it."""
    info = folder / f"{name}-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[tstorch.plugins]\n{name} = {entry}\n")
    (folder / f"{name}_module.py").write_text(module)


def test_an_installed_pass_runs_keeps_its_promise_and_is_listed(
    acme: Extensions, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not acme.broken
    module = run("acme-merge-negations", NEGATED_TWICE, acme)
    assert "prim.neg" not in str(module)
    assert_documented(pass_class("acme-merge-negations", acme), acme)
    assert opt.main(["--list-passes"]) == 0
    assert "acme-merge-negations" in (listed := capsys.readouterr().out)
    assert "plugin acme" in listed


def test_hooks_place_a_plugins_passes(acme: Extensions) -> None:
    assert set(acme.plugins[0].hooks) <= set(hook_points())
    with_plugin = plan(Level.ONNX, Level.PRIM, extensions=acme)
    assert with_plugin == [*plan(Level.ONNX, Level.PRIM), "acme-merge-negations"]
    assert plan(Level.ONNX, Level.PRIM, extensions=acme, without=["acme-merge-negations"]) == with_plugin[:-1]


def declined(model: Model) -> list[str]:
    """The ids of what built-in fusion declined."""
    missed = [remark for remark in model.artifact.remarks if remark["kind"] == "missed"]
    return [remark["id"] for remark in missed if remark["pass"] in ("form-dispatch-regions", "apply-rules")]


@pytest.mark.gpu
def test_a_plugins_rule_fuses_what_built_in_fusion_declines(acme: Extensions) -> None:
    network, given = relu_product(16), {"x": np.linspace(-1, 1, 8 * 48, dtype=np.float32).reshape(8, 48)}
    with tstorch.load(network, plugins=False) as apart:
        assert declined(apart) == ["TST-F005"]
        expected = apart.run(given)
    with tstorch.load(network) as fused:
        assert declined(fused) == []
        report = fused.profile(given, iterations=1, warmup=0).report()
        found = fused.run(given)
    assert [row["label"] for row in report["dispatch_table"]] == ["acme relu + product"]
    assert report["fusion"]["missed"] == []
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-6)


@pytest.mark.gpu
def test_a_plugins_rule_declines_by_its_own_predicate(acme: Extensions) -> None:
    with tstorch.load(relu_product(128)) as model:
        assert declined(model) == ["rule:acme_relu_product", "TST-F005"]


def test_no_plugins_ignores_them(acme: Extensions, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f.mlir").write_text(NEGATED_TWICE)
    arguments = [str(tmp_path / "f.mlir"), "-p", "acme-merge-negations"]
    assert opt.main(arguments) == 0
    assert opt.main([*arguments, "--no-plugins"]) == 2
    assert "unknown pass 'acme-merge-negations'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("entry", "module", "error"),
    [
        ("broken_module:PLUGIN", "raise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("broken_module:PLUGIN", "PLUGIN = 3", "broken_module:PLUGIN is int; expected a Plugin"),
        ("missing_module:PLUGIN", "", "ModuleNotFoundError: No module named 'missing_module'"),
    ],
)
def test_a_broken_plugin_tells_its_own_error_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, module: str, error: str
) -> None:
    fake(tmp_path, "broken", entry, module)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "broken_module", raising=False)
    extensions = Extensions.load()
    (broken,) = extensions.broken
    assert str(broken) == f"plugin 'broken' (broken 0.1) failed to load: {error}"
    assert pass_class("dce", extensions).name == "dce", "what is not broken works on"
    with pytest.raises(UsageError, match=f"unknown pass 'broken-pass'; .*; plugin 'broken' .*{error.split(':')[0]}"):
        pass_class("broken-pass", extensions)


def test_a_pass_that_cannot_be_imported_names_its_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "from tstorch.plugins import Plugin\nPLUGIN = Plugin('half', passes={'half-pass': 'nowhere:Pass'})\n"
    fake(tmp_path, "half", "half_module:PLUGIN", text)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(DiagnosticError, match="plugin 'half': cannot load nowhere:Pass: ModuleNotFoundError"):
        pass_class("half-pass", Extensions.load())


def test_a_plugin_cannot_take_over_our_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "from tstorch.plugins import Plugin\nPLUGIN = Plugin('thief', passes={'dce': 'nowhere:Pass'})\n"
    fake(tmp_path, "thief", "thief_module:PLUGIN", text)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert pass_class("dce", Extensions.load()).__module__ == "tstorch.passes.simplify.dce"


def test_our_universe_lives_beside_xdsls() -> None:
    merged = Universe.get_multiverse()  # raises for a name that stands in two universes
    ours = set(merged.all_passes) - set(XDSL_UNIVERSE.all_passes)
    assert {"form-dispatch-regions", "verify-level"} <= ours
    assert merged.all_dialects["prim"]().name == "prim"
    assert merged.all_passes["cse"] is XDSL_UNIVERSE.all_passes["cse"], "a name of xDSL's stays xDSL's"
