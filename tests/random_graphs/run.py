"""Runs random graphs on the GPU against NumPy and onnxruntime, and prints what they were made of.

    python tests/random_graphs/run.py [--count 2000]

NumPy's answer is that of the primitives' own references; a type that onnxruntime has no kernel for it leaves out.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from hypothesis import HealthCheck, Phase, given, seed, settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from random_graphs.graphs import Graph, graphs

from tstorch import backend, check
from tstorch.precision import Precision

NotImplemented_ = onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented
TOLERANCE = 1e-3


def wrong(graph: Graph) -> list[str]:
    """What differs between the GPU's outputs and those of NumPy and onnxruntime. Raises what a refusal raises."""
    model, inputs = graph.model(), graph.arrays()
    rep = backend.prepare(model)
    found = dict(zip([value.name for value in model.graph.output], rep.run(inputs), strict=True))
    references = {
        "NumPy": check._numpy_outputs(rep.plans[-1].compiled, inputs, Precision()),
        "onnxruntime": _onnxruntime(model, inputs),
    }
    return [
        f"{name} is {found[name].ravel()[:8]}, {reference} says {np.ravel(array)[:8]}"
        for reference, expected in references.items()
        for name, array in expected.items()
        if _differs(found[name], np.asarray(array))
    ]


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


def main(arguments: Sequence[str]) -> int:
    """Runs the graphs; 1 where one was computed wrongly or not at all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given_ = parser.parse_args(arguments)
    kinds: Counter[str] = Counter()
    types: Counter[str] = Counter()
    bad: list[str] = []

    @seed(given_.seed)
    @settings(max_examples=given_.count, deadline=None, phases=[Phase.generate], database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(graphs())
    def judge(graph: Graph) -> None:
        kinds.update(node.op_type for node in graph.nodes)
        types.update({value.dtype for value in graph.values})
        try:
            problems = wrong(graph)
        except Exception as error:  # a refusal here is as bad as a wrong answer: each operator and type is supported
            problems = [f"{type(error).__name__}: {error}"]
        if problems:
            bad.append(problems[0])
            described = " ; ".join(f"{node.op_type}({', '.join(node.input)})" for node in graph.nodes)
            print(f"graph {sum(kinds.values())}: {problems[0][:300]}\n    {described}", flush=True)

    judge()
    for counts in (kinds, types):
        print(", ".join(f"{name} {count}" for name, count in counts.most_common()))
    print(f"{len(kinds)} operators, {len(types)} types, {len(bad)} graphs with a problem")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
