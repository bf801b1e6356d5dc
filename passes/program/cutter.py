"""Places a graph as steps of the host: pieces that are compiled now, decisions, and pieces that must wait for a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xdsl.dialects.builtin import DictionaryAttr, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation, SSAValue

from tstorch.dialects.onnx import OPSET, InitializerOp, NodeOp
from tstorch.dialects.prim.values import ValuesAttr
from tstorch.dialects.program import ConstantOp, PaddedOp, RunOp, SegmentOp, SpecialiseOp, TakeOp, is_open
from tstorch.locations import node_ids
from tstorch.passes.convert.convert_onnx_to_prim import NEVER_RUN, RESOLVED
from tstorch.passes.convert.onnx.node import DataDependentError
from tstorch.passes.program.control import CONTROL
from tstorch.passes.program.open_types import open_along
from tstorch.passes.program.outline import expand_branch, expand_definition, outline
from tstorch.passes.program.scout import Scout, free_values
from tstorch.remarks import RemarkSink


class Cutter:
    """Cuts one model's graph. `made` are the functions and segments that come of it, `cuts` how often it was cut."""

    def __init__(self, graph: FuncOp, remarks: RemarkSink) -> None:
        self.made: list[Operation] = []
        self.cuts = 0
        self.remarks = remarks
        self._opsets = _opsets(graph)
        self._number = 0

    def place(self, graph: FuncOp, given: Sequence[SSAValue], block: Block) -> list[SSAValue]:
        """Appends to `block` the steps that compute a graph for `given`; what it returns, as values of the program."""
        for argument, value in zip(graph.body.block.args, given, strict=True):
            argument._type = value.type  # pyright: ignore[reportAttributeAccessIssue]
        graph.update_function_type()
        if any(is_open(value.type) for value in given):
            return self.defer(graph, given, block)
        if graph.parent is None and self._opsets is not None:
            graph.attributes[OPSET] = self._opsets  # a body stands in no module, and its attributes have defaults
        scout = Scout(graph)
        while self._expanded(scout):
            scout = Scout(graph)
        return Placing(self, scout, graph, given, block).results()

    def _expanded(self, scout: Scout) -> bool:
        """Whether a node that stops within itself gave way to the nodes that it stands for."""
        if defined := scout.stopped_in_definition():
            expand_definition(defined, [scout.type_of(value) if value else None for value in defined.inputs])
        elif branch := scout.stopped_in_branch():
            op, taken = branch
            self.remarks.elide(node_ids(op), RESOLVED)
            for dead in (region for _, region in op.subgraphs if region is not taken):
                self.remarks.elide([name for inner in dead.walk() for name in node_ids(inner)], NEVER_RUN)
            expand_branch(op, taken)
        else:
            return False
        return True

    def defer(
        self, graph: FuncOp, given: Sequence[SSAValue], block: Block, known: Sequence[int] = ()
    ) -> list[SSAValue]:
        """Appends a step that has the graph compiled once a run has told its shapes."""
        self.cuts += 1
        end = graph.body.block.last_op
        assert isinstance(end, ReturnOp)
        values: dict[SSAValue, SSAValue] = dict(zip(graph.body.block.args, given, strict=True))
        returned = list(end.operands)
        computed = [value for value in dict.fromkeys(returned) if value not in values]
        end.operands = computed
        arguments = list(graph.body.block.args)
        looked_at = [argument for at, argument in enumerate(arguments) if at in known]
        taken = [argument for argument in arguments if argument.uses]
        for argument in [argument for argument in arguments if not argument.uses]:
            graph.body.block.erase_arg(argument)
        if computed:
            step = self._specialise(graph, [values[each] for each in taken], [taken.index(each) for each in looked_at])
            block.add_op(step)
            for value, result in zip(computed, step.results, strict=True):
                result.name_hint = value.name_hint
            values |= dict(zip(computed, step.results, strict=True))
        return [values[value] for value in returned]

    def _specialise(self, graph: FuncOp, given: Sequence[SSAValue], known: Sequence[int]) -> SpecialiseOp:
        name = self.name()
        graph.properties["sym_name"] = StringAttr("main")
        graph.arg_attrs = graph.res_attrs = None
        graph.update_function_type()
        self.made.append(SegmentOp(name, graph, {OPSET: self._opsets} if self._opsets else {}))
        return SpecialiseOp(name, given, list(graph.function_type.outputs.data), known)

    def name(self) -> str:
        """The name of the next segment."""
        self._number += 1
        return f"main.{self._number - 1}"


