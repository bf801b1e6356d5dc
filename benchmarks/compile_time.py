"""How long compilation takes: from the file to the artifact in a fresh process, and its stages; CPU time of --help.

    python benchmarks/compile_time.py FOLDER_OR_MODEL... [--dim batch=1] [--json FILE]

Times are seconds (`s`) and milliseconds (`ms`). Dimensions are bound in the models that have them.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import models_in, print_table, write_results

from tstorch.compiled import Recipe, compile_model, imported
from tstorch.diagnostics import UsageError
from tstorch.tools.common import parse_dims

TOOL = Path(sys.executable).with_name("tstorch-opt")


def run_tool(*arguments: str) -> tuple[float, float]:
    """Wall and CPU seconds of one `tstorch-opt` in a process of its own."""
    before, begin = os.times(), time.perf_counter()
    subprocess.run([str(TOOL), *arguments], check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - begin, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu


def measure(model: Path, dims: dict[str, int]) -> dict[str, Any]:
    """One network: `file_to_artifact_s`, its CPU time, and the stages' milliseconds, measured in this process."""
    try:
        imported(model, Recipe(dims=dims))
    except UsageError:  # it has no such dimension
        dims = {}
    with tempfile.TemporaryDirectory() as folder:
        bound = [word for name, size in dims.items() for word in ("--dim", f"{name}={size}")]
        target = str(Path(folder) / "model.tst")
        wall, cpu = run_tool(str(model), "--compile-to=artifact", "-o", target, *bound)
    stages = compile_model(model, Recipe(dims=dims)).stages.ms
    return {"file_to_artifact_s": wall, "file_to_artifact_cpu_s": cpu, "stages_ms": stages}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--dim", action="append", default=[], metavar="NAME=SIZE")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    results: dict[str, Any] = {"help_cpu_s": min(run_tool("--help")[1] for _ in range(5)), "networks": {}}
    print(f"tstorch-opt --help: {results['help_cpu_s']:.3f} s of CPU\n")
    for model in models_in(options.models):
        results["networks"][model.stem] = measure(model, parse_dims(options.dim))
        write_results(options.json, results)
    rows = [
        [name, *(f"{row[key]:.2f}" for key in ("file_to_artifact_s", "file_to_artifact_cpu_s"))]
        + [f"{row['stages_ms'][stage]:.0f}" for stage in ("import", "passes", "codegen")]
        for name, row in results["networks"].items()
    ]
    print_table(("network", "file to artifact s", "CPU s", "import ms", "passes ms", "codegen ms"), rows)


if __name__ == "__main__":
    main()
