"""Tests of training and gradients on a GPU: the same numbers as float64 NumPy, and a state that never leaves."""

import json
from itertools import islice

import networks
import numpy as np
import onnx
import pytest
from models import Builder, cnn, mlp, residual_network
from numpy_training import NumpyTrainer, learnable_task
from onnx import TensorProto
from tiny_artifact import write_tiny_artifact

import tstorch
from tstorch.diagnostics import DiagnosticError, RunError, UsageError
from tstorch.tools.run import main
from tstorch.training import cut_batches

BATCH = 8
SHAPES = {"mlp": (BATCH, 1, 28, 28), "cnn": (1, 1, 12, 12)}


def network(name):
    return mlp(BATCH) if name == "mlp" else cnn()


def batches(name, count):
    for image, labels in islice(learnable_task(SHAPES[name], 4), count):
        yield {"image": image, "labels": labels}


@pytest.fixture(scope="module")
def trainer():
    with tstorch.train(network("mlp"), isolation="none") as trainer:
        yield trainer


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_fifty_steps_follow_numpy(name):
    model = network(name)
    expected = NumpyTrainer(model)
    with tstorch.train(model, loss="cross-entropy", optimizer="adam", lr=1e-3) as trainer:
        losses = []
        for inputs in batches(name, 50):
            losses.append(trainer.step(inputs))
            truth = expected.step(inputs["image"], inputs["labels"])
            assert abs(losses[-1] - truth) <= 1e-3 * max(truth, 0.01)
        parameters, state = trainer.parameters(), trainer.state()
    assert np.mean(losses[-4:]) < 0.7 * np.mean(losses[:4])
    assert parameters.keys() == expected.parameters.keys()
    for parameter, array in expected.parameters.items():
        assert np.abs(parameters[parameter] - array).max() <= 1e-3 * np.abs(array).max()
    assert state["optimizer.step"] == 50
    assert state.keys() - parameters.keys() == {"optimizer.step"} | {
        f"adam.{moment}/{parameter}" for moment in "mv" for parameter in parameters
    }


MNIST_BATCH = {"mnist_mlp": 32, "mnist_cnn": 1}


def mnist(name):
    """One of the two MNIST networks as PyTorch exported it, how its dimension is bound, and a task of its shape."""
    dims = {"batch": 32} if name == "mnist_mlp" else None
    return networks.network(name), dims, learnable_task((MNIST_BATCH[name], 1, 28, 28), 10)


@pytest.mark.gpu
@pytest.mark.model
@pytest.mark.parametrize("name", MNIST_BATCH)
def test_two_hundred_steps_of_an_mnist_network_follow_numpy(name):
    model, dims, task = mnist(name)
    expected = NumpyTrainer(model)
    losses, truths = [], []
    with tstorch.train(model, optimizer="adam", lr=1e-3, dims=dims) as trainer:
        for image, labels in islice(task, 200):
            losses.append(trainer.step({"input": image, "labels": labels}))
            truths.append(expected.step(image, labels))
    far = np.abs(np.subtract(losses, truths)) / np.maximum(truths, 0.01)
    assert far[:50].max() <= 0.01
    assert np.mean(truths[-50:]) < 0.5 * np.mean(truths[:50])
    assert abs(np.mean(losses[-50:]) - np.mean(truths[-50:])) <= 0.02 * np.mean(truths[:50])


@pytest.mark.gpu
@pytest.mark.model
@pytest.mark.parametrize("name", MNIST_BATCH)
def test_gradients_of_an_mnist_network_are_its_central_differences(name):
    model, dims, task = mnist(name)
    image, labels = next(task)
    numpy = NumpyTrainer(model)
    found = tstorch.grads(
        model, {"input": image, "labels": labels}, list(numpy.parameters), loss="cross-entropy", dims=dims
    )
    rng = np.random.default_rng(0)
    for parameter, gradient in found.items():
        for at in rng.integers(0, gradient.size, 20):
            difference = central_difference(numpy, parameter, at, image, labels)
            assert abs(gradient.flat[at] - difference) <= 1e-3 * np.abs(gradient).max(), (parameter, at)


def central_difference(trainer, parameter, at, image, labels, by=1e-6):
    """The slope of the float64 loss by one element of a parameter."""
    value, losses = trainer.parameters[parameter].flat[at], []
    for moved in (value + by, value - by):
        trainer.parameters[parameter].flat[at] = moved
        losses.append(trainer.loss(image, labels))
    trainer.parameters[parameter].flat[at] = value
    return (losses[0] - losses[1]) / (2 * by)


