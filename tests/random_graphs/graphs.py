"""Random small graphs, legal by construction: 3 to 12 nodes over some 80 operators and seven types.

Values are small and exact where they can be: what jumps (rounding, comparing, choosing the largest) is only asked of
values that every machine computes to the last bit, so that any difference is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, helper, numpy_helper

FLOAT, BOOL = "float32", "bool"
INTS = ("int32", "int64", "int8", "uint8", "uint32")
TYPES = (FLOAT, BOOL, *INTS)
WIDE = ("int32", "int64", "uint32")
OPSET = 20


@dataclass(frozen=True)
class Value:
    """A tensor of the graph; `exact` where every machine computes the same bits of it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    exact: bool = True


class Graph:
    """A graph as it grows."""

    def __init__(self, random: Random, number: int = 0) -> None:
        self.random = random
        self.number = number
        self.nodes: list[NodeProto] = []
        self.values: list[Value] = []
        self.inputs: dict[str, np.ndarray] = {}
        self.stored: dict[str, np.ndarray] = {}

    def input(self, dtype: str, shape: tuple[int, ...]) -> Value:
        """A graph input with its numbers: quarters, or small integers."""
        value = Value(f"x{len(self.inputs)}", dtype, shape)
        self.inputs[value.name] = self.numbers(dtype, shape)
        self.values.append(value)
        return value

    def numbers(self, dtype: str, shape: Sequence[int]) -> np.ndarray:
        """Small numbers of a type."""
        count = int(np.prod(shape))
        low = 0 if dtype[0] in "ub" else -8
        drawn = [self.random.randint(low, 1 if dtype == BOOL else 8) for _ in range(count)]
        return (np.array(drawn).reshape(shape) / (4 if dtype == FLOAT else 1)).astype(dtype)

    def constant(self, array: Any) -> str:
        """A stored tensor."""
        name = f"c{len(self.stored)}"
        self.stored[name] = np.asarray(array)
        return name

    def node(
        self, kind: str, inputs: Sequence[Value | str], *made: tuple[str, Sequence[int], bool], **rest: Any
    ) -> None:
        """Appends a node; `made` are type, shape and exactness of its results."""
        number = len(self.nodes)
        results = [
            Value(f"v{number}_{at}", dtype, tuple(shape), exact) for at, (dtype, shape, exact) in enumerate(made)
        ]
        names = [value if isinstance(value, str) else value.name for value in inputs]
        outputs = [value.name for value in results]
        self.nodes.append(helper.make_node(kind, names, outputs, name=f"{kind}_{number}", **rest))
        self.values += results

    def pick(self, fits: Callable[[Value], bool]) -> Value | None:
        """A value that fits, the latest ones first among many."""
        found = [value for value in self.values if fits(value)]
        return self.random.choice(found[-4:]) if found else None

    def model(self) -> ModelProto:
        """The graph; what no node reads is an output."""
        read = {name for node in self.nodes for name in node.input}
        kinds = {name: helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in self.inputs.items()}
        given = [helper.make_tensor_value_info(n, kinds[n], a.shape) for n, a in self.inputs.items() if n in read]
        made = [
            helper.make_tensor_value_info(v.name, helper.np_dtype_to_tensor_dtype(np.dtype(v.dtype)), v.shape)
            for v in self.values
            if v.name not in read and v.name not in self.inputs
        ]
        stored = [numpy_helper.from_array(array, name) for name, array in self.stored.items()]
        graph = helper.make_graph(self.nodes, "random", given, made, initializer=stored)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)

    def arrays(self) -> dict[str, np.ndarray]:
        """The numbers of the inputs that some node reads."""
        read = {name for node in self.nodes for name in node.input}
        return {name: array for name, array in self.inputs.items() if name in read}


