"""Row after row: reductions over the same elements, and what is made of each row with their results.

Softmax, layer norm and group norm are such kernels: one pass over the row for each reduction, one for what follows. A
row that fits into its invocations' registers is read once, and the passes after the first take it from there.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from math import ceil, prod

from xdsl.ir import SSAValue

from tstorch.dialects import flow, loop
from tstorch.dialects.indexing import Index
from tstorch.dialects.loop import LANES, Id
from tstorch.dialects.prim.base import IndexMapOp
from tstorch.dialects.prim.kinds import ReduceKind
from tstorch.dialects.prim.reduction import ReduceOp
from tstorch.dialects.prim.types import ints, is_float
from tstorch.passes.convert.kernel_to_loop.frame import Frame, Grid, Place, convert, spread_indices
from tstorch.passes.convert.kernel_to_loop.nest import (
    Ids,
    flat_group,
    load,
    loops,
    number,
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
from tstorch.passes.convert.kernel_to_loop.terms import combine, reduced_element, start_of

Indices = Sequence[Index]
MOST_IN_A_ROW = 256
"""So many floats one invocation adds up one after the other: each may round by half a unit in the last place."""


def convert_rows(kernel: flow.KernelOp, schedule: flow.ScheduleAttr) -> loop.KernelOp:
    """`threads` invocations share a row, `workgroup[1]` rows a workgroup; each handles every threads-th element."""
    reductions = [op for op in kernel.ops if isinstance(op, ReduceOp)]
    threads, together = schedule.threads, schedule.workgroup[1]
    rows = size_of(reductions[0].result)
    grid = Grid(spread(ceil(rows / together)), (threads, together, 1))

    def body(frame: Frame, ids: Ids) -> None:
        row = flat_group(ids, grid.groups) * together + ids[Id.LID_Y]
        nest = (_HeldRows if schedule.held else _Rows)(frame, row, ids[Id.LID_X], schedule)
        for reduction in reductions:
            nest.reduce(reduction)
        nest.finish(reductions, rows)

    return convert(kernel, grid, body)


class _Rows:
    """The code of one invocation: its part of one row."""

    def __init__(self, frame: Frame, row: Index, thread: Index, schedule: flow.ScheduleAttr) -> None:
        self.frame = frame
        self.build = frame.build
        self.row = row
        self.thread = thread
        self.threads = schedule.threads
        self.vector = schedule.vector

    def reduce(self, op: ReduceOp) -> None:
        """Adds up one row; all invocations get the sum."""
        build, emit, type = self.build, self.frame.emit, registers_of(op.result)
        with serving(build, op):
            total = private(build, [1], type)
            store(build, number(build, start_of(op), type), total, Index())
            self._add_up(op, total)
            result = load(build, total, Index())
            if self.threads > 1:
                kind = loop.ReduceKind(op.kind.data.value)
                result = build.insert(loop.ReduceWorkgroupOp(kind, result, [Id.LID_X])).result
        emit.known[op.result] = lambda _: result

    def _add_up(self, op: ReduceOp, total: SSAValue) -> None:
        """Takes this invocation's elements of the row into a sum."""
        length = _length(op)
        if (size := _block(op, ceil(length / self.threads))) > 1:
            self._add_blocks(op, total, size)
        else:
            with steps(self.build, length, self.threads) as first:
                self._join(op, total, first + self.thread)

    def _join(self, op: ReduceOp, total: SSAValue, position: Index) -> None:
        """Takes one element of the row into a sum."""
        build = self.build
        joined = combine(op, self.frame.emit, load(build, total, Index()), self._element(op, position))
        store(build, joined, total, Index())

    def _element(self, op: ReduceOp, position: Index) -> SSAValue:
        """The row's element, or what changes nothing beyond its end."""
        source = reduced_element(op, self._row_of(op), _inside(op, position))
        return self.frame.emit.at_or(op.operand, source.index, [(position, _length(op))], start_of(op))

    def _add_blocks(self, op: ReduceOp, total: SSAValue, size: int) -> None:
        """Adds up blocks of so many elements, and then the blocks: rounding grows with either count, not with both."""
        build, type = self.build, registers_of(op.result)
        block = private(build, [1], type)
        with steps(build, _length(op), self.threads * size) as first:
            store(build, number(build, start_of(op), type), block, Index())
            with loops(build, [size]) as [at]:
                self._join(op, block, first + at * self.threads + self.thread)
            joined = combine(op, self.frame.emit, load(build, total, Index()), load(build, block, Index()))
            store(build, joined, total, Index())

    def finish(self, reductions: Sequence[ReduceOp], rows: int) -> None:
        """Stores what has one element a row, then what has the whole row."""
        last, length = reductions[-1], _length(reductions[-1])
        of_row = spread_indices(self.frame.kernel, {op.result: self._row_of(op) for op in reductions})
        in_range = (self.row, rows)
        results = list(enumerate(self.frame.kernel.yielded))
        once = [Place(n, of_row[v], [in_range, (self.thread, 1)]) for n, v in results if v in of_row]
        self.frame.store(once)
        if len(once) == len(results):
            return

        def places(position: Index) -> list[Place]:
            mask = [in_range, (position, length)]
            seeds: dict[SSAValue, Indices] = {
                r.operand: reduced_element(r, self._row_of(r), _inside(r, position)).index for r in reductions
            }
            seeds.update(dict.fromkeys(self._spread_back(of_row, last), seeds[last.operand]))
            where = spread_indices(self.frame.kernel, seeds)
            return [
                Place(n, where.get(v) or self._like(last, v, position), mask) for n, v in results if v not in of_row
            ]

        self._write(length, places)

    def _write(self, length: int, places: Callable[[Index], list[Place]]) -> None:
        """Stores this invocation's elements of the row."""
        neighbours = LANES if self.frame.is_narrow and length % LANES == 0 else 1
        with steps(self.build, length, self.threads * neighbours) as start:
            first = start + self.thread * neighbours
            if neighbours == 1:
                self.frame.store(places(first))
            else:
                self.frame.store_lanes(self.row * length + first, neighbours, lambda lane: places(first + lane))

    def _spread_back(self, of_row: Collection[SSAValue], last: ReduceOp) -> Iterator[SSAValue]:
        """What copies a row's element to all of its columns: behind it nothing else may say where a column is."""
        for op in self.frame.kernel.ops:
            if isinstance(op, IndexMapOp) and op.operands[0] in of_row and op.results[0] not in of_row:
                yield from (result for result in op.results if shape_of(result) == shape_of(last.operand))

    def _row_of(self, op: ReduceOp) -> list[Index]:
        return split(self.row, shape_of(op.result))

    def _like(self, op: ReduceOp, value: SSAValue, position: Index) -> Indices:
        """The element of a result of the operand's shape that no chain of ops ties to it (a broadcast sum)."""
        if shape_of(value) != shape_of(op.operand):
            name = self.frame.kernel.sym_name.data
            raise TypeError(f"a result of kernel @{name} has shape {shape_of(value)}, its rows {shape_of(op.operand)}")
        return reduced_element(op, self._row_of(op), _inside(op, position)).index


