"""Cuts the graph where only a run can tell how it goes on."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Operation

from tstorch.dialects.onnx import NodeOp
from tstorch.dialects.program import RUN, EntryOp, InputOp, OutputOp
from tstorch.levels import Level
from tstorch.passes.base import TSTorchPass
from tstorch.passes.convert.convert_onnx_to_prim import GRAPH, check_supported
from tstorch.passes.program.cutter import Cutter

OPEN_RESULTS = frozenset({"NonZero", "Compress", "Unique", "NonMaxSuppression"})
"""Operators that have results whose size depends on their inputs' numbers."""


@dataclass(frozen=True)
class CutSegmentsPass(TSTorchPass):
    """Cuts the graph where only a run can tell how it goes on.

    Applies to @main where an If or Loop hangs on a computed value, or a result's size does (NonZero): each static piece
    becomes a function, and the entry "run" the steps of the host between them. A result of unknown size is computed
    into the largest that it can be, beside its count. What needs shapes that only a run tells stays as it is, in a
    segment that is compiled then. A graph with known control and sizes is left as it is. `always` looks for cuts also
    where no operator suggests one: a shape may be computed from data.

        // before
        func.func @main(%x: tensor<2xf32> {tst.name = "x"}, %c: tensor<i1> {tst.name = "c"})
            -> (tensor<2xf32> {tst.name = "y"}) {
          %y = onnx.If(%c) else_branch {
            %a = onnx.Neg(%x) {opset = 20 : i64} : (tensor<2xf32>) -> tensor<2xf32> loc("else/neg")
            onnx.yield %a : tensor<2xf32>
          } then_branch {
            %b = onnx.Exp(%x) {opset = 20 : i64} : (tensor<2xf32>) -> tensor<2xf32> loc("then/exp")
            onnx.yield %b : tensor<2xf32>
          } {opset = 20 : i64} : (tensor<i1>) -> tensor<2xf32> loc("if")
          func.return %y : tensor<2xf32>
        }
        // after
        program.entry "run" {
          %x = program.input "x" : tensor<2xf32>
          %c = program.input "c" : tensor<i1>
          %y = program.if %c : (tensor<i1>) -> tensor<2xf32> then {
            %b = program.run @main.0(%x) : (tensor<2xf32>) -> tensor<2xf32>
            program.yield %b : tensor<2xf32>
          } else {
            %a = program.run @main.1(%x) : (tensor<2xf32>) -> tensor<2xf32>
            program.yield %a : tensor<2xf32>
          } loc("if")
          program.output "y", %y : tensor<2xf32>
        }
        func.func @main.0(%x: tensor<2xf32> {tst.name = "main.0:0 x"})
            -> (tensor<2xf32> {tst.name = "main.0:=0 b"}) {
          %b = onnx.Exp(%x) {opset = 20 : i64} : (tensor<2xf32>) -> tensor<2xf32> loc("then/exp")
          func.return %b : tensor<2xf32>
        }
        func.func @main.1(%x: tensor<2xf32> {tst.name = "main.1:0 x"})
            -> (tensor<2xf32> {tst.name = "main.1:=0 a"}) {
          %a = onnx.Neg(%x) {opset = 20 : i64} : (tensor<2xf32>) -> tensor<2xf32> loc("else/neg")
          func.return %a : tensor<2xf32>
        }
    """

    name = "cut-segments"
    requires = ensures = Level.ONNX

    always: bool = False

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        graph = next((op for op in module.ops if isinstance(op, FuncOp) and op.sym_name.data == GRAPH), None)
        if graph is None or not (self.always or any(_may_stop(op) for op in graph.body.walk())):
            return
        check_supported([graph])
        with self.remarks(module) as remarks:
            cutter = Cutter(graph, remarks)
            entry = _entry(graph, cutter)
            if cutter.cuts:
                graph.detach()
                module.body.block.add_ops([entry, *cutter.made])


def _may_stop(op: Operation) -> bool:
    return isinstance(op, NodeOp) and (any(op.subgraphs) or op.OP_TYPE in OPEN_RESULTS)


def _entry(graph: FuncOp, cutter: Cutter) -> EntryOp:
    """The steps of the whole model: its inputs, what is done, its outputs."""
    entry = EntryOp(RUN, [])
    block = entry.body.block
    arguments = graph.body.block.args
    for argument, notes in zip(arguments, _notes(graph.arg_attrs, len(arguments)), strict=True):
        step = InputOp(_label(notes, f"arg{argument.index}"), argument.type, notes.get("tst.law"))
        step.result.name_hint = argument.name_hint
        block.add_op(step)
    given = [op.results[0] for op in block.ops]
    end = graph.body.block.last_op
    assert isinstance(end, ReturnOp)
    results = cutter.place(graph, given, block)
    for at, (value, notes) in enumerate(zip(results, _notes(graph.res_attrs, len(results)), strict=True)):
        block.add_op(OutputOp(_label(notes, f"result{at}"), value))
    return entry


def _notes(attributes: ArrayAttr[DictionaryAttr] | None, count: int) -> list[dict[str, Attribute]]:
    return [dict(entry.data) for entry in attributes] if attributes is not None else [{} for _ in range(count)]


def _label(notes: dict[str, Attribute], otherwise: str) -> str:
    name = notes.get("tst.name")
    return name.data if isinstance(name, StringAttr) else otherwise