SMOOTH = (
    "Abs", "Neg", "Relu", "Sigmoid", "Tanh", "Sin", "Cos", "Atan", "Erf", "Softplus", "Softsign", "Elu", "Selu",
    "LeakyRelu", "HardSigmoid", "HardSwish", "Gelu", "Mish", "Celu", "Identity", "Asinh",
)  # fmt: skip
KEEPS = ("Abs", "Neg", "Relu", "Identity")
JUMPS = ("Floor", "Ceil", "Round", "Sign", "ThresholdedRelu")
ROWS = ("Softmax", "LogSoftmax")
TWO = ("Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean")
COMPARE = ("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual")
LOGIC = ("And", "Or", "Xor")
BITS = ("BitwiseAnd", "BitwiseOr", "BitwiseXor")
REDUCE = (
    "ReduceSum",
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceL1",
    "ReduceL2",
    "ReduceSumSquare",
    "ReduceLogSumExp",
)


def grow(graph: Graph, kind: str) -> None:
    """Appends a node of that kind, where some value fits it."""
    if kind in SMOOTH or kind in JUMPS:
        return _pointwise(graph, kind)
    if kind in (*TWO, *COMPARE, *LOGIC, *BITS):
        return _paired(graph, kind)
    if kind in REDUCE or kind in ROWS:
        return _reduced(graph, kind)
    special = _MOVED.get(kind) or _SPECIAL[kind]
    special(graph)


def _pointwise(graph: Graph, kind: str) -> None:
    x = graph.pick(lambda v: v.dtype == FLOAT and (v.exact or kind in SMOOTH))
    if x is not None:
        graph.node(kind, [x], (FLOAT, x.shape, x.exact and (kind in KEEPS or kind in JUMPS)))


def _paired(graph: Graph, kind: str) -> None:
    """Two values of one type, the second of the same shape or a stored row of it."""
    types = (
        (BOOL,) if kind in LOGIC else INTS if kind in BITS else (FLOAT,) if kind in ("Sum", "Mean") else (FLOAT, *WIDE)
    )
    x = graph.pick(lambda v: v.dtype in types and (v.exact or kind not in COMPARE))
    if x is None:
        return
    y = graph.pick(lambda v: v.dtype == x.dtype and v.shape == x.shape and (v.exact or kind not in COMPARE))
    row = graph.random.random() < 0.4 or y is None
    other: Value | str = graph.constant(graph.numbers(x.dtype, x.shape[-1:])) if row or y is None else y
    exact = x.exact and (isinstance(other, str) or other.exact) and (x.dtype != FLOAT or kind in ("Max", "Min"))
    graph.node(kind, [x, other], (BOOL if kind in COMPARE else x.dtype, x.shape, exact or kind in COMPARE))


def _reduced(graph: Graph, kind: str) -> None:
    x = graph.pick(lambda v: v.dtype == FLOAT and len(v.shape) > 0)
    if x is None:
        return
    axis = graph.random.randrange(len(x.shape))
    if kind in ROWS:
        return graph.node(kind, [x], (FLOAT, x.shape, False), axis=axis)
    keep = graph.random.randint(0, 1)
    shape = [1 if at == axis else size for at, size in enumerate(x.shape) if keep or at != axis]
    axes = graph.constant(np.array([axis]))
    graph.node(kind, [x, axes], (FLOAT, shape, x.exact and kind in ("ReduceMax", "ReduceMin")), keepdims=keep)


def _any(graph: Graph) -> Value:
    return graph.random.choice(graph.values[-5:])


def _ranked(graph: Graph, rank: int = 1) -> Value | None:
    return graph.pick(lambda v: len(v.shape) >= rank)


def _transpose(graph: Graph) -> None:
    if (x := _ranked(graph)) is None:
        return
    order = graph.random.sample(range(len(x.shape)), len(x.shape))
    graph.node("Transpose", [x], (x.dtype, [x.shape[at] for at in order], x.exact), perm=order)


