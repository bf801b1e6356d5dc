"""Runs a folder of models, each in a process of its own, and says how far each is from onnxruntime.

    python tests/conformance/run_models.py --models DIR [NAME...] [--json tests/conformance/models.json] [--again]

FILE is written after each model; what stands in it is not run again unless the model has changed, or failed. Inputs
are drawn by seed from the laws that the compiler finds (`tstorch/inputs.py`): an index is below the size of its table,
masks are ones. A dimension that the model leaves open is 1 on the first axis and 32 on all others, or what --dim says.
A model passes where each output is within tolerance of onnxruntime's and of NumPy's, a quantised one has the same
largest columns as onnxruntime wherever that is sure of them, where each node of the file, those of subgraphs included,
is told to be somewhere, and where it takes at most 15 s of CPU time from the file to the artifact.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conformance.document import models_table

Row = dict[str, Any]
TIMEOUT_S = 900.0
OPEN_SIZE = 32
MOST_COMPILE_S = 15.0
PLACES = ("run", "init", "host", "elided")


def judge(path: Path, dims: Mapping[str, int]) -> Row:
    """The row of one model, in this process. Raises what loading and running it raise."""
    import tstorch
    from tstorch.artifact.merge import merged
    from tstorch.check import check_outputs

    bound = {**open_dims(path), **dims}
    begin, cpu = time.perf_counter(), time.process_time()
    with tstorch.load(path, dims={name: bound[name] for name in open_dims(path)}, plugins=False) as model:
        compiled = {"s": time.perf_counter() - begin, "cpu_s": time.process_time() - cpu}
        inputs = model.draw_inputs()
        model.run(inputs)
        again = time.perf_counter()
        outputs = model.run(inputs)
        took = time.perf_counter() - again
        check = check_outputs(model.compiled, inputs, outputs)
        whole = merged(model.artifact, [special.compiled.artifact for special in model.specialised])
    row = {
        "load_s": {name: round(seconds, 2) for name, seconds in compiled.items()},
        "dims": {name: bound[name] for name in open_dims(path)},
        "where": {place: Counter(node["where"] for node in whole.nodes)[place] for place in PLACES},
        "lost": lost_nodes(path, whole.nodes),
        "dispatches": sum(row["entry"] != "init" for row in whole.dispatches),
        "ms": round(1e3 * took, 1),
        "arena_bytes": whole.memory["arena_peak"],
        "adapter": model.adapter["name"],
        "tolerance": check["tolerance"],
        "errors": {who: worst_error(check, who) for who in ("NumPy", "onnxruntime")},
        "unavailable": check["unavailable"],
        "top_1": check["top_1"],
    }
    return row | told(row, check)


def told(row: Row, check: Mapping[str, Any]) -> Row:
    """`{status, detail}` of a model that ran."""
    top = check["top_1"] or {"rows": 0, "same": 0}
    problems = [
        f"{each['output']} is off by {each['error']} from {each['reference']}"
        for each in check["outputs"]
        if not each["ok"]
    ]
    problems += [f"onnxruntime: {why}" for who, why in check["unavailable"].items() if who == "onnxruntime"]
    problems += [f"{top['rows'] - top['same']} of {top['rows']} rows have another largest column"] * (
        top["rows"] != top["same"]
    )
    problems += [f"nodes that are nowhere: {', '.join(row['lost'])}"] * bool(row["lost"])
    problems += [f"compiled in {row['load_s']['cpu_s']} s"] * (row["load_s"]["cpu_s"] > MOST_COMPILE_S)
    return {"status": "wrong" if problems else "pass", "detail": "; ".join(problems)}


def worst_error(check: Mapping[str, Any], reference: str) -> float | None:
    """The largest error of all outputs; null where they cannot be compared, or nobody says."""
    errors = [row["error"] for row in check["outputs"] if row["reference"] == reference]
    return None if not errors or None in errors else float(f"{max(errors):.2e}")


def open_dims(path: Path) -> dict[str, int]:
    """The sizes that a model leaves open, by name."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    held = {tensor.name for tensor in graph.initializer}
    shapes = [value.type.tensor_type.shape.dim for value in graph.input if value.name not in held]
    named = [(dim.dim_param, axis) for shape in shapes for axis, dim in enumerate(shape) if dim.dim_param]
    return {name: 1 if axis == 0 else OPEN_SIZE for name, axis in reversed(named)}


