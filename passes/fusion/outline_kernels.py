"""Turns the groups of a partition into kernels and dispatches; equal bodies become one kernel."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence

from xdsl.dialects.builtin import LocationAttr, ModuleOp, TensorType, i1
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from tstorch.dialects.flow import DispatchOp, KernelOp, YieldOp, local_location
from tstorch.dialects.prim.base import GeneratorOp, IndexMapOp, PrimOp
from tstorch.dialects.prim.elementwise import ConvertOp
from tstorch.dialects.prim.types import tensor, ui32
from tstorch.locations import fused_location
from tstorch.passes.fusion.footprint import unread_bytes
from tstorch.passes.fusion.kernel_form import anchor_kind
from tstorch.passes.fusion.partition import Group, Partition, is_view


class KernelTable:
    """The kernels of a module: each body once, named after its anchor."""

    def __init__(self, module: ModuleOp) -> None:
        self._module = module
        self._names: dict[Hashable, str] = {}
        self._count: Counter[str] = Counter()
        self._last: Operation | None = None
        for op in module.body.block.ops:
            if isinstance(op, KernelOp):
                self._names[structure(op.block)] = op.sym_name.data

    def name_of(self, body: Block, results: Sequence[Attribute]) -> str:
        """The name of the kernel with that body; a new kernel stands in the module's head, in order of first use."""
        key = structure(body)
        if key not in self._names:
            stem = _short(main_op(list(body.ops)))
            self._names[key] = f"{stem}_{self._count[stem]}"
            self._count[stem] += 1
            kernel = KernelOp(self._names[key], Region(body), results)
            self._insert(kernel)
        return self._names[key]

    def _insert(self, kernel: KernelOp) -> None:
        block = self._module.body.block
        if self._last is not None:
            block.insert_op_after(kernel, self._last)
        elif block.first_op is not None:
            block.insert_op_before(kernel, block.first_op)
        else:
            block.add_op(kernel)
        self._last = kernel


def structure(block: Block) -> Hashable:
    """What two kernels must share to be one: types, ops, properties and data flow; not names, not locations."""
    number: dict[SSAValue, int] = {arg: position for position, arg in enumerate(block.args)}
    rows: list[Hashable] = [tuple(block.arg_types)]
    for op in block.ops:
        properties = tuple(sorted(op.properties.items(), key=lambda item: item[0]))
        inner = tuple(structure(region.block) for region in op.regions)
        rows.append((type(op), properties, tuple(number[v] for v in op.operands), tuple(op.result_types), inner))
        for result in op.results:
            number[result] = len(number)
    return tuple(rows)


def main_op(ops: Sequence[Operation]) -> Operation:
    """The op that a kernel is named after: its anchor, else its last one that computes."""
    anchors = [op for op in ops if anchor_kind(op) is not None]
    computing = [op for op in ops if not isinstance(op, GeneratorOp | IndexMapOp | YieldOp | ConvertOp)]
    rest = [op for op in ops if not isinstance(op, YieldOp | GeneratorOp)]
    return (anchors or computing[-1:] or rest[-1:] or list(ops))[0]


def label_of(ops: Sequence[Operation], names: Mapping[Operation, str]) -> str:
    """What a kernel does, as a reader says it: `conv + add + maximum`; `names` are those that composites gave."""
    computing = [op for op in ops if op in names or not isinstance(op, GeneratorOp | IndexMapOp)]
    moving = [op for op in ops if isinstance(op, IndexMapOp)]
    return " + ".join(dict.fromkeys(names.get(op) or _short(op) for op in computing or moving or ops))


def _short(op: Operation) -> str:
    return op.name.partition(".")[2]


