"""Makes primitives of ONNX nodes: shapes become static, broadcasts explicit, attributes plain.

The rules stand in tables, one file per family of operators, in `passes/convert/onnx`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from xdsl.context import Context
from xdsl.dialects.builtin import DYNAMIC_INDEX, ModuleOp, TensorType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.utils.exceptions import VerifyException

from tstorch.diagnostics import DiagnosticError, OnnxImportError
from tstorch.dialects.onnx import OPSET, InitializerOp, NodeOp, function_body, is_defined
from tstorch.dialects.onnx_graph import body_block
from tstorch.dialects.prim.generator import ConstantOp
from tstorch.dialects.prim.types import is_element_type, is_float
from tstorch.dialects.prim.weight import WeightOp
from tstorch.dialects.program import RUN, EntryOp, PaddedOp, run_before
from tstorch.levels import Level
from tstorch.locations import node_ids
from tstorch.passes.base import TSTorchPass
from tstorch.passes.convert.onnx.counted import Counted, settled
from tstorch.passes.convert.onnx.families import find_rule
from tstorch.passes.convert.onnx.node import Node, Rule, UnrollError
from tstorch.passes.convert.onnx.refusals import reason_of, types_of
from tstorch.passes.convert.onnx.value import Emitter, Value
from tstorch.passes.convert.onnx.widening import narrowed, widened
from tstorch.passes.simplify.known_values import KnownValues
from tstorch.remarks import RemarkSink

GRAPH = "main"
"""The function that the importer makes of the model's graph."""
RESOLVED = "resolved: the nodes of its subgraph stand in its place"
NEVER_RUN = "dead: its subgraph never runs"
BRANCHING = frozenset({"If"})
"""Operators that run only some of their subgraphs."""
MOST_COPIES = 20_000
"""So many nodes may be made of subgraphs: more would take minutes to compile."""
LISTED = 5
"""So many nodes of one unsupported operator are named."""


@dataclass(frozen=True)
class ConvertOnnxToPrimPass(TSTorchPass):
    """Makes primitives of ONNX nodes.

    Applies to every node of every function; an operator without a rule of its own is replaced by the definition that
    ONNX gives for it. Subgraphs whose control is known (If, Loop, Scan) are converted in the place of their node, once
    for each time they run. What only shapes depend on (Shape, Gather, Concat, Reshape chains) is computed here, with
    the primitives' own references. `trainable` marks floating-point weights, so that no pass folds them away: all but
    the means and variances that batch normalization has learnt by counting. The model's graph, @main, is what the
    entry "run" runs.

    Raises OnnxImportError that lists all unsupported operators at once, and DiagnosticError led by the node for a
    node that breaks its operator's rules, or whose stated type is not what it computes.

        // before
        %zero = onnx.initializer "low" dense<0.0> : tensor<f32>
        %y = onnx.Clip(%x, %zero) : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
        // after
        %zero = prim.constant dense<0.0> : tensor<f32>
        %full = prim.broadcast_in_dim %zero, shape = [2, 3], dimensions = [] : tensor<f32> -> tensor<2x3xf32>
        %y = prim.maximum %x, %full : tensor<2x3xf32>
    """

    name = "convert-onnx-to-prim"
    requires = Level.ONNX
    ensures = Level.PRIM

    trainable: bool = False

    def apply(self, ctx: Context, module: ModuleOp) -> None:
        functions = [op for op in module.ops if isinstance(op, FuncOp)]
        check_supported(functions)
        with self.remarks(module) as remarks:
            for function in functions:
                FunctionConverter(function, remarks, self.trainable).convert()
        _run_graph(module, functions)
        module.attributes.pop(OPSET, None)


def _run_graph(module: ModuleOp, functions: Sequence[FuncOp]) -> None:
    """Puts the entry of a static model ahead of its graph."""
    graph = next((function for function in functions if function.sym_name.data == GRAPH), None)
    if graph is not None and not any(isinstance(op, EntryOp) for op in module.ops):
        run_before(graph, RUN)


def check_supported(functions: Sequence[FuncOp]) -> None:
    """Raises OnnxImportError that names every operator without a rule or a definition, with its nodes and why."""
    missing: dict[tuple[str, str, int | None], list[NodeOp]] = {}
    for function in functions:
        for op in function.body.walk():
            if isinstance(op, NodeOp) and find_own_rule(op) is None and not is_defined(op.schema) and _is_certain(op):
                missing.setdefault((op.DOMAIN, op.OP_TYPE, op.opset), []).append(op)
    if not missing:
        return
    lines = [f"{len(missing)} operator{'s' * (len(missing) > 1)} of the model cannot be compiled:"]
    lines += [_listed(nodes) for nodes in sorted(missing.values(), key=lambda nodes: -len(nodes))]
    lines.append("export the model without them, or cut it before these nodes")
    raise OnnxImportError("\n".join(lines))


