"""Tests that who made a result is told truly: the dispatch of the node itself, a view, the compiler, or nobody."""

from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

from tstorch.compiled import compile_model
from tstorch.provenance import Kind, provenance
from tstorch.session import make_recipe


def artifact(*nodes, **stored):
    """A model of input x[2, 3] and output y."""
    weights = [numpy_helper.from_array(np.array(value), name) for name, value in stored.items()]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])]
    graph = helper.make_graph(nodes, "g", given, [ValueInfoProto(name="y")], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    return compile_model(model, make_recipe("cpu", plugins=False)).artifact


def node(op_type, *inputs, **attributes):
    return helper.make_node(op_type, inputs or ["x"], ["y"], name="n", **attributes)


@pytest.mark.parametrize(
    ("made", "stored", "kind"),
    [
        (node("Relu"), {}, Kind.GPU),
        (node("Softmax"), {}, Kind.GPU),
        (node("Concat", "x", "x", axis=0), {}, Kind.GPU),
        (node("Identity"), {}, Kind.VIEW),
        (node("Reshape", "x", "s"), {"s": [3, 2]}, Kind.VIEW),
        (node("ConstantOfShape", "s"), {"s": [2, 2]}, Kind.COMPILE_TIME),
        (node("Shape"), {}, Kind.COMPILE_TIME),
        (node("Concat", "x", axis=0), {}, Kind.NONE),
        (node("Add", "a", "b"), {"a": 1.0, "b": 2.0}, Kind.NONE),
    ],
    ids=lambda given: given.op_type if hasattr(given, "op_type") else "",
)
def test_who_made_the_result_of_a_node(made, stored, kind):
    stored = {name: np.array(value, np.int64 if name == "s" else np.float32) for name, value in stored.items()}
    found = provenance(artifact(made, **stored), {"y": ["n"]})["y"]
    assert found.kind == kind, found
    assert bool(found.reason) == (kind is not Kind.GPU)


def test_a_dispatch_that_does_not_list_the_node_does_not_count():
    made = artifact(node("Relu"))
    rows = [{**row, "nodes": [[{"id": "other", "role": "forward"}] for _ in row["nodes"]]} for row in made.dispatches]
    found = provenance(replace(made, dispatches=rows), {"y": ["n"]})["y"]
    assert found.kind is Kind.NONE
    assert "does not list" in found.reason


def test_a_part_that_nobody_writes_does_not_count():
    made = artifact(node("Relu"))
    outputs = [{**value, "bytes": value["bytes"] + 4} for value in made.program["outputs"]]
    found = provenance(replace(made, program={**made.program, "outputs": outputs}), {"y": ["n"]})["y"]
    assert found.kind is Kind.NONE
