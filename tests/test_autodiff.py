"""Tests of gradients and optimizers in NumPy, by the primitives' references in float64: no GPU takes part."""

from itertools import islice

import numpy as np
import pytest
from models import SMALL, Builder, cnn, mlp, one_node, residual_network
from numpy_training import NumpyTrainer, learnable_task
from onnx import ModelProto, TensorProto, numpy_helper
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp

from tstorch.diagnostics import DiagnosticError, UsageError
from tstorch.dialects.prim.reference import evaluate
from tstorch.frontend import import_model
from tstorch.frontend.weights import WeightStore
from tstorch.locations import node_roles
from tstorch.passes.autodiff.expand_optimizer import ExpandOptimizerPass
from tstorch.passes.autodiff.signature import Signature
from tstorch.pipeline import parse_passes, run_passes
from tstorch.registry import make_context
from tstorch.remarks import get_remarks
from tstorch.semantics import SemanticsChecker, results_of

MSE = "expand-autodiff{loss=mse}"
CONVERT = "convert-onnx-to-prim{trainable=true}"


class Expanded:
    """A model under passes, to be evaluated in float64 with weights that may be changed."""

    def __init__(self, model: ModelProto, passes: str, convert: str = CONVERT):
        self.module: ModuleOp = import_model(model)
        run_passes(self.module, parse_passes(f"{convert},{passes}"), make_context(), verify_each=True)
        self.function = next(op for op in self.module.ops if isinstance(op, FuncOp))
        stored = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
        floats = {name: array for name, array in stored.items() if array.dtype.kind == "f"}
        self.weights = {name: array.astype(np.float64) for name, array in floats.items() if array.size > 1}

    def __call__(self, *inputs: np.ndarray) -> dict[str, np.ndarray]:
        """All results by name."""
        results = evaluate(self.function, inputs, lambda op: self.weights[op.key.data], dtype=np.float64)
        return dict(zip(self.names("res_attrs"), results, strict=True))

    def names(self, which: str) -> list[str]:
        """The names of the arguments ("arg_attrs") or results ("res_attrs"), a state's its own."""
        notes = (each.data for each in getattr(self.function, which))
        return [
            text.data for each in notes if isinstance(text := each.get("tst.name", each.get("tst.state")), StringAttr)
        ]


def loss_alone(model: ModelProto, loss: str) -> Expanded:
    """The loss without its gradients: what differences are taken of."""
    expanded = Expanded(model, f'expand-autodiff{{loss="{loss}"}}')
    signature = Signature(expanded.function)
    signature.results = signature.results[:1]
    signature.close("main")
    run_passes(expanded.module, parse_passes("dce"), make_context())
    return expanded


def drawn_inputs(name: str) -> list[np.ndarray]:
    """Inputs and labels of the small networks, in the order of the arguments."""
    rng = np.random.default_rng(5)
    if name == "transformer":
        ids = [rng.integers(0, high, (1, 16)) for high in (50, 16)]
        mask = (rng.random((1, 16)) < 0.8).astype(np.float32)
        return [*ids, mask, rng.standard_normal((1, 16, 32))]
    shape = {"mlp": (4, 1, 28, 28), "cnn": (1, 1, 12, 12), "residual": (1, 3, 16, 16)}[name]
    return [rng.standard_normal(shape), rng.integers(0, 10, shape[0])]


