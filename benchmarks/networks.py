"""What each network takes on this machine: latency, dispatches, cold start by stage, memory against its lower bound.

    python benchmarks/networks.py FOLDER_OR_MODEL... [--json FILE] [--dim batch=1] [--iterations N] [--check] [--again]

Each network runs in a `tstorch-run` of its own. FILE is written after each; what stands in it already is not measured
again, unless the model has changed or --again is given. What failed stands there with its message.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import models_in, print_table, read_results, write_results

from tstorch.compiled import Recipe, imported
from tstorch.diagnostics import DiagnosticError, UsageError
from tstorch.tools.common import parse_dims

TOOL = Path(sys.executable).with_name("tstorch-run")
HEAD = ("network", "ms", "idle ms", "dispatches", "passes ms", "codegen ms", "pipelines ms", "cold ms")
MEMORY = ("weights MiB", "arena MiB", "of bound", "agreement %", "verdict")
MIB = 2**20


def measure(model: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The report on one network, as `tstorch-run --json` writes it; `{"failed": message}` where there is none."""
    dims = [word for name in dims_of(model, options.dim) for word in ("--dim", name)]
    flags = [*dims, *(["--iterations", str(options.iterations)] if options.iterations else [])]
    flags += ["--check"] if options.check else []
    flags += ["--adapter", options.adapter] if options.adapter else []
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [str(TOOL), str(model), "--json", str(report), *flags]
        ran = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if not report.exists():
            return {"failed": ran.stderr.strip().splitlines()[-1] if ran.stderr.strip() else f"exit {ran.returncode}"}
        return json.loads(report.read_text())


def dims_of(model: Path, dims: list[str]) -> list[str]:
    """Those of the given bindings that the model has a dimension for."""
    try:
        imported(model, Recipe(dims=parse_dims(dims)))
    except UsageError:
        return []
    except DiagnosticError:  # told by tstorch-run
        return dims
    return dims


def row_of(name: str, report: dict[str, Any]) -> list[str]:
    """A row of the printed table."""
    if "failed" in report:
        return [name, *["-"] * (len(HEAD) + len(MEMORY) - 2), report["failed"]]
    cold, memory, timing = report["cold_ms"], report["memory"], report["timing"]
    stages = [f"{cold[stage]:.0f}" for stage in ("passes", "codegen", "pipelines", "total")]
    ratio = memory["arena_peak"] / memory["lower_bound"] if memory["lower_bound"] else 1.0
    sizes = [f"{memory[part] / MIB:.1f}" for part in ("weights", "arena_peak")]
    agreement = "-" if timing["agreement"] is None else f"{timing['agreement']:.0f}"
    latency = [f"{report['latency_ms']['median']:.2f}", f"{timing['idle_run_ms']:.2f}"]
    verdict = report["verdict"]["status"] + checked(report)
    return [name, *latency, str(report["dispatches"]), *stages, *sizes, f"{ratio:.2f}", agreement, verdict]


def checked(report: dict[str, Any]) -> str:
    """What --check found, in a word."""
    outputs = (report.get("check") or {}).get("outputs", [])
    return "" if not outputs else ", right" if all(output["ok"] for output in outputs) else ", WRONG"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--dim", action="append", default=[], metavar="NAME=SIZE")
    parser.add_argument("--iterations", type=int, metavar="N", help="of each kind (default: about 10 s in all)")
    parser.add_argument("--adapter", metavar="NAME")
    parser.add_argument("--check", action="store_true", help="compare the outputs with other implementations")
    parser.add_argument("--again", action="store_true", help="measure what stands in FILE, too")
    options = parser.parse_args()
    results = {} if options.again else read_results(options.json)
    for model in models_in(options.models):
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
        known = results.get(model.stem, {})
        if "failed" in known or known.get("model", {}).get("sha256") != digest:
            print(f"measuring {model.stem}", file=sys.stderr, flush=True)
            results[model.stem] = measure(model, options)
            write_results(options.json, results)
    print_table([*HEAD, *MEMORY], [row_of(name, report) for name, report in sorted(results.items())])


if __name__ == "__main__":
    main()
