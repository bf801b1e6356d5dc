"""Tests that Tint, the WGSL compiler of Chrome, accepts every shader: naga, which runs ours, accepts more."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from models import SMALL
from networks import LARGE, network

from tstorch.compiled import Recipe, compile_model

pytestmark = [pytest.mark.extra, pytest.mark.model]

HERE = Path(__file__).parent
DAWN = "webgpu@0.6.2"  # Dawn for node: Tint without a browser
SWIFTSHADER = Path("/usr/lib/chromium/vk_swiftshader_icd.json")  # the driver that Debian's chromium brings
BARRIER = """
@compute @workgroup_size(8) fn main(@builtin(local_invocation_id) id: vec3<u32>) {
  if (id.x > 2u) { workgroupBarrier(); }
}"""
Errors = Callable[[str], list[str]]


@pytest.fixture(scope="session")
def tint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Errors]:
    """Tint in a process of its own, for all tests: gives its errors on a shader, none where it accepts it."""
    folder = tmp_path_factory.mktemp("dawn")
    (folder / "package.json").write_text('{"type": "module"}')
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", DAWN], cwd=folder, check=True)
    shutil.copy(HERE / "tint.mjs", folder)
    told: dict[str, list[str]] = {}
    process = subprocess.Popen(
        ["node", "tint.mjs"],
        cwd=folder,
        env={**os.environ, "VK_DRIVER_FILES": str(SWIFTSHADER)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert process.stdin
    assert process.stdout

    def errors(shader: str) -> list[str]:
        if shader not in told:
            (path := folder / f"{len(told)}.wgsl").write_text(shader)
            process.stdin.write(f"{path}\n")
            told[shader] = json.loads(process.stdout.readline() or '["tint.mjs ended"]')
        return told[shader]

    with process:
        yield errors
        process.stdin.close()
    assert process.returncode == 0


@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_tint_accepts_every_shader(name: str, tint: Errors) -> None:
    kernels = compile_model(network(name), Recipe()).artifact.kernels
    assert kernels
    assert {kernel: found for kernel, made in kernels.items() if (found := tint(made.wgsl))} == {}


def test_tint_refuses_what_naga_accepts(tint: Errors) -> None:
    assert any("uniform control flow" in error for error in tint(BARRIER))
    assert tint(BARRIER.replace("if (id.x > 2u)", "")) == [], "it goes on after an error"
