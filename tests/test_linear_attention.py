"""Tests that LinearAttention gives what ONNX's evaluator gives over many tokens, in a few dispatches, on the GPU."""

import numpy as np
import pytest
from chain import Chain
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

import tstorch
from tstorch.diagnostics import DiagnosticError
from tstorch.runtime.client import Worker

pytestmark = pytest.mark.gpu

TOKENS, KEY, VALUE = 40, 8, 4


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    with Worker.start() as worker:
        yield Chain(worker, tmp_path_factory.mktemp("linear_attention"))


def model_and_inputs(rule: str, queries: int, heads: int, without: str = "", tokens: int = TOKENS):
    rng, batch = np.random.default_rng(0), 2
    shapes = {
        "query": (batch, tokens, queries * KEY), "key": (batch, tokens, heads * KEY),
        "value": (batch, tokens, heads * VALUE), "past": (batch, heads, KEY, VALUE),
        "decay": (batch, tokens, heads * KEY if queries > heads else heads), "beta": (batch, tokens, heads),
    }  # fmt: skip
    skipped = {without, "" if "gated" in rule else "decay", "" if "delta" in rule else "beta"}
    names = [name if name not in skipped else "" for name in shapes]
    inputs = {name: rng.normal(size=shapes[name]).astype(np.float32) / 2 for name in names if name}
    if "decay" in inputs:
        inputs["decay"] = -np.abs(inputs["decay"])
    node = helper.make_node(
        "LinearAttention", names, ["y", "state"], name="attend", update_rule=rule, q_num_heads=queries,
        kv_num_heads=heads,
    )  # fmt: skip
    taken = [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape) for name, value in inputs.items()]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "state")]
    graph = helper.make_graph([node], "g", taken, made)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 27)], ir_version=10), inputs


@pytest.mark.parametrize("rule", ["linear", "gated", "delta", "gated_delta"])
@pytest.mark.parametrize(("queries", "heads"), [(2, 2), (4, 2)])
def test_like_the_evaluator(rule, queries, heads, chain):
    model, inputs = model_and_inputs(rule, queries, heads, without="past" if queries == heads else "")
    compiled = chain.compiled(model)
    found = chain.run(compiled, inputs)
    for name, want in zip(("y", "state"), ReferenceEvaluator(model).run(None, inputs), strict=True):
        np.testing.assert_allclose(found[name], want, rtol=1e-4, atol=1e-5, err_msg=name)
    assert len(compiled.artifact.dispatches) <= 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rule": "gated", "without": "decay"}, "update_rule gated needs decay"),
        ({"rule": "other"}, "update_rule is other"),
        ({"rule": "linear", "queries": 3}, "with 3 and 2 heads"),
    ],
)
def test_operands_that_do_not_fit_are_refused(change, message):
    with pytest.raises(DiagnosticError, match=message):
        tstorch.load(model_and_inputs(**({"queries": 2, "heads": 2} | change))[0])
