"""What is said of one test: does it pass, who made its outputs, and is the prepared object right on other data, too."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from conformance.cases import Arrays, Case
from conformance.vary import varied
from onnx import ModelProto, NodeProto
from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt
from onnx.reference import ReferenceEvaluator

from tstorch import backend
from tstorch.frontend.provenance import NodeIds
from tstorch.provenance import VIEWS, Finding, Part, provenance, weakest

Row = dict[str, Any]
IDENTITY = "identity: its result is its input"


def judge(case: Case) -> Row:
    """`{status, detail, operator, version, types, made, reason, again}`; see `docs/operators.md` for the words."""
    row: Row = {"operator": case.operator, "version": case.version, "types": case.types}
    try:
        rep = backend.prepare(case.model)
        for inputs, expected in case.runs:
            if problem := difference(expected, rep.run(list(inputs)), case.rtol, case.atol):
                return row | {"status": "wrong", "detail": problem}
    except BackendIsNotSupposedToImplementIt as error:
        return row | {"status": "refused", "detail": str(error).strip()}
    except Exception as error:  # whatever it is, it is what the table must say
        return row | {"status": "error", "detail": f"{type(error).__name__}: {error}"}
    found = made(case.model, rep)
    return row | {"status": "pass", "made": str(found.kind), "reason": found.reason, "again": again(case, rep)}


def made(model: ModelProto, rep: backend.Rep) -> Finding:
    """Who made the outputs of the latest run, all together."""
    plan = rep.plans[-1]
    parts = [Part(s.number, s.program, s.name, s.compiled.artifact) for s in plan.specialise.made]
    same = {
        row["id"]
        for artifact in (plan.compiled.artifact, *(part.artifact for part in parts))
        for row in artifact.nodes
        if row["reason"] == IDENTITY
    }
    return weakest(list(provenance(plan.compiled.artifact, tested_nodes(model, same), parts).values()))


def tested_nodes(model: ModelProto, same: Collection[str]) -> dict[str, list[str]]:
    """For each output the ids of the nodes that may have made it: the one that gives it, and those before a view.

    `same` are nodes that here give back what they are given: they are seen through as well.
    """
    ids = dict(zip(map(id, nodes := list(model.graph.node)), NodeIds().of(nodes), strict=True))
    maker = _makers(nodes)
    found: dict[str, list[str]] = {}
    for value in model.graph.output:
        found[value.name], names = [], [value.name]
        while names:
            if (node := maker.get(names.pop())) is not None:
                found[value.name].append(ids[id(node)])
                names += _handed_on(node, same_here=ids[id(node)] in same)
    return found


def _makers(nodes: Sequence[NodeProto]) -> dict[str, NodeProto]:
    return {name: node for node in nodes for name in node.output if name}


def _handed_on(node: NodeProto, *, same_here: bool) -> list[str]:
    """The values that a node gives back as they are: a view's operand, and what the branches of an If do not make."""
    if node.op_type in VIEWS or same_here:
        return list(node.input[:1])
    found: list[str] = []
    for branch in (attribute.g for attribute in node.attribute if node.op_type == "If"):
        maker, names = _makers(branch.node), [value.name for value in branch.output]
        while names:
            inner = maker.get(name := names.pop())
            if inner is None:
                found.append(name)
            elif inner.op_type in VIEWS:
                names += inner.input[:1]
    return found


def again(case: Case, rep: backend.Rep) -> str:
    """The same prepared object on other data: who confirms it, or what differs."""
    inputs, _ = case.runs[-1]
    fixed = {at for at, name in enumerate(input_names(case.model)) if name in rep.specialised}
    other = varied(inputs, fixed)
    try:
        try:
            found = rep.run(list(other))
        except BackendIsNotSupposedToImplementIt:  # other integers ask for another shape than the file states
            other = varied(inputs, fixed | {at for at, value in enumerate(inputs) if value.dtype.kind in "iu"})
            found = rep.run(list(other))
    except Exception as error:  # a second run must not fail where a first one went well
        return f"differs: {type(error).__name__}: {error}"
    if all(a is b for a, b in zip(inputs, other, strict=True)):
        return "nothing to vary"
    problem = "no witness: neither reference evaluator nor onnxruntime computes the test's own data"
    for name, witness in WITNESSES.items():
        if (answer := _witnessed(witness, case, other)) is not None:
            problem = close(answer, found)
            if problem is None:
                return f"agrees with {name}"
            problem = f"differs from {name}: {problem}"
    return problem