@pytest.mark.gpu
def test_only_inputs_go_up_and_only_the_loss_comes_down(trainer):
    commands = trainer.artifact.program["entries"]["step"]
    assert {command["input"] for command in commands if command["op"] == "upload"} == {"image", "labels"}
    assert [command["output"] for command in commands if command["op"] == "readback"] == ["loss"]
    assert not [command for command in commands if command["op"] == "copy"], "each update is written where it belongs"


@pytest.mark.gpu
def test_updates_that_are_not_written_in_place_are_copied_there():
    model = network("cnn")
    expected = NumpyTrainer(model)
    with tstorch.train(model, without=["tie-results"], isolation="none") as trainer:
        states, commands = trainer.artifact.program["state"], trainer.artifact.program["entries"]["step"]
        assert sum(command["op"] == "copy" for command in commands) == len(states)
        for inputs in batches("cnn", 5):
            truth = expected.step(inputs["image"], inputs["labels"])
            assert trainer.step(inputs) == pytest.approx(truth, rel=1e-4)


@pytest.mark.gpu
def test_one_trace_shows_all_three_roles_under_the_models_nodes(trainer):
    trace = trainer.profile(iterations=3, warmup=0)
    report = trace.report()
    rows = [(node["role"], node["id"]) for dispatch in report["dispatch_table"] for node in dispatch["nodes"]]
    dense = {"fc0", "fc1", "fc2"}
    assert {node for role, node in rows if role == "forward"} >= dense | {"relu0", "relu1", "softmax"}
    assert {node for role, node in rows if role == "backward"} >= dense | {"relu0", "relu1", "softmax"}
    assert {node for role, node in rows if role == "optimizer"} == dense
    assert {node["id"] for node in report["nodes"]} == {node.name for node in network("mlp").graph.node}


@pytest.mark.gpu
def test_state_put_back_gives_the_same_steps_again(trainer):
    before = trainer.state()
    losses = [trainer.step(inputs) for inputs in batches("mlp", 3)]
    trainer.restore(before)
    assert [trainer.step(inputs) for inputs in batches("mlp", 3)] == losses


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"labels": np.full(BATCH, 10)}, "labels"),
        ({"labels": np.zeros(BATCH, np.float32)}, "labels"),
        ({"image": np.zeros((1, 1, 28, 28), np.float32)}, "image"),
    ],
)
def test_wrong_inputs_are_refused_and_training_goes_on(trainer, change, says):
    [inputs] = batches("mlp", 1)
    with pytest.raises(RunError, match=says):
        trainer.step(inputs | change)
    assert trainer.step(inputs) > 0


@pytest.mark.gpu
def test_gradients_agree_with_numpy_in_every_tensor():
    model = network("cnn")
    [inputs] = batches("cnn", 1)
    expected = NumpyTrainer(model).loss_and_gradients(inputs["image"], inputs["labels"])[1]
    found = tstorch.grads(model, inputs, list(expected), loss="cross-entropy", isolation="none")
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert np.abs(found[name] - gradient).max() <= 1e-4 * np.abs(gradient).max(), name


@pytest.mark.gpu
def test_gradients_by_an_input_of_the_models_own_scalar():
    build = Builder()
    product = build.node("Mul", "x", build.constant("slope", np.float32([0.5])), name="scaled")
    total = build.node("ReduceSum", build.node("Mul", product, "x", name="square"), name="total", keepdims=0)
    model = build.model({"x": (TensorProto.FLOAT, [3])}, {total: (TensorProto.FLOAT, [])})
    x = np.float32([1, -2, 3])
    slope = tstorch.grads(model, {"x": x}, "slope", isolation="none")["slope"]
    np.testing.assert_allclose(slope, [14], rtol=1e-6)
    by_x = tstorch.grads(model, {"x": x}, ["x"], isolation="none")["x"]
    np.testing.assert_allclose(by_x, x, rtol=1e-6)


@pytest.mark.gpu
def test_a_chosen_weight_is_trained_by_sgd_and_statistics_never():
    model = residual_network()
    inputs = {"image": np.ones((1, 3, 16, 16), np.float32), "labels": np.array([3])}
    with tstorch.train(model, optimizer="sgd", lr=0.1, wrt="fc.bias", isolation="none") as trainer:
        first, before = trainer.step(inputs), trainer.parameters()
        assert list(before) == ["fc.bias"]
        assert trainer.step(inputs) < first
    with tstorch.train(model, isolation="none") as trainer:
        assert not [name for name in trainer.parameters() if name.endswith((".mean", ".var"))]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"loss": "hinge"}, "loss 'hinge' is unknown"),
        ({"optimizer": "lion"}, "optimizer 'lion' is unknown"),
        ({"lr": 0.0}, "lr 0.0.*expected lr above 0"),
    ],
)
def test_wrong_words_are_refused(options, says):
    with pytest.raises(UsageError, match=says):
        tstorch.train(network("cnn"), **options)


