"""Tests that every operator of ai.onnx, in every version from opset 7 on, is converted or listed with the reason."""

from collections.abc import Iterator

import onnx.defs

from tstorch.dialects.onnx import is_defined
from tstorch.passes.convert.onnx.families import find_rule
from tstorch.passes.convert.onnx.refusals import REASONS

OLDEST = 7
"""The first opset that models may have."""

UNCOVERED = {
    ("ConcatFromSequence", 11), ("ImageDecoder", 20), ("MaxRoiPool", 1), ("MaxRoiPool", 22), ("Multinomial", 7),
    ("Multinomial", 22), ("Optional", 15), ("Optional", 28), ("OptionalGetElement", 15), ("OptionalGetElement", 18),
    ("OptionalGetElement", 28), ("OptionalHasElement", 15), ("OptionalHasElement", 18), ("OptionalHasElement", 28),
    ("RandomNormal", 1), ("RandomNormal", 22), ("RandomNormalLike", 1), ("RandomNormalLike", 22), ("RandomUniform", 1),
    ("RandomUniform", 22), ("RandomUniformLike", 1), ("RandomUniformLike", 22), ("RegexFullMatch", 20),
    ("SequenceAt", 11), ("SequenceConstruct", 11), ("SequenceEmpty", 11), ("SequenceErase", 11), ("SequenceInsert", 11),
    ("SequenceLength", 11), ("SplitToSequence", 11), ("SplitToSequence", 24), ("StringConcat", 20),
    ("StringNormalizer", 10), ("StringSplit", 20),
}  # fmt: skip
"""Each of which a refusal explains."""


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
    assert missing == UNCOVERED
    assert {name for name, _ in missing} <= set(REASONS)


def test_the_list_is_of_living_versions_only():
    assert ("Upsample", 7) in {(schema.name, schema.since_version) for schema in living()}
    assert ("Reshape", 1) not in {(schema.name, schema.since_version) for schema in living()}