def lost_nodes(path: Path, told_of: Sequence[Mapping[str, Any]]) -> list[str]:
    """The outputs of nodes of the file that the report says nothing of, found without the compiler's own ids.

    A node is known by its name, or its first output; within a subgraph the report has that behind a slash.
    """
    import onnx

    known = Counter(entry["id"].rpartition("/")[2] for entry in told_of)
    whole = Counter(entry["id"] for entry in told_of)
    wrong = [entry["id"] for entry in told_of if entry["where"] not in PLACES]
    lost = []
    model = onnx.load(path, load_external_data=False)
    nodes = list(walk(model.graph))
    for node, is_inner in nodes:
        names = [name for name in (node.name, *node.output) if name]
        seen = known if is_inner else whole
        if not any(seen[name.rpartition("/")[2] if is_inner else name] for name in names):
            lost.append(names[0])
    if len(told_of) != len(nodes) and not model.functions:
        lost.append(f"{len(nodes)} in the file, {len(told_of)} told of")
    return lost + wrong + [name for name, count in whole.items() if count > 1]


def walk(graph: Any, is_inner: bool = False) -> Iterator[tuple[Any, bool]]:
    """Every node of a graph and of its subgraphs, and whether it stands in one."""
    for node in graph.node:
        yield node, is_inner
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from walk(inner, True)


def judge_apart(path: Path, dims: Sequence[str]) -> Row:
    """The same in a process of its own; what it refuses, and how it ends, is told in the row."""
    command = [sys.executable, "-W", "ignore", __file__, "--worker", str(path), *(f"--dim={dim}" for dim in dims)]
    begin = time.perf_counter()
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return {"status": "timeout", "detail": f"no answer in {TIMEOUT_S:.0f} s"}
    row: Row = {"s": round(time.perf_counter() - begin, 1)}
    if ran.returncode == 0:
        return row | json.loads(ran.stdout.splitlines()[-1])
    return row | {"status": "crash", "detail": f"exit code {ran.returncode}: {ran.stderr[-300:]}"}


def work(path: Path, dims: Mapping[str, int]) -> int:
    """Judges one model, and prints its row as a line of JSON."""
    from tstorch.diagnostics import DiagnosticError

    try:
        row = judge(path, dims)
    except DiagnosticError as error:
        row = {"status": "refused", "detail": str(error)}
    print(json.dumps(row), flush=True)
    return 0


def facts(path: Path) -> Row:
    """What the file itself says: its digest, how many nodes it has, how many of them in subgraphs."""
    import onnx

    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    inner = [is_inner for _, is_inner in walk(onnx.load(path, load_external_data=False).graph)]
    return {"sha256": digest, "nodes": len(inner), "subgraph_nodes": sum(inner)}


def main(arguments: Sequence[str]) -> int:
    """Runs the models; 1 where one does not pass."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="models of the folder, without .onnx; all where none is given")
    parser.add_argument("--models", metavar="DIR", type=Path, default=Path())
    parser.add_argument("--json", metavar="FILE", type=Path, default=Path(__file__).with_name("models.json"))
    parser.add_argument("--dim", action="append", default=[], metavar="NAME=SIZE")
    parser.add_argument("--again", action="store_true", help="run what stands in FILE, too")
    parser.add_argument("--worker", metavar="MODEL", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.worker:
        return work(given.worker, {name: int(size) for name, _, size in (dim.partition("=") for dim in given.dim)})
    results: dict[str, Row] = json.loads(given.json.read_text()) if given.json.exists() else {}
    paths = [path for path in sorted(given.models.glob("*.onnx")) if not given.names or path.stem in given.names]
    if not paths:
        raise SystemExit(f"no such .onnx file in '{given.models}'")
    for path in paths:
        known, found = results.get(path.stem, {}), facts(path)
        if given.again or known.get("status") != "pass" or known["sha256"] != found["sha256"]:
            results[path.stem] = found | judge_apart(path, given.dim)
            print(f"{path.stem}: {results[path.stem]['status']}", file=sys.stderr, flush=True)
            _write(given.json, results)
    print(models_table(results))
    return int(any(results[path.stem]["status"] != "pass" for path in paths))


def _write(path: Path, results: Mapping[str, Row]) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    os.replace(partial, path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
