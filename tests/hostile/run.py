"""Feeds hostile files to tstorch-opt, each in a process of its own, and says what became of them.

    python tests/hostile/run.py [--keep FOLDER] [PATTERN...]

No file may crash it, hang it, print a traceback or take more than 2 GB; what is refused is refused with exit code 1 and
one message. Prints a line for each file that does not keep to this, and how many there are of each kind.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import resource
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "helpers")]

from hostile.files import write_all  # noqa: E402

from tstorch.tools import opt  # noqa: E402

MOST_SECONDS, MOST_BYTES, MOST_LETTERS = 60, 2 << 30, 5000
KINDS = ("accepted", "refused")


@dataclass(frozen=True)
class Outcome:
    """What one file led to: exit code (minus the signal), stderr, seconds of CPU time, and the most memory used."""

    code: int
    message: str
    seconds: float = 0.0
    bytes: int = 0

    def problem(self, must_refuse: bool) -> str:
        """What is wrong with it; empty where nothing is."""
        lines = self.message.splitlines()
        if self.code not in (0, 1):
            return f"exit code {self.code}"
        if "Traceback" in self.message:
            return "a traceback"
        if self.code == 1 and (not lines or sum(line.startswith("error: ") for line in lines) != 1):
            return "not one message"
        if len(self.message) > MOST_LETTERS:
            return f"a message of {len(self.message)} letters"
        if self.code == 0 and must_refuse:
            return "was accepted"
        if self.seconds > MOST_SECONDS:
            return f"{self.seconds:.0f} s"
        return f"{self.bytes >> 20} MB" if self.bytes > MOST_BYTES else ""


def fed(path: Path, folder: Path) -> tuple[int, str]:
    """Exit code and messages of tstorch-opt for a file, in this process."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        code = opt.main([str(path), "--compile-to=artifact", "-o", str(folder / "out.tst")])
    return code, errors.getvalue()


def fed_apart(path: Path, folder: Path) -> Outcome:
    """The same in a process that is forked for it, with its time and memory limited."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _child(path, folder, writing)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        message = pipe.read()
    _, status, used = os.wait4(child, 0)
    return Outcome(os.waitstatus_to_exitcode(status), message, used.ru_utime + used.ru_stime, used.ru_maxrss << 10)


def _child(path: Path, folder: Path, writing: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (3 * MOST_BYTES, 3 * MOST_BYTES))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(2 * MOST_SECONDS)
    code, message = 70, ""
    try:
        code, message = fed(path, folder)
    except BaseException as error:  # whatever escapes the tool is what this is looking for
        message = f"Traceback: {type(error).__name__}: {error}"
    with os.fdopen(writing, "w", errors="replace") as pipe:
        pipe.write(message)
    os._exit(code)


def main(arguments: Sequence[str]) -> int:
    """Feeds the files; 1 where one of them does what it must not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", help="names of files, as fnmatch reads them; all where none is given")
    parser.add_argument("--show", action="store_true", help="print each file's message")
    given = parser.parse_args(arguments)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as root:
        (folder := Path(root) / "files").mkdir()
        files = write_all(folder)
        fed(files["odd_nan_alpha"], Path(root))  # what is imported here need not be in each process
        for name, path in files.items():
            if given.patterns and not any(fnmatchcase(name, pattern) for pattern in given.patterns):
                continue
            outcome = fed_apart(path, Path(root))
            problem = outcome.problem(name.startswith("lie_"))
            counts["bad" if problem else KINDS[outcome.code]] += 1
            if problem or given.show:
                said = " | ".join(outcome.message.splitlines())[:300]
                print(f"{name}: {problem or KINDS[outcome.code]}, {outcome.seconds:.1f} s: {said}", flush=True)
    print(", ".join(f"{count} {kind}" for kind, count in counts.most_common()))
    return int(counts["bad"] > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
