"""One function's host program: where each value of it lies, and the commands that make it."""

from collections.abc import Iterator, Sequence
from math import prod
from typing import TypeVar

from xdsl.dialects.builtin import ArrayAttr, DenseArrayBase, DictionaryAttr, FloatAttr, StringAttr, TensorType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, BlockArgument, Operation, SSAValue

from tstorch.diagnostics import PassError
from tstorch.dialects import buf, flow
from tstorch.dialects.prim.generator import ConstantOp
from tstorch.dialects.prim.shape import ConcatenateOp, ReshapeOp, SliceOp
from tstorch.dialects.prim.types import dtype_of, ints
from tstorch.dialects.prim.weight import DerivedOp, WeightOp
from tstorch.dialects.program import INIT
from tstorch.locations import node_ids
from tstorch.passes.buffers.persistent import Persistent, check_binding

Notes = dict[str, Attribute]
Value = TypeVar("Value", bound=SSAValue)


class HostProgram:
    """Builds the entry of one function."""

    def __init__(
        self,
        func: FuncOp,
        entry: str,
        persistent: Persistent,
        kernels: dict[str, Operation],
        ids: Iterator[int],
        needed: set[object],
    ) -> None:
        self._func = func
        self._entry = entry
        self._persistent = persistent
        self._kernels = kernels
        self._ids = ids
        self._needed = needed
        self._views: dict[SSAValue, SSAValue] = {}
        self._parts: dict[SSAValue, tuple[SSAValue, int]] = {}
        self._places: list[Operation] = []
        self._commands: list[Operation] = []
        self.buffers: list[buf.BufferOp] = []
        terminator = func.body.block.last_op
        assert isinstance(terminator, ReturnOp)
        self._returned = list(terminator.operands)

    def build(self) -> buf.EntryOp:
        """The entry. Its buffers, one for each value, stand in `buffers` afterwards."""
        for op in self._func.body.block.ops:
            if isinstance(op, ConcatenateOp):
                self._note_parts(op)
        for arg, notes in _with_notes(self._func.body.block.args, self._func.arg_attrs):
            self._take(arg, notes)
        for op in self._func.body.block.ops:
            if isinstance(op, flow.DispatchOp):
                self._dispatch(op)
        for value, notes in _with_notes(self._returned, self._func.res_attrs):
            self._give(value, notes)
        return buf.EntryOp(self._entry, Block([*self._places, *self._commands]))

    def _take(self, arg: BlockArgument, notes: Notes) -> None:
        """An argument: an input is uploaded, a state is there already."""
        if "tst.state" in notes:
            self._views[arg] = self._state(notes["tst.state"], notes, arg)
            return
        name = _text(notes.get("tst.name")) or f"arg{arg.index}"
        view = self._views[arg] = self._allocate(name, _tensor(arg), buf.Category.INPUT)
        properties: dict[str, Attribute] = {
            "label": StringAttr(name),
            **_host_type(_tensor(arg), notes),
            **{key: notes[f"tst.{key}"] for key in ("law", "range") if f"tst.{key}" in notes},
        }
        self._commands.append(buf.UploadOp.create(operands=[view], properties=properties))

    def _give(self, value: SSAValue, notes: Notes) -> None:
        """A result: an output is read back, a state or a derived weight stays where it is looked for."""
        name = _text(notes.get("tst.name")) or f"result{self._returned.index(value)}"
        if "tst.state" in notes:
            self._keep(value, self._state(notes["tst.state"], notes, value))
        elif self._entry == INIT:
            place = self._persistent.derived(name, _tensor(value))
            if not self._is_derived_in_place(value):
                self._keep(value, self._placed(buf.ViewOp(*place, name, _tensor(value))))
        else:
            properties = {"label": StringAttr(name), **_host_type(_tensor(value), notes)}
            self._commands.append(buf.ReadbackOp.create(operands=[self._view(value)], properties=properties))

    def _keep(self, value: SSAValue, target: SSAValue) -> None:
        """Makes `target` hold the value, by a copy where it does not lie there already."""
        source = self._view(value)
        if source is not target:
            self._commands.append(buf.CopyOp(source, target))

    def _dispatch(self, op: flow.DispatchOp) -> None:
        kernel = self._kernels[op.kernel_name]
        tied = op.tied_operands
        arguments = [self._view(value) for value in op.arguments]
        for position, (result, operand) in enumerate(zip(op.outputs, tied, strict=True)):
            if operand != flow.NOT_TIED:
                self._views[result] = arguments[operand]
            else:
                self._views[result] = self._fresh(result, op, position)
        inouts = {operand for operand in tied if operand != flow.NOT_TIED}
        reads = [
            (view, buf.Access.INOUT if position in inouts else buf.Access.READ)
            for position, view in enumerate(arguments)
        ]
        writes = [
            (self._views[result], buf.Access.WRITE)
            for result, operand in zip(op.outputs, tied, strict=True)
            if operand == flow.NOT_TIED
        ]
        command = buf.DispatchOp(
            op.kernel_name,
            [*reads, *writes],
            _grid(kernel),
            next(self._ids),
            label=op.label,
            nodes=op.nodes,
            flops=op.flops,
            unread=op.unread,
        )
        command.location = op.location
        self._commands.append(command)

    def _fresh(self, result: SSAValue, op: flow.DispatchOp, position: int) -> SSAValue:
        """Bytes for a dispatch's result."""
        if result in self._parts:
            whole, offset = self._parts[result]
            part = buf.SubviewOp(self._view(whole), offset, _tensor(result))
            part.location = op.location
            return self._placed(part)
        name = next(reversed(node_ids(op)), op.label.data)
        name = f"{name}#{position}" if position else name
        check_binding(_tensor(result), self._persistent.limits, f"result '{name}'", name)
        if self._is_derived_in_place(result):
            label = self._result_name(result)
            return self._placed(buf.ViewOp(*self._persistent.derived(label, _tensor(result)), label, _tensor(result)))
        category = buf.Category.OUTPUT if result in self._returned else buf.Category.ACTIVATION
        return self._allocate(name, _tensor(result), category)

    def _view(self, value: SSAValue) -> SSAValue:
        """The view that holds a value."""
        if value not in self._views:
            view = self._views[value] = self._make_view(value)
            if isinstance(value.owner, Operation) and isinstance(view.owner, Operation):
                view.owner.location = value.owner.location
        return self._views[value]

    def _make_view(self, value: SSAValue) -> SSAValue:
        owner, type = value.owner, _tensor(value)
        if isinstance(owner, WeightOp):
            return self._weight(owner, type, 0)
        if isinstance(owner, DerivedOp):
            name = owner.key.data
            return self._placed(buf.DerivedOp(*self._persistent.derived(name, type), name, type))
        if isinstance(owner, SliceOp):
            offset = _slice_offset(owner)
            source = owner.operands[0].owner
            if isinstance(source, WeightOp):
                return self._weight(source, type, offset)
            return self._placed(buf.SubviewOp(self._view(owner.operands[0]), offset, type))
        if isinstance(owner, ReshapeOp):
            return self._placed(buf.SubviewOp(self._view(owner.operands[0]), 0, type))
        if value in self._parts:
            whole, offset = self._parts[value]
            return self._placed(buf.SubviewOp(self._view(whole), offset, type))
        if isinstance(owner, ConstantOp) and len(owner.value) == 0:
            return self._allocate("empty", type, buf.Category.OUTPUT)
        if isinstance(owner, ConcatenateOp):
            return self._allocate(next(reversed(node_ids(owner)), "concatenate"), type, buf.Category.ACTIVATION)
        raise PassError(f"{getattr(owner, 'name', 'an argument')} has no place in a host body")

    def _weight(self, op: WeightOp, type: TensorType, source_offset: int) -> SSAValue:
        reference = weight_reference(op)
        key = (reference, source_offset, buf.storage_bytes(type))
        check_binding(type, self._persistent.limits, f"weight '{reference.key.data}'")
        place = self._persistent.weight(key, type, init_only=key not in self._needed)
        return self._placed(buf.WeightOp(*place, reference, type, _tensor(op.results[0]), source_offset))

    def _state(self, state: Attribute, notes: Notes, value: SSAValue) -> SSAValue:
        """The view of a state, the same for the argument that reads it and the result that updates it."""
        name = _text(state)
        for op in self._places:
            if isinstance(op, buf.StateOp) and op.label.data == name:
                return op.result
        start = notes.get("tst.start")
        if not isinstance(start, buf.WeightRefAttr | FloatAttr):
            raise PassError(f"state '{name}' does not say what it starts from (tst.start)")
        category = buf.Category(_text(notes.get("tst.category")) or buf.Category.STATE)
        place = self._persistent.state(name, _tensor(value), category)
        return self._placed(buf.StateOp(*place, name, start, _tensor(value)))

    def _note_parts(self, op: ConcatenateOp) -> None:
        """The operands of a concatenation are written where it lies."""
        offset = 0
        for operand in op.operands:
            value = operand
            while isinstance(value.owner, ReshapeOp):
                value = value.owner.operands[0]
            self._parts[value] = (op.results[0], offset)
            offset += buf.storage_bytes(_tensor(operand))

    def _allocate(self, label: str, type: TensorType, category: buf.Category) -> SSAValue:
        """A buffer of its own."""
        name = f"{self._entry}.{len(self.buffers)}"
        self.buffers.append(buf.BufferOp(name, max(buf.storage_bytes(type), buf.WORD), category))
        return self._placed(buf.ViewOp(name, 0, label, type))

    def _placed(self, op: Operation) -> SSAValue:
        self._places.append(op)
        return op.results[0]

    def _is_derived_in_place(self, value: SSAValue) -> bool:
        """Whether a dispatch of init writes a derived weight right where it stays."""
        if self._entry != INIT or self._returned.count(value) != 1 or value in self._parts:
            return False
        owner = value.owner
        if not isinstance(owner, flow.DispatchOp):
            return False
        position = [result is value for result in owner.outputs].index(True)
        return owner.tied_operands[position] == flow.NOT_TIED

    def _result_name(self, value: SSAValue) -> str:
        position = self._returned.index(value)
        _, notes = _with_notes(self._returned, self._func.res_attrs)[position]
        return _text(notes.get("tst.name")) or f"result{position}"


