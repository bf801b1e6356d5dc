"""Tests that who made a result is told truly: the dispatch of the node itself, a view, the compiler, or nobody."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import control_models as models
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

from tstorch.compiled import compile_model
from tstorch.provenance import NOT_RUN, Kind, Part, provenance
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


def control(model):
    return compile_model(model, make_recipe("cpu", plugins=False)).artifact


def test_what_a_loop_carries_is_followed_round_it():
    """y is z of the iteration before, and at last x, which is handed on as it was given."""
    found = provenance(control(models.fibonacci()), {"y": ["loop"], "z": ["loop"]})
    assert found["z"].kind is Kind.GPU
    assert (found["y"].kind, found["y"].reason) == (Kind.VIEW, "it is input 'x' as it was given")


def test_a_segment_is_found_in_the_program_that_it_belongs_to():
    """A segment's own segments have names of their own: `main.1` of the first program is not that of another."""
    whole = control(models.picking())
    steps = whole.program["control"]["steps"]
    special = next(step for step in steps if step["op"] == "specialise")
    late = next(step["name"] for step in steps if step["op"] == "output" and step["inputs"][0] in special["outputs"])
    other = Part(2, 1, special["segment"], artifact(node("Relu")))
    for parts in ([], [other]):
        assert provenance(whole, {late: ["n"]}, parts)[late].reason == NOT_RUN
    own = replace(other, number=1, parent=0)
    assert provenance(whole, {late: ["n"]}, [own, other])[late].kind is Kind.GPU


def test_what_no_input_holds_a_number_for_is_known_at_compile_time():
    """A sum of nothing is 0, whatever the operator."""
    empty = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 0])
    graph = helper.make_graph([node("ReduceSum", "x", "s", keepdims=0)], "g", [empty], [ValueInfoProto(name="y")],
                              [numpy_helper.from_array(np.array([1]), "s")])  # fmt: skip
    made = compile_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), make_recipe("cpu"))
    assert provenance(made.artifact, {"y": ["n"]})["y"].kind is Kind.COMPILE_TIME
