"""Tests of go.py: what it finds on a system, what it would install, and that it is quick the second time."""

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BOOKWORM = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n# a comment=1\nID=debian\nVERSION_CODENAME=bookworm\n'
MINT = "ID=linuxmint\nID_LIKE='ubuntu debian'\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble\n"
FEDORA = "ID=fedora\nVERSION_ID=41\n"


@pytest.fixture
def go():
    spec = importlib.util.spec_from_file_location("go", ROOT / "go.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_python(folder, name, prints, venv=True):
    """Makes a program that answers as an interpreter would; one without `venv` fails when asked for ensurepip."""
    path = folder / name
    answer = f"echo {prints}" if prints else "echo command not found; exit 127"
    refuse = "" if venv else 'case "$2" in *ensurepip*) exit 1;; esac; '
    path.write_text(f"#!/bin/sh\n{refuse}{answer}\n")
    path.chmod(0o755)
    return str(path)


def write_manifest(folder, library):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "driver.json"
    path.write_text(json.dumps({"ICD": {"library_path": library, "api_version": "1.3.0"}}))
    return str(path)


@pytest.fixture
def no_driver(tmp_path):
    return {"VK_DRIVER_FILES": str(tmp_path / "nowhere.json")}


def test_it_is_written_for_any_python_3():
    for name in ("go.py", ".ci/stages.py"):
        ast.parse((ROOT / name).read_text(), feature_version=(3, 3))


def test_os_release_is_read_with_quotes_and_comments(go):
    assert go.parse_os_release(BOOKWORM)["PRETTY_NAME"] == "Debian GNU/Linux 12 (bookworm)"
    assert "# a comment" not in go.parse_os_release(BOOKWORM)
    assert go.parse_os_release(MINT)["ID_LIKE"] == "ubuntu debian"


@pytest.mark.parametrize(
    ("text", "apt", "python"),
    [
        (BOOKWORM, True, "python3.11"),
        (MINT, True, "python3.12"),
        ("ID=debian\nVERSION_CODENAME=unheard", True, "python3"),
        (FEDORA, False, "python3"),
        ("", False, "python3"),
    ],
)
def test_systems_are_told_apart(go, text, apt, python):
    release = go.parse_os_release(text)
    assert (go.has_apt(release), go.packaged_python(release)) == (apt, python)


def test_the_newest_python_is_found_and_broken_names_are_not(go, tmp_path, monkeypatch):
    monkeypatch.setattr(go.sys, "executable", "")
    write_python(tmp_path, "python3.14", None)
    older = write_python(tmp_path, "python3.11", "3.11")
    newer = write_python(tmp_path, "python3.13", "3.13")
    write_python(tmp_path, "python3", "3.9")
    assert go.find_pythons(str(tmp_path)) == [(newer, "3.13"), (older, "3.11")]


def test_a_python_under_a_plain_name_is_found(go, tmp_path, monkeypatch):
    monkeypatch.setattr(go.sys, "executable", "")
    plain = write_python(tmp_path, "python3", "3.12")
    assert go.find_pythons(str(tmp_path)) == [(plain, "3.12")]
    write_python(tmp_path, "python3", "3.10")
    assert go.find_pythons(str(tmp_path)) == []


def test_a_python_without_venv_is_passed_over_and_its_package_named(go, tmp_path, no_driver):
    whole = write_python(tmp_path, "whole", "3.11")
    bare = write_python(tmp_path, "bare", "3.13", venv=False)
    assert go.choose_python([(bare, "3.13"), (whole, "3.11")]) == whole
    assert go.choose_python([(bare, "3.13")]) is None
    release = go.parse_os_release(BOOKWORM)
    assert "python3.13-venv" in go.missing_packages(release, no_driver, [(bare, "3.13")])
    assert go.missing_packages(release, no_driver, [])[:2] == ["python3.11", "python3.11-venv"]


def test_a_driver_counts_when_its_library_loads(go, tmp_path, no_driver):
    pythons = [(sys.executable, "3.11")]
    good = {"VK_ICD_FILENAMES": write_manifest(tmp_path / "good", "libc.so.6")}
    bad = {"VK_ICD_FILENAMES": write_manifest(tmp_path / "bad", "./libmissing.so")}
    found = {
        name: "mesa-vulkan-drivers" in go.missing_packages({}, environ, pythons, "linux")
        for name, environ in (("good", good), ("bad", bad), ("none", no_driver))
    }
    assert found == {"good": False, "bad": True, "none": True}
    assert go.missing_packages({}, no_driver, pythons, "darwin") == []


def test_drivers_are_sought_where_the_loader_looks(go, tmp_path):
    home = write_manifest(tmp_path / "home/.config/vulkan/icd.d", "a")
    data = write_manifest(tmp_path / "data/vulkan/icd.d", "b")
    environ = {"HOME": str(tmp_path / "home"), "XDG_DATA_DIRS": str(tmp_path / "data")}
    listed = go.driver_files(environ)
    assert home in listed
    assert data in listed
    assert go.driver_files(dict(environ, VK_DRIVER_FILES=str(tmp_path / "data/vulkan/icd.d"))) == [data]


def test_root_on_debian_sees_the_line_and_it_runs_after_one_update(go, capsys):
    ran = []
    go.apt_install(["libvulkan1"], run=lambda command, env, stdin: ran.append((command, env["DEBIAN_FRONTEND"])) or 0)
    line = ["apt-get", "install", "-y", "--no-install-recommends", "libvulkan1"]
    assert ran == [(["apt-get", "update", "-qq"], "noninteractive"), (line, "noninteractive")]
    assert " ".join(line) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "is_root", "installs", "says"),
    [
        (BOOKWORM, True, True, "Missing system packages: libvulkan1 python3.11-venv\n"),
        (BOOKWORM, False, False, "sudo apt-get install -y --no-install-recommends libvulkan1 python3.11-venv\n"),
        (FEDORA, True, False, "Missing system packages: libvulkan1 python3.11-venv (as Debian calls them)\n"),
    ],
)
def test_what_is_missing_is_said_once_and_installed_only_by_root(
    go, monkeypatch, capsys, text, is_root, installs, says
):
    asked = []
    monkeypatch.setattr(go, "apt_install", lambda packages: asked.append(packages) or 0)
    go.provide(["libvulkan1", "python3.11-venv"], go.parse_os_release(text), is_root)
    out = capsys.readouterr().out
    assert says in out
    assert out.count("Missing system packages") == 1
    assert bool(asked) == installs


