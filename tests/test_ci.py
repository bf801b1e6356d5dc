"""Tests of CI itself: an unlisted skip fails, and the two stages close with one line that hides nothing."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TESTS = """
import pytest

def test_runs(): pass

@pytest.mark.skip(reason="no such device")
def test_skips(): pass

@pytest.mark.xfail(reason="known")
def test_known(): assert False
"""
MODULE = 'import pytest\npytest.importorskip("no_such_module")\n'


@pytest.fixture
def stages():
    spec = importlib.util.spec_from_file_location("stages", ROOT / ".ci" / "stages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run_pytest(tmp_path, monkeypatch):
    """Runs a small test file under our conftest, with CI and the list of allowed skips as given."""

    def run(source, ci, allowed=""):
        shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
        (tmp_path / "allowed_skips.txt").write_text(f"# comment\n{allowed}\n")
        (tmp_path / "test_small.py").write_text(source)
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        monkeypatch.setenv("CI", ci)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    return run


def test_a_skip_fails_in_ci_and_an_expected_failure_does_not(run_pytest):
    found = run_pytest(TESTS, ci="true")
    assert found.returncode == 1
    assert "1 passed, 1 xfailed, 1 error" in found.stdout
    assert "skipped in CI and not listed" in found.stdout
    assert "no such device" in found.stdout


def test_a_skip_is_a_skip_elsewhere_and_where_listed(run_pytest):
    assert "1 passed, 1 skipped, 1 xfailed" in run_pytest(TESTS, ci="").stdout
    listed = run_pytest(TESTS, ci="true", allowed="*::test_skips needs a device that CI has not")
    assert listed.returncode == 0, listed.stdout


def test_a_skipped_module_fails_in_ci(run_pytest):
    found = run_pytest(MODULE, ci="true")
    assert found.returncode != 0
    assert "no_such_module" in found.stdout
    assert "1 skipped" in run_pytest(MODULE, ci="").stdout


def test_an_allowed_skip_needs_a_reason(run_pytest):
    found = run_pytest(TESTS, ci="true", allowed="*::test_skips")
    assert found.returncode != 0
    assert "no reason given for *::test_skips" in found.stdout + found.stderr


def test_closing_lines_are_read_and_summed(stages):
    first = stages.parse_closing("= 1 failed, 900 passed, 3 deselected, 2 warnings in 700.50s (0:11:40) =\n")
    second = stages.parse_closing("==== 12 passed, 1 error in 9.50s ====")
    assert first == ({"failed": 1, "passed": 900, "deselected": 3, "warnings": 2}, 700.5)
    closing = "==== 1 failed, 912 passed, 2 warnings, 1 errors in 710.00s ===="
    assert stages.merge_closings([first, second]) == closing


@pytest.mark.parametrize("line", ["==== FAILURES ====", "12 passed", "= short test summary info ="])
def test_other_lines_are_no_closing_lines(stages, line):
    assert stages.parse_closing(line) is None


@pytest.mark.parametrize(
    ("results", "status"),
    [
        ([(0, ({"passed": 2}, 1.0)), (0, ({"passed": 1}, 1.0))], 0),
        ([(1, ({"failed": 2}, 1.0)), (0, ({"passed": 1}, 1.0))], 1),
        ([(0, ({"passed": 2}, 1.0)), (5, ({"deselected": 1}, 1.0))], 1),
        ([(0, None), (0, ({"passed": 1}, 1.0))], 1),
    ],
)
def test_both_stages_run_and_both_must_pass(stages, monkeypatch, capsys, results, status):
    left = list(results)
    monkeypatch.setenv("CI", "")
    monkeypatch.setattr(stages, "stage", lambda title, arguments: left.pop(0))
    monkeypatch.setattr(stages, "lacking", list)
    assert stages.main([]) == status
    assert left == []
    assert capsys.readouterr().out.count(" in ") == 1
