"""Tests that every operator of ai.onnx, in every version from opset 7 on, is converted or listed with the reason."""

from collections.abc import Iterator

import onnx.defs

from tstorch.dialects.onnx import is_defined
from tstorch.passes.convert.onnx.families import find_rule

OLDEST = 7
"""The first opset that models may have."""

STRINGS = "strings have no form on a GPU"
SEQUENCES = "a value of the graph is one tensor, not a sequence of them"
OPTIONALS = "a value of the graph is there or not; none is optional"
RANDOM = "its results are drawn at random"

UNCOVERED = {
    **dict.fromkeys(
        [("RegexFullMatch", 20), ("StringConcat", 20), ("StringNormalizer", 10), ("StringSplit", 20)], STRINGS
    ),
    **dict.fromkeys(
        [("ConcatFromSequence", 11), ("SequenceAt", 11), ("SequenceConstruct", 11), ("SequenceEmpty", 11),
         ("SequenceErase", 11), ("SequenceInsert", 11), ("SequenceLength", 11), ("SplitToSequence", 11),
         ("SplitToSequence", 24)],
        SEQUENCES,
    ),
    **dict.fromkeys([("Optional", 15), ("Optional", 28)], OPTIONALS),
    **dict.fromkeys(
        [(f"Optional{what}", version) for what in ("GetElement", "HasElement") for version in (15, 18, 28)], OPTIONALS
    ),
    **dict.fromkeys([("Multinomial", 7), ("Multinomial", 22)], RANDOM),
    **dict.fromkeys(
        [
            (f"Random{law}", version)
            for law in ("Normal", "NormalLike", "Uniform", "UniformLike")
            for version in (1, 22)
        ],
        RANDOM,
    ),
    ("ImageDecoder", 20): "it decodes files",
    ("MaxRoiPool", 1): "data says how many elements a bin has; RoiAlign took its place",
    ("MaxRoiPool", 22): "data says how many elements a bin has; RoiAlign took its place",
}  # fmt: skip


def living() -> Iterator[onnx.defs.OpSchema]:
    """Every schema of the domain that some opset from the oldest on has."""
    schemas = [schema for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""]
    for schema in schemas:
        newer = [other.since_version for other in schemas if other.name == schema.name]
        if all(version <= schema.since_version or version > OLDEST for version in newer):
            yield schema


def has_form(schema: onnx.defs.OpSchema) -> bool:
    if find_rule("", schema.name, schema.since_version) is not None:
        return True
    return is_defined(schema)


def test_every_version_of_every_operator_has_a_form_or_a_reason():
    missing = {(schema.name, schema.since_version) for schema in living() if not has_form(schema)}
    assert missing == set(UNCOVERED)


def test_the_list_is_of_living_versions_only():
    assert ("Upsample", 7) in {(schema.name, schema.since_version) for schema in living()}
    assert ("Reshape", 1) not in {(schema.name, schema.since_version) for schema in living()}
