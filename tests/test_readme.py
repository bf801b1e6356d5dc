"""Tests that the README's commands work as they stand there, in order, and that its links lead somewhere."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """Returns the README's fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as `go.py demo` leaves it: the examples, and the restored model in out/."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "examples", folder / "examples")
    (folder / "out").mkdir()
    restore = [sys.executable, "examples/restore.py", "examples/resnet18_bn.onnx", "out/resnet18_bn.onnx"]
    subprocess.run(restore, cwd=folder, check=True)
    return folder


@pytest.fixture
def run(folder):
    """Runs a command in that folder, the tools of this Python's environment on the PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    def run(command):
        return subprocess.run(
            command,
            cwd=folder,
            env=dict(os.environ, PATH=path),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return run


@pytest.mark.gpu
@pytest.mark.model
def test_shell_blocks_run_in_order(run):
    assert blocks("sh"), "the README shows commands"
    for block in blocks("sh"):
        found = run(["sh", "-eu", "-c", block])
        assert found.returncode == 0, f"{block}\n{found.stdout}"
        assert "Traceback" not in found.stdout


@pytest.mark.gpu
@pytest.mark.model
def test_a_rule_of_ones_own_brings_the_dispatches_back(folder):
    """Reads what the commands left behind, so it runs after them."""
    built_in, without, own = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("built-in", "without", "own")
    )
    told = [
        int(number)
        for number in re.findall(r"(\d+)\s+dispatches|there are now (\d+)", README)
        for number in number
        if number
    ]
    assert told == [built_in["dispatches"], without["dispatches"], own["dispatches"]]
    assert built_in["dispatches"] == own["dispatches"] < without["dispatches"]
    assert (folder / "remarks.txt").read_text().count("missed TST-F009") >= 20
    labels = [label for group in own["fusion"]["done"] for label in group["as"]]
    assert any("my conv + bias" in label for label in labels)
    assert "TST-F009" not in [missed["id"] for missed in own["fusion"]["missed"]]
    assert "TST-F009" in [missed["id"] for missed in without["fusion"]["missed"]]
    assert len((folder / "own.rules").read_text().splitlines()) == 10


@pytest.mark.gpu
@pytest.mark.model
@pytest.mark.parametrize("block", blocks("python"))
def test_python_block_runs(run, block):
    found = run([sys.executable, "-W", "error", "-c", block])
    assert found.returncode == 0, f"{block}\n{found.stdout}"


def test_the_two_commands_are_those_of_go():
    (block,) = blocks("console")
    commands = [line.removeprefix("$ ") for line in block.splitlines()]
    usage = subprocess.run([sys.executable, ROOT / "go.py", "--help"], capture_output=True, text=True).stdout
    assert len(commands) == 2
    assert all(command in usage for command in commands)


def test_links_and_folders_exist():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README) + re.findall(r"^\| `(\S+/)` \|", README, re.MULTILINE)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
