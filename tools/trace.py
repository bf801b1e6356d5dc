"""tstorch-trace: shows what a trace holds, without a GPU and without the model."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING
from zipfile import is_zipfile

from tstorch.diagnostics import UsageError
from tstorch.tools.common import guarded

if TYPE_CHECKING:
    from tstorch.trace.schema import Trace

VIEWS = {
    "summary": "the headline, the waterfall of a run's parts, and how far to trust the figures",
    "kernels": "every kernel with its bound and what reaching it would save; which dispatches wait for which",
    "nodes": "every ONNX node with its time, or where else it went",
    "modules": "a tree by PyTorch module or ONNX scope, with subtotals",
    "memory": "buffers, the timeline of live bytes, the peak and what is alive there",
    "fusion": "what was fused, what was declined, and why",
    "cold": "the stages from start to first result",
}
DIFF = "diff"
PLANNED = "memory"
"""The view that needs no run: it reads an artifact too."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `tstorch-trace`. Returns the exit code; wrong usage exits with 2."""
    options = _parser().parse_args(argv)
    return guarded(lambda: _show(options))


def _show(options: argparse.Namespace) -> int:
    from tstorch.trace.file import read_trace

    expected = 2 if options.view == DIFF else 1
    if len(options.file) != expected:
        raise UsageError(f"tstorch-trace {options.view}: {len(options.file)} files given, {expected} expected")
    read = _planned_or_measured if options.view == PLANNED else read_trace
    view = import_module(f"tstorch.report.views.{options.view}").view(*map(read, options.file))
    text = json.dumps(view.data, indent=1, allow_nan=False) if options.json else "\n".join(view.lines)
    sys.stdout.write(f"{text}\n")
    return 0


def _planned_or_measured(path: str) -> Trace:
    """A trace, or what an artifact plans."""
    from tstorch.trace.file import read_trace
    from tstorch.trace.planned import planned_trace

    return planned_trace(path) if is_zipfile(path) else read_trace(path)


def _parser() -> argparse.ArgumentParser:
    names = "\n".join(f"  {name:<9} {text}" for name, text in (VIEWS | {DIFF: _DIFF}).items())
    parser = argparse.ArgumentParser(
        "tstorch-trace", description=f"{__doc__}\n\n{names}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("view", choices=[*VIEWS, DIFF], metavar="VIEW", help="one of the above")
    parser.add_argument(
        "file",
        nargs="+",
        metavar="FILE",
        help="a trace that tstorch-run --trace wrote (two for diff); for memory also an artifact",
    )
    parser.add_argument("--json", action="store_true", help="print the data, not the text")
    return parser


_DIFF = "two traces of one model: what became faster or slower, by node, and why"

if __name__ == "__main__":
    sys.exit(main())
