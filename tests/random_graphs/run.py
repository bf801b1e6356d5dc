"""Runs random graphs on the GPU against NumPy and onnxruntime, and prints what they were made of.

    python tests/random_graphs/run.py [--count 2000] [--json FILE]      again with the same FILE it goes on
    python tests/random_graphs/run.py --graph NUMBER                     one graph that was told to be wrong

NumPy's answer is that of the primitives' own references; a type that onnxruntime has no kernel for it leaves out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from hypothesis import HealthCheck, Phase, given, seed, settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from random_graphs.graphs import Graph, graphs, numbered

from tstorch import backend, check
from tstorch.precision import Precision

NotImplemented_ = onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented
TOLERANCE = 1e-3
CHUNK = 100
"""So many graphs are run before what was found is written."""
Chunk = dict[str, Any]


def wrong(graph: Graph) -> list[str]:
    """What differs between the GPU's outputs and those of NumPy and onnxruntime. Raises what a refusal raises."""
    return _problems(graph)[0]


def _problems(graph: Graph) -> tuple[list[str], list[str]]:
    """What differs, and who had an answer."""
    model, inputs = graph.model(), graph.arrays()
    rep = backend.prepare(model)
    found = dict(zip([value.name for value in model.graph.output], rep.run(inputs), strict=True))
    references = {
        "NumPy": check.numpy_outputs(rep.plans[-1].compiled, inputs, Precision()),
        "onnxruntime": _onnxruntime(model, inputs),
    }
    problems = [
        f"{name} is {found[name].ravel()[:8]}, {reference} says {np.ravel(array)[:8]}"
        for reference, expected in references.items()
        for name, array in expected.items()
        if _differs(found[name], np.asarray(array))
    ]
    return problems, [reference for reference, expected in references.items() if expected]


def _differs(found: np.ndarray, expected: np.ndarray) -> bool:
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return True
    if expected.dtype.kind != "f":
        return not np.array_equal(found, expected)
    return check.relative_error(found, expected) > TOLERANCE


def _onnxruntime(model: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Its outputs; none where it has no kernel for some type."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except NotImplemented_:
        return {}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def run_chunk(number: int, count: int) -> Chunk:
    """`{graphs, nodes, types, confirmed, bad}`: how many of each, and the number of each graph with its problem."""
    nodes, types, confirmed = Counter[str](), Counter[str](), Counter[str]()
    bad: dict[str, str] = {}
    seen: set[int] = set()

    @seed(number)
    @settings(max_examples=count, deadline=None, phases=[Phase.generate], database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(graphs(number))
    def judge(graph: Graph) -> None:
        if graph.number in seen:
            return
        seen.add(graph.number)
        nodes.update(node.op_type for node in graph.nodes)
        types.update({value.dtype for value in graph.values})
        if problem := _judged(graph, confirmed):
            bad[str(graph.number)] = problem

    judge()
    return {"graphs": len(seen), "nodes": nodes, "types": types, "confirmed": confirmed, "bad": bad}


def _judged(graph: Graph, confirmed: Counter[str]) -> str:
    """The first problem with a graph, printed with what it is made of; empty where it is right."""
    try:
        problems, by = _problems(graph)
        confirmed.update(by)
    except Exception as error:  # a refusal here is as bad as a wrong answer: each operator and type is supported
        problems = [f"{type(error).__name__}: {error}"]
    if not problems:
        return ""
    described = " ; ".join(f"{node.op_type}({', '.join(node.input)})" for node in graph.nodes)
    print(f"graph {graph.number}: {problems[0][:300]}\n    {described}", flush=True)
    return problems[0][:300]


def told(chunks: Mapping[str, Chunk]) -> str:
    """The histograms of all chunks, and how many graphs were wrong."""
    sums = {key: Counter[str]() for key in ("nodes", "types", "confirmed")}
    for chunk in chunks.values():
        for key, counted in sums.items():
            counted.update(chunk[key])
    lines = [", ".join(f"{name} {count}" for name, count in counted.most_common()) for counted in sums.values()]
    total, bad = sum(c["graphs"] for c in chunks.values()), sum(len(c["bad"]) for c in chunks.values())
    lines.append(f"{total} graphs, {len(sums['nodes'])} operators, {len(sums['types'])} types, {bad} with a problem")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Runs the graphs; 1 where one was computed wrongly or not at all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--json", metavar="FILE", help="keep what each hundred gave; those it holds are not run again")
    parser.add_argument("--graph", type=int, metavar="NUMBER", help="run this one alone")
    options = parser.parse_args(arguments)
    if options.graph is not None:
        return int(bool(_judged(numbered(options.graph), Counter())))
    chunks: dict[str, Chunk] = json.loads(Path(options.json).read_text()) if _stands(options.json) else {}
    done = 0
    for number in range(-(-options.count // CHUNK)):
        known = chunks.get(str(number))
        if known is None or known["bad"]:
            chunks[str(number)] = run_chunk(number, min(CHUNK, options.count - number * CHUNK))
            _write(options.json, chunks)
        done += chunks[str(number)]["graphs"]
        print(f"{done} of {options.count}", file=sys.stderr, flush=True)
    print(told(chunks))
    return int(any(chunk["bad"] for chunk in chunks.values()))


def _stands(path: str | None) -> bool:
    return path is not None and Path(path).exists()


def _write(path: str | None, chunks: Mapping[str, Chunk]) -> None:
    if path:
        partial = Path(f"{path}.partial")
        partial.write_text(json.dumps(chunks, indent=0, sort_keys=True) + "\n")
        os.replace(partial, path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