class _HeldRows(_Rows):
    """The code of one invocation whose part of the row stays in registers.

    Elements lie `vector` side by side. What a reduction was computed from is held for what comes after it.
    """

    at: tuple[Index, Index] | None = None
    """The registers at which the loops stand: which run of neighbours, which of them."""

    def _add_up(self, op: ReduceOp, total: SSAValue) -> None:
        build = self.build
        shape = [self._runs(_length(op)), self.vector]
        held = private(build, shape, registers_of(op.operand))
        with loops(build, shape, unroll=True) as [run, lane]:
            store(build, self._element(op, self._stand(run, lane)), held, run, lane)
        with loops(build, shape, unroll=True) as [run, lane]:
            joined = combine(op, self.frame.emit, load(build, total, Index()), load(build, held, run, lane))
            store(build, joined, total, Index())
        self._hold(op, held)

    def _runs(self, length: int) -> int:
        return ceil(length / (self.threads * self.vector))

    def _stand(self, run: Index, lane: Index) -> Index:
        """Where in the row a register's element stands."""
        self.at = (run, lane)
        return (run * self.threads + self.thread) * self.vector + lane

    def _hold(self, op: ReduceOp, held: SSAValue) -> None:
        """Lets the emitter take the operand's elements out of the registers, where the loops stand at them."""

        def known(index: Indices) -> SSAValue | None:
            if self.at is None:
                return None
            here = reduced_element(op, self._row_of(op), _inside(op, self._stand(*self.at))).index
            return load(self.build, held, *self.at) if list(index) == list(here) else None

        self.frame.emit.known[op.operand] = known

    def _write(self, length: int, places: Callable[[Index], list[Place]]) -> None:
        with loops(self.build, [self._runs(length)], unroll=True) as [run]:
            first = self.row * length + self._stand(run, Index())
            self.frame.store_lanes(first, self.vector, lambda lane: places(self._stand(run, lane)))


def _block(op: ReduceOp, count: int) -> int:
    """How many of so many elements are added up ahead of the rest: about the root of a count that is large."""
    exact = op.kind.data is not ReduceKind.ADD or not is_float(registers_of(op.result))
    return 1 if exact or count <= MOST_IN_A_ROW else 2 ** ((count - 1).bit_length() // 2)


def _length(op: ReduceOp) -> int:
    return prod(_reduced_shape(op))


def _reduced_shape(op: ReduceOp) -> list[int]:
    return [shape_of(op.operand)[axis] for axis in ints(op.dimensions)]


def _inside(op: ReduceOp, position: Index) -> list[Index]:
    return split(position, _reduced_shape(op))
