"""The networks that tests run on: small ones built here, and the nine inside the onnx package with seeded weights."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

LIGHT = (
    "light_bvlc_alexnet",
    "light_densenet121",
    "light_inception_v1",
    "light_inception_v2",
    "light_resnet50",
    "light_shufflenet",
    "light_squeezenet",
    "light_vgg19",
    "light_zfnet512",
)
LIGHT_FOLDER = Path(onnx.backend.test.__file__).parent / "data" / "light"
OPSET = 17


def light_network(name: str, seed: int = 0) -> ModelProto:
    """One of the package's networks, its one-valued weights replaced by seeded ones that keep activations in range."""
    model = onnx.load(LIGHT_FOLDER / f"{name}.onnx")
    graph, rng = model.graph, np.random.default_rng(seed)
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    roles = _roles(graph)
    fillers = [node for node in graph.node if node.op_type == "ConstantOfShape"]
    used = {node.input[0] for node in fillers}
    weights = [
        numpy_helper.from_array(_drawn(rng, roles[node.output[0]], shapes[node.input[0]].tolist()), node.output[0])
        for node in fillers
    ]
    kept = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    initializers = [_reseeded(tensor, roles, rng) for tensor in graph.initializer if tensor.name not in used]
    stored = {tensor.name for tensor in [*weights, *graph.initializer]}
    inputs = [value for value in graph.input if value.name not in stored]
    built = helper.make_graph(kept, graph.name, inputs, graph.output, initializer=[*initializers, *weights])
    return helper.make_model(built, opset_imports=model.opset_import, ir_version=8)


def _roles(graph: GraphProto) -> dict[str, tuple[str, int]]:
    """Weight -> the operator and position that takes it, seen through Unsqueeze."""
    roles: dict[str, tuple[str, int]] = {}
    for node in reversed(graph.node):
        for position, name in enumerate(node.input):
            passed_on = node.op_type == "Unsqueeze" and position == 0
            roles[name] = roles.get(node.output[0], ("", 0)) if passed_on else (node.op_type, position)
    return roles


def _reseeded(tensor: TensorProto, roles: Mapping[str, tuple[str, int]], rng: np.random.Generator) -> TensorProto:
    """A float weight of more than one element anew; all else as it is."""
    if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) <= 1:
        return tensor
    return numpy_helper.from_array(_drawn(rng, roles.get(tensor.name, ("", 0)), list(tensor.dims)), tensor.name)


def _drawn(rng: np.random.Generator, role: tuple[str, int], shape: list[int]) -> np.ndarray:
    match role:
        case ("Conv" | "Gemm", 1):
            array = rng.standard_normal(shape, np.float32) * np.float32((2 / max(np.prod(shape[1:]), 1)) ** 0.5)
        case ("BatchNormalization", 1 | 4) | ("Mul", _):
            array = rng.uniform(0.7, 1.3, shape)
        case _:
            array = rng.standard_normal(shape, np.float32) * 0.1
    return np.asarray(array, np.float32)