def weight_reference(op: WeightOp) -> buf.WeightRefAttr:
    """What names a weight's bytes."""
    return buf.WeightRefAttr(op.file, op.key, op.digest)


def weights_of(func: FuncOp) -> Iterator[object]:
    """The keys of the weights, and pieces of weights, that a function reads."""
    for op in func.body.block.ops:
        source = op.operands[0].owner if isinstance(op, SliceOp) else op
        if isinstance(source, WeightOp):
            offset = _slice_offset(op) if isinstance(op, SliceOp) else 0
            yield weight_reference(source), offset, buf.storage_bytes(_tensor(op.results[0]))


def storage_name(type: TensorType, dtype: str) -> str:
    """How the artifact calls a buffer's elements where the caller's are of NumPy type `dtype`."""
    element = buf.storage_dtype(type)
    short = {"int64": "i64", "uint64": "u64", "bool": "bool", "float64": "f64"}.get(dtype)
    return f"{element}<{short}" if short and short != element else element


def _host_type(type: TensorType, notes: Notes) -> Notes:
    dtype = _text(notes.get("tst.dtype")) or dtype_of(type).name
    return {"dtype": StringAttr(dtype), "storage": StringAttr(storage_name(type, dtype))}


def _grid(kernel: Operation) -> list[int]:
    grid = kernel.properties.get("grid")
    if not isinstance(grid, DenseArrayBase):
        raise PassError(f"kernel '{kernel.name}' has no grid; lower it to wgsl first")
    return [int(n) for n in grid.get_values()]


def _slice_offset(op: SliceOp) -> int:
    """Bytes from the start of the operand to a contiguous slice of it."""
    shape = _tensor(op.operands[0]).get_shape()
    position = 0
    for start, size in zip(ints(op.properties["start"]), shape, strict=True):
        position = position * size + start
    return position * buf.storage_bytes(_tensor(op.operands[0])) // prod(shape)


def _with_notes(values: Sequence[Value], notes: ArrayAttr[DictionaryAttr] | None) -> list[tuple[Value, Notes]]:
    """Each value with its attributes on the function; none has none."""
    given = [dict(entry.data) for entry in notes] if notes is not None else [{} for _ in values]
    return list(zip(values, given, strict=True))


def _text(attribute: Attribute | None) -> str:
    return attribute.data if isinstance(attribute, StringAttr) else ""


def _tensor(value: SSAValue) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type