@pytest.mark.parametrize("name", ["mlp", "cnn", "residual", "transformer"])
def test_gradients_agree_with_central_differences(name):
    loss = "mse" if name == "transformer" else "cross-entropy"
    model, inputs = SMALL[name](), drawn_inputs(name)
    gradients = Expanded(model, f'expand-autodiff{{loss="{loss}"}}')(*inputs)
    alone, step = loss_alone(model, loss), 1e-6
    trained = [weight for weight in alone.weights if not weight.endswith((".mean", ".var"))]
    assert [f"gradient/{weight}" for weight in trained] == list(gradients)[1:], "statistics of batch norm have none"
    for weight, array in ((name, alone.weights[name]) for name in trained):
        gradient = gradients[f"gradient/{weight}"]
        chosen = np.random.default_rng(3).choice(array.size, min(array.size, 20), replace=False)
        for position in map(tuple, np.transpose(np.unravel_index(chosen, array.shape))):
            around = []
            for offset in (step, -step):
                moved = array.copy()
                moved[position] += offset
                alone.weights[weight] = moved
                around.append(alone(*inputs)["loss"])
            alone.weights[weight] = array
            difference = (around[0] - around[1]) / (2 * step)
            error = abs(difference - gradient[position])
            assert error <= 1e-3 * np.abs(gradient).max() + 1e-8, (weight, position, difference, gradient[position])


@pytest.mark.parametrize(
    ("model", "shape", "steps"), [(mlp(32), (32, 1, 28, 28), 50), (cnn(), (1, 1, 12, 12), 200)], ids=["mlp", "cnn"]
)
def test_steps_of_adam_follow_numpy(model, shape, steps):
    step = Expanded(model, 'expand-autodiff{loss="cross-entropy"},expand-optimizer')
    trainer = NumpyTrainer(model)
    kept = dict(zip(step.names("arg_attrs")[2:], step.function.body.block.args[2:], strict=True))
    state = {name: step.weights.get(name, np.zeros(value.type.get_shape())) for name, value in kept.items()}
    losses = []
    for image, labels in islice(learnable_task(shape, 4), steps):
        state = step(image, labels, *(state[name] for name in kept))
        losses.append(float(state.pop("loss")))
        expected = trainer.step(image, labels)
        assert losses[-1] == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert np.mean(losses[-4:]) < 0.1 * np.mean(losses[:4]), "the task is learnt"
    assert state["optimizer.step"] == steps
    for name, array in trainer.parameters.items():
        np.testing.assert_allclose(state[name], array, rtol=1e-3, atol=1e-6)


def test_later_passes_change_no_value_of_a_step():
    store, context = WeightStore(), make_context()
    module = import_model(cnn(), store=store)
    later = "canonicalize,cse,dce,legalize-types,form-dispatch-regions,tie-results"
    passes = parse_passes(f'{CONVERT},expand-autodiff{{loss="cross-entropy"}},expand-optimizer,{later}')
    run_passes(module, passes, context, [SemanticsChecker(store)], verify_each=True)
    compared = results_of(module, store)
    assert compared is not None
    assert {"'loss' of @step", "'conv1.weight' of @step", "'adam.v/fc2.bias' of @step"} <= compared.keys()
    assert compared["'optimizer.step' of @step"] == 1


def classifier(shape: tuple[int, ...], *, softmax: str = "", axis: int = 1, opset: int = 17) -> ModelProto:
    """x * w, then a softmax or none."""
    build = Builder()
    y = build.node("Mul", "x", build.weight("w", *shape, scale=1.0), name="scaled")
    y = build.node(softmax, y, name="last", axis=axis) if softmax else y
    return build.model({"x": (TensorProto.FLOAT, shape)}, {y: (TensorProto.FLOAT, shape)}, opset)


def log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    return x - np.log(np.exp(x).sum(axis, keepdims=True))