class Outliner:
    """Rewrites one function's body from prim ops to dispatches."""

    def __init__(self, func: FuncOp, partition: Partition, kernels: KernelTable) -> None:
        self._partition = partition
        self._kernels = kernels
        self._block = func.body.block
        self._stored: dict[SSAValue, SSAValue] = {}  # a prim value -> the host value that holds it

    def run(self) -> None:
        """Emits every group's dispatch, then erases the prim ops that became part of one."""
        for group in self._partition.in_order():
            if group.host:
                self._emit_host_view(group.ops[0])
            elif group.results:
                self._emit_dispatch(group)
        terminator = self._block.last_op
        assert isinstance(terminator, ReturnOp)
        terminator.operands = [self._load(value) for value in terminator.operands]
        for op in reversed(self._partition.ops):
            if op in self._partition.group_of or self._partition.is_inline(op):
                op.detach()
                op.erase()

    def _emit_dispatch(self, group: Group) -> None:
        operands = [operand for operand in _used(group.closure) if operand in group.reads]
        body = _Body(operands)
        for op in group.closure:
            body.add(op)
        body.yield_(group.results)
        types = [_stored_type(value.type) for value in group.results]
        label = label_of(group.closure, group.names)
        arguments, unread = [self._load(value) for value in operands], unread_bytes(body.block)
        name = self._kernels.name_of(body.block, types)
        dispatch = DispatchOp(name, arguments, types, body.locations, label, body.flops, unread=unread)
        dispatch.location = fused_location(body.locations)
        self._insert(dispatch)
        for value, stored in zip(group.results, dispatch.outputs, strict=True):
            stored.name_hint = value.name_hint
            self._stored[value] = stored

    def _emit_host_view(self, op: Operation) -> None:
        view = _view(op, map(self._load, op.operands))
        self._insert(view)
        self._stored[op.results[0]] = view.results[0]

    def _load(self, value: SSAValue) -> SSAValue:
        """The host value that holds `value`; a view of what stands in memory moves to the host."""
        if value in self._stored:
            return self._stored[value]
        owner = value.owner
        if isinstance(owner, Operation) and self._partition.is_inline(owner) and is_view(owner):
            view = _view(owner, [self._load(owner.operands[0])])
            view.results[0].name_hint = value.name_hint
            self._insert(view)
            self._stored[value] = view.results[0]
            return view.results[0]
        return value

    def _insert(self, op: Operation) -> None:
        terminator = self._block.last_op
        assert terminator is not None
        self._block.insert_op_before(op, terminator)


class _Body:
    """A kernel's block as it is filled, with the location that each local op had in the function."""

    def __init__(self, operands: Sequence[SSAValue]) -> None:
        self.block = Block(arg_types=[_stored_type(value.type) for value in operands])
        self.locations: list[LocationAttr] = []
        self.flops: list[int] = []
        self._values: dict[SSAValue, SSAValue] = {}
        for value, arg in zip(operands, self.block.args, strict=True):
            arg.name_hint = value.name_hint
            self._values[value] = self._unpacked(value, arg)

    def add(self, op: Operation) -> None:
        """Copies one op."""
        clone = op.clone(self._mapped(op))
        self._append(clone, op.location)
        self._values.update(zip(op.results, clone.results, strict=True))

    def yield_(self, results: Sequence[SSAValue]) -> None:
        """Ends the body."""
        self.block.add_op(YieldOp(*(self._packed(value) for value in results)))

    def _mapped(self, op: Operation) -> dict[SSAValue, SSAValue]:
        inner = {operand for child in op.walk() for operand in child.operands}
        return {value: self._values[value] for value in inner if value in self._values}

    def _append(self, op: Operation, location: LocationAttr) -> None:
        for inner in op.walk():
            inner.location = local_location(len(self.locations))
        self.locations.append(location)
        self.flops.append(op.flops() if isinstance(op, PrimOp) else 0)
        self.block.add_op(op)

    def _unpacked(self, value: SSAValue, arg: SSAValue) -> SSAValue:
        """Truth values are stored as words."""
        if arg.type == value.type:
            return arg
        convert = ConvertOp(arg, element_type=i1)
        self._append(convert, _location_of(value))
        return convert.results[0]

    def _packed(self, value: SSAValue) -> SSAValue:
        inner = self._values[value]
        if _stored_type(value.type) == value.type:
            return inner
        convert = ConvertOp(inner, element_type=ui32)
        self._append(convert, _location_of(value))
        return convert.results[0]


def _used(ops: Iterable[Operation]) -> dict[SSAValue, None]:
    """The operands of all ops, in order of first use."""
    return {operand: None for op in ops for operand in op.operands}


def _view(op: Operation, operands: Iterable[SSAValue]) -> Operation:
    """The op on what the host holds; of truth values it gives words, as they are stored."""
    view = op.clone(dict(zip(op.operands, operands, strict=True)))
    view.location = op.location
    for result in view.results:
        result._type = _stored_type(result.type)  # pyright: ignore[reportAttributeAccessIssue]
    return view


def _location_of(value: SSAValue) -> LocationAttr:
    return value.owner.location if isinstance(value.owner, Operation) else fused_location([])


def _stored_type(type: Attribute) -> Attribute:
    """How a value stands in memory between kernels: truth values take a word each."""
    assert isinstance(type, TensorType)
    return tensor(type.get_shape(), ui32) if type.element_type == i1 else type
