"""The control of program.json: the steps of the host between segments, where there is more than one run of one."""

from collections.abc import Mapping, Sequence
from typing import Any

from xdsl.dialects.builtin import DYNAMIC_INDEX, TensorType
from xdsl.ir import Attribute, Block, Operation, SSAValue

from tstorch.artifact.attributes import plain
from tstorch.dialects import buf, program
from tstorch.dialects.prim.stored import format_of
from tstorch.dialects.prim.types import dtype_of
from tstorch.locations import node_ids

Table = dict[str, Any]


def control_table(entry: program.EntryOp, segments: Mapping[str, buf.EntryOp]) -> Table:
    """What the caller gives and gets, and the steps; values are numbered."""
    block = entry.body.block
    control = _Control(segments)
    steps = control.steps(block)
    return {
        "inputs": [
            {"name": op.label.data, **_kind(op.result.type), "law": _law(op.law)}
            for op in block.ops
            if isinstance(op, program.InputOp)
        ],
        "outputs": [
            {"name": op.label.data, **_kind(op.value.type)} for op in block.ops if isinstance(op, program.OutputOp)
        ],
        "steps": steps,
    }


def _law(law: Attribute | None) -> Any:
    return {"kind": "normal"} if law is None else plain(law)


def _kind(type: Attribute) -> Table:
    """NumPy's name of the elements, and the sizes; null where only a run tells."""
    if not isinstance(type, TensorType):
        return {"dtype": None, "shape": None}
    sizes = [None if size == DYNAMIC_INDEX else size for size in type.get_shape()]
    format = format_of(type.element_type)
    return {"dtype": dtype_of(type).name if format is None else format.host, "shape": sizes}


class _Control:
    """Numbers values in the order in which they come to be."""

    def __init__(self, segments: Mapping[str, buf.EntryOp]) -> None:
        self._numbers: dict[SSAValue, int] = {}
        self._segments = segments

    def steps(self, block: Block) -> list[Table]:
        """The steps of a block, less what ends it."""
        return [
            {**self._step(op), "nodes": list(node_ids(op))} for op in block.ops if not isinstance(op, program.YieldOp)
        ]

    def _new(self, values: Sequence[SSAValue]) -> list[int]:
        for value in values:
            self._numbers[value] = len(self._numbers)
        return self._of(values)

    def _of(self, values: Sequence[SSAValue]) -> list[int]:
        return [self._numbers[value] for value in values]

    def _optional(self, value: SSAValue | None) -> int | None:
        return None if value is None else self._numbers[value]

    def _step(self, op: Operation) -> Table:
        match op:
            case program.InputOp():
                return {"op": "input", "name": op.label.data, "outputs": self._new(op.results)}
            case program.OutputOp():
                return {"op": "output", "name": op.label.data, "inputs": self._of(op.operands)}
            case program.ConstantOp():
                facts = _kind(op.value.type) | {"bytes": op.value.data.data.hex()}
                return {"op": "constant", **facts, "outputs": self._new(op.results)}
            case program.RunOp():
                return self._run(op)
            case program.SpecialiseOp():
                facts = {"segment": op.segment_name, "known": op.known_positions}
                return {"op": "specialise", **facts, "inputs": self._of(op.inputs), "outputs": self._new(op.results)}
            case program.TakeOp():
                facts = {"axis": op.position, "inputs": self._of(op.operands)}
                return {"op": "take", **facts, "outputs": self._new(op.results)}
            case program.IfOp():
                bodies = {"then": self._body(op.then.block), "else": self._body(op.otherwise.block)}
                return {"op": "if", "inputs": self._of(op.operands), **bodies, "outputs": self._new(op.results)}
            case program.WhileOp():
                return self._while(op)
        raise TypeError(f"{op.name} is no step")

    def _run(self, op: program.RunOp) -> Table:
        """The names under which the segment's host program knows its values stand beside them."""
        commands = self._segments[op.segment_name].commands
        return {
            "op": "run",
            "entry": op.segment_name,
            "inputs": self._of(op.inputs),
            "takes": [each.label.data for each in commands if isinstance(each, buf.UploadOp)],
            "gives": [each.label.data for each in commands if isinstance(each, buf.ReadbackOp)],
            "outputs": self._new(op.results),
        }

    def _while(self, op: program.WhileOp) -> Table:
        end = op.body.block.last_op
        assert isinstance(end, program.YieldOp)
        return {
            "op": "while",
            "trips": self._optional(op.trips),
            "going": self._optional(op.condition),
            "inputs": self._of(op.carried),
            "body": self._body(op.body.block),
            "elements": [_kind(value.type) for value in end.values[1 + len(op.carried) :]],
            "outputs": self._new(op.results),
        }

    def _body(self, block: Block) -> Table:
        arguments = self._new(block.args)
        steps = self.steps(block)
        end = block.last_op
        assert end is not None
        return {"arguments": arguments, "steps": steps, "yields": self._of(end.operands)}
