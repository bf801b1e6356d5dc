"""Tests that text is the program: what --compile-to prints, read back and continued, gives the same artifact to the
byte, and a number edited by hand in it changes the GPU's answer as the same edit of the model does."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from chain import Chain
from networks import network, onnxruntime_outputs
from onnx import ModelProto, helper, numpy_helper

from tstorch.artifact.format import Artifact
from tstorch.check import TOLERANCE, relative_error
from tstorch.compiled import weight_sources
from tstorch.frontend import WeightStore
from tstorch.inputs import draw_inputs
from tstorch.levels import Level
from tstorch.runtime.client import Worker
from tstorch.tools import opt

TEXTS = [level for level in Level if level is not Level.ARTIFACT]
ROOT_2 = float(np.float32(2**0.5))
NUMBER = re.compile(r"(dense<|constant )(-?\d+\.\d*(?:e[-+]?\d+)?)(?=>| : f32)")


def tool(*arguments: object) -> None:
    assert opt.main([str(argument) for argument in arguments]) == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """For each network by name: its model and its artifact, made without a stop."""
    folder = tmp_path_factory.mktemp("continue")
    for name in ("mnist_cnn", "cnn", "transformer", "resnet18_ts"):
        onnx.save(network(name), folder / f"{name}.onnx")
        tool(folder / f"{name}.onnx", "--compile-to=artifact", "-o", folder / f"{name}.tst")
    return folder


@pytest.fixture(scope="module")
def chain(folder):
    with Worker.start() as worker:
        yield Chain(worker, folder)


def continued(source: Path, *stops: Level) -> bytes:
    """The artifact made of a model by way of text at each stop."""
    for stop in stops:
        tool(source, f"--compile-to={stop}", "-o", source.with_suffix(f".{stop}.mlir"))
        source = source.with_suffix(f".{stop}.mlir")
    tool(source, "--compile-to=artifact", "-o", source.with_suffix(".tst"))
    return source.with_suffix(".tst").read_bytes()


@pytest.mark.parametrize("stop", TEXTS)
@pytest.mark.parametrize("name", ["mnist_cnn", "transformer"])
def test_a_small_network_continued_from_any_text_is_the_same_artifact(folder, name, stop):
    assert continued(folder / f"{name}.onnx", stop) == (folder / f"{name}.tst").read_bytes()


@pytest.mark.model
@pytest.mark.parametrize("stop", [Level.PRIM, Level.FLOW, Level.LOOP])
def test_a_large_network_continued_from_text_is_the_same_artifact(folder, stop):
    assert continued(folder / "resnet18_ts.onnx", stop) == (folder / "resnet18_ts.tst").read_bytes()


def test_text_may_be_continued_at_every_stop_in_turn(folder):
    assert continued(folder / "cnn.onnx", *TEXTS) == (folder / "cnn.tst").read_bytes()


@pytest.mark.parametrize("name", ["cnn", "transformer"])
def test_the_artifact_is_the_same_in_another_folder_and_process(folder, tmp_path, name):
    shutil.copy(folder / f"{name}.onnx", tmp_path)
    command = [sys.executable, "-m", "tstorch.tools.opt", f"{name}.onnx", "--compile-to=artifact", "-o", "again.tst"]
    subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONHASHSEED": "1"}, check=True)
    assert (tmp_path / "again.tst").read_bytes() == (folder / f"{name}.tst").read_bytes()


def edited(text: str, old: float, new: float, where: str = "") -> str:
    """The text with one number changed: the only float constant that is `old`, of the lines that hold `where`."""
    lines = text.splitlines()
    found = [
        (at, match)
        for at, line in enumerate(lines)
        for match in NUMBER.finditer(line)
        if where in line and np.float32(match[2]) == np.float32(old)
    ]
    ((at, match),) = found
    lines[at] = lines[at][: match.start(2)] + str(new) + lines[at][match.end(2) :]
    return "\n".join(lines)


def answers(chain: Chain, source: Path, text: str, model: ModelProto) -> tuple[float, float]:
    """How far the GPU's answer to an edited text is from the edited model's, and that from the first model's."""
    path = source.with_name("edited.mlir")
    path.write_text(text)
    tool(path, "--compile-to=artifact", "-o", path.with_suffix(".tst"))
    artifact = Artifact.read(path.with_suffix(".tst"))
    inputs = draw_inputs(artifact.program["inputs"])
    (found,) = chain.run_artifact(artifact, weight_sources(artifact, WeightStore([source.parent])), inputs).values()
    (expected,) = onnxruntime_outputs(model, inputs).values()
    (before,) = onnxruntime_outputs(onnx.load(source), inputs).values()
    return relative_error(found, expected), relative_error(expected, before)


@pytest.mark.gpu
@pytest.mark.parametrize("stop", TEXTS)
def test_a_constant_edited_at_any_level_changes_the_answer_as_it_must(folder, chain, stop):
    source = folder / "transformer.onnx"
    continued(source, stop)
    text = source.with_suffix(f".{stop}.mlir").read_text()
    model = onnx.load(source)
    (constant,) = [tensor for tensor in model.graph.initializer if tensor.name == "root2"]
    constant.CopyFrom(numpy_helper.from_array(np.float32(0.5), "root2"))
    error, change = answers(chain, source, edited(text, ROOT_2, 0.5), model)
    assert error < TOLERANCE
    assert change > 10 * TOLERANCE


@pytest.mark.gpu
def test_a_bound_edited_under_a_nodes_name_is_that_nodes(folder, chain):
    source = folder / "cnn.onnx"
    continued(source, Level.PRIM)
    text = edited(source.with_suffix(".prim.mlir").read_text(), 0.0, 0.5, where='loc("conv1/relu")')
    model = onnx.load(source)
    (relu,) = [node for node in model.graph.node if node.name == "conv1/relu"]
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "bound"))
    relu.CopyFrom(helper.make_node("Max", [*relu.input, "bound"], relu.output, name=relu.name))
    error, change = answers(chain, source, text, model)
    assert error < TOLERANCE
    assert change > 10 * TOLERANCE