@pytest.mark.parametrize(
    ("shape", "axis", "form"),
    [
        ((4, 5), 1, {}),
        ((4, 5, 3), 1, {}),
        ((5,), 0, {}),
        ((4, 5), 1, {"softmax": "Softmax", "axis": 1}),
        ((4, 3, 5), 2, {"softmax": "Softmax", "axis": -1}),
        ((4, 5, 3), 1, {"softmax": "LogSoftmax", "axis": 1}),
        ((5, 5), 0, {"softmax": "Softmax", "axis": 0}),
        ((4, 5, 1, 1), 1, {"softmax": "Softmax", "axis": 1, "opset": 11}),
    ],
)
def test_cross_entropy_finds_the_classes(shape, axis, form):
    expanded = Expanded(classifier(shape, **form), 'expand-autodiff{loss="cross-entropy" wrt="x"}')
    rng = np.random.default_rng(0)
    labels_type = expanded.function.body.block.args[1].type
    kept = [size for at, size in enumerate(shape) if at != axis]
    assert int(np.prod(labels_type.get_shape())) == np.prod(kept)
    x, labels = rng.standard_normal(shape), rng.integers(0, shape[axis], kept)
    results = expanded(x, labels.reshape(labels_type.get_shape()))
    scores, place = x * expanded.weights["w"], np.expand_dims(labels, axis)
    assert results["loss"] == pytest.approx(-np.take_along_axis(log_softmax(scores, axis), place, axis).mean())
    gradient = np.exp(log_softmax(scores, axis))
    np.put_along_axis(gradient, place, np.take_along_axis(gradient, place, axis) - 1, axis)
    np.testing.assert_allclose(results["gradient/x"], gradient * expanded.weights["w"] / labels.size, rtol=1e-5)
    said = [remark.id for remark in get_remarks(expanded.module)]
    assert said == (["TST-D001"] if form else [])


def test_a_softmax_that_is_not_last_is_kept():
    build = Builder()
    y = build.node("Softmax", build.node("Mul", "x", build.weight("w", 4, 5)), name="inner", axis=1)
    model = build.model({"x": (TensorProto.FLOAT, [4, 5])}, {build.node("Relu", y): (TensorProto.FLOAT, [4, 5])})
    assert not get_remarks(Expanded(model, 'expand-autodiff{loss="cross-entropy"}').module), "it is not the last node"


def test_sgd_goes_down_the_gradient():
    step = Expanded(classifier((2, 3)), 'expand-autodiff{loss="mse"},expand-optimizer{kind=sgd lr=0.5}')
    x, labels, w = np.ones((2, 3)), np.zeros((2, 3)), step.weights["w"]
    assert step.names("arg_attrs") == ["x", "labels", "w"]
    np.testing.assert_allclose(step(x, labels, w)["w"], w - 0.5 * 2 * w / 6)


def test_the_models_own_scalar_is_a_loss():
    build = Builder()
    total = build.node("ReduceSum", build.node("Mul", "x", "x", name="square"), name="total", keepdims=1)
    model = build.model({"x": (TensorProto.FLOAT, [3])}, {total: (TensorProto.FLOAT, [1])})
    results = Expanded(model, 'expand-autodiff{wrt="x"}')(np.array([1.0, -2.0, 3.0]))
    np.testing.assert_allclose(results["loss"], 14)
    np.testing.assert_allclose(results["gradient/x"], [2, -4, 6])


def test_a_gradient_that_nothing_reaches_is_zero_and_said():
    build = Builder()
    y = build.node("Round", build.node("Mul", "x", build.weight("w", 3), name="scaled"), name="rounded")
    expanded = Expanded(
        build.model({"x": (TensorProto.FLOAT, [3])}, {y: (TensorProto.FLOAT, [3])}), "expand-autodiff{loss=mse}"
    )
    np.testing.assert_array_equal(expanded(np.ones(3), np.ones(3))["gradient/w"], np.zeros(3))
    stopped, independent = get_remarks(expanded.module)
    assert (stopped.id, stopped.nodes) == ("TST-D002", ("rounded",))
    assert (independent.id, "'w'" in independent.reason) == ("TST-D003", True)


@pytest.mark.parametrize("lr", [1e-5, 1.0, 0.25])
def test_learning_rates_survive_the_text(lr):
    [step] = parse_passes(str(ExpandOptimizerPass(lr=lr).pipeline_pass_spec()))
    assert step == ExpandOptimizerPass(lr=lr)


