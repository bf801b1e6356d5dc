"""The ops of one function, divided into kernels: which group each op is in, and who produces and uses what.

Index maps and generators belong to no kernel: every kernel that needs one computes it in place. They are looked
through wherever values are followed from a producer to a user.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from xdsl.dialects.builtin import TensorType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Operation, SSAValue

from tstorch.dialects.buf import storage_bytes
from tstorch.dialects.prim.base import ElementwiseOp, GeneratorOp, IndexMapOp, PrimOp
from tstorch.dialects.prim.generator import ConstantOp
from tstorch.dialects.prim.shape import ConcatenateOp, ReshapeOp, SliceOp
from tstorch.dialects.prim.types import ints
from tstorch.dialects.prim.weight import DerivedOp, WeightOp
from tstorch.passes.fusion.kernel_form import KernelForm, anchor_kind, shape_of

DATA = (WeightOp, DerivedOp)
NOTHING: Mapping[Operation, str] = MappingProxyType({})
OFFSET_ALIGNMENT = 256


@dataclass(eq=False)
class Group:
    """The ops of one kernel, in program order, and what follows from them. A group never changes: two make a third.

    `closure` are the ops and what they need computed in place, in order; `reads` what these need from memory;
    `operands` the roots of what the ops do not compute themselves; `results` the values that others use. `names` are
    those that a composite gave; a host group is a view; `form` is there once it was asked for.
    """

    ops: Sequence[Operation]
    closure: Sequence[Operation]
    reads: Collection[SSAValue]
    operands: Collection[SSAValue]
    results: Sequence[SSAValue]
    names: Mapping[Operation, str]
    host: bool = False
    form: KernelForm | None = None

    @cached_property
    def anchors(self) -> Sequence[Operation]:
        """The ops that give the kernel its kind and its iteration space."""
        return [op for op in self.ops if anchor_kind(op) is not None]

    @property
    def anchored(self) -> bool:
        return bool(self.anchors)


class Partition:
    """The kernels of one function so far, and who produces and uses what."""

    def __init__(self, func: FuncOp) -> None:
        self.ops = list(func.body.block.ops)
        self.position = {op: position for position, op in enumerate(self.ops)}
        self._roots: dict[SSAValue, tuple[SSAValue, ...]] = {}
        self._inline = {op for op in self.ops if self._is_inline(op)}
        self.group_of: dict[Operation, Group] = {}
        self._users: dict[SSAValue, list[Operation]] = {}
        self._index_users()
        for op in self.ops:
            if isinstance(op, PrimOp) and op not in self._inline and not is_data(op):
                self.install(self.gather([op], host=self._is_host_view(op)))

    @property
    def groups(self) -> list[Group]:
        """All groups, in order of their last op."""
        found = dict.fromkeys(self.group_of.values())
        return sorted(found, key=lambda group: self.position[group.ops[-1]])

    def is_inline(self, op: object) -> bool:
        """Whether every kernel that needs the op computes it in place."""
        return op in self._inline

    def roots(self, value: SSAValue) -> tuple[SSAValue, ...]:
        """What stands in memory that a value is made of, through index maps and generators."""
        if value not in self._roots:
            self._roots[value] = self._find_roots(value)
        return self._roots[value]

    def users(self, value: SSAValue) -> list[Operation]:
        """The ops that read a value from memory or as a producer's result, in order; a return is one."""
        return self._users.get(value, [])

    def writer(self, value: SSAValue) -> Group | None:
        """The group that computes a value; None for what is given, or computed in place."""
        return self.group_of.get(value.owner) if isinstance(value.owner, Operation) else None

    def operands(self, ops: Collection[Operation]) -> dict[SSAValue, None]:
        """The roots of all operands that the ops do not compute themselves."""
        inside = set(ops)
        found: dict[SSAValue, None] = {}
        for op in ops:
            for operand in op.operands:
                found.update((root, None) for root in self.roots(operand) if root.owner not in inside)
        return found

    def gather(
        self, ops: Sequence[Operation], names: Mapping[Operation, str] = NOTHING, *, host: bool = False
    ) -> Group:
        """The group that ops would be, given in order."""
        inside = dict.fromkeys(ops)
        closure, reads = self._close(inside, [operand for op in ops for operand in op.operands])
        results = [value for op in ops for value in op.results if any(user not in inside for user in self.users(value))]
        return Group(ops, closure, reads, self.operands(ops), results, names, host)

    def joined(self, producer: Group, consumer: Group) -> Group:
        """The group that the ops of two would be."""
        ops = self.in_program_order([*producer.ops, *consumer.ops])
        inside = dict.fromkeys([*producer.closure, *consumer.closure])
        closure, reads = self._close(inside, [*producer.reads, *consumer.reads])
        operands = {value: None for value in (*producer.operands, *consumer.operands) if value.owner not in inside}
        results = [value for each in (producer, consumer) for value in self.kept(each, producer, consumer)]
        results.sort(key=lambda value: self.position[value.owner])  # pyright: ignore[reportArgumentType]
        return Group(ops, closure, reads, operands, results, {**producer.names, **consumer.names})

    def kept(self, group: Group, *among: Group) -> list[SSAValue]:
        """The results of the group that others than these groups use."""
        users_of, group_of = self.users, self.group_of
        return [value for value in group.results if any(group_of.get(user) not in among for user in users_of(value))]

    def install(self, group: Group) -> None:
        """Puts the ops of the group in it, and out of those that they were in."""
        self.group_of.update(dict.fromkeys(group.ops, group))

    def is_memory(self, value: SSAValue, inside: Collection[Operation]) -> bool:
        """Whether a kernel of the ops `inside` reads a value as a binding: what another computes, or a view of that."""
        owner = value.owner
        while isinstance(owner, Operation) and owner not in inside and self.is_inline(owner) and is_view(owner):
            owner = owner.operands[0].owner
        return owner not in inside and not self.is_inline(owner)

    def in_program_order(self, ops: Iterable[Operation]) -> list[Operation]:
        """The ops as they stand in the function."""
        return sorted(ops, key=self.position.__getitem__)

    def makes_cycle(self, producer: Group, consumer: Group) -> bool:
        """Whether some kernel outside needs the producer and is needed by the consumer.

        Searched from both ends in turns, so that it costs what the end with less behind it does.
        """
        ways = zip(self._forward(producer, consumer), self._backward(producer, consumer), strict=False)
        return any(found for way in ways for found in way)

    def _forward(self, producer: Group, consumer: Group) -> Iterator[bool]:
        """Follows what needs the producer, use by use: whether it is another group that the consumer needs."""
        last = self.position[consumer.ops[-1]]
        seen, pending = {producer, consumer}, [producer]
        while pending:
            group = pending.pop()
            for value in group.results:
                for user in self.users(value):
                    reader = self.group_of.get(user)
                    yield reader is consumer and group is not producer
                    if reader is not None and reader not in seen and self.position[reader.ops[0]] <= last:
                        seen.add(reader)
                        pending.append(reader)

    def _backward(self, producer: Group, consumer: Group) -> Iterator[bool]:
        """Follows what the consumer needs, operand by operand: whether it is another group that needs the producer."""
        first = self.position[producer.ops[0]]
        seen, pending = {producer, consumer}, [consumer]
        while pending:
            group = pending.pop()
            for value in group.operands:
                writer = self.writer(value)
                yield writer is producer and group is not consumer
                if writer is not None and writer not in seen and self.position[writer.ops[-1]] >= first:
                    seen.add(writer)
                    pending.append(writer)

    def in_order(self) -> Iterator[Group]:
        """The groups so that each comes after those it reads from."""
        ready: dict[int, Group] = {}

        def visit(group: Group) -> Iterator[Group]:
            if id(group) in ready:
                return
            ready[id(group)] = group
            for root in self.operands(group.ops):
                if (writer := self.writer(root)) is not None:
                    yield from visit(writer)
            yield group

        for group in self.groups:
            yield from visit(group)

    def _close(
        self, inside: dict[Operation, None], pending: list[SSAValue]
    ) -> tuple[Sequence[Operation], Collection[SSAValue]]:
        """Adds what the pending values need computed in place; gives all ops in order, and what they read from memory.

        A reshape of what is in memory is a view.
        """
        reads: dict[SSAValue, None] = {}
        while pending:
            value = pending.pop()
            owner = value.owner
            if owner in inside:
                continue
            if isinstance(owner, Operation) and not self.is_memory(value, inside):
                inside[owner] = None
                pending.extend(owner.operands)
            else:
                reads[value] = None
        return self.in_program_order(inside), reads

    def _find_roots(self, value: SSAValue) -> tuple[SSAValue, ...]:
        owner = value.owner
        if not isinstance(owner, Operation) or owner not in self._inline:
            return (value,)
        return tuple(dict.fromkeys(root for operand in owner.operands for root in self.roots(operand)))

    def _is_inline(self, op: Operation) -> bool:
        """Runs in program order, so that producers are known."""
        if is_data(op):
            inline = False
        elif isinstance(op, GeneratorOp):
            inline = not _is_returned(op)
        elif isinstance(op, IndexMapOp):
            inline = not isinstance(op, ConcatenateOp) and (not _is_returned(op) or self._is_result_view(op))
        else:
            inline = isinstance(op, ElementwiseOp) and not _is_returned(op) and self._is_rootless(op)
        if inline:
            roots = (root for operand in op.operands for root in self.roots(operand))
            self._roots.update(dict.fromkeys(op.results, tuple(dict.fromkeys(roots))))
        else:
            self._roots.update((result, (result,)) for result in op.results)
        return inline

    def _is_rootless(self, op: Operation) -> bool:
        return all(not self.roots(operand) for operand in op.operands)

    def _is_result_view(self, op: Operation) -> bool:
        """Whether a returned reshape can be another name for what a kernel wrote."""
        if not isinstance(op, ReshapeOp):
            return False
        owner = op.operands[0].owner
        if isinstance(owner, ReshapeOp):
            return self._is_result_view(owner)
        return isinstance(owner, PrimOp) and not isinstance(owner, (*DATA, GeneratorOp, IndexMapOp))

    def _is_host_view(self, op: Operation) -> bool:
        """Whether a concatenation costs nothing: its parts lie one behind the other, where their kernels write them."""
        if not isinstance(op, ConcatenateOp) or _is_returned(op):
            return False
        dimension = op.properties["dimension"].value.data  # pyright: ignore[reportAttributeAccessIssue]
        outer = shape_of(op.results[0])[:dimension]
        operands = list(op.operands)
        if any(size != 1 for size in outer) or len(set(operands)) != len(operands):
            return False
        sizes = [storage_bytes(operand.type) for operand in operands[:-1]]  # pyright: ignore[reportArgumentType]
        return all(size % OFFSET_ALIGNMENT == 0 for size in sizes) and all(map(self._can_be_part, operands))

    def _can_be_part(self, value: SSAValue) -> bool:
        """Whether a kernel writes the value (or its parts, one by one), and nothing else decides where it lies."""
        owner = value.owner
        if not isinstance(owner, PrimOp) or owner in self._inline or isinstance(owner, DATA):
            return False
        if isinstance(owner, ConcatenateOp) and not self.group_of[owner].host:
            return False
        takers = [user for user in self.users(value) if isinstance(user, ConcatenateOp | ReturnOp)]
        return len(takers) == 1

    def _index_users(self) -> None:
        for op in self.ops:
            if op in self._inline:
                continue
            for root in dict.fromkeys(root for operand in op.operands for root in self.roots(operand)):
                self._users.setdefault(root, []).append(op)


def is_data(op: Operation) -> bool:
    """Whether nothing is to be computed: weights, and what has no elements."""
    return isinstance(op, DATA) or (isinstance(op, ConstantOp) and len(op.value) == 0)


def _is_returned(op: Operation) -> bool:
    return any(isinstance(use.operation, ReturnOp) for result in op.results for use in result.uses)


def is_view(op: object) -> bool:
    """Whether an op names bytes that stand in memory as they are: any reshape, and rows of a weight."""
    return isinstance(op, ReshapeOp) or (isinstance(op, SliceOp) and _is_run_of_rows(op))


def _is_run_of_rows(op: SliceOp) -> bool:
    type = op.operands[0].type
    if not isinstance(op.operands[0].owner, WeightOp) or not isinstance(type, TensorType):
        return False
    shape, start = type.get_shape(), ints(op.properties["start"])
    whole = shape_of(op.results[0])[1:] == shape[1:] and all(step == 1 for step in ints(op.properties["stride"]))
    return whole and start[0] * storage_bytes(type) // shape[0] % OFFSET_ALIGNMENT == 0