def _reshape(graph: Graph) -> None:
    x = _any(graph)
    count = int(np.prod(x.shape))
    first = graph.random.choice([at for at in range(1, count + 1) if count % at == 0])
    shape = graph.constant(np.array([first, count // first]))
    graph.node("Reshape", [x, shape], (x.dtype, [first, count // first], x.exact))


def _flatten(graph: Graph) -> None:
    if (x := _ranked(graph)) is not None:
        graph.node("Flatten", [x], (x.dtype, [x.shape[0], int(np.prod(x.shape[1:]))], x.exact), axis=1)


def _unsqueeze(graph: Graph) -> None:
    x = graph.pick(lambda v: len(v.shape) < 4)
    if x is not None:
        graph.node("Unsqueeze", [x, graph.constant(np.array([0]))], (x.dtype, [1, *x.shape], x.exact))


def _squeeze(graph: Graph) -> None:
    x = graph.pick(lambda v: 1 in v.shape)
    if x is not None:
        at = x.shape.index(1)
        shape = [size for axis, size in enumerate(x.shape) if axis != at]
        graph.node("Squeeze", [x, graph.constant(np.array([at]))], (x.dtype, shape, x.exact))


def _slice(graph: Graph) -> None:
    if (x := _ranked(graph)) is None:
        return
    axis = graph.random.randrange(len(x.shape))
    start, step = graph.random.randrange(x.shape[axis]), graph.random.choice((1, 2))
    shape = [len(range(start, size, step)) if at == axis else size for at, size in enumerate(x.shape)]
    bounds = [graph.constant(np.array([number])) for number in (start, 99, axis, step)]
    graph.node("Slice", [x, *bounds], (x.dtype, shape, x.exact))


def _concat(graph: Graph) -> None:
    if (x := _ranked(graph)) is None:
        return
    y = graph.pick(lambda v: v.dtype == x.dtype and v.shape == x.shape) or x
    axis = graph.random.randrange(len(x.shape))
    shape = [2 * size if at == axis else size for at, size in enumerate(x.shape)]
    graph.node("Concat", [x, y], (x.dtype, shape, x.exact and y.exact), axis=axis)


def _pad(graph: Graph) -> None:
    x = graph.pick(lambda v: len(v.shape) > 0 and v.dtype in (FLOAT, "int32", "int64"))
    if x is not None:
        low, high = ([graph.random.randint(0, 2) for _ in x.shape] for _ in range(2))
        shape = [a + size + b for a, size, b in zip(low, x.shape, high, strict=True)]
        graph.node("Pad", [x, graph.constant(np.array([*low, *high]))], (x.dtype, shape, x.exact))


def _tile(graph: Graph) -> None:
    if (x := _ranked(graph)) is not None:
        counts = [graph.random.randint(1, 2) for _ in x.shape]
        shape = [count * size for count, size in zip(counts, x.shape, strict=True)]
        graph.node("Tile", [x, graph.constant(np.array(counts))], (x.dtype, shape, x.exact))


def _expand(graph: Graph) -> None:
    x = _any(graph)
    graph.node("Expand", [x, graph.constant(np.array([2, *x.shape]))], (x.dtype, [2, *x.shape], x.exact))


def _gather(graph: Graph) -> None:
    if (x := _ranked(graph)) is not None:
        places = np.array([graph.random.randrange(-x.shape[0], x.shape[0]) for _ in range(3)])
        graph.node("Gather", [x, graph.constant(places)], (x.dtype, [3, *x.shape[1:]], x.exact), axis=0)


def _split(graph: Graph) -> None:
    x = graph.pick(lambda v: len(v.shape) > 0 and v.shape[0] > 1)
    if x is not None:
        sizes = [1, x.shape[0] - 1]
        parts = [(x.dtype, [size, *x.shape[1:]], x.exact) for size in sizes]
        graph.node("Split", [x, graph.constant(np.array(sizes))], *parts, axis=0)


def _trilu(graph: Graph) -> None:
    x = graph.pick(lambda v: len(v.shape) > 1 and v.dtype in (FLOAT, "int64"))
    if x is not None:
        graph.node("Trilu", [x], (x.dtype, x.shape, x.exact), upper=graph.random.randint(0, 1))


_MOVED: dict[str, Callable[[Graph], None]] = {
    "Transpose": _transpose, "Reshape": _reshape, "Flatten": _flatten, "Unsqueeze": _unsqueeze, "Squeeze": _squeeze,
    "Slice": _slice, "Concat": _concat, "Pad": _pad, "Tile": _tile, "Expand": _expand, "Gather": _gather,
    "Split": _split, "Trilu": _trilu,
}  # fmt: skip


def _floats(graph: Graph, rank: int = 0, exact: bool = False) -> Value | None:
    return graph.pick(lambda v: v.dtype == FLOAT and len(v.shape) >= rank and (v.exact or not exact))


def _matmul(graph: Graph) -> None:
    if (x := _floats(graph, 2)) is not None:
        weight = graph.constant(graph.numbers(FLOAT, (x.shape[-1], 3)))
        graph.node("MatMul", [x, weight], (FLOAT, [*x.shape[:-1], 3], False))


def _gemm(graph: Graph) -> None:
    x = graph.pick(lambda v: v.dtype == FLOAT and len(v.shape) == 2)
    if x is not None:
        weight, bias = (graph.constant(graph.numbers(FLOAT, shape)) for shape in ((3, x.shape[1]), (3,)))
        graph.node("Gemm", [x, weight, bias], (FLOAT, [x.shape[0], 3], False), transB=1, alpha=0.5)


def _layer_norm(graph: Graph) -> None:
    if (x := _floats(graph, 1)) is not None:
        scale = graph.constant(graph.numbers(FLOAT, x.shape[-1:]))
        graph.node("LayerNormalization", [x, scale, scale], (FLOAT, x.shape, False), epsilon=0.1)


def _prelu(graph: Graph) -> None:
    if (x := _floats(graph, 1)) is not None:
        slope = graph.constant(graph.numbers(FLOAT, x.shape[-1:]))
        graph.node("PRelu", [x, slope], (FLOAT, x.shape, False))


def _clip(graph: Graph) -> None:
    x = graph.pick(lambda v: v.dtype in (FLOAT, "int32", "int64", "int8", "uint8"))
    if x is not None:
        low, high = (graph.constant(np.array(number, x.dtype)) for number in (1, 3))
        graph.node("Clip", [x, low, high], (x.dtype, x.shape, x.exact))


def _where(graph: Graph) -> None:
    c = graph.pick(lambda v: v.dtype == BOOL)
    if c is not None:
        x = graph.pick(lambda v: v.dtype in (FLOAT, "int32", "int64", "uint8") and v.shape == c.shape)
        if x is not None:
            other = graph.constant(graph.numbers(x.dtype, x.shape[-1:]))
            graph.node("Where", [c, x, other], (x.dtype, x.shape, x.exact))


def _cast(graph: Graph) -> None:
    x = graph.pick(lambda v: v.exact and v.dtype != FLOAT)
    if x is not None:
        to = graph.random.choice([dtype for dtype in TYPES if dtype != x.dtype])
        graph.node("Cast", [x], (to, x.shape, True), to=helper.np_dtype_to_tensor_dtype(np.dtype(to)))


def _unary(kind: str, types: Sequence[str], to: str = "") -> Callable[[Graph], None]:
    def grown(graph: Graph) -> None:
        x = graph.pick(lambda v: v.dtype in types)
        if x is not None:
            graph.node(kind, [x], (to or x.dtype, x.shape, True))

    return grown


def _chosen(kind: str) -> Callable[[Graph], None]:
    def grown(graph: Graph) -> None:
        if (x := _floats(graph, 1, exact=True)) is not None:
            graph.node(kind, [x], ("int64", [1, *x.shape[1:]], True), axis=0)

    return grown


def _cumsum(graph: Graph) -> None:
    x = graph.pick(lambda v: len(v.shape) > 0 and v.dtype in (FLOAT, "int32", "int64"))
    if x is not None:
        axis = graph.constant(np.array(0))
        graph.node("CumSum", [x, axis], (x.dtype, x.shape, x.exact and x.dtype != FLOAT))


def _by_number(kind: str, types: Sequence[str], number: int, **rest: Any) -> Callable[[Graph], None]:
    def grown(graph: Graph) -> None:
        x = graph.pick(lambda v: v.dtype in types)
        if x is not None:
            other = graph.constant(np.array(number, x.dtype))
            graph.node(kind, [x, other], (x.dtype, x.shape, x.exact and x.dtype != FLOAT), **rest)

    return grown


def _topk(graph: Graph) -> None:
    if (x := _floats(graph, 1, exact=True)) is not None:
        shape = [*x.shape[:-1], 1]
        graph.node("TopK", [x, graph.constant(np.array([1]))], (FLOAT, shape, True), ("int64", shape, True), axis=-1)


def _gather_elements(graph: Graph) -> None:
    if (x := _ranked(graph)) is not None:
        places = np.array([graph.random.randrange(x.shape[0]) for _ in range(int(np.prod(x.shape)))])
        name = graph.constant(places.reshape(x.shape))
        graph.node("GatherElements", [x, name], (x.dtype, x.shape, x.exact), axis=0)


def _one_hot(graph: Graph) -> None:
    x = graph.pick(lambda v: v.dtype == "int64" and len(v.shape) < 3)
    if x is not None:
        depth, values = graph.constant(np.array(4)), graph.constant(np.array([0, 1], np.float32))
        graph.node("OneHot", [x, depth, values], (FLOAT, [*x.shape, 4], True))


def _shape(graph: Graph) -> None:
    x = _any(graph)
    if x.shape:
        graph.node("Shape", [x], ("int64", [len(x.shape)], True))


def _positive(kind: str) -> Callable[[Graph], None]:
    """On a number above 0 that does not grow: the sigmoid of a value."""

    def grown(graph: Graph) -> None:
        if (x := _floats(graph)) is not None:
            graph.node("Sigmoid", [x], (FLOAT, x.shape, False))
            graph.node(kind, [graph.values[-1]], (FLOAT, x.shape, False))

    return grown


_SPECIAL: dict[str, Callable[[Graph], None]] = {
    "MatMul": _matmul, "Gemm": _gemm, "LayerNormalization": _layer_norm, "PRelu": _prelu, "Clip": _clip,
    "Where": _where, "Cast": _cast, "Not": _unary("Not", (BOOL,)), "IsNaN": _unary("IsNaN", (FLOAT,), BOOL),
    "IsInf": _unary("IsInf", (FLOAT,), BOOL), "ArgMax": _chosen("ArgMax"), "ArgMin": _chosen("ArgMin"),
    "CumSum": _cumsum, "Mod": _by_number("Mod", ("int32", "int64", "uint8", "int8"), 3),
    "BitShift": _by_number("BitShift", ("uint8", "uint32"), 1, direction="RIGHT"),
    "BitwiseNot": _unary("BitwiseNot", INTS), "Pow": _by_number("Pow", (FLOAT,), 2),
    "Div": _by_number("Div", (FLOAT, "int32", "int64"), 3), "TopK": _topk, "GatherElements": _gather_elements,
    "OneHot": _one_hot, "Shape": _shape, "Sqrt": _positive("Sqrt"), "Log": _positive("Log"), "Exp": _positive("Exp"),
    "Reciprocal": _positive("Reciprocal"),
}  # fmt: skip

KINDS = (*SMOOTH, *JUMPS, *ROWS, *TWO, *COMPARE, *LOGIC, *BITS, *REDUCE, *_MOVED, *_SPECIAL)
"""The operators that graphs are drawn of."""


RANGE = 1 << 48
"""So many graphs have numbers in a chunk; those of another chunk are others."""


def graphs(chunk: int = 0) -> st.SearchStrategy[Graph]:
    """Graphs of a chunk: two are equal only where their numbers are."""
    return st.integers(chunk * RANGE, (chunk + 1) * RANGE - 1).map(numbered)


def numbered(number: int) -> Graph:
    """The graph of that number, of 3 to 12 nodes, and its inputs: two of each of three types, of one shape."""
    graph = Graph(Random(number), number)
    shape = tuple(graph.random.choice((1, 2, 3, 5)) for _ in range(graph.random.randint(1, 3)))
    for dtype in (FLOAT, *graph.random.sample(TYPES, 2)):
        graph.input(dtype, shape)
        graph.input(dtype, shape)
    count = graph.random.randint(3, 11)
    while len(graph.nodes) < count:
        grow(graph, graph.random.choice(KINDS))
    return graph
