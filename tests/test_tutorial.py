"""Tests that the tutorial's commands work as they stand there, in order, and print what it shows."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```$", TUTORIAL, re.MULTILINE | re.DOTALL)
FIGURE = re.compile(r"[+-]?(< )?\d[\d.,]*(e[+-]\d+)?( ?(%|ms|us|s|MiB|KiB|x)(?!\w))?")
BOUND = re.compile(r"\b(compute|memory|latency|launch) (?=  |\d)")
pytestmark = [pytest.mark.gpu, pytest.mark.model]


def masked(line: str) -> str:
    """A line without what another machine or another run prints otherwise: figures, their units, and spaces."""
    line = line.replace("no difference beyond the spread of the runs", "x 1.0")
    return " ".join(FIGURE.sub("#", BOUND.sub("bound", line)).split())


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder in which somebody followed the tutorial, and what each block showed, or was shown to print."""
    folder = tmp_path_factory.mktemp("tutorial")
    environment = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    printed: list[str] = []
    for language, block in BLOCKS:
        if language == "text":
            printed.append(printed[-1])
            continue
        command = [sys.executable, "-W", "error", "-c", block] if language == "python" else ["sh", "-eu", "-c", block]
        done = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        printed.append(done.stdout + done.stderr)
    return folder, printed


def test_every_line_that_is_shown_is_printed(followed: tuple[Path, list[str]]) -> None:
    _, printed = followed
    shown = [(block, output) for (language, block), output in zip(BLOCKS, printed, strict=True) if language == "text"]
    assert len(shown) >= 8
    for block, output in shown:
        lines = [masked(line) for line in output.splitlines()]
        for line in block.splitlines():
            assert any(found.startswith(masked(line)) for found in lines), f"not printed: {line}\n{output}"


def test_the_rule_does_what_the_tutorial_says(followed: tuple[Path, list[str]]) -> None:
    folder, _ = followed
    before, after = (json.loads((folder / f"{name}.json").read_text()) for name in ("before", "after"))
    assert (before["dispatches"], after["dispatches"]) == (12, 4)
    assert "GPU dispatches              12\n" in TUTORIAL
    assert "GPU dispatches              4\n" in TUTORIAL
    work = [round(sum(row["flops"] for row in report["kernels"]) / 1e6) for report in (before, after)]
    assert f"{work[0]} MFLOP are {work[1]}" in TUTORIAL
    assert all(row["ok"] for row in after["check"]["outputs"])
    assert before["check"] is None


def test_what_is_captured_is_what_numpy_computes(followed: tuple[Path, list[str]]) -> None:
    folder, _ = followed
    with np.load(folder / "inner.npz") as found:
        assert sorted(found) == ["base0", "relu3", "sum0"]
        assert not np.allclose(found["base0"], found["sum0"])


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", TUTORIAL)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
