"""Runs the lit files in-process: the same RUN lines that real lit runs, without a process for each command."""

import contextlib
import io
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import filecheck.main
import pytest

from tstorch.tools import opt

MARK = "// RUN:"
PLAIN_COMMANDS = {"cat", "diff", "ls", "test"}
TOOLS: Mapping[str, Callable[[list[str]], int]] = {
    "tstorch-opt": opt.main,
    "filecheck": lambda arguments: filecheck.main.main(["filecheck", *arguments]) or 0,
}


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "LitFile | None":
    """Takes every .mlir file below this folder as one test."""
    return LitFile.from_parent(parent, path=file_path) if file_path.suffix == ".mlir" else None


class LitFailure(Exception):
    """A command failed that should not have, or the reverse."""


class LitFile(pytest.File):
    def collect(self) -> Iterator["LitTest"]:
        yield LitTest.from_parent(self, name=self.path.stem)


class LitTest(pytest.Item):
    def runtest(self) -> None:
        lines = run_lines(self.path.read_text(encoding="utf-8"))
        if not lines:
            raise LitFailure(f"{self.path} has no line that begins with '{MARK}'")
        factory: pytest.TempPathFactory = self.config._tmp_path_factory  # pyright: ignore[reportAttributeAccessIssue]
        scratch = factory.mktemp("lit") / "t"
        for line in lines:
            run_line(substitute(line, self.path, scratch))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        return str(excinfo.value) if isinstance(excinfo.value, LitFailure) else str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.name


@dataclass
class Result:
    """What a command did."""

    code: int
    out: str
    err: str


def run_lines(text: str) -> list[str]:
    """The commands of a file: what follows its RUN marks; lines that end in a backslash are joined."""
    runs = [line.split("RUN:", 1)[1].strip() for line in text.splitlines() if line.lstrip().startswith(MARK)]
    return "\n".join(runs).replace("\\\n", " ").splitlines()


def substitute(line: str, path: Path, scratch: Path) -> str:
    """Replaces %s (the file), %S (its folder) and %t (a path to write to)."""
    for name, value in {"%s": path, "%S": path.parent, "%t": scratch}.items():
        line = line.replace(name, shlex.quote(str(value)))
    return line


def run_line(line: str) -> None:
    """Runs one pipeline. Raises LitFailure with what was printed where a command fails."""
    text = ""
    for command in _pipeline(line):
        result = run_command(command, text)
        if result.code:
            raise LitFailure(f"{line}\n'{shlex.join(command)}' gave {result.code}\n{result.err}{result.out}")
        text = result.out


def run_command(command: Sequence[str], text: str) -> Result:
    """Runs one command on `text` as its stdin; `not` inverts its exit code, `2>&1` and `> FILE` redirect."""
    words = list(command)
    inverted = words[0] == "not"
    words = words[inverted:]
    merged = "2>&1" in words
    words = [word for word in words if word != "2>&1"]
    target = None
    if ">" in words:
        at = words.index(">")
        target, words = words[at + 1], words[:at] + words[at + 2 :]
    result = _execute(words, text, merged)
    if target is not None:
        Path(target).write_text(result.out, encoding="utf-8")
        result.out = ""
    result.code = int(result.code == 0) if inverted else result.code
    return result


def _execute(words: list[str], text: str, merged: bool) -> Result:
    name, *arguments = words
    if name in PLAIN_COMMANDS:
        done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
        return Result(done.returncode, done.stdout, done.stderr)
    if name not in TOOLS:
        raise LitFailure(f"unknown command '{name}': these tests know {', '.join([*TOOLS, *sorted(PLAIN_COMMANDS)])}")
    out = io.StringIO()
    err = out if merged else io.StringIO()
    stdin, sys.stdin = sys.stdin, io.StringIO(text)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = TOOLS[name](arguments)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        sys.stdin = stdin
    return Result(code, out.getvalue(), "" if merged else err.getvalue())


def _pipeline(line: str) -> list[list[str]]:
    words = shlex.split(line)
    if bad := sorted({"&&", "||", ";", "<", "&"} & set(words)):
        raise LitFailure(f"{line}: '{bad[0]}' is more shell than these tests use; write one RUN line a command")
    commands: list[list[str]] = [[]]
    for word in words:
        if word == "|":
            commands.append([])
        else:
            commands[-1].append(word)
    return commands
