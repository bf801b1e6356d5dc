"""What a user is told when something is wrong: error types, exit codes and the reproducer of an internal bug."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """Exit status of every tool."""

    OK = 0
    DIAGNOSTIC = 1
    USAGE = 2
    INTERNAL = 3


class DiagnosticError(Exception):
    """A problem that the user can act on: the message says what, the actual value, the rule and what to do.

    Tools print the message alone, without a traceback, and exit with `exit_code`. `node` leads the message where known.
    """

    exit_code = ExitCode.DIAGNOSTIC

    def __init__(self, message: str, *, node: str | None = None) -> None:
        super().__init__(f"onnx '{node}': {message}" if node else message)
        self.node = node
        self._message = message

    def name_operator(self, operator: str) -> None:
        """Says behind the node's name what operator it is, as in `Mul, opset 14`."""
        self.args = (f"onnx '{self.node}' ({operator}): {self._message}",)


@dataclass(frozen=True)
class Violation:
    """One rule of a device that a model breaks: the smallest change that helps is said with it."""

    rule: str
    node: str
    value: int | float | str
    limit: int | float | str
    change: str

    def __str__(self) -> str:
        at = f"{self.node}: " if self.node else ""
        return f"{at}{self.rule} is {_grouped(self.limit)}, this needs {_grouped(self.value)}; {self.change}"


def _grouped(value: int | float | str) -> str:
    return value if isinstance(value, str) else f"{value:,}"


class LimitError(DiagnosticError):
    """What the model needs is beyond a limit of the target that it is compiled for."""

    def __init__(self, message: str, violation: Violation, *, node: str | None = None) -> None:
        super().__init__(message, node=node)
        self.violation = violation


class UsageError(DiagnosticError):
    """A command line that asks for something that does not exist."""

    exit_code = ExitCode.USAGE


class OnnxImportError(DiagnosticError):
    """The model cannot be read, or holds something that has no form here."""


class LevelError(DiagnosticError):
    """The IR holds what its level forbids, or a pass stands at the wrong level."""


class RunError(DiagnosticError):
    """A run failed: wrong inputs, a dead or silent worker, a refused shader."""


class PassError(Exception):
    """A pass broke its contract: a bug of the pass, not of its input. Tools write a reproducer and exit with 3."""


def write_text_atomically(path: Path, text: str) -> None:
    """Writes `text` to `path`, whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DiagnosticError(f"cannot write '{path}': {error.strerror}") from error


def write_reproducer(directory: Path, ir: str, passes: Sequence[str], arguments: Sequence[str] = ()) -> str:
    """Writes the IR before the failing pass; returns the one command that replays the bug.

    `passes` are the specs of the failing pass and of those after it, `arguments` the options that shape compilation.
    """
    path = directory / f"tstorch-reproducer-{os.getpid()}.mlir"
    write_text_atomically(path, ir)
    return shlex.join(["tstorch-opt", str(path), *arguments, "-p", ",".join(passes)])
