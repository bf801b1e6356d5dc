"""Tests that the example's weights come back to the bit, and that a damaged file is refused."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
STRIPPED = EXAMPLES / "resnet18_bn.onnx"


@pytest.fixture(scope="module")
def recipes():
    spec = importlib.util.spec_from_file_location("restore", EXAMPLES / "restore.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def save_changed(target, change):
    """Writes the stripped example to `target` after `change(model)`."""
    model = onnx.load(STRIPPED)
    change(model)
    target.write_bytes(model.SerializeToString())
    return target


def rename_first(model):
    model.graph.initializer[0].name += "x"


def change_mean(model):
    notes = next(entry for entry in model.metadata_props if entry.key == "tst.recipes")
    notes.value = notes.value.replace('"m":-0.000533456', '"m":-0.000533457')


def change_law(model):
    notes = next(entry for entry in model.metadata_props if entry.key == "tst.recipes")
    notes.value = notes.value.replace('"k":"u"', '"k":"q"')


def drop_notes(model):
    del model.metadata_props[:]


def test_restored_weights_have_the_recorded_digest_and_shape(recipes):
    model = recipes.restored(STRIPPED)
    onnx.checker.check_model(model, full_check=True)
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert weights["conv1.weight"].shape == (64, 3, 7, 7)
    assert weights["fc.weight"].shape == (1000, 512)
    # One value of each law, as another implementation of the recipes draws them.
    assert float(weights["conv1.weight"].flat[0]) == -0.021944446489214897
    assert float(weights["fc.weight"].flat[0]) == -0.03102828934788704
    assert abs(float(np.std(weights["layer4.1.conv2.weight"])) - 0.0208205) < 1e-6


def test_metadata_of_nodes_survives(recipes):
    stripped, model = onnx.load(STRIPPED), recipes.restored(STRIPPED)
    assert list(model.graph.node) == list(stripped.graph.node)
    assert [entry.key for entry in model.metadata_props] == ["tst.sha256"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rename_first, "not those of the recipes"),
        (change_mean, "not those of the recipes"),
        (change_law, "unknown law q"),
        (drop_notes, "no recipes"),
    ],
)
def test_a_changed_file_is_refused(recipes, tmp_path, change, said):
    with pytest.raises(ValueError, match=said):
        recipes.restored(save_changed(tmp_path / "changed.onnx", change))


def test_the_command_writes_a_whole_file_or_none(tmp_path):
    good, bad = tmp_path / "good.onnx", tmp_path / "bad.onnx"
    command = [sys.executable, str(EXAMPLES / "restore.py")]
    assert subprocess.run([*command, str(STRIPPED), str(good)]).returncode == 0
    assert good.stat().st_size > 40_000_000
    refused = subprocess.run([*command, str(EXAMPLES / "restore.py"), str(bad)], capture_output=True, text=True)
    assert refused.returncode == 1
    assert "not an ONNX file" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["good.onnx"]
