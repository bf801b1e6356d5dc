"""Tests that LSTM, GRU and RNN give what onnxruntime gives, whatever their attributes, on the GPU."""

import numpy as np
import pytest
from chain import Chain
from networks import onnxruntime_outputs
from onnx import TensorProto, helper, numpy_helper

import tstorch
from tstorch.diagnostics import DiagnosticError
from tstorch.runtime.client import Worker

pytestmark = pytest.mark.gpu

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
BATCH, WIDTH = 2, 3


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    with Worker.start() as worker:
        yield Chain(worker, tmp_path_factory.mktemp("recurrent"))


def recurrent_model(kind: str, steps: int = 5, size: int = 6, lengths: bool = False, given: str = "WRB", **attributes):
    """One node whose weights are seeded; `given` names the optional inputs that it has."""
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    gates, bound, rng = GATES[kind], 1 / np.sqrt(size), np.random.default_rng(0)
    shapes = {
        "W": (directions, gates * size, WIDTH), "R": (directions, gates * size, size),
        "B": (directions, 2 * gates * size), "H": (directions, BATCH, size), "C": (directions, BATCH, size),
        "P": (directions, 3 * size),
    }  # fmt: skip
    drawn = {name: rng.uniform(-bound, bound, shapes[name]).astype(np.float32) for name in given}
    tensors = [numpy_helper.from_array(array, name) for name, array in drawn.items()]
    names = ["W", "R", "B", "lengths", "H", "C", "P"][: 7 if kind == "LSTM" else 5]
    present = {*given, *(["lengths"] if lengths else [])}
    outputs = ["Y", "Y_h", "Y_c"][: 3 if kind == "LSTM" else 2]
    node = helper.make_node(
        kind, ["X", *(name if name in present else "" for name in names)], outputs, hidden_size=size, **attributes
    )
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, [steps, BATCH, WIDTH])]
    inputs += [helper.make_tensor_value_info("lengths", TensorProto.INT32, [BATCH])] if lengths else []
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph([node], "recurrent", inputs, made, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=9)
    return model


def inputs_of(steps: int = 5, lengths: bool = False) -> dict:
    given = {"X": np.random.default_rng(1).normal(size=(steps, BATCH, WIDTH)).astype(np.float32)}
    return given | ({"lengths": np.array([steps - 2, steps], np.int32)} if lengths else {})


def check(chain, model, inputs) -> None:
    expected = onnxruntime_outputs(model, inputs)
    found = chain.run(chain.compiled(model), inputs)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


CASES = {
    "rnn": ("RNN", {}),
    "rnn both ways": ("RNN", {"direction": "bidirectional", "activations": ["Relu", "Sigmoid"]}),
    "rnn functions": ("RNN", {"activations": ["LeakyRelu"], "activation_alpha": [0.3]}),
    "gru": ("GRU", {}),
    "gru reversed": ("GRU", {"direction": "reverse", "given": "WRBH"}),
    "gru linear": ("GRU", {"linear_before_reset": 1, "direction": "bidirectional"}),
    "gru linear without bias": ("GRU", {"linear_before_reset": 1, "given": "WR"}),
    "gru clipped": ("GRU", {"clip": 0.4}),
    "gru lengths": ("GRU", {"lengths": True, "direction": "bidirectional", "given": "WRBH"}),
    "lstm": ("LSTM", {}),
    "lstm all inputs": ("LSTM", {"given": "WRBHCP", "direction": "bidirectional"}),
    "lstm lengths": ("LSTM", {"lengths": True, "direction": "reverse", "given": "WRBHC"}),
    "lstm with everything": ("LSTM", {"lengths": True, "direction": "bidirectional", "given": "WRBHCP"}),
    "lstm coupled": ("LSTM", {"input_forget": 1}),
    "lstm clipped": ("LSTM", {"clip": 0.2, "given": "WRBHCP"}),
    "lstm functions": (
        "LSTM", {"activations": ["HardSigmoid", "Softsign", "Elu"], "activation_alpha": [0.3, 0.7],
                 "activation_beta": [0.4]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_like_onnxruntime(case, chain):
    kind, facts = CASES[case]
    check(chain, recurrent_model(kind, **facts), inputs_of(lengths=facts.get("lengths", False)))


@pytest.mark.parametrize(("kind", "steps", "size"), [("GRU", 2800, 48), ("LSTM", 2, 40), ("LSTM", 3, 300)])
def test_long_sequences_and_many_units(kind, steps, size, chain):
    """In several parts, unrolled, and with more units than a workgroup has invocations."""
    check(chain, recurrent_model(kind, steps, size, direction="bidirectional"), inputs_of(steps))


def test_kernels_do_not_grow_with_the_sequence(chain):
    short, long = (chain.compiled(recurrent_model("LSTM", steps, size=16)).artifact for steps in (100, 500))
    assert len(short.dispatches) == len(long.dispatches)
    assert {name: len(kernel.wgsl) for name, kernel in short.kernels.items()} == pytest.approx(
        {name: len(kernel.wgsl) for name, kernel in long.kernels.items()}, abs=64
    )


def test_gradients_are_difference_quotients():
    """Through a scan, whose steps are unrolled for it."""
    model, inputs = recurrent_model("LSTM", direction="bidirectional"), inputs_of()
    model.graph.node.append(helper.make_node("ReduceSumSquare", ["Y"], ["loss"], keepdims=0))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("loss", TensorProto.FLOAT, []))
    del model.graph.output[1:]
    found = tstorch.grads(model, inputs, ["R", "B"])
    for tensor in model.graph.initializer:
        if tensor.name in found:
            direction = np.random.default_rng(2).normal(size=tensor.dims).astype(np.float32)
            slope = float((found[tensor.name] * direction).sum())
            assert slope == pytest.approx(quotient(model, inputs, tensor.name, direction), rel=2e-2)


def quotient(model, inputs, name: str, direction) -> float:
    """How the loss changes along a direction of one weight, by onnxruntime."""
    losses = []
    for step in (1e-2, -1e-2):
        moved = type(model).FromString(model.SerializeToString())
        tensor = next(tensor for tensor in moved.graph.initializer if tensor.name == name)
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + step * direction, name))
        losses.append(float(onnxruntime_outputs(moved, inputs)["loss"]))
    return (losses[0] - losses[1]) / 2e-2


def test_weights_of_another_size_are_refused():
    model = recurrent_model("GRU", given="WR")
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((1, 17, WIDTH), np.float32), "W"))
    with pytest.raises(DiagnosticError, match=r"GRU.*input 1 has shape \(1, 17, 3\); expected \(1, 18, 3\)"):
        tstorch.load(model)


def test_an_unknown_function_is_refused():
    with pytest.raises(DiagnosticError, match="activation Sine; expected one of relu"):
        tstorch.load(recurrent_model("RNN", activations=["Sine"]))
