"""A scan: a workgroup runs all steps, with the states in its own memory and a barrier between a step and the next.

An element of a value of the region is computed where it is needed, sums included; what a sum reads more than once and
is not in memory yet is computed ahead by the whole workgroup and kept in its memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from math import ceil, prod
from operator import mul

from xdsl.dialects.builtin import MemRefType, f32, i32
from xdsl.ir import Block, SSAValue

from tstorch.dialects import flow, loop
from tstorch.dialects.indexing import Index, as_index, linearize
from tstorch.dialects.loop import Id
from tstorch.dialects.prim.base import ContractionOp, ElementwiseOp, GeneratorOp, IndexMapOp, PrimOp
from tstorch.dialects.prim.control import YieldOp
from tstorch.dialects.prim.indexing import GatherOp, ScatterOp
from tstorch.dialects.prim.reduction import ReduceOp, ReduceWindowOp
from tstorch.dialects.prim.scan import ScanOp
from tstorch.dialects.prim.types import ui32
from tstorch.passes.convert.kernel_to_loop.frame import Frame, Grid, Place, convert
from tstorch.passes.convert.kernel_to_loop.nest import (
    Ids,
    flat_group,
    largest_divisor,
    load,
    loops,
    private,
    registers_of,
    serving,
    shape_of,
    size_of,
    split,
    spread,
    steps,
    store,
)
from tstorch.passes.convert.kernel_to_loop.terms import terms_of

Indices = Sequence[Index]
SUMS = (ContractionOp, ReduceOp, ReduceWindowOp, ScatterOp)
"""Ops whose element is a sum over others."""
WORD = 4
MOST_BINDINGS = 8
"""WebGPU's default limit."""
TOGETHER = 8
"""Terms of a sum that are added in one iteration of its innermost loop."""


def convert_scan(kernel: flow.KernelOp, schedule: flow.ScheduleAttr, anchor: ScanOp) -> loop.KernelOp:
    """One workgroup for each member of the batch, or one in all."""
    threads = schedule.workgroup[0]
    grid = Grid(spread(batch_of(anchor)), (threads, 1, 1))

    def body(frame: Frame, ids: Ids) -> None:
        with serving(frame.build, anchor):
            _Scan(frame, anchor, flat_group(ids, grid.groups), ids[Id.LID_X], threads).run()

    return convert(kernel, grid, body)


def batch_of(op: ScanOp) -> int:
    """How many independent scans it is."""
    return shape_of(op.begins[0])[0] if op.batched is not None else 1


def scan_threads(op: ScanOp, limit: int) -> int:
    """An invocation for each element of the largest state, as far as there are so many: a power of two."""
    largest = max(_size(op, value) for value in op.begins)
    return min(1 << max(largest - 1, 0).bit_length(), limit)


def workgroup_bytes(op: ScanOp) -> int:
    """What a workgroup must hold between steps, and within one."""
    return WORD * sum(_size(op, value) for value in (*op.begins, *kept_values(op)))


def kept_values(op: ScanOp) -> list[SSAValue]:
    """The values of the region that are computed once and kept: what sums read and is more than moved elements, and
    sums that several elements read."""
    found: dict[SSAValue, None] = {}
    for inner in op.body.block.ops:
        if isinstance(inner, SUMS):
            found.update((operand, None) for operand in inner.operands if _is_computed(operand))
        spreads = isinstance(inner, IndexMapOp) and size_of(inner.results[0]) > size_of(inner.operands[0])
        if spreads and isinstance(inner.operands[0].owner, SUMS):
            found[inner.operands[0]] = None
    return list(found)


def unsuitable(op: ScanOp) -> str | None:
    """Why no kernel can run the scan; None where one can."""
    for inner in op.body.block.ops:
        if not isinstance(inner, (*SUMS, ElementwiseOp, IndexMapOp, GeneratorOp, GatherOp, YieldOp)):
            return f"{inner.name} needs a kernel of its own"
    if (bindings := len(set(op.operands)) + len(op.results)) > MOST_BINDINGS:
        return f"it has {bindings} operands and results, a kernel at most {MOST_BINDINGS}"
    types = {value.type.element_type for value in (*op.operands, *op.results)}  # pyright: ignore[reportAttributeAccessIssue]
    if narrow := types - {f32, i32, ui32}:
        return f"element type {next(iter(narrow))} is no word"
    if op.batched is not None and any(shape_of(value)[:1] != (batch_of(op),) for value in kept_values(op)):
        return "a sum in it reads what is computed for the whole batch"
    return None


