"""Training in float64 NumPy that shares no code with the compiler: what trajectories are compared with.

It knows the operators of the small classifiers in tests/models.py and of MNIST's networks, each with its own backward
rule, cross-entropy on what stands before a final Softmax or LogSoftmax, and Adam.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from onnx import ModelProto, NodeProto, helper, numpy_helper

Array = np.ndarray
Back = Callable[[Array], list[Array]]


class NumpyTrainer:
    """A model, its parameters, and the state of Adam."""

    def __init__(self, model: ModelProto, lr: float = 1e-3):
        self._nodes = [node for node in model.graph.node if node.op_type not in ("Softmax", "LogSoftmax")]
        stored = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
        self._constants = {name: array for name, array in stored.items() if array.dtype.kind != "f"}
        self.parameters = {name: array.astype(np.float64) for name, array in stored.items() if array.dtype.kind == "f"}
        self._input = next(value.name for value in model.graph.input if value.name not in stored)
        self._moments = {name: (np.zeros_like(array), np.zeros_like(array)) for name, array in self.parameters.items()}
        self._steps, self._lr = 0, lr

    def loss(self, image: Array, labels: Array) -> float:
        """The mean cross-entropy."""
        return _cross_entropy(self._forward(image)[0], labels)[0]

    def loss_and_gradients(self, image: Array, labels: Array) -> tuple[float, dict[str, Array]]:
        """The mean cross-entropy, and its gradient by each parameter."""
        logits, tape = self._forward(image)
        loss, gradient = _cross_entropy(logits, labels)
        gradients = {self._nodes[-1].output[0]: gradient}
        for node, back in reversed(tape):
            for name, part in zip(node.input, back(gradients[node.output[0]]), strict=False):
                gradients[name] = gradients.get(name, 0) + part
        return loss, {name: gradients[name] for name in self.parameters}

    def _forward(self, image: Array) -> tuple[Array, list[tuple[NodeProto, Back]]]:
        """The logits, and how each node's gradient goes back."""
        values = {self._input: image.astype(np.float64), **self.parameters, **self._constants}
        tape: list[tuple[NodeProto, Back]] = []
        for node in self._nodes:
            attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
            result, back = OPERATORS[node.op_type](attributes, *(values[name] for name in node.input))
            values[node.output[0]] = result
            tape.append((node, back))
        return values[self._nodes[-1].output[0]], tape

    def step(self, image: Array, labels: Array) -> float:
        """One step of Adam; the loss before it."""
        loss, gradients = self.loss_and_gradients(image, labels)
        self._steps += 1
        for name, gradient in gradients.items():
            mean, square = self._moments[name]
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient**2 - square)
            unbiased = mean / (1 - 0.9**self._steps), square / (1 - 0.999**self._steps)
            self.parameters[name] -= self._lr * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
        return loss


def learnable_task(shape: tuple[int, ...], batches: int, classes: int = 10) -> Iterator[tuple[Array, Array]]:
    """Images and labels without end: `batches` of them in turn, labels decided by fixed directions in the image."""
    rng = np.random.default_rng(7)
    directions = rng.standard_normal((int(np.prod(shape[1:])), classes))
    images = rng.standard_normal((batches, *shape)).astype(np.float32)
    labels = (images.reshape(batches, shape[0], -1) @ directions).argmax(-1)
    while True:
        yield from zip(images, labels, strict=True)


def _cross_entropy(logits: Array, labels: Array) -> tuple[float, Array]:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    probabilities = powers / powers.sum(1, keepdims=True)
    rows = np.arange(len(labels))
    gradient = probabilities.copy()
    gradient[rows, labels] -= 1
    return float(-np.log(probabilities[rows, labels]).mean()), gradient / len(labels)


def _gemm(attributes: dict[str, Any], x: Array, w: Array, b: Array | float = 0.0) -> tuple[Array, Back]:
    turned = bool(attributes.get("transB"))
    matrix = w.T if turned else w

    def back(g: Array) -> list[Array]:
        by_matrix = x.T @ g
        return [g @ matrix.T, by_matrix.T if turned else by_matrix, g.sum(0)]

    return x @ matrix + b, back


def _relu(_: dict[str, Any], x: Array) -> tuple[Array, Back]:
    return np.maximum(x, 0), lambda g: [g * (x > 0)]


def _flat(_: dict[str, Any], x: Array, *shape: Array) -> tuple[Array, Back]:
    return x.reshape(len(x), -1), lambda g: [g.reshape(x.shape)]


def _conv(_: dict[str, Any], x: Array, w: Array, b: Array) -> tuple[Array, Back]:
    """Stride 1, no padding."""
    size = w.shape[2:]
    patches = sliding_window_view(x, size, axis=(2, 3))

    def back(g: Array) -> list[Array]:
        padded = np.pad(g, [(0, 0), (0, 0), *((each - 1, each - 1) for each in size)])
        spread = sliding_window_view(padded, size, axis=(2, 3))
        by_x = np.einsum("nohwij,ocij->nchw", spread, w[:, :, ::-1, ::-1], optimize=True)
        return [by_x, np.einsum("nchwij,nohw->ocij", patches, g, optimize=True), g.sum((0, 2, 3))]

    return np.einsum("nchwij,ocij->nohw", patches, w, optimize=True) + b[:, None, None], back


def _max_pool(_: dict[str, Any], x: Array) -> tuple[Array, Back]:
    """2 by 2, stride 2."""
    count, channels, height, width = x.shape
    cells = x.reshape(count, channels, height // 2, 2, width // 2, 2).swapaxes(3, 4)
    cells = cells.reshape(*cells.shape[:4], 4)
    chosen = cells.argmax(-1)[..., None] == np.arange(4)

    def back(g: Array) -> list[Array]:
        spread = (g[..., None] * chosen).reshape(*g.shape, 2, 2).swapaxes(3, 4)
        return [spread.reshape(x.shape)]

    return cells.max(-1), back


OPERATORS: dict[str, Callable[..., tuple[Array, Back]]] = {
    "Gemm": _gemm,
    "Relu": _relu,
    "Flatten": _flat,
    "Reshape": _flat,
    "Conv": _conv,
    "MaxPool": _max_pool,
}