def _listed(nodes: Sequence[NodeOp]) -> str:
    """The nodes of one operator: `RandomNormalLike (opset 20) of tensor<4xf32>: 2 nodes: 'a', 'b'; ...`."""
    names, first = [name for op in nodes for name in node_ids(op)], nodes[0]
    listed = ", ".join(f"'{name}'" for name in names[:LISTED]) + ", ..." * (len(names) > LISTED)
    label = ".".join(filter(None, (first.DOMAIN, first.OP_TYPE)))
    taken, reason = types_of(first), reason_of(first)
    head = f"  {label} (opset {first.opset}){f' of {taken}' * bool(taken)}"
    return f"{head}: {len(names)} node{'s' * (len(names) > 1)}: {listed}{f'; {reason}' * bool(reason)}"


def _is_certain(op: Operation) -> bool:
    """Whether the op stands in no branch: one that is not taken may hold what it likes."""
    parent = op.parent_op()
    return parent is None or (not (isinstance(parent, NodeOp) and parent.OP_TYPE in BRANCHING) and _is_certain(parent))


def find_own_rule(op: NodeOp) -> Rule | None:
    """The rule of the node's operator; None where ONNX's definition of it, or nothing, must serve."""
    schema = op.schema
    return find_rule(op.DOMAIN, op.OP_TYPE, schema.since_version if schema is not None else 1)


class FunctionConverter:
    """One function: its new body is built beside the old one and then takes its place."""

    def __init__(self, function: FuncOp, remarks: RemarkSink, trainable: bool):
        self._function = function
        self._remarks = remarks
        self._trainable = trainable
        self._known = KnownValues()
        self._new: dict[SSAValue, SSAValue] = {}
        self._counted: dict[SSAValue, Counted] = {}
        self._run: set[Region] = set()
        self._copies = 0

    def convert(self) -> None:
        """Replaces the function's body."""
        old = self._function.body.block
        self.begin()
        for op in old.ops:
            self._convert(op)
        self._drop_unused()
        self._function.body.detach_block(old)
        self._function.body.add_block(self._block)
        self._function.update_function_type()
        for op in old.ops:
            op.drop_all_references()

    def begin(self) -> None:
        """Starts a new body with the function's arguments. Raises DiagnosticError for one without a known shape."""
        old = self._function.body.block
        self._block = Block(arg_types=[_argument_type(value) for value in old.args])
        for before, after in zip(old.args, self._block.args, strict=True):
            self._new[before] = after
            after.name_hint = before.name_hint

    def _convert(self, op: Operation) -> None:
        match op:
            case InitializerOp():
                if op.result not in self._new:  # a subgraph that is run several times
                    self._append(self._data(op), op)
            case ReturnOp():
                self._block.add_op(ReturnOp(*(self._new[value] for value in op.operands)))
            case NodeOp():
                self._node(op)
            case PaddedOp():
                self._padded(op)
            case _:
                self._append(op.clone(self._new), op)

    def _append(self, new: Operation, op: Operation) -> None:
        new.location = op.location
        self._block.add_op(new)
        for old, result in zip(op.results, new.results, strict=True):
            self._new[old] = result
            result.name_hint = old.name_hint

    def _data(self, op: InitializerOp) -> Operation:
        if op.value is not None:
            return ConstantOp(op.value)
        type = cast(TensorType, op.result.type)
        if op.weight is None or not is_element_type(type.element_type):
            raise DiagnosticError(f"tensor '{op.initializer_name}' has element type {type.element_type}")
        trainable = self._trainable and is_float(type.element_type) and not _is_statistic(op)
        return WeightOp(**op.weight.names, type=type, trainable=trainable)

    def _node(self, op: NodeOp) -> None:
        inputs = [None if value is None else self._new[value] for value in op.inputs]
        emit = Emitter(self._block, op.location)
        try:
            results = self._results(op, inputs, emit)
            _check_stated(op, results)
        except VerifyException as error:
            raise DiagnosticError(f"{_named(op)}: {error}") from error
        for old, new in zip(op.results, results, strict=False):
            if new is not None:
                self._new[old] = new
                new.name_hint = old.name_hint if new.name_hint is None else new.name_hint
        if any(op.subgraphs):
            self._elide_control(op)
        elif not emit.emitted:
            self._remarks.elide(node_ids(op), "identity: its result is its input")

    def _inline(self, region: Region, arguments: Sequence[SSAValue]) -> list[SSAValue]:
        """Converts a subgraph's nodes here; its outputs. Raises VerifyException where that would never end."""
        self._run.add(region)
        *ops, end = region.block.ops
        self._copies += len(ops)
        if self._copies > MOST_COPIES:
            raise UnrollError(MOST_COPIES)
        self._new.update(zip(region.block.args, arguments, strict=True))
        for op in ops:
            self._convert(op)
        return [self._new[value] for value in end.operands]

    def _elide_control(self, op: NodeOp) -> None:
        """Accounts for a node whose control is resolved, and for the nodes of subgraphs that never run."""
        self._remarks.elide(node_ids(op), RESOLVED)
        for _, region in op.subgraphs:
            if region not in self._run:
                names = [name for inner in region.walk() for name in node_ids(inner)]
                self._remarks.elide(names, NEVER_RUN)

    def _results(self, op: NodeOp, inputs: Sequence[SSAValue | None], emit: Emitter) -> list[SSAValue | None]:
        if (rule := find_own_rule(op)) is None:
            return self._defined(op, inputs)
        found = rule.convert(Node(op, widened(op, inputs, emit), emit, self._known, self._inline))
        values = narrowed(op, inputs, [found] if isinstance(found, Value | Counted) else found)
        results = [None if value is None else value.ssa for value in self._settled(op, values)]
        for old in op.results[len(results) :]:
            if old.uses:
                raise VerifyException(f"output {old.index} has no form here; use the first {len(results)}")
        return results

    def _settled(self, op: NodeOp, values: Sequence[Value | Counted | None]) -> list[Value | None]:
        """The values, less those whose size only a run can tell and of which nothing but room and count are asked."""
        for old, value in zip(op.results, values, strict=False):
            if isinstance(value, Counted) and all(isinstance(use.operation, PaddedOp) for use in old.uses):
                self._counted[old] = value
        kept = [None if old in self._counted else value for old, value in zip(op.results, values, strict=False)]
        return settled(kept, self._known)

    def _padded(self, op: PaddedOp) -> None:
        """What a counted result has room for, and its count."""
        found = self._counted[op.operand]
        self._new.update({op.padded: found.padded.ssa, op.count: found.count.ssa})

    def _defined(self, op: NodeOp, inputs: Sequence[SSAValue | None]) -> list[SSAValue | None]:
        """Converts the operator's own definition in its place."""
        types = [None if value is None else value.type for value in inputs]
        if (function := function_body(op, types)) is None:
            taken = types_of(op)
            raise VerifyException(reason_of(op) or f"ONNX gives no definition for {taken or 'these types'}")
        body, outputs = body_block(function, op, types)
        self._new.update((old, new) for old, new in zip(body.args, inputs, strict=True) if new is not None)
        for inner in body.ops:
            self._convert(inner)
        results: list[SSAValue | None] = [self._new[value] for value in outputs]
        for inner in body.ops:
            inner.drop_all_references()
        return results

    def _drop_unused(self) -> None:
        """Erases what nothing uses: above all what only shapes were computed with."""
        folded, dead = set[str](), set[str]()
        for op in reversed(list(self._block.ops)):
            if op.results and not any(result.uses for result in op.results):
                (folded if op in self._known.consulted else dead).update(node_ids(op))
                op.detach()
                op.drop_all_references()
        self._remarks.elide(sorted(folded), "folded: what it computes is known at compile time")
        self._remarks.elide(sorted(dead - folded), "dead: nothing uses its result")


