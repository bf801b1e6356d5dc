"""Runs onnx's own backend suite, the whole of it, on the GPU.

    python tests/conformance/run.py [PATTERN...] [--quick] [-j 2] [--json FILE] [--markdown FILE] [--slice FILE]
    python tests/conformance/run.py --json FILE --resume         only what FILE does not hold, or not as it should be

Worker processes each take the next test; one that dies or stays silent costs that test alone. Prints a table, and
writes what was found of each test as JSON, the same as Markdown, and the slice of tests that CI runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conformance.cases import all_cases, excluded, quick_slice
from conformance.document import chosen_slice, summary, summary_markdown

Row = dict[str, Any]
TIMEOUT_S = 60.0


class Worker:
    """A process that judges tests, one at a time."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        command = [sys.executable, "-W", "ignore", __file__, "--worker"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it has read the suite: what follows is a test's own time

    def judge(self, name: str) -> Row:
        """The row of one test. A worker that does not answer is ended, and the row says so."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        silent = threading.Event()
        timer = threading.Timer(self._timeout_s, lambda: (silent.set(), self._process.kill()))
        timer.start()
        try:
            self._process.stdin.write(f"{name}\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if line:
            return json.loads(line)
        status = "timeout" if silent.is_set() else "crash"
        return {
            "status": status,
            "detail": f"the worker ended with {self._process.wait()}",
            "operator": "",
            "version": 0,
            "types": [],
        }

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def close(self) -> None:
        """Ends the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(30)


def work() -> int:
    """Judges the tests that stdin names, one line of JSON each on stdout; what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from conformance.judge import judge

    cases = all_cases()
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        begin = time.perf_counter()
        row = judge(cases[line.strip()])
        print(json.dumps(row | {"s": round(time.perf_counter() - begin, 2)}), file=answers, flush=True)
    return 0


def run(names: Sequence[str], workers: int, timeout_s: float) -> Iterator[tuple[str, Row]]:
    """Each test with its row, as they come."""
    pending, lock = iter(names), threading.Lock()
    found: list[tuple[str, Row]] = []
    ready = threading.Condition()

    def serve() -> None:
        worker = Worker(timeout_s)
        while True:
            with lock:
                name = next(pending, None)
            if name is None:
                return worker.close()
            row = worker.judge(name)
            if worker.ended:
                worker = Worker(timeout_s)
            with ready:
                found.append((name, row))
                ready.notify()

    for _ in range(workers):
        threading.Thread(target=serve, daemon=True).start()
    for _ in names:
        with ready:
            ready.wait_for(lambda: found)
            yield found.pop(0)


def selected(patterns: Sequence[str]) -> list[str]:
    """The tests to run: all that are not excluded, or those of them that match."""
    names = [name for name in all_cases() if name not in excluded()]
    return [name for name in names if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)]


def main(arguments: Sequence[str]) -> int:
    """Runs the suite; 1 where a test is neither passed nor refused, or where a pass does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", help="names of tests, as fnmatch reads them; all where none is given")
    parser.add_argument("--quick", action="store_true", help="only the slice that CI runs")
    parser.add_argument("-j", type=int, default=2, metavar="N", help="worker processes")
    parser.add_argument("--timeout", type=float, default=TIMEOUT_S, metavar="S", help="seconds for one test")
    parser.add_argument("--resume", action="store_true", help="keep what FILE of --json holds as it should be")
    parser.add_argument("--json", metavar="FILE", help="write a row for each test")
    parser.add_argument("--markdown", metavar="FILE", help="write the table")
    parser.add_argument("--slice", metavar="FILE", help="write the names of the tests that CI is to run")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.worker:
        return work()
    if given.resume and not given.json:
        parser.error("--resume goes on with the FILE of --json; give that too")
    names = selected(quick_slice() if given.quick else given.patterns)
    results = _stored(given.json) if given.resume else {}
    missing = [name for name in names if name not in results]
    for done, (name, row) in enumerate(run(missing, given.j, given.timeout), len(names) - len(missing) + 1):
        results[name] = row
        if done % 100 == 0:
            _write(given, results)
        if done % 100 == 0 or row["status"] not in ("pass", "refused"):
            print(f"{done} of {len(names)}: {name} {row['status']}", file=sys.stderr, flush=True)
    ordered = {name: results[name] for name in names}
    print(summary(ordered))
    _write(given, ordered)
    return int(any(_is_bad(row) for row in ordered.values()))


def _write(given: argparse.Namespace, results: Mapping[str, Row]) -> None:
    if given.json:
        kept = {name: {key: value for key, value in row.items() if key != "s"} for name, row in results.items()}
        Path(given.json).write_text(json.dumps(kept, indent=0, sort_keys=True) + "\n")
    if given.markdown:
        Path(given.markdown).write_text(summary_markdown(results))
    if given.slice:
        head = "# What CI runs of onnx's suite: drawn by `run.py --slice` so that each operator and type is there.\n"
        Path(given.slice).write_text(head + "".join(f"{name}\n" for name in chosen_slice(results)))


def _stored(path: str) -> dict[str, Row]:
    """What an earlier run found as it should be."""
    rows = json.loads(Path(path).read_text())
    return {name: row for name, row in rows.items() if not _is_bad(row)}


def _is_bad(row: Row) -> bool:
    return row["status"] not in ("pass", "refused") or row.get("again", "").startswith("differs")


def counts(results: Mapping[str, Row]) -> Counter[str]:
    """How many tests have each status."""
    return Counter(row["status"] for row in results.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