def test_an_artifact_cannot_be_trained(tmp_path):
    with pytest.raises(DiagnosticError, match="is compiled already; give the model itself"):
        tstorch.train(write_tiny_artifact(tmp_path))


def test_gradients_by_nothing_are_refused():
    with pytest.raises(DiagnosticError, match="grads needs the names"):
        tstorch.grads(network("cnn"), {}, [])


@pytest.mark.gpu
def test_gradients_by_what_does_not_exist_are_refused():
    with pytest.raises(DiagnosticError, match="cannot differentiate by 'fc9'"):
        tstorch.grads(network("cnn"), {}, ["fc9"], loss="cross-entropy", isolation="none")


DECLARED = [{"name": "image", "shape": [2, 3]}, {"name": "labels", "shape": [2]}, {"name": "scale", "shape": []}]


def test_arrays_are_cut_into_batches_along_the_leading_axis():
    arrays = {"image": np.arange(18.0).reshape(6, 3), "labels": np.arange(6), "scale": np.float32(3)}
    cut = cut_batches(DECLARED, arrays)
    assert [batch["labels"].tolist() for batch in cut] == [[0, 1], [2, 3], [4, 5]]
    np.testing.assert_array_equal(np.concatenate([batch["image"] for batch in cut]), arrays["image"])
    assert {float(batch["scale"]) for batch in cut} == {3}


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"image": np.zeros((3, 3))}, r"'image' has shape \[3, 3\]; expected \[2, 3\], or a multiple"),
        ({"image": np.zeros((4, 2))}, r"'image' has shape \[4, 2\]"),
        ({"image": np.zeros((4, 3)), "labels": np.zeros(6)}, "different numbers of batches: 'image' 2, 'labels' 3"),
    ],
)
def test_arrays_that_make_no_batches_are_refused(arrays, says):
    with pytest.raises(DiagnosticError, match=says):
        cut_batches(DECLARED, arrays)


@pytest.fixture
def files(tmp_path):
    """A model, images and labels."""
    onnx.save(network("cnn"), tmp_path / "cnn.onnx")
    images, labels = zip(*islice(learnable_task(SHAPES["cnn"], 3), 3), strict=True)
    np.savez(tmp_path / "x.npz", image=np.concatenate(images))
    np.savez(tmp_path / "y.npz", anything=np.concatenate(labels))
    np.savez(tmp_path / "two.npz", one=np.zeros(3), other=np.zeros(3))
    return tmp_path


@pytest.mark.gpu
def test_the_tool_trains_and_reports_a_step(files, capsys):
    given = ["--input", files / "x.npz", "--labels", files / "y.npz", "--steps", 40, "--iterations", 3]
    wanted = ["--output", files / "p.npz", "--json", files / "r.json", "--isolation", "none"]
    code = main([str(each) for each in (files / "cnn.onnx", "--train", "cross-entropy", *given, *wanted)])
    out, err = capsys.readouterr()
    assert code == 0
    assert out.startswith("Trained 40 steps, adam, lr 0.001: loss ")
    assert "step 1: loss " in err
    training = json.loads((files / "r.json").read_text())["training"]
    assert len(training["losses"]) == 40
    assert np.mean(training["losses"][-3:]) < 0.5 * np.mean(training["losses"][:3])
    assert "conv1.weight" in np.load(files / "p.npz")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--labels", "y.npz"], 2, "--labels are what --train LOSS compares with"),
        (["--train", "mse", "--check"], 2, "--check compares a run's outputs"),
        (["--train", "mse", "--labels", "two.npz"], 1, "holds one, other; expected one array"),
    ],
)
def test_the_tool_refuses_what_makes_no_training(files, capsys, arguments, code, says):
    given = [str(files / each) if each.endswith(".npz") else each for each in arguments]
    assert main([str(files / "cnn.onnx"), *given]) == code
    assert says in capsys.readouterr().err
    assert sorted(each.name for each in files.iterdir()) == ["cnn.onnx", "two.npz", "x.npz", "y.npz"]
