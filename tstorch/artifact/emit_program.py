"""program.json: buffers, weights, inputs, outputs, state, and the commands of each entry."""

from collections.abc import Mapping, Sequence
from typing import Any

from xdsl.dialects.builtin import FloatAttr, ModuleOp
from xdsl.ir import Operation, SSAValue

from tstorch.artifact.attributes import plain
from tstorch.dialects import buf
from tstorch.dialects.buf.memory import Memory
from tstorch.dialects.prim.types import dtype_of
from tstorch.dialects.trace import SpanOp

Table = dict[str, Any]
PAIRS = ("u32<i64", "u32<u64")
"""64-bit integers as pairs of words, along one more dimension."""


def program_table(module: ModuleOp, entries: Sequence[buf.EntryOp]) -> Table:
    """The content of program.json."""
    buffers = [op for op in module.body.block.ops if isinstance(op, buf.BufferOp)]
    program = _Program({op.sym_name.data: number for number, op in enumerate(buffers)})
    commands = {entry.sym_name.data: program.entry(entry) for entry in entries}
    return {
        "schema": "tstorch-program/1",
        "buffers": [_buffer(op, number) for number, op in enumerate(buffers)],
        "weights": list(program.weights.values()),
        "inputs": list(program.inputs.values()),
        "outputs": list(program.outputs.values()),
        "state": list(program.state.values()),
        "entries": commands,
    }


def _buffer(op: buf.BufferOp, number: int) -> Table:
    buffer = {"id": number, "name": op.sym_name.data, "bytes": op.bytes, "category": op.category.data}
    return buffer | ({"lifetime": op.lifetime.data} if op.lifetime else {})


class _Program:
    """Collects what entries declare; what two entries share appears once."""

    def __init__(self, buffer_ids: Mapping[str, int]) -> None:
        self._buffer_ids = buffer_ids
        self.weights: dict[buf.WeightRefAttr, Table] = {}
        self.inputs: dict[str, Table] = {}
        self.outputs: dict[str, Table] = {}
        self.state: dict[str, Table] = {}

    def entry(self, entry: buf.EntryOp) -> list[Table]:
        """The commands of one entry."""
        memory = Memory(entry)
        for op in memory.allocations:
            if isinstance(op, buf.WeightOp):
                self._weight(op)
            elif isinstance(op, buf.StateOp):
                self._state(op)
        return [self._command(op, memory) for op in entry.commands]

    def _place(self, view: SSAValue, memory: Memory) -> Table:
        part = memory[view]
        owner = part.allocation.op
        return {"buffer": self._buffer_ids[owner.buffer_name], "offset": owner.byte_offset + part.begin}

    def _command(self, op: Operation, memory: Memory) -> Table:
        match op:
            case buf.UploadOp():
                self.inputs[op.label.data] = _host_value(op) | self._bytes(op.view, memory) | _law(op)
                return {"op": "upload", "input": op.label.data}
            case buf.ReadbackOp():
                self.outputs[op.label.data] = _host_value(op) | self._bytes(op.view, memory)
                return {"op": "readback", "output": op.label.data}
            case buf.CopyOp():
                places = {"source": self._place(op.source, memory), "target": self._place(op.target, memory)}
                return {"op": "copy", **places, "bytes": buf.view_bytes(op.source)}
            case buf.DispatchOp():
                return self._dispatch(op, memory)
            case SpanOp():
                return {"op": "span", "id": op.id.value.data, "kind": op.kind.data, "edge": op.edge.data}
        raise TypeError(f"{op.name} is no command of a host program")

    def _dispatch(self, op: buf.DispatchOp, memory: Memory) -> Table:
        bindings = [
            {**self._bytes(view, memory), "access": "read_write" if access.writes else "read"}
            for view, access in op.touched
        ]
        grid = [int(n) for n in op.grid.get_values()]
        return {
            "op": "dispatch",
            "id": op.id.value.data,
            "kernel": op.kernel_name,
            "grid": grid,
            "bindings": bindings,
        }

    def _bytes(self, view: SSAValue, memory: Memory) -> Table:
        return {**self._place(view, memory), "bytes": buf.view_bytes(view)}

    def _weight(self, op: buf.WeightOp) -> None:
        """A weight, and one piece of it for each place that holds a part."""
        size = buf.storage_bytes(op.whole)
        weight = self.weights.setdefault(
            op.source,
            {
                "name": op.source.key.data,
                "dtype": buf.storage_dtype(op.whole),
                "shape": list(op.whole.get_shape()),
                "bytes": size,
                "digest": op.source.digest.data,
                "file": op.source.file.data,
                "key": op.source.key.data,
                "pieces": [],
            },
        )
        piece = {
            "buffer": self._buffer_ids[op.buffer_name],
            "offset": op.byte_offset,
            "source_offset": op.source_offset.value.data,
            "bytes": buf.view_bytes(op.result),
        }
        if piece not in weight["pieces"]:
            weight["pieces"].append(piece)

    def _state(self, op: buf.StateOp) -> None:
        type = op.result.type
        assert isinstance(type, buf.ViewType)
        start: Table = {"fill": op.start.value.data} if isinstance(op.start, FloatAttr) else {"weight": ""}
        if isinstance(op.start, buf.WeightRefAttr):
            start = {"weight": op.start.key.data}
            self.weights.setdefault(op.start, _unplaced(op.start, type))
        self.state[op.label.data] = {
            "name": op.label.data,
            "dtype": dtype_of(type.tensor).name,
            "shape": list(type.tensor.get_shape()),
            "storage": buf.storage_dtype(type.tensor),
            "buffer": self._buffer_ids[op.buffer_name],
            "offset": op.byte_offset,
            "bytes": type.bytes,
            "start": start,
        }


def _unplaced(reference: buf.WeightRefAttr, type: buf.ViewType) -> Table:
    """A weight that only a state starts from: its bytes go to the state's place."""
    return {
        "name": reference.key.data,
        "dtype": buf.storage_dtype(type.tensor),
        "shape": list(type.tensor.get_shape()),
        "bytes": type.bytes,
        "digest": reference.digest.data,
        "file": reference.file.data,
        "key": reference.key.data,
        "pieces": [],
    }


def _host_value(op: buf.UploadOp | buf.ReadbackOp) -> Table:
    """What the caller passes or gets."""
    type = op.view.type
    assert isinstance(type, buf.ViewType)
    shape = list(type.tensor.get_shape())
    return {
        "name": op.label.data,
        "dtype": op.dtype.data,
        "shape": shape[:-1] if op.storage.data in PAIRS else shape,
        "storage": op.storage.data,
    }


def _law(op: buf.UploadOp) -> Table:
    notes = {"law": op.law, "range": op.range}
    return {key: plain(value) for key, value in notes.items() if value is not None}