def _argument_type(argument: SSAValue) -> TensorType:
    """The type of a graph input. Raises DiagnosticError, led by a node that takes it, for what is no known tensor."""
    type = argument.type
    if isinstance(type, TensorType) and DYNAMIC_INDEX not in type.get_shape() and is_element_type(type.element_type):
        return type
    user = next((use.operation for use in argument.uses if isinstance(use.operation, NodeOp)), None)
    lead = "" if user is None else f"{_named(user)}: "
    raise DiagnosticError(f"{lead}a graph input has type {type}; expected a tensor of numbers with a known shape")


def _is_statistic(op: InitializerOp) -> bool:
    """Whether the tensor is nothing but means or variances of batch normalization, which no gradient trains."""
    users = [(use.operation, use.index) for use in op.result.uses]
    return bool(users) and all(
        isinstance(user, NodeOp) and user.OP_TYPE == "BatchNormalization" and index in (3, 4) for user, index in users
    )


def _named(op: NodeOp) -> str:
    name = next(iter(node_ids(op)), op.OP_TYPE)
    return f"onnx '{name}' ({op.OP_TYPE}, opset {op.opset})"


def _check_stated(op: NodeOp, results: Sequence[SSAValue | None]) -> None:
    """Raises VerifyException where the file states another type than the node computes."""
    for old, new in zip(op.results, results, strict=False):
        if new is not None and not _agrees(old.type, cast(TensorType, new.type)):
            raise VerifyException(f"output {old.index} is {new.type}, the file states {old.type}; one of them is wrong")


def _agrees(stated: Attribute, computed: TensorType) -> bool:
    if not isinstance(stated, TensorType):
        return True
    sizes = stated.get_shape(), computed.get_shape()
    same_rank = len(sizes[0]) == len(sizes[1])
    return (
        stated.element_type == computed.element_type
        and same_rank
        and all(said in (DYNAMIC_INDEX, size) for said, size in zip(*sizes, strict=True))
    )
