"""Tests that an independent Vulkan layer counts the dispatches and the bytes that the report states."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from models import cnn, mlp
from onnx import ModelProto

import tstorch
from tstorch.report.build import build_report

pytestmark = [pytest.mark.extra, pytest.mark.gpu]

HERE = Path(__file__).parent
FORMAT = "5Q"
# Leaves without freeing anything: what wgpu holds before the first buffer of ours.
DEVICE_ONLY = "import os, wgpu; device = wgpu.gpu.request_adapter_sync().request_device_sync(); os._exit(0)"


class Counters(NamedTuple):
    """What the layer has seen so far; see struct Counters in witness.cpp."""

    devices: int
    submits: int
    dispatches: int
    buffer_bytes: int
    buffers: int


@pytest.fixture(scope="session")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the layer, built."""
    folder = tmp_path_factory.mktemp("witness")
    library = folder / "libwitness.so"
    command = ["c++", "-O1", "-shared", "-fPIC", "-std=c++17", str(HERE / "witness.cpp"), "-o", str(library)]
    subprocess.run(command, check=True)
    shutil.copy(HERE / "witness.json", folder)
    return folder


@pytest.fixture
def witness(layer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The counters' file of a layer that watches every process started from here on."""
    path = tmp_path / "counters"
    monkeypatch.setenv("WITNESS_FILE", str(path))
    monkeypatch.setenv("VK_LAYER_PATH", str(layer))
    monkeypatch.setenv("VK_INSTANCE_LAYERS", "VK_LAYER_TSTORCH_witness")
    return path


def read(path: Path) -> Counters:
    return Counters(*struct.unpack(FORMAT, path.read_bytes()[: struct.calcsize(FORMAT)]))


@pytest.mark.parametrize("network", [partial(mlp, batch=1), cnn], ids=["mlp", "cnn"])
def test_witness_counts_what_the_report_states(network: Callable[[], ModelProto], witness: Path) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", DEVICE_ONLY], check=True)
    idle = read(witness)
    witness.unlink()

    with tstorch.load(network()) as model:
        trace = model.profile(iterations=3)
        seen = read(witness)
    report = build_report(trace)
    submitted = report["submitted"]
    assert seen.devices == 1
    assert seen.dispatches == submitted["model"] + submitted["other"]
    assert submitted["model"] == submitted["runs"] * report["dispatches"]
    assert seen.buffer_bytes - idle.buffer_bytes == pytest.approx(report["memory"]["requested"], rel=0.01)
