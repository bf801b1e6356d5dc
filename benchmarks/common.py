"""What the benchmarks share: finding models, printing tables, keeping results."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def models_in(paths: Iterable[str]) -> list[Path]:
    """The models that are named, and those in the folders that are. Raises SystemExit where there is none."""
    found: list[Path] = []
    for path in map(Path, paths):
        found += sorted(path.glob("*.onnx")) if path.is_dir() else [path]
    if missing := [str(path) for path in found if not path.is_file()]:
        raise SystemExit(f"no such model: {', '.join(missing)}")
    if not found:
        raise SystemExit(f"no .onnx file in {', '.join(paths)}")
    return found


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints rows under a head, the first column to the left, all others to the right."""
    texts = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for first, *rest in texts:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]).rstrip(), flush=True)


def read_results(path: str | None) -> dict[str, Any]:
    """What an earlier run wrote; nothing where there was none."""
    return json.loads(Path(path).read_text()) if path and Path(path).exists() else {}


def write_results(path: str | None, results: dict[str, Any]) -> None:
    """Writes results as JSON, whole or not at all; nothing where no file is asked for."""
    if path:
        partial = Path(f"{path}.partial")
        partial.write_text(json.dumps(results, indent=1) + "\n")
        os.replace(partial, path)
