"""What all tools share: exit codes, errors on stderr, reproducers, and arguments of the same meaning."""

import argparse
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xdsl.utils.exceptions import DiagnosticException, ParseError

from tstorch.diagnostics import DiagnosticError, ExitCode, UsageError, write_reproducer

if TYPE_CHECKING:
    from tstorch.pipeline import InternalError

LONGEST_WORD = 400


def guarded(body: Callable[[], int]) -> int:
    """Runs a tool; returns its exit code. What a user can act on is one message, without a traceback."""
    from tstorch.pipeline import InternalError

    try:
        return body()
    except DiagnosticError as error:
        return fail(str(error), error.exit_code)
    except (ParseError, DiagnosticException) as error:
        return fail(str(error).strip(), ExitCode.DIAGNOSTIC)
    except BrokenPipeError:
        return ExitCode.OK
    except InternalError as error:
        return fail(f"{error}\n{_reproduce(error)}", ExitCode.INTERNAL)
    except Exception as error:
        trace = "".join(traceback.format_exception(error))
        return fail(f"internal error: {type(error).__name__}: {error}\n{trace}", ExitCode.INTERNAL)


def fail(message: str, code: ExitCode) -> ExitCode:
    """Says what is wrong on stderr; of a name without end, its beginning."""
    shown = re.sub(rf"(\S{{{LONGEST_WORD}}})\S+", r"\1...", message)
    sys.stderr.write(f"error: {shown}\n")
    return code


def add_compile_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that shape compilation, the same for every tool."""
    group = parser.add_argument_group("compilation")
    group.add_argument("--target", metavar="ID|FILE", help="device to compile for (default: WebGPU limits, a CPU)")
    group.add_argument("--dim", metavar="NAME=N", action="append", default=[], help="bind a symbolic dimension")
    group.add_argument("--rules", metavar="FILE", action="append", default=[], help="text rules to apply, before ours")
    group.add_argument("--without", metavar="NAME", action="append", default=[], help="leave out a pass or rule")
    group.add_argument("--demote-f64", action="store_true", help="compute float64 as float32")
    group.add_argument("--no-plugins", action="store_true", help="ignore installed plugins")


def parse_dims(texts: Sequence[str]) -> dict[str, int]:
    """`batch=1` -> {"batch": 1}. Raises UsageError."""
    dims: dict[str, int] = {}
    for text in texts:
        name, _, size = text.partition("=")
        if not name or not size.isdecimal() or int(size) < 1:
            raise UsageError(f"--dim {text}: expected NAME=N with N a positive integer, as in --dim batch=1")
        dims[name] = int(size)
    return dims


def split_names(texts: Sequence[str]) -> list[str]:
    """Values of an option that may be repeated or hold a list: `a,b` and `c` -> [a, b, c]."""
    return [name for text in texts for name in text.split(",") if name]


def _reproduce(error: "InternalError") -> str:
    from tstorch.instruments import module_text

    trace = "".join(f"// {line}\n" for line in "".join(traceback.format_exception(error.cause)).splitlines())
    command = write_reproducer(Path.cwd(), module_text(error.before) + trace, error.remaining)
    return f"this is a bug of the pass; replay it with:\n  {command}"