def step_iterations(op: ScanOp, threads: int) -> int:
    """The loop iterations that an invocation runs in a step, where no sum's element is asked for twice."""
    sums = [inner for inner in op.body.block.ops if isinstance(inner, SUMS)]
    rounds = [ceil(_size(op, inner.results[0]) / threads) for inner in sums]
    return 1 + sum(round * _loop_iterations(inner) for round, inner in zip(rounds, sums, strict=True))


def _loop_iterations(op: PrimOp) -> int:
    *outer, inner = terms_of(op).sizes or (1,)
    return sum(accumulate([*outer, inner // largest_divisor(inner, TOGETHER)], mul))


def _size(op: ScanOp, value: SSAValue) -> int:
    """The elements of one member of the batch."""
    return size_of(value) // batch_of(op)


def _is_computed(value: SSAValue) -> bool:
    """Whether an element of the value costs more than finding it."""
    owner = value.owner
    if isinstance(owner, Block):
        return False
    if isinstance(owner, IndexMapOp | GeneratorOp):
        return any(_is_computed(operand) for operand in owner.operands)
    return True


class _Scan:
    """The code of one invocation."""

    def __init__(self, frame: Frame, op: ScanOp, member: Index, thread: Index, threads: int) -> None:
        self.frame = frame
        self.build = frame.build
        self.emit = frame.emit
        self.op = op
        self.member = member
        self.thread = thread
        self.threads = threads
        self.kept: dict[SSAValue, SSAValue] = {}

    def run(self) -> None:
        """All steps."""
        op = self.op
        arguments = op.body.block.args
        states = list(arguments[: len(op.begins)])
        for value in (*states, *kept_values(op)):
            self._allocate(value)
        for value, begin in zip(states, op.begins, strict=True):
            self._each(shape_of(value), lambda index, _, v=value, begin=begin: self._keep(v, index, begin))
        self._wait()
        self._share(arguments[len(states) + len(op.walked) :])
        with loops(self.build, [op.steps]) as [turn]:
            step = op.steps - 1 - turn if op.backwards is not None else turn
            self._present(arguments[len(states) :], step)
            self._define_sums()
            self._keep_ahead()
            self._step(states, step)
        self._finish(states)

    def _allocate(self, value: SSAValue) -> None:
        """A place in workgroup memory, from where elements of the value are read."""
        type = MemRefType(registers_of(value), [_size(self.op, value)])
        self.kept[value] = self.build.insert(loop.AllocOp(loop.MemorySpace.WORKGROUP, type)).memory

    def _read_from(self, value: SSAValue) -> Callable[[Indices], SSAValue]:
        return lambda index: load(self.build, self.kept[value], self._position(value, index))

    def _position(self, value: SSAValue, index: Indices) -> Index:
        """Where an element stands in the workgroup's memory. Raises TypeError for one of another member."""
        if self.op.batched is None:
            return linearize(index, shape_of(value))
        if as_index(index[0]) != self.member:
            raise TypeError(f"{self.op.name} is batched, and a step mixes the members of its batch")
        return linearize(index[1:], shape_of(value)[1:])

    def _keep(self, value: SSAValue, index: Indices, source: SSAValue) -> None:
        store(self.build, self.emit.at(source, index), self.kept[value], self._position(value, index))

    def _each(self, shape: Sequence[int], visit: Callable[[Indices, Index], None]) -> None:
        """Visits this invocation's elements of a shape: with the index, and their number in this invocation."""
        own = list(shape[1:] if self.op.batched is not None else shape)
        lead = [self.member] if self.op.batched is not None else []
        size = prod(own)
        with loops(self.build, [ceil(size / self.threads)], unroll=True) as [number]:
            position = number * self.threads + self.thread
            with self._within(position, size):
                visit([*lead, *split(position, own)], number)

    @contextmanager
    def _within(self, position: Index, size: int) -> Iterator[None]:
        if position.is_within(size):
            yield
            return
        with self.build.when(self.build.insert(loop.WithinOp([(position, size)])).result):
            yield

    def _wait(self) -> None:
        self.build.insert(loop.BarrierOp())

    def _share(self, arguments: Sequence[SSAValue]) -> None:
        for argument, operand in zip(arguments, self.op.shared, strict=True):
            self.emit.known[argument] = lambda index, operand=operand: self.emit.at(operand, index)

    def _present(self, arguments: Sequence[SSAValue], step: Index) -> None:
        """The sequences' elements of this step, and the states as the step before left them."""
        for argument, operand in zip(arguments, self.op.walked, strict=False):
            self.emit.known[argument] = lambda index, operand=operand: self.emit.at(operand, [step, *index])
        for value in self.kept:
            if isinstance(value.owner, Block):
                self.emit.known[value] = self._read_from(value)

    def _define_sums(self) -> None:
        for op in self.op.body.block.ops:
            if isinstance(op, SUMS):
                self.emit.known[op.results[0]] = lambda index, op=op: self._sum(op, index)

    def _sum(self, op: PrimOp, index: Indices) -> SSAValue:
        """One element of a sum, by a loop over its terms."""
        terms, type = terms_of(op), registers_of(op.results[0])
        with serving(self.build, op):
            total = private(self.build, [1], type)
            store(self.build, terms.start(self.emit, index), total, Index())
            *outer, inner = terms.sizes or (1,)
            together = largest_divisor(inner, TOGETHER)
            with loops(self.build, outer) as at, steps(self.build, inner, together) as first:
                with loops(self.build, [together], unroll=True) as [k]:
                    place = [*at, first + k][: len(terms.sizes)]
                    joined = terms.join(self.emit, load(self.build, total, Index()), index, place)
                    store(self.build, joined, total, Index())
            return load(self.build, total, Index())

    def _keep_ahead(self) -> None:
        """Computes what is kept within the step, each when all that it needs is there."""
        for value in _in_order(self.op, self.kept):
            with serving(self.build, value.owner):  # pyright: ignore[reportArgumentType]
                self._each(shape_of(value), lambda index, _, v=value: self._keep(v, index, v))
                self._wait()
            self.emit.known[value] = self._read_from(value)

    def _step(self, states: Sequence[SSAValue], step: Index) -> None:
        """Stores the outputs and the new states; these only when nobody reads the old ones any more."""
        news = list(zip(states, self.op.yielded, strict=False))
        outputs = list(zip(self.op.results, self.op.yielded, strict=True))[len(states) :]
        registers = {state: self._registers(state) for state in states}
        for shape in dict.fromkeys(shape_of(value) for value in self.op.yielded):

            def compute(index: Indices, number: Index, shape: tuple[int, ...] = shape) -> None:
                for state, new in news:
                    if shape_of(state) == shape:
                        store(self.build, self.emit.at(new, index), registers[state], number)
                for result, value in outputs:
                    if shape_of(value) == shape:
                        self._give(result, [step, *index], lambda at, value=value: self.emit.at(value, at[1:]))

            self._each(shape, compute)
        self._wait()
        for state, memory in registers.items():
            self._each(shape_of(state), lambda index, number, s=state, m=memory: self._renew(s, index, m, number))
        self._wait()

    def _registers(self, state: SSAValue) -> SSAValue:
        """For this invocation's elements of a new state."""
        return private(self.build, [ceil(_size(self.op, state) / self.threads)], registers_of(state))

    def _renew(self, state: SSAValue, index: Indices, registers: SSAValue, number: Index) -> None:
        store(self.build, load(self.build, registers, number), self.kept[state], self._position(state, index))

    def _finish(self, states: Sequence[SSAValue]) -> None:
        for state, result in zip(states, self.op.results, strict=False):
            read = self._read_from(state)
            self._each(shape_of(state), lambda index, _, read=read, result=result: self._give(result, index, read))

    def _give(self, result: SSAValue, index: Indices, element: Callable[[Indices], SSAValue]) -> None:
        """Stores one element of a result of the scan, where the kernel gives that result."""
        yielded = list(self.frame.kernel.yielded)
        if result in yielded:
            self.emit.known[result] = element
            self.frame.store([Place(yielded.index(result), index)])


def _in_order(op: ScanOp, kept: dict[SSAValue, SSAValue]) -> list[SSAValue]:
    """The values that the region computes and keeps, in its own order."""
    return [result for inner in op.body.block.ops for result in inner.results if result in kept]
