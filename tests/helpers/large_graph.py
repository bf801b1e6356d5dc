"""A model of any number of nodes, drawn by seed: 30 kinds of operator over 50 shapes, in layers as networks have."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Shape = tuple[int, ...]

UNARY = (
    "Relu", "Sigmoid", "Tanh", "Abs", "Neg", "Erf", "Softplus", "Sin", "Cos", "Atan", "HardSwish", "Elu", "LeakyRelu",
    "Softsign",
)  # fmt: skip
BINARY = ("Add", "Mul", "Sub", "Max", "Min")
OTHERS = (
    "Softmax", "LogSoftmax", "LayerNormalization", "ReduceMean", "ReduceMax", "Transpose", "Reshape", "Concat", "Slice",
    "MatMul", "Where",
)  # fmt: skip
KINDS = (*UNARY, *BINARY, *OTHERS)
LAYER = 14
"""Nodes of a layer, or a few more."""


def shapes(seed: int = 0) -> list[Shape]:
    """Fifty matrices, small, so that it is nodes that cost."""
    drawn = random.Random(seed)
    found: set[Shape] = set()
    while len(found) < 50:
        found.add((drawn.choice(range(2, 14)), drawn.choice(range(4, 40, 2))))
    return sorted(found)


def large_graph(nodes: int, seed: int = 0, kinds: int = 2) -> ModelProto:
    """The model: fifty stages, one of each shape, each of layers of so many `kinds` in turn; all nodes are needed."""
    return _Graph(nodes, seed, kinds).model()


class _Graph:
    """What has been made so far. `random` decides what the layer in hand looks like."""

    def __init__(self, count: int, seed: int, kinds: int):
        self.count, self.seed, self.kinds = count, seed, kinds
        self.random = random.Random(seed)
        self.nodes: list[NodeProto] = []
        self.stored: dict[str, TensorProto] = {}
        self.unread: list[str] = []

    def model(self) -> ModelProto:
        """Goes through the stages; the last one takes what nodes are left."""
        stages = shapes(self.seed)
        name, last = "x", stages[0]
        for stage, shape in enumerate(stages):
            name = name if shape == last else self.between(name, last, shape)
            layer, last = 0, shape
            while len(self.nodes) < self.count * (stage + 1) // len(stages):
                self.random = random.Random(f"{self.seed} {stage} {layer % self.kinds}")
                name, layer = self.layer(name, shape), layer + 1
        given, made = (
            helper.make_tensor_value_info(label, TensorProto.FLOAT, shape)
            for label, shape in (("x", stages[0]), (name, last))
        )
        graph = helper.make_graph(self.nodes, "large", [given], [made], initializer=list(self.stored.values()))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def between(self, name: str, last: Shape, shape: Shape) -> str:
        """The value with rows and columns of another number."""
        narrow = self.node("MatMul", self.weight(shape[0], last[0]), name)
        return self.node("MatMul", narrow, self.weight(last[1], shape[1]))

    def layer(self, name: str, shape: Shape) -> str:
        """Nodes of drawn kinds on the values that nothing has read, and at the end the sum of these."""
        start, self.unread = len(self.nodes), [name, name]
        while len(self.nodes) < start + LAYER - len(self.unread):
            self.unread.append(self.drawn(self.random.choice(KINDS), shape))
        while len(self.unread) > 1:
            self.unread.append(self.node("Add", self.unread.pop(), self.unread.pop()))
        return self.node("LayerNormalization", self.unread[0], *self.scales(shape), axis=-1)

    def drawn(self, kind: str, shape: Shape) -> str:
        """Appends a node of that kind on unread values, and some that bring its result to the stage's shape."""
        if kind in UNARY:
            return self.node(kind, self.taken())
        if kind in BINARY:
            return self.node(kind, self.taken(), self.taken())
        return self.special(kind)(self.taken(), shape)

    def taken(self) -> str:
        """An unread value, the last of which stays to be read."""
        at = self.random.randrange(len(self.unread))
        return self.unread.pop(at) if len(self.unread) > 1 else self.unread[0]

    def special(self, kind: str) -> Callable[[str, Shape], str]:
        """How a node of a kind of its own is made."""
        return {
            "Softmax": lambda x, _: self.node("Softmax", x, axis=-1),
            "LogSoftmax": lambda x, _: self.node("LogSoftmax", x, axis=-1),
            "LayerNormalization": lambda x, shape: self.node("LayerNormalization", x, *self.scales(shape), axis=-1),
            "ReduceMean": lambda x, _: self.node("Sub", x, self.node("ReduceMean", x, axes=[1], keepdims=1)),
            "ReduceMax": lambda x, _: self.node("Sub", x, self.node("ReduceMax", x, axes=[1], keepdims=1)),
            "Transpose": self.transpose,
            "Reshape": self.reshape,
            "Concat": self.concat,
            "Slice": self.slice,
            "MatMul": lambda x, shape: self.node("MatMul", x, self.weight(shape[1], shape[1])),
            "Where": self.where,
        }[kind]

    def node(self, kind: str, *inputs: str, **attributes: object) -> str:
        """Appends a node; the name of its result."""
        number = len(self.nodes)
        self.nodes.append(helper.make_node(kind, inputs, [f"v{number}"], name=f"{kind}_{number}", **attributes))
        return f"v{number}"

    def constant(self, name: str, array: np.ndarray) -> str:
        """A stored tensor, each but once."""
        if name not in self.stored:
            self.stored[name] = numpy_helper.from_array(array, name)
        return name

    def weight(self, *shape: int) -> str:
        """One of four weights of that shape."""
        name = f"w{len(self.nodes) % 4}_{'x'.join(map(str, shape))}"
        values = np.random.default_rng(len(self.stored)).standard_normal(shape) / shape[0] ** 0.5
        return self.constant(name, values.astype(np.float32))

    def numbers(self, *values: int) -> str:
        """Stored integers: a shape, or bounds."""
        return self.constant(f"i{'_'.join(map(str, values))}", np.array(values, np.int64))

    def scales(self, shape: Shape) -> Sequence[str]:
        """Scale and bias of a normalization."""
        return self.weight(shape[1]), self.constant(f"bias_{shape[1]}", np.zeros(shape[1], np.float32))

    def transpose(self, x: str, shape: Shape) -> str:
        """The matrix of the rows' products, with what brings it back."""
        square = self.node("MatMul", x, self.node("Transpose", x, perm=[1, 0]))
        return self.node("MatMul", square, self.weight(*shape))

    def reshape(self, x: str, shape: Shape) -> str:
        """The rows cut in two, the parts' largest elements apart, and together again."""
        cut = self.node("Reshape", x, self.numbers(shape[0] * 2, shape[1] // 2))
        return self.node("Reshape", self.node("Softmax", cut, axis=-1), self.numbers(*shape))

    def concat(self, x: str, shape: Shape) -> str:
        """Two values side by side, brought back by a product."""
        return self.node("MatMul", self.node("Concat", x, self.taken(), axis=1), self.weight(2 * shape[1], shape[1]))

    def slice(self, x: str, shape: Shape) -> str:
        """The halves of the rows, exchanged."""
        half = shape[1] // 2
        bounds = ((half, shape[1]), (0, half))
        parts = [self.node("Slice", x, self.numbers(a), self.numbers(b), self.numbers(1)) for a, b in bounds]
        return self.node("Concat", *parts, axis=1)

    def where(self, x: str, shape: Shape) -> str:
        mask = self.constant(f"mask_{shape[1]}", np.arange(shape[1]) % 3 > 0)
        return self.node("Where", mask, x, self.taken())
