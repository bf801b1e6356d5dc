"""Whole networks as tests run them: made or restored, cut before the softmax, with more outputs than they came with."""

import importlib.util
import random
from pathlib import Path

import onnx
import onnxruntime
from models import LIGHT, SMALL, before_softmax, light_network
from onnx import ModelProto, TensorProto

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
EXAMPLE = "resnet18_bn"
STRIPPED = Path(__file__).parent.parent / "data" / "networks"
MNIST = ("mnist_mlp", "mnist_cnn")
EXPORTED = ("resnet18", "resnet18_ts", "resnet50", "mobilenet_v2", "squeezenet1_1")
"""Networks as exporters wrote them, kept without their weights beside the tests."""
LARGE = (*LIGHT, EXAMPLE, *EXPORTED)


def network(name: str) -> ModelProto:
    """A network by name: one of SMALL, LIGHT, or a kept one with its weights restored."""
    if name in SMALL:
        return SMALL[name]()
    if name in LIGHT:
        return light_network(name)
    return restored((EXAMPLES if name == EXAMPLE else STRIPPED) / f"{name}.onnx")


def restored(stripped: Path) -> ModelProto:
    """A stripped network with its weights, which the example's own code restores."""
    spec = importlib.util.spec_from_file_location("restore", EXAMPLES / "restore.py")
    assert spec is not None
    assert spec.loader is not None
    recipes = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipes)
    return recipes.restored(stripped)


def float_tensors(model: ModelProto) -> list[str]:
    """What nodes compute in float and the model does not give out, in the order of the nodes."""
    inferred = onnx.shape_inference.infer_shapes(model)
    types = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    given = {output.name for output in model.graph.output}
    names = (name for node in model.graph.node for name in node.output)
    return [name for name in names if types.get(name) == TensorProto.FLOAT and name not in given]


def with_drawn_outputs(model: ModelProto, count: int, seed: int) -> ModelProto:
    """The model with `count` of its intermediate float tensors, drawn by seed, as further outputs."""
    names = random.Random(seed).sample(float_tensors(model), count)
    wider = ModelProto()
    wider.CopyFrom(model)
    inferred = {value.name: value for value in onnx.shape_inference.infer_shapes(model).graph.value_info}
    wider.graph.output.extend(inferred[name] for name in names)
    return wider


def onnxruntime_outputs(model: ModelProto, inputs: dict) -> dict:
    """What onnxruntime computes, by name, without its own optimisations."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


__all__ = [
    "EXAMPLE",
    "EXPORTED",
    "LARGE",
    "MNIST",
    "SMALL",
    "before_softmax",
    "float_tensors",
    "network",
    "onnxruntime_outputs",
    "with_drawn_outputs",
]
