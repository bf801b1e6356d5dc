"""Tests that shaders are made of ops: none carries WGSL source, and none is spelled in more than three lines."""

import re
from collections.abc import Iterator
from functools import cache

import pytest
from networks import SMALL, network
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, FloatAttr, StringAttr, f32
from xdsl.ir import Attribute, Operation

from tstorch.compiled import Recipe, imported, lower
from tstorch.dialects import wgsl
from tstorch.dialects.wgsl.spelling import Text
from tstorch.levels import Level

NAME = re.compile(r"[A-Za-z_][\w.-]*")
MODELS = [*SMALL, pytest.param("light_shufflenet", marks=pytest.mark.model)]


@cache
def shader_ops(name: str) -> list[Operation]:
    """Every op of every shader of a network."""
    recipe = Recipe(plugins=False)
    module = imported(network(name), recipe)
    lower(module, Level.WGSL, recipe, recipe.context())
    return [op for shader in module.ops if isinstance(shader, wgsl.ModuleOp) for op in shader.walk()]


def texts(attribute: Attribute) -> Iterator[str]:
    """The strings in an attribute, however deep."""
    match attribute:
        case StringAttr():
            yield attribute.data
        case ArrayAttr():
            yield from (text for each in attribute for text in texts(each))
        case DictionaryAttr():
            yield from (text for each in attribute.data.values() for text in texts(each))


def source_texts(op: Operation) -> list[str]:
    """What an op carries that is more than a name."""
    carried = [*op.properties.values(), *op.attributes.values()]
    return [text for attribute in carried for text in texts(attribute) if not NAME.fullmatch(text)]


def lines(op: Operation) -> list[Text]:
    """The lines that an op's class spells it in."""

    def operand(_: object) -> Text:
        return Text(("x",))

    if isinstance(op, wgsl.ExpressionOp):
        return [op.spell(operand)]
    return list(op.spell_lines(operand) if isinstance(op, wgsl.StatementOp) else op.spell_opening(operand))


@pytest.mark.parametrize("name", MODELS)
def test_no_op_carries_wgsl_source(name):
    assert [(op.name, found) for op in shader_ops(name) if (found := source_texts(op))] == []


@pytest.mark.parametrize("text", ["x + 1", "let a = b0[0];", "fn f()", "select(a, b, c)"])
def test_source_in_an_attribute_is_seen(text):
    op = wgsl.ConstantOp(FloatAttr(1.0, f32))
    assert source_texts(op) == []
    op.attributes["code"] = ArrayAttr([DictionaryAttr({"deep": StringAttr(text)})])
    assert source_texts(op) == [text]


@pytest.mark.parametrize("name", MODELS)
def test_no_op_is_spelled_in_more_than_three_lines(name):
    ops = [op for op in shader_ops(name) if not isinstance(op, wgsl.ModuleOp | wgsl.StaticForOp)]
    assert {op.name for op in ops} > {"wgsl.registers", "wgsl.store", "wgsl.function", "wgsl.for"}
    assert {op.name: len(spelled) for op in ops if len(spelled := lines(op)) > 3} == {}
    known = [part for op in ops for line in lines(op) for part in line.parts if isinstance(part, str)]
    assert not any("\n" in part for part in known)
