"""How compilation grows with the graph: CPU time of each stage, whole and per node, from the file to the artifact.

    python benchmarks/compile_scale.py [--nodes 2500 5000 10000 20000] [--json FILE]

The graphs are drawn by seed (tests/helpers/large_graph.py): 30 kinds of operator over 50 shapes. Stages are the import,
each pass, what lies between passes (`checks`: verification and the audit of names), and writing the artifact. Where
time is linear, the microseconds per node do not grow with the nodes; they fall while kernels repeat.
"""

import argparse
import sys
import time
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

from common import print_table, write_results
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from tstorch.artifact.emit import emit_artifact
from tstorch.compiled import Recipe, imported, rare_collections
from tstorch.levels import Level, get_pipeline
from tstorch.pipeline import compile

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from helpers.large_graph import large_graph

SIZES = (2500, 5000, 10_000, 20_000)


class StageClock:
    """CPU seconds of each stage; an observer of the pipeline, so that passes are stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._begin = 0.0

    @contextmanager
    def stage(self, name: str):
        """Adds the CPU time of the block to a stage."""
        begin = time.process_time()
        yield
        self._add(name, time.process_time() - begin)

    def before(self, step: ModulePass, module: ModuleOp) -> None:
        """Starts the clock of a pass."""
        self._begin = time.process_time()

    def after(self, step: ModulePass, module: ModuleOp) -> None:
        """Stops it."""
        self._add(step.name, time.process_time() - self._begin)

    def _add(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds


def measure(nodes: int) -> Mapping[str, float]:
    """CPU seconds by stage of a graph of so many nodes, `total` first."""
    model = large_graph(nodes).SerializeToString()
    clock, recipe = StageClock(), Recipe()
    with rare_collections(), clock.stage("total"):
        with clock.stage("import"):
            module = imported(model, recipe)
        with clock.stage("checks"):
            compile(module, to=Level.BUF, context=recipe.context(), observers=[clock])
        with clock.stage("artifact"):
            emit_artifact(module, pipeline=get_pipeline(module), rules=[]).to_bytes()
    seconds = {"total": clock.seconds.pop("total"), **clock.seconds}
    passes = sum(seconds.values()) - sum(seconds[name] for name in ("total", "import", "checks", "artifact"))
    return {**seconds, "checks": seconds["checks"] - passes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=SIZES, metavar="N")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    results = {str(nodes): dict(measure(nodes)) for nodes in options.nodes}
    write_results(options.json, {"cpu_s": results})
    stages = dict.fromkeys(stage for row in results.values() for stage in row)
    head = [word for nodes in options.nodes for word in (f"{nodes} s", "us/node")]
    rows = [
        [stage]
        + [
            text
            for nodes in options.nodes
            for seconds in [results[str(nodes)].get(stage, 0.0)]
            for text in (f"{seconds:.2f}", f"{seconds / nodes * 1e6:.0f}")
        ]
        for stage in stages
    ]
    print_table(["stage", *head], rows)


if __name__ == "__main__":
    main()
