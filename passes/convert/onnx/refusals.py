"""Why operators have no form: what a refusal says behind their names."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from xdsl.dialects.builtin import TensorType

from tstorch.dialects.onnx import NodeOp

STRINGS = "strings have no form on a GPU"
SEQUENCES = "a value of the graph is one tensor, not a sequence of them"
OPTIONALS = "a value of the graph is there or not; none is optional"
RANDOM = "its results are drawn at random, so that no two runs would agree"
REGIONS = "data says how many elements a bin has; RoiAlign took its place"
FILES = "it decodes files"
GRADIENTS = "a training step is compiled from the model itself, by --train"

REASONS: Mapping[str, str] = MappingProxyType({
    **dict.fromkeys(("RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit"), STRINGS),
    **dict.fromkeys((
        "ConcatFromSequence", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert",
        "SequenceLength", "SequenceMap", "SplitToSequence"), SEQUENCES),
    **dict.fromkeys(("Optional", "OptionalGetElement", "OptionalHasElement"), OPTIONALS),
    **dict.fromkeys((
        "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"), RANDOM),
    **dict.fromkeys(("Adagrad", "Adam", "Gradient", "Momentum"), GRADIENTS),
    "ImageDecoder": FILES,
    "MaxRoiPool": REGIONS,
})  # fmt: skip
"""Operator -> why no version of it is converted."""


def reason_of(op: NodeOp) -> str:
    """Why an operator without a rule has none; empty where nothing is known but that."""
    return REASONS.get(op.OP_TYPE, "")


def types_of(op: NodeOp) -> str:
    """The types that a node takes, as far as they are known."""
    return ", ".join(str(value.type) for value in op.inputs if value is not None and isinstance(value.type, TensorType))
