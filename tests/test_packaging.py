"""Tests that a wheel holds the whole package and nothing else, and that a clone works without being installed."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOPS = {"tstorch": "tstorch", "dialects": "tstorch/dialects", "passes": "tstorch/passes", "tools": "tstorch/tools"}
NOT_PACKAGED = {".pyc", ".md"}
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


def copy_sources(target: Path) -> Path:
    """Copies what a wheel is built from into a folder of its own: building writes into the source tree."""
    for top in TOPS:
        shutil.copytree(ROOT / top, target / top, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, target)
    return target


def build_wheel(source: Path, target: Path) -> set[str]:
    """Builds a wheel and returns the names of the files in it."""
    target.mkdir()
    built = subprocess.run([sys.executable, "-c", BUILD, str(target)], cwd=source, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (wheel,) = target.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def files_on_disk(source: Path) -> set[str]:
    """Lists the package's files under the names that they must have in the wheel."""
    return {
        f"{prefix}/{path.relative_to(source / top).as_posix()}"
        for top, prefix in TOPS.items()
        for path in (source / top).rglob("*")
        if path.is_file() and path.suffix not in NOT_PACKAGED
    }


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return copy_sources(tmp_path_factory.mktemp("source"))


def test_wheel_holds_the_package_and_nothing_else(source, tmp_path):
    expected = files_on_disk(source)
    wheel = {name for name in build_wheel(source, tmp_path / "wheel") if ".dist-info/" not in name}
    assert expected - wheel == set(), "on disk, not in the wheel: list it in pyproject.toml"
    assert wheel - expected == set(), "in the wheel, not in the package"


def test_an_unlisted_package_would_be_noticed(source, tmp_path):
    copy = shutil.copytree(source, tmp_path / "copy")
    (copy / "passes" / "unlisted").mkdir()
    (copy / "passes" / "unlisted" / "__init__.py").write_text('"""A folder that pyproject.toml does not name."""\n')
    assert files_on_disk(copy) - build_wheel(copy, tmp_path / "wheel") == {"tstorch/passes/unlisted/__init__.py"}


def test_every_folder_with_sources_is_a_package(source):
    folders = {path.parent for top in TOPS for path in (source / top).rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_a_clone_imports_without_being_installed(source):
    code = "import tstorch.tools, tstorch.dialects.prim as p, tstorch.passes; print(p.__file__)"
    # -S keeps the installed copy out of the way.
    found = subprocess.run([sys.executable, "-S", "-c", code], cwd=source, capture_output=True, text=True)
    assert Path(found.stdout.strip()) == source / "dialects" / "prim" / "__init__.py", found.stderr


def test_version_is_stated_once(source):
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    assert "version" not in project
    assert project["dynamic"] == ["version"]
