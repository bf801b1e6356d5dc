"""Tests that lit itself runs the lit files: every other run of them is our own, in one process."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

LIT = Path(__file__).parent / "lit"


@pytest.mark.extra
def test_lit_passes_every_file():
    command = [str(Path(sys.executable).with_name("lit")), "-v", str(LIT)]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    passed = re.search(r"Passed *: *(\d+)", found.stdout)
    assert passed is not None, found.stdout
    assert int(passed[1]) == len(list(LIT.rglob("*.mlir"))), found.stdout