class Builder:
    """Collects nodes and weights of a model made by hand."""

    def __init__(self, seed: int = 0):
        self.rng = np.random.default_rng(seed)
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []

    def node(self, op_type: str, *inputs: str, name: str = "", outputs: int = 1, **attributes: object) -> str:
        """Appends a node; the name of its first output."""
        name = name or f"{op_type}_{len(self.nodes)}"
        results = [f"{name}_out{at or ''}" for at in range(outputs)]
        self.nodes.append(helper.make_node(op_type, inputs, results, name=name, **attributes))
        return results[0]

    def weight(self, name: str, *shape: int, scale: float | None = None, around: float = 0.0) -> str:
        """A seeded weight; by default scaled by how much its rows add up."""
        spread = (1 / max(shape[0] if len(shape) == 2 else np.prod(shape[1:]), 1)) ** 0.5 if scale is None else scale
        return self.constant(name, (self.rng.standard_normal(shape) * spread + around).astype(np.float32))

    def constant(self, name: str, array: np.ndarray) -> str:
        """A stored tensor."""
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def model(self, inputs: Mapping[str, tuple], outputs: Mapping[str, tuple], opset: int = OPSET) -> ModelProto:
        """The model; inputs and outputs are name -> (element type, shape)."""
        values = [
            [helper.make_tensor_value_info(name, *given) for name, given in of.items()] for of in (inputs, outputs)
        ]
        graph = helper.make_graph(self.nodes, "test", *values, initializer=self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        onnx.checker.check_model(model)
        return model


def one_node(
    op_type: str, inputs: Mapping[str, np.ndarray], opset: int, outputs: int = 1, domain: str = "", **attributes: object
) -> ModelProto:
    """A model of one node; inputs whose name begins with an underscore are stored in it, an empty name is absent."""
    nodes = [helper.make_node(op_type, [*inputs], [f"y{at or ''}" for at in range(outputs)], name="n", **attributes)]
    given = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in inputs.items()
        if name and name[0] != "_"
    ]
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in inputs.items() if name[:1] == "_"]
    results = [onnx.ValueInfoProto(name=name) for name in nodes[0].output]
    graph = helper.make_graph(nodes, "one", given, results, initializer=stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(domain, opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def mlp(batch: int | str = "batch") -> ModelProto:
    """Three dense layers on 28x28 images, as MNIST's."""
    build = Builder(1)
    x = build.node("Flatten", "image", name="flatten")
    for at, (size, wider) in enumerate(((784, 64), (64, 32), (32, 10))):
        weight, bias = build.weight(f"fc{at}.weight", size, wider), build.weight(f"fc{at}.bias", wider, scale=0.1)
        x = build.node("Gemm", x, weight, bias, name=f"fc{at}")
        x = x if at == 2 else build.node("Relu", x, name=f"relu{at}")
    x = build.node("Softmax", x, name="softmax", axis=1)
    return build.model({"image": (TensorProto.FLOAT, [batch, 1, 28, 28])}, {x: (TensorProto.FLOAT, [batch, 10])})


def cnn() -> ModelProto:
    """Two convolutions, a pool and two dense layers on a 12x12 image: MNIST's small sister."""
    build = Builder(2)
    x = _convolved(build, "image", 1, 8, "conv1")
    x = _convolved(build, x, 8, 16, "conv2")
    x = build.node("MaxPool", x, name="pool", kernel_shape=[2, 2], strides=[2, 2])
    x = build.node("Flatten", x, name="flatten")
    x = build.node("Relu", build.node("Gemm", x, build.weight("fc1.weight", 256, 32), name="fc1"), name="relu3")
    x = build.node("Gemm", x, build.weight("fc2.weight", 32, 10), build.weight("fc2.bias", 10, scale=0.1), name="fc2")
    x = build.node("LogSoftmax", x, name="log_softmax", axis=1)
    return build.model({"image": (TensorProto.FLOAT, [1, 1, 12, 12])}, {x: (TensorProto.FLOAT, [1, 10])})


def _convolved(build: Builder, x: str, inputs: int, outputs: int, name: str) -> str:
    weight, bias = (
        build.weight(f"{name}.weight", outputs, inputs, 3, 3),
        build.weight(f"{name}.bias", outputs, scale=0.1),
    )
    return build.node("Relu", build.node("Conv", x, weight, bias, name=name), name=f"{name}/relu")


def residual_network(normalised: bool = True) -> ModelProto:
    """Two residual blocks with batch norm, a strided shortcut, and a global pool: ResNet in small."""
    build = Builder(3)

    def unit(x: str, inputs: int, outputs: int, size: int, stride: int, name: str) -> str:
        weight = build.weight(f"{name}.weight", outputs, inputs, size, size)
        x = build.node("Conv", x, weight, name=name, strides=[stride, stride], pads=[size // 2] * 4)
        if not normalised:
            return x
        around = {"scale": 1.0, "bias": 0.0, "mean": 0.0, "var": 1.0}
        facts = [build.weight(f"{name}.{key}", outputs, scale=0.1, around=at) for key, at in around.items()]
        return build.node("BatchNormalization", x, *facts, name=f"{name}/bn")

    x = build.node("Relu", unit("image", 3, 8, 3, 1, "stem"), name="stem/relu")
    for block, (inputs, outputs, stride) in enumerate(((8, 8, 1), (8, 16, 2))):
        name = f"layer{block}"
        left = build.node("Relu", unit(x, inputs, outputs, 3, stride, f"{name}/conv1"), name=f"{name}/relu1")
        left = unit(left, outputs, outputs, 3, 1, f"{name}/conv2")
        right = x if stride == 1 else unit(x, inputs, outputs, 1, stride, f"{name}/shortcut")
        x = build.node("Relu", build.node("Add", left, right, name=f"{name}/add"), name=f"{name}/relu2")
    x = build.node("Flatten", build.node("GlobalAveragePool", x, name="pool"), name="flatten")
    x = build.node("Gemm", x, build.weight("fc.weight", 16, 10), build.weight("fc.bias", 10, scale=0.1), name="fc")
    return build.model({"image": (TensorProto.FLOAT, [1, 3, 16, 16])}, {x: (TensorProto.FLOAT, [1, 10])})


def transformer_block(tokens: int = 16, width: int = 32, heads: int = 2, vocabulary: int = 50) -> ModelProto:
    """Token and position look-ups, masked attention, layer norms and a GELU: what a language model repeats."""
    build = Builder(4)
    shape = build.constant("split_heads", np.array([0, 0, heads, width // heads]))

    def dense(x: str, inputs: int, outputs: int, name: str) -> str:
        x = build.node("MatMul", x, build.weight(f"{name}.weight", inputs, outputs), name=f"{name}/matmul")
        return build.node("Add", build.weight(f"{name}.bias", outputs, scale=0.1), x, name=f"{name}/add")

    def norm(x: str, name: str) -> str:
        scale, bias = build.weight(f"{name}.scale", width, scale=0.1, around=1.0), build.weight(f"{name}.bias", width)
        return build.node("LayerNormalization", x, scale, bias, name=name, epsilon=1e-5)

    def head(x: str, name: str, perm: list[int]) -> str:
        apart = build.node("Reshape", dense(x, width, width, name), shape, name=f"{name}/split")
        return build.node("Transpose", apart, name=f"{name}/transpose", perm=perm)

    token = build.node("Gather", build.weight("token_table", vocabulary, width, scale=1.0), "ids", name="token")
    place = build.node("Gather", build.weight("place_table", tokens, width, scale=1.0), "positions", name="place")
    x = norm(build.node("Add", token, place, name="embed"), "norm0")
    query, value = head(x, "query", [0, 2, 1, 3]), head(x, "value", [0, 2, 1, 3])
    scores = build.node("MatMul", query, head(x, "key", [0, 2, 3, 1]), name="scores")
    scores = build.node("Div", scores, build.constant("root", np.float32((width // heads) ** 0.5)), name="scaled")
    hidden = build.node("Sub", build.constant("one", np.float32(1)), "mask", name="hidden")
    far = build.node("Mul", hidden, build.constant("far", np.float32(-1e4)), name="far_away")
    far = build.node("Unsqueeze", far, build.constant("mask_axes", np.array([1, 2])), name="mask_unsqueezed")
    weights = build.node("Softmax", build.node("Add", scores, far, name="masked"), name="attention", axis=-1)
    mixed = build.node(
        "Transpose", build.node("MatMul", weights, value, name="mixed"), name="joined", perm=[0, 2, 1, 3]
    )
    mixed = build.node("Reshape", mixed, build.constant("join_heads", np.array([0, 0, width])), name="join")
    x = norm(build.node("Add", x, dense(mixed, width, width, "out"), name="residual1"), "norm1")
    wide = dense(x, width, 4 * width, "up")
    erf = build.node(
        "Erf", build.node("Div", wide, build.constant("root2", np.float32(2**0.5)), name="div"), name="erf"
    )
    gate = build.node("Add", erf, "one", name="gate")
    wide = build.node(
        "Mul", build.node("Mul", wide, gate, name="gated"), build.constant("half", np.float32(0.5)), name="gelu"
    )
    x = norm(build.node("Add", x, dense(wide, 4 * width, width, "down"), name="residual2"), "norm2")
    ids = (TensorProto.INT64, [1, tokens])
    inputs = {"ids": ids, "positions": ids, "mask": (TensorProto.FLOAT, [1, tokens])}
    return build.model(inputs, {x: (TensorProto.FLOAT, [1, tokens, width])})


SMALL: Mapping[str, Callable[[], ModelProto]] = {
    "mlp": lambda: mlp(4),
    "cnn": cnn,
    "residual": residual_network,
    "residual_plain": lambda: residual_network(normalised=False),
    "transformer": transformer_block,
}
"""Networks that take milliseconds."""


def before_softmax(model: ModelProto) -> ModelProto:
    """The model without a final Softmax, which hides every error; others are given back as they are."""
    last = next((node for node in model.graph.node if node.output[0] == model.graph.output[0].name), None)
    if last is None or last.op_type != "Softmax":
        return model
    cut = ModelProto()
    cut.CopyFrom(model)
    cut.graph.node.remove(next(node for node in cut.graph.node if node.output == last.output))
    del cut.graph.output[:]
    cut.graph.output.append(onnx.ValueInfoProto(name=last.input[0]))
    return onnx.shape_inference.infer_shapes(cut)