def test_a_weight_may_be_called_anything():
    build = Builder()
    y = build.node("Mul", "x", build.weight("1.weight/:0 é", 3), name="scaled")
    step = Expanded(
        build.model({"x": (TensorProto.FLOAT, [3])}, {y: (TensorProto.FLOAT, [3])}), f"{MSE},expand-optimizer"
    )
    assert step.names("arg_attrs")[2] == "1.weight/:0 é"


def two_outputs(names: tuple[str, str] = ("x", "ids")) -> ModelProto:
    """Looks ids up in a table, and doubles x."""
    build = Builder()
    x, ids = names
    rows = build.node("Gather", build.weight("table", 6, 2), ids, name="rows")
    outputs = {build.node("Add", x, x, name="twice"): [3], rows: [4, 2]}
    inputs = {x: (TensorProto.FLOAT, [3]), ids: (TensorProto.INT64, [4])}
    return build.model(inputs, {name: (TensorProto.FLOAT, shape) for name, shape in outputs.items()})


@pytest.mark.parametrize(
    ("passes", "says"),
    [
        ("expand-autodiff{loss=hinge}", "loss 'hinge' is unknown; expected one of cross-entropy, mse"),
        ("expand-autodiff{loss=mse}", "the model has 2 outputs; name the one .*: twice_out, rows_out"),
        ("expand-autodiff{loss=mse output=y}", "the model has no output 'y'; name the one"),
        ("expand-autodiff{output=twice_out}", "output 'twice_out' is tensor<3xf32>; only a scalar is a loss by itself"),
        ("expand-autodiff{loss=mse output=twice_out wrt=q}", "cannot differentiate by 'q': .* it has x, ids, table"),
        ("expand-autodiff{loss=mse output=twice_out wrt=ids}", "cannot differentiate by 'ids': it is tensor<4xi64>"),
        ("expand-optimizer", "finds no gradient among the results; run expand-autodiff before it"),
        ("expand-autodiff{loss=mse output=twice_out wrt=x},expand-optimizer", "'x' is an input of the graph"),
        ("expand-optimizer{kind=lion}", "optimizer 'lion' is unknown; expected one of adam, sgd"),
        ("expand-optimizer{beta1=1.0}", "lr 0.001, beta1 1.0, .* expected lr above 0"),
    ],
)
def test_wrong_use_is_answered_in_one_line(passes, says):
    with pytest.raises((DiagnosticError, UsageError), match=says):
        Expanded(two_outputs(), passes)


def test_a_model_without_weights_has_nothing_to_differentiate_by():
    model = one_node("Neg", {"x": np.zeros(3, np.float32)}, 17)
    with pytest.raises(DiagnosticError, match="the model has no weights of floats; name what to differentiate by"):
        Expanded(model, MSE)


def test_weights_that_init_derives_others_from_are_not_left_out_in_silence():
    with pytest.raises(
        DiagnosticError, match=r"is derived from weights in @init, .*expand-autodiff before outline-init"
    ):
        Expanded(residual_network(), 'outline-init,expand-autodiff{loss="cross-entropy"}', "convert-onnx-to-prim")


def test_an_input_called_labels_is_refused():
    with pytest.raises(DiagnosticError, match="the model has an input called 'labels'"):
        Expanded(two_outputs(("labels", "ids")), "expand-autodiff{loss=mse output=twice_out}")


def test_every_backward_op_stands_under_a_node_of_the_model():
    model = cnn()
    step = Expanded(model, 'expand-autodiff{loss="cross-entropy"},expand-optimizer')
    roles = {pair for op in step.function.body.block.ops for pair in node_roles(op)}
    nodes = {node.name for node in model.graph.node}
    assert {node for node, _ in roles} == nodes
    assert {node for node, role in roles if role == "backward"} >= {
        "conv1",
        "conv2",
        "pool",
        "fc1",
        "fc2",
        "log_softmax",
    }
    assert {node for node, role in roles if role == "optimizer"} == {"conv1", "conv2", "fc1", "fc2"}
