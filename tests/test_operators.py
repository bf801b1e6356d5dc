"""Tests that a refusal says which operator its node is, of which opset version, in whatever pass it comes up."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper
from xdsl.dialects.builtin import ModuleOp

from tstorch.diagnostics import DiagnosticError
from tstorch.frontend.importer import import_model
from tstorch.levels import Level
from tstorch.operators import name_operator, operator_of
from tstorch.pipeline import compile
from tstorch.registry import make_context


def module_of(type: int, opset: int = 17) -> ModuleOp:
    values = [helper.make_tensor_value_info(name, type, [3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Exp", ["x"], ["y"], "growth")], "g", values[:1], values[1:])
    return import_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]))


def test_a_late_refusal_names_operator_and_version() -> None:
    with pytest.raises(DiagnosticError, match=r"^onnx 'growth' \(Exp, opset 17\): element type float64 has no WebGPU"):
        compile(module_of(TensorProto.DOUBLE), to=Level.FLOW, context=make_context())


def test_the_table_tells_the_version_of_the_model() -> None:
    assert operator_of(module_of(TensorProto.FLOAT, 13), "growth") == "Exp, opset 13"


@pytest.mark.parametrize("node", ["elsewhere", None])
def test_a_message_about_no_node_of_the_model_stays_as_it_is(node: str | None) -> None:
    error = DiagnosticError("too large", node=node)
    before = str(error)
    name_operator(error, module_of(TensorProto.FLOAT))
    name_operator(error, ModuleOp([]))
    assert str(error) == before