class Placing:
    """Places one graph of static inputs in a block of the program."""

    def __init__(self, cutter: Cutter, scout: Scout, graph: FuncOp, given: Sequence[SSAValue], block: Block) -> None:
        self.cutter = cutter
        self.block = block
        self.scout = scout
        self._values: dict[SSAValue, SSAValue] = dict(zip(graph.body.block.args, given, strict=True))
        *self._ops, end = graph.body.block.ops
        assert isinstance(end, ReturnOp)
        self._returned = list(end.operands)

    def results(self) -> list[SSAValue]:
        """Places everything: what is static first, then the decisions, then what had to wait for them."""
        stops, behind = self.scout.stops, self.scout.behind
        decisions = [op for op in stops if any(op.subgraphs)]
        counted = [op for op in stops if op not in decisions and not isinstance(stops[op], DataDependentError)]
        waiting = [
            op for op in self._ops if op in behind or (op in stops and op not in decisions and op not in counted)
        ]
        done = [op for op in self._ops if op not in stops and op not in behind]
        self.cutter.cuts += bool(stops)
        inlined = [*free_values(waiting), *(value for op in decisions for value in captured(op))]
        self._run(done, counted, inlined, [*self._returned, *(value for op in decisions for value in op.operands)])
        for op in decisions:
            self._decide(op)
        if waiting:
            self._rest(waiting, [value for value in dict.fromkeys(self._returned) if not self._has(value)])
        return [self.value(value) for value in self._returned]

    def value(self, value: SSAValue) -> SSAValue:
        """The program's value for one of the graph."""
        if value not in self._values and (argument := self.scout.argument(value)) is not None:
            self._values[value] = self._values[argument]
        if value not in self._values:
            numbers = self.scout.known(value)
            assert numbers is not None
            step = ConstantOp(ValuesAttr.of(numbers))
            self.block.add_op(step)
            step.result.name_hint = value.name_hint
            self._values[value] = step.result
        return self._values[value]

    def bind(self, values: Sequence[SSAValue], results: Sequence[SSAValue]) -> None:
        """Says what of the program the graph's values are."""
        for value, result in zip(values, results, strict=True):
            self._values[value] = result
            result.name_hint = value.name_hint

    def outlined(
        self, ops: Sequence[Operation], results: Sequence[SSAValue], arguments: Iterable[SSAValue] = ()
    ) -> tuple[FuncOp, list[SSAValue]]:
        """A graph of some ops, and the values outside that it takes. What is known stands in it."""
        own = list(arguments)
        known = self.scout.constants([value for value in free_values(ops) if value not in own])
        return outline("main", ops, results, arguments=own, constants=known)

    def _has(self, value: SSAValue) -> bool:
        found = value in self._values or self.scout.argument(value) is not None
        return found or self.scout.known(value) is not None

    def _run(
        self,
        done: Sequence[Operation],
        counted: Sequence[NodeOp],
        inlined: Sequence[SSAValue],
        asked: Sequence[SSAValue],
    ) -> None:
        """A run of what is static. Numbers that are known need none where ops are compiled that take them."""
        wanted = [value for value in inlined if not isinstance(value.owner, InitializerOp)]
        wanted = [value for value in dict.fromkeys([*wanted, *asked]) if not self._has(value)]
        sized = [value for value in wanted if self.scout.counted(value)]
        plain = [value for value in wanted if self.scout.has(value)]
        needed = _needed([*done, *counted], [*plain, *sized])
        self._elide([op for op in done if op not in needed])
        if not plain and not sized:
            return
        ops, returned, types = (
            [op for op in self._ops if op in needed],
            list(plain),
            [self.scout.type_of(v) for v in plain],
        )
        for value in sized:
            padded = self._padded(value)
            ops.append(padded)
            returned += padded.results
            types += padded.result_types
        graph, taken = outline(self.cutter.name(), ops, returned)
        self.cutter.made.append(graph)
        step = RunOp(graph.sym_name.data, [self.value(value) for value in taken], types)
        self.block.add_op(step)
        self.bind(plain, step.results[: len(plain)])
        for at, value in enumerate(sized):
            self._take(value, *step.results[len(plain) + 2 * at :][:2])

    def _padded(self, value: SSAValue) -> PaddedOp:
        found = self.scout.counted(value)
        assert found is not None
        op = PaddedOp(value, found.axis, found.padded.type)
        op.location = value.owner.location  # pyright: ignore[reportAttributeAccessIssue]
        op.padded.name_hint, op.count.name_hint = value.name_hint, f"{value.name_hint or 'result'}_count"
        return op

    def _take(self, value: SSAValue, padded: SSAValue, count: SSAValue) -> None:
        found = self.scout.counted(value)
        assert found is not None
        step = TakeOp(padded, count, found.axis, open_along(found.padded.type, found.axis))
        step.location = value.owner.location  # pyright: ignore[reportAttributeAccessIssue]
        self.block.add_op(step)
        self.bind([value], [step.result])

    def _decide(self, op: NodeOp) -> None:
        """Control that hangs on a computed value. Raises DiagnosticError for an operator that has no form as a step."""
        if (place := CONTROL.get(op.OP_TYPE)) is None:
            raise self.scout.errors[op]
        self.bind(op.results, place(self, op))

    def _rest(self, waiting: Sequence[Operation], results: Sequence[SSAValue]) -> None:
        """What is behind a decision, or needs numbers that a run computes."""
        stops = [(op, self.scout.stops.get(op)) for op in waiting if isinstance(op, NodeOp)]
        deciding = [op.inputs[stop.position] for op, stop in stops if isinstance(stop, DataDependentError)]
        graph, taken = self.outlined(waiting, results)
        given = [self.value(value) for value in taken]
        known = [at for at, value in enumerate(taken) if value in deciding]
        if known:
            for argument, value in zip(graph.body.block.args, given, strict=True):
                argument._type = value.type  # pyright: ignore[reportAttributeAccessIssue]
            graph.update_function_type()
            self.bind(results, self.cutter.defer(graph, given, self.block, known))
        else:
            self.bind(results, self.cutter.place(graph, given, self.block))

    def _elide(self, ops: Sequence[Operation]) -> None:
        for op in ops:
            if not any(result.uses for result in op.results):
                reason = "dead: nothing uses its result"
            elif any(self.scout.argument(result) is not None for result in op.results):
                reason = "identity: its result is its input"
            else:
                reason = "folded: what it computes is known at compile time"
            self.cutter.remarks.elide([name for inner in op.walk() for name in node_ids(inner)], reason)


def captured(op: NodeOp) -> list[SSAValue]:
    """What a node's subgraphs use of the graphs around them."""
    inner = free_values([inside for _, region in op.subgraphs for inside in region.block.ops])
    arguments = {argument for _, region in op.subgraphs for argument in region.block.args}
    return [value for value in inner if value not in arguments]


def _needed(ops: Sequence[Operation], values: Sequence[SSAValue]) -> set[Operation]:
    """Those of the ops that compute values, with all that they need."""
    inside, found = set(ops), set[Operation]()
    pending = [value.owner for value in values]
    while pending:
        op = pending.pop()
        if isinstance(op, Operation) and op in inside and op not in found:
            found.add(op)
            pending += [value.owner for value in free_values([op])]
    return found


def _opsets(graph: FuncOp) -> DictionaryAttr | None:
    parent = graph.parent_op()
    found = parent.attributes.get(OPSET) if parent is not None else None
    return found if isinstance(found, DictionaryAttr) else None