def _witnessed(witness: Callable[[ModelProto, Mapping[str, Any]], Arrays], case: Case, other: Arrays) -> Arrays | None:
    """What a witness says of other data; None where it is none: it must first compute what the suite expects."""
    inputs, expected = case.runs[-1]
    names = input_names(case.model)
    try:
        known = witness(case.model, dict(zip(names, inputs, strict=False)))
        if difference(expected, known, max(case.rtol, 1e-3), max(case.atol, 1e-5)):
            return None
        return witness(case.model, dict(zip(names, other, strict=False)))
    except Exception:  # a witness that cannot speak is none
        return None


def _reference(model: ModelProto, inputs: Mapping[str, Any]) -> Arrays:
    with np.errstate(all="ignore"):
        return ReferenceEvaluator(model).run(None, dict(inputs))


def _onnxruntime(model: ModelProto, inputs: Mapping[str, Any]) -> Arrays:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(inputs))


WITNESSES = {"onnx's reference evaluator": _reference, "onnxruntime": _onnxruntime}


def difference(expected: Arrays, found: Sequence[Any], rtol: float, atol: float) -> str | None:
    """The first thing that differs, as the suite's own runner would see it; None where nothing does."""
    if len(expected) != len(found):
        return f"{len(found)} outputs, expected {len(expected)}"
    for at, (want, got) in enumerate(zip(expected, found, strict=True)):
        want, got = np.asarray(want), np.asarray(got)
        if got.shape != want.shape or got.dtype != want.dtype:
            return f"output {at} is {got.dtype}{list(got.shape)}, expected {want.dtype}{list(want.shape)}"
        a, b = _numbers(got), _numbers(want)
        bits = max(rtol, 2**-6) if want.dtype.name == "bfloat16" else rtol
        if not np.allclose(a, b, rtol=bits, atol=atol, equal_nan=True):
            return f"output {at} differs in {int((~np.isclose(a, b, rtol=bits, atol=atol)).sum())} of {a.size} elements"
    return None


ROOM = {"float16": 4e-3, "bfloat16": 2e-2, "float8": 0.13, "float4": 0.5}
"""Of types of few bits: how far two right answers may be apart, over the largest."""


def close(expected: Arrays, found: Sequence[Any]) -> str | None:
    """As `difference`, with errors over the largest element: drawn data may cancel, and then no element has an error
    of its own. Integers are equal."""
    for at, (want, got) in enumerate(zip(expected, found, strict=True)):
        want, got = np.asarray(want), np.asarray(got)
        if got.shape != want.shape or got.dtype != want.dtype:
            return f"output {at} is {got.dtype}{list(got.shape)}, expected {want.dtype}{list(want.shape)}"
        a, b = _numbers(got), _numbers(want)
        exact = want.dtype.kind in "iub"
        room = next((room for name, room in ROOM.items() if want.dtype.name.startswith(name)), 1e-3)
        finite = np.isfinite(b)
        largest = float(np.abs(b[finite]).max(initial=0.0))
        alike = np.array_equal(a[~finite], b[~finite], equal_nan=True)
        wrong = not np.array_equal(want, got) if exact else not np.all(np.abs(a - b)[finite] <= room * largest)
        if wrong or not alike:
            return f"output {at} differs by {np.abs(a - b)[finite].max(initial=0.0):.3g}, at most {largest:.3g}"
    return None


def _numbers(array: np.ndarray) -> np.ndarray:
    """As float64, or complex; types that NumPy does not know are widened by their own rule."""
    if array.dtype.kind == "c":
        return array
    return array.astype(np.float32).astype(np.float64) if array.dtype.kind == "V" else array.astype(np.float64)


def input_names(model: ModelProto) -> list[str]:
    """The inputs that a run takes, in order."""
    held = {tensor.name for tensor in model.graph.initializer}
    return [value.name for value in model.graph.input if value.name not in held]
