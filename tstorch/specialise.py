"""Segments compiled for the shapes that a run tells: each once for each set of them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    IntegerAttr,
    ModuleOp,
    StringAttr,
    TensorType,
    UnitAttr,
    i64,
)
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, BlockArgument

from tstorch.artifact.format import Artifact
from tstorch.artifact.merge import merged, renumbered
from tstorch.compiled import Compiled, Sources, compile_module
from tstorch.dialects.onnx import InitializerOp, node_class
from tstorch.dialects.prim.types import element_type_of
from tstorch.dialects.prim.values import ValuesAttr
from tstorch.dialects.program import SegmentOp
from tstorch.levels import Level, set_level
from tstorch.locations import carried_ids

IDENTITY = ("tst.dims", "tst.source")
"""Attributes of a module that its segments share."""
SLICE_OPSET = 13


@dataclass(frozen=True)
class Special:
    """One segment compiled for one set of shapes: `number` names it, `program` is the number of the program that it
    is a segment of, `ms` is what compiling it took."""

    number: int
    program: int
    name: str
    shapes: tuple[str, ...]
    compiled: Compiled
    artifact: Path
    ms: float

    @property
    def sources(self) -> Sources:
        """Where its weights lie."""
        return self.compiled.sources

    def to_json(self) -> dict[str, Any]:
        """As the trace holds it."""
        return {"segment": self.name, "shapes": list(self.shapes), "ms": self.ms}


class Specialiser:
    """Compiles the segments of one program, and of what was made of them, into `folder`. Raises DiagnosticError."""

    def __init__(self, root: Compiled, folder: Path) -> None:
        self._root = root
        self._folder = folder
        self._made: dict[str, Special] = {}

    def __call__(self, need: Mapping[str, Any]) -> Special:
        """What a run needs: a segment of program number `program`, for `inputs` as they are."""
        key = json.dumps(need, sort_keys=True)
        if key not in self._made:
            self._made[key] = self._compile(need)
        return self._made[key]

    @property
    def made(self) -> Sequence[Special]:
        """All that was compiled, in order."""
        return list(self._made.values())

    def whole(self) -> Artifact:
        """The program with all that was compiled for it: the tables that a trace is made of."""
        return merged(self._root.artifact, [special.compiled.artifact for special in self.made])

    def _compile(self, need: Mapping[str, Any]) -> Special:
        begin = time.perf_counter()
        number = len(self._made) + 1
        parent = self._root if not need["program"] else self.made[need["program"] - 1].compiled
        segment = parent.segments[need["segment"]]
        module = segment_module(segment, need["inputs"], parent)
        compiled = compile_module(module, self._root)
        first = sum(len(each.dispatches) for each in self._artifacts())
        compiled = replace(compiled, artifact=renumbered(compiled.artifact, number, first))
        path = self._folder / f"segment{number}.tst"
        compiled.artifact.write(path)
        shapes = tuple(f"{value['dtype']}{value['shape']}" for value in need["inputs"])
        took = 1e3 * (time.perf_counter() - begin)
        return Special(number, need["program"], need["segment"], shapes, compiled, path, took)

    def _artifacts(self) -> list[Artifact]:
        return [self._root.artifact, *(special.compiled.artifact for special in self.made)]


def segment_module(segment: SegmentOp, inputs: Sequence[Mapping[str, Any]], parent: Compiled) -> ModuleOp:
    """A module at level onnx whose graph is the segment's, for inputs of these shapes; known ones are constants."""
    graph = segment.graph.clone()
    for old, new in zip(segment.graph.walk(), graph.walk(), strict=True):
        new.location = old.location
    for argument, value in zip(list(graph.body.block.args), inputs, strict=True):
        _bind(graph, argument, value)
    graph.update_function_type()
    _name(graph)
    module = ModuleOp([graph])
    known = parent.module.attributes
    module.attributes |= {key: known[key] for key in IDENTITY if key in known} | dict(segment.attributes)
    ids, nodes = carried_ids(module), known.get("tst.nodes")
    kept = [entry for entry in nodes if _id(entry) in ids] if isinstance(nodes, ArrayAttr) else []
    module.attributes["tst.nodes"] = ArrayAttr(kept)
    module.attributes["tst.segment"] = UnitAttr()
    set_level(module, Level.ONNX)
    return module


def _id(facts: Attribute) -> str:
    """The id in what the importer noted of a node."""
    match facts:
        case DictionaryAttr(data={"id": StringAttr(data=id)}):
            return id
    return ""


def _bind(graph: FuncOp, argument: BlockArgument, value: Mapping[str, Any]) -> None:
    """Says what an argument is: numbers, or a tensor of a shape, of which the leading elements count."""
    stated = argument.type
    element = stated.element_type if isinstance(stated, TensorType) else element_type_of(np.dtype(value["dtype"]))
    if "numbers" in value:
        raw = np.frombuffer(bytes.fromhex(value["numbers"]), value["dtype"]).reshape(value["shape"])
        numbers = ValuesAttr.of(raw)
        constant = InitializerOp((argument.name_hint or "known", numbers), numbers.type)
        _first(graph, constant)
        argument.replace_all_uses_with(constant.result)
        graph.body.block.erase_arg(argument)
        return
    argument._type = TensorType(element, value["room"])  # pyright: ignore[reportAttributeAccessIssue]
    if value["room"] != value["shape"]:
        _cut(graph, argument, value["shape"])


def _cut(graph: FuncOp, argument: BlockArgument, shape: Sequence[int]) -> None:
    """Has the uses of an argument see its leading elements alone."""
    users = [use.operation for use in argument.uses]
    bounds = [
        InitializerOp((name, ValuesAttr.of(np.array(numbers, np.int64))), TensorType(i64, [len(shape)]))
        for name, numbers in (("starts", [0] * len(shape)), ("ends", shape))
    ]
    type = argument.type
    assert isinstance(type, TensorType)
    cut = node_class("", "Slice").create(
        operands=[argument, *(op.result for op in bounds)],
        result_types=[TensorType(type.element_type, shape)],
        properties={"opset": IntegerAttr(SLICE_OPSET, i64)},
        location=users[0].location,
    )
    _first(graph, cut)
    for op in bounds:
        _first(graph, op)
    argument.replace_uses_with_if(cut.results[0], lambda use: use.operation is not cut)


def _first(graph: FuncOp, op: Any) -> None:
    block = graph.body.block
    first = block.first_op
    assert first is not None
    block.insert_op_before(op, first)


def _name(graph: FuncOp) -> None:
    """The names under which the runtime passes its values, in order."""
    counts = len(graph.body.block.args), len(graph.function_type.outputs)
    names = [
        ArrayAttr(DictionaryAttr({"tst.name": StringAttr(f"{mark}{at}")}) for at in range(count))
        for mark, count in zip(("in", "out"), counts, strict=True)
    ]
    graph.arg_attrs, graph.res_attrs = names
