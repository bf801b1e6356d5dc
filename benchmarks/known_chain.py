"""How true the printed times of dispatches are: a chain of kernels whose times are known.

    python benchmarks/known_chain.py [--adapter NAME] [--runs N] [--json FILE]

The truth of a kernel is its time alone: launched so many times in one run, nothing else beside it, that two timestamps
around all of them weigh nothing; half of these runs come before the profile and half after it. A printed time passes
within 5 % or 1 us of the truth. Exit status 1 where one does not, or where the GPU has no clock.

A kernel's time alone is its time in a chain only where neither caches nor code must be warm for it, so the kernels are
products whose tiles stay in registers (the schedules of class integrated), not cut into parts. Others are slower in any
chain than alone, as seen on an H200: a softmax by 1 to 2 us, products through workgroup memory by 5 to 9 %. What is
printed for these is the chain's, too: it adds up to the whole, which is timed without any timestamp in between.
"""

import argparse
import copy
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from common import print_table, write_results
from onnx import TensorProto, helper, numpy_helper

from tstorch.artifact.format import Artifact
from tstorch.compiled import Compiled, compile_model
from tstorch.inputs import draw_inputs
from tstorch.runtime.client import Worker
from tstorch.session import make_recipe

ROWS = 128
WIDTHS = (64, 512, 1024, 256, 2048, 128, 1024, 1024, 384, 768, 96, 640, 1536, 64)
ALONE_US = 20_000.0
"""How long one kernel is repeated within a run."""
REPEATS = range(8, 4001)
TOLERANCE, TOLERANCE_US = 0.05, 1.0


def chain_model() -> bytes:
    """Matrix products of several sizes: no two of them fit into one kernel, and each keeps the GPU busy by itself."""
    rng, nodes, weights, x = np.random.default_rng(0), [], [], "x"
    for at, (inner, outer) in enumerate(pairwise(WIDTHS)):
        weight = rng.standard_normal((inner, outer), np.float32) / np.float32(inner**0.5)
        weights.append(numpy_helper.from_array(weight, f"w{at}"))
        nodes.append(helper.make_node("MatMul", [x, f"w{at}"], [f"p{at}"], name=f"product{at}"))
        x = f"p{at}"
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [ROWS, width])]
        for name, width in (("x", WIDTHS[0]), (x, WIDTHS[-1]))
    ]
    graph = helper.make_graph(nodes, "chain", *ends, initializer=weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def with_entries_alone(artifact: Artifact, repeats: dict[int, int]) -> Artifact:
    """The artifact with an entry `alone ID` for each dispatch: that alone, `repeats` times, between two timestamps."""
    program, dispatches = copy.deepcopy(artifact.program), copy.deepcopy(artifact.dispatches)
    launches = {command["id"]: command for command in program["entries"]["run"] if command["op"] == "dispatch"}
    unused = 1 + max(row["id"] for row in dispatches)
    for row in artifact.dispatches:
        if row["id"] not in repeats:
            continue
        ids = range(unused, unused + repeats[row["id"]])
        unused = ids.stop
        entry = f"alone {row['id']}"
        dispatches += [{**row, "id": each, "entry": entry} for each in ids]
        marks = [{"op": "span", "id": 0, "kind": "gpu", "edge": edge} for edge in ("begin", "end")]
        program["entries"][entry] = [marks[0], *({**launches[row["id"]], "id": each} for each in ids), marks[1]]
    return Artifact(
        artifact.manifest, program, artifact.kernels, dispatches, artifact.nodes, artifact.memory, artifact.remarks
    )


def repeats_of(us: float) -> int:
    """How often a kernel that takes about so long is launched in one run."""
    return min(max(int(ALONE_US / max(us, 1.0)), REPEATS[0]), REPEATS[-1])


def alone_us(worker: Worker, ident: int, repeats: int, runs: int) -> list[float]:
    """Microseconds of one dispatch alone, of each run."""
    found = []
    for _ in range(runs):
        timed = worker.measure({}, f"alone {ident}", kind="light").timed
        if timed and timed["valid"]:
            found.append(timed["gpu"] / 1e3 / repeats)
    return found


def measure(worker: Worker, compiled: Compiled, folder: Path, runs: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Each dispatch of the chain: its label, what the profile prints and what is true, in microseconds; and how well
    the profile says it was timed."""
    inputs = draw_inputs(compiled.artifact.program["inputs"])
    load(worker, compiled, compiled.artifact, folder)
    rough = {row["id"]: row["us"] for row in worker.profile(inputs, iterations=3)["dispatches"]}
    if not rough:
        raise SystemExit("this GPU's clock gives no times of dispatches")
    repeats = {ident: repeats_of(us) for ident, us in rough.items()}
    load(worker, compiled, with_entries_alone(compiled.artifact, repeats), folder)
    worker.run(inputs)
    worker.instrument("warm", seconds=0.5)
    before = {ident: alone_us(worker, ident, repeats[ident], runs) for ident in rough}
    profile = worker.profile(inputs, iterations=max(30, 4 * runs))
    after = {ident: alone_us(worker, ident, repeats[ident], runs) for ident in rough}
    labels = {row["id"]: row["label"] for row in compiled.artifact.dispatches}
    found = [
        {
            "id": row["id"],
            "label": labels[row["id"]],
            "repeats": repeats[row["id"]],
            "printed_us": row["us"],
            "true_us": median([*before[row["id"]], *after[row["id"]]]),
            "drift": median(after[row["id"]]) / median(before[row["id"]]) - 1,
        }
        for row in profile["dispatches"]
    ]
    return found, profile["timing"]


def load(worker: Worker, compiled: Compiled, artifact: Artifact, folder: Path) -> None:
    """Loads an artifact whose weights lie where those of `compiled` do."""
    artifact.write(folder / "chain.tst")
    worker.load(folder / "chain.tst", compiled.sources)


def passes(row: dict[str, Any]) -> bool:
    """Whether a printed time is true."""
    off = abs(row["printed_us"] - row["true_us"])
    return off <= max(TOLERANCE * row["true_us"], TOLERANCE_US)


HEAD = ("dispatch", "repeats", "printed us", "true us", "off %", "truth's drift %", "passes")


def told(row: dict[str, Any]) -> list[object]:
    """A row of the printed table."""
    off, drift = 100 * (row["printed_us"] / row["true_us"] - 1), 100 * row["drift"]
    times = [f"{row[name]:.2f}" for name in ("printed_us", "true_us")]
    verdict = "yes" if passes(row) else "NO"
    return [f"{row['id']} {row['label']}", row["repeats"], *times, f"{off:+.1f}", f"{drift:+.1f}", verdict]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", metavar="NAME")
    parser.add_argument("--runs", type=int, default=10, metavar="N", help="of each kernel alone, before and after")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    with Worker.start(options.adapter) as worker, tempfile.TemporaryDirectory() as folder:
        adapter = worker.adapter_info()
        print(f"{adapter['name']} ({adapter['backend']}, {adapter['driver']})\n")
        compiled = compile_model(chain_model(), make_recipe("integrated", without=["split-reduction"]))
        rows, timing = measure(worker, compiled, Path(folder), options.runs)
    print_table(HEAD, [told(row) for row in rows])
    passed = sum(map(passes, rows))
    print(f"\n{passed} of {len(rows)} pass; agreement {timing['agreement']:.1f} %, probe {timing['probe_us']:.2f} us")
    write_results(options.json, {"adapter": adapter, "timing": timing, "dispatches": rows})
    return 0 if passed == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