def test_only_debian_12_with_its_own_mesa_is_warned(go, monkeypatch):
    monkeypatch.setattr(go, "answer", lambda command: "22.3.6-1+deb12u1")
    assert go.mesa_is_old(go.parse_os_release(BOOKWORM))
    assert not go.mesa_is_old(go.parse_os_release(MINT))
    monkeypatch.setattr(go, "answer", lambda command: "25.0.7-2~bpo12+1")
    assert not go.mesa_is_old(go.parse_os_release(BOOKWORM))


def test_without_any_python_it_ends_with_one_message(go, monkeypatch):
    monkeypatch.setattr(go, "find_pythons", list)
    monkeypatch.setattr(go, "provide", lambda *arguments: None)
    with pytest.raises(SystemExit, match=r"No Python from 3\.11 to 3\.14"):
        go.prepare_system({}, {})


def test_an_installation_is_known_by_its_stamp(go, tmp_path, monkeypatch):
    monkeypatch.setattr(go, "STAMP", str(tmp_path / "installed.json"))
    monkeypatch.setattr(go, "in_venv", lambda program: sys.executable)
    assert not go.is_installed("")
    Path(go.STAMP).write_text(json.dumps({"digest": go.digest_of_project(), "extras": [""]}))
    assert go.is_installed("")
    assert not go.is_installed("test")
    Path(go.STAMP).write_text(json.dumps({"digest": "of another pyproject.toml", "extras": ["", "test"]}))
    assert not go.is_installed("test")
    Path(go.STAMP).write_text("torn")
    assert not go.is_installed("")


def test_demo_runs_the_example_and_closes_with_the_users_own_line(go, monkeypatch, tmp_path, capsys):
    ran = []
    monkeypatch.setattr(go, "is_installed", lambda extra: True)
    monkeypatch.setattr(go.subprocess, "call", lambda command: ran.append(command) or 0)
    monkeypatch.setattr(go, "ROOT", str(tmp_path / "clone"))
    monkeypatch.chdir(tmp_path)
    assert go.main(["demo"]) == 0
    assert [os.path.basename(command[0]) for command in ran] == ["python", "tstorch-run"]
    assert ran[0][-1] == ran[1][-1], "the model that is run is the one restored"
    last = capsys.readouterr().out.rstrip().splitlines()[-1]
    assert last.split() == [str(ROOT / ".venv/bin/tstorch-run"), "path/to/your/model.onnx"]


def test_demo_that_fails_does_not_invite(go, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(go, "is_installed", lambda extra: True)
    monkeypatch.setattr(go, "ROOT", str(tmp_path))
    monkeypatch.setattr(go.subprocess, "call", lambda command: 3)
    assert go.main(["demo"]) == 3
    assert "your model" not in capsys.readouterr().out


def test_test_hands_its_arguments_to_pytest(go, monkeypatch):
    ran = []
    monkeypatch.setattr(go, "is_installed", lambda extra: extra == "test")
    monkeypatch.setattr(go.subprocess, "call", lambda command, cwd: ran.append((command[1:], cwd)) or 5)
    assert go.main(["test", "-k", "word"]) == 5
    assert ran == [(["-k", "word"], str(ROOT))]


@pytest.mark.parametrize(("arguments", "status"), [([], 2), (["dance"], 2), (["demo", "x"], 2), (["--help"], 0)])
def test_anything_else_prints_the_usage(arguments, status):
    found = subprocess.run([sys.executable, str(ROOT / "go.py"), *arguments], capture_output=True, text=True)
    assert found.returncode == status
    assert "python3 go.py demo" in found.stdout
