"""Reductions: of a tile of registers, and over the invocations of a workgroup through shared memory."""

from math import prod

from xdsl.dialects.builtin import MemRefType
from xdsl.ir import Attribute, SSAValue

from tstorch.dialects import loop, wgsl
from tstorch.dialects.indexing import Index, linearize
from tstorch.dialects.loop import LANES, Id, ReduceKind, ui32, vector_of
from tstorch.dialects.wgsl import Builtin, Operator
from tstorch.passes.convert.loop_to_wgsl.emit import Emitter
from tstorch.passes.convert.loop_to_wgsl.floats import extremum
from tstorch.passes.convert.loop_to_wgsl.memory import Memory
from tstorch.passes.convert.loop_to_wgsl.scopes import Scopes

# Up to this many values every invocation combines all by itself.
_FEW = 8


def combine(kind: ReduceKind, a: SSAValue, b: SSAValue, emit: Emitter) -> SSAValue:
    """One value of two."""
    match kind:
        case ReduceKind.ADD:
            return emit.binary(Operator.ADD, a, b)
        case ReduceKind.MUL:
            return emit.binary(Operator.MUL, a, b)
        case ReduceKind.MAX:
            return extremum(emit, Builtin.MAX, a, b)
        case ReduceKind.MIN:
            return extremum(emit, Builtin.MIN, a, b)


def reduce_tile(op: loop.ReduceTileOp, memory: Memory, scopes: Scopes, emit: Emitter) -> SSAValue:
    """Pairwise, whole registers first."""
    kind, leading = op.kind.data, op.leading_list
    shape = memory.type.get_shape()
    start = linearize([*leading, *[0] * (len(shape) - len(leading))], shape)
    count = prod(shape[len(leading) :])
    whole = memory.lanes > 1 and count % LANES == 0 and start.is_multiple_of(LANES)
    step, type = (LANES, vector_of(memory.scalar)) if whole else (1, memory.scalar)
    if memory.value is None:
        raise ValueError("a tile is reduced before it is allocated")
    array = memory.value
    values = [
        emit.value(wgsl.ReadOp.at(array, start + element, type, scopes.values)) for element in range(0, count, step)
    ]
    result = _pairwise(kind, values, emit)
    if whole:
        named = emit.value(wgsl.LetOp(result))
        result = _pairwise(kind, [emit.component(named, lane) for lane in range(LANES)], emit)
    return result


def _pairwise(kind: ReduceKind, values: list[SSAValue], emit: Emitter) -> SSAValue:
    while len(values) > 1:
        pairs = [combine(kind, a, b, emit) for a, b in zip(values[::2], values[1::2], strict=False)]
        values = pairs + ([values[-1]] if len(values) % 2 else [])
    return values[0]


class WorkgroupReductions:
    """Lowers workgroup reductions; arrays are shared between those of one type.

    In two steps where there are many values: some invocations combine a share each, then all combine the shares. Two
    barriers are enough: the next reduction overwrites an array only after the barrier that its last readers reached.
    """

    def __init__(self, module: wgsl.ModuleOp, kernel: loop.KernelOp, scopes: Scopes) -> None:
        self._module = module
        self._scopes = scopes
        self._sizes = kernel.workgroup_size
        parallel = kernel.parallel
        bound = {id: loop.dim_of(arg) for id, arg in zip(parallel.id_list, parallel.body.block.args, strict=True)}
        self._lid = [bound.get(id, Index()) for id in (Id.LID_X, Id.LID_Y, Id.LID_Z)]
        self._arrays: dict[tuple[Attribute, int, int], SSAValue] = {}

    def reduce(self, op: loop.ReduceWorkgroupOp, value: SSAValue, emit: Emitter) -> SSAValue:
        """The combined value, in every invocation."""
        count = prod(self._sizes[: op.axes])
        if count == 1:
            return value
        position = self._linear(op.axes)
        everyone = self._linear(3)
        row = Index()
        for lid, size in list(zip(self._lid, self._sizes, strict=True))[: op.axes - 1 : -1]:
            row = row * size + lid
        values = self._array(value.type, 0, prod(self._sizes))
        emit.add(wgsl.StoreOp(value, values, self._scopes.spell(everyone, emit)))
        emit.add(wgsl.BarrierOp())
        kind = op.kind.data
        if count <= _FEW:
            result = self._run(kind, values, row * count, 1, count, emit)
            emit.add(wgsl.BarrierOp())
            return result
        shares = min((n for n in range(2, count + 1) if count % n == 0), key=lambda n: n + count // n)
        partial = self._array(value.type, shares, prod(self._sizes) // count * shares)
        self._store_shares(kind, values, partial, (row, position, count, shares), emit)
        emit.add(wgsl.BarrierOp())
        return self._run(kind, partial, row * shares, 1, shares, emit)

    def fill(self, array: SSAValue, value: SSAValue, count: int, emit: Emitter) -> None:
        """Stores `value` to all elements of a shared array, all invocations together, and waits."""
        invocations = prod(self._sizes)
        loop_over = wgsl.ForOp(-(-count // invocations))
        inner = Emitter(loop_over.body.block, emit.location)

        def fill() -> None:
            self._scopes.define(loop_over.iv, loop_over.iv)
            step = Index.dim(loop_over.iv, -(-count // invocations))
            place = self._scopes.spell(step * invocations + self._linear(3), inner)
            guard = wgsl.IfOp(inner.binary(Operator.LT, place, inner.number(count, ui32)))
            Emitter(guard.body.block, emit.location).add(wgsl.StoreOp(value, array, place))
            inner.add(guard)

        self._scopes.build(loop_over.body.block, False, fill)
        emit.add(loop_over)
        emit.add(wgsl.BarrierOp())

    def _store_shares(
        self, kind: ReduceKind, values: SSAValue, partial: SSAValue, where: tuple[Index, Index, int, int], emit: Emitter
    ) -> None:
        row, position, count, shares = where
        index = self._scopes.spell(position, emit)
        guard = wgsl.IfOp(emit.binary(Operator.LT, index, emit.number(shares, ui32)))
        inner = Emitter(guard.body.block, emit.location)

        def fill() -> None:
            share = self._run(kind, values, row * count + position, shares, count // shares, inner)
            inner.add(wgsl.StoreOp(share, partial, self._scopes.spell(row * shares + position, inner)))

        self._scopes.build(guard.body.block, False, fill)
        emit.add(guard)

    def _run(self, kind: ReduceKind, array: SSAValue, start: Index, step: int, count: int, emit: Emitter) -> SSAValue:
        """Combines array[start], array[start + step], ... one after the other."""
        type = array.type.element_type if isinstance(array.type, MemRefType) else ui32
        total = Emitter(self._scopes.run_time.block, emit.location).value(wgsl.RegistersOp(MemRefType(type, [1])))
        first = emit.value(wgsl.LoadOp(array, self._scopes.spell(start, emit)))
        emit.add(wgsl.WriteOp.at(first, total, Index(), {}))
        more = wgsl.StaticForOp(count - 1)
        inner = Emitter(more.body.block, emit.location)

        def fill() -> None:
            self._scopes.define(more.iv, more.iv)
            place = start + step + Index.dim(more.iv, count - 1) * step
            value = inner.value(wgsl.LoadOp(array, self._scopes.spell(place, inner)))
            so_far = inner.value(wgsl.ReadOp.at(total, Index(), type, {}))
            inner.add(wgsl.WriteOp.at(combine(kind, so_far, value, inner), total, Index(), {}))

        self._scopes.build(more.body.block, True, fill)
        emit.add(more)
        return emit.value(wgsl.LetOp(emit.value(wgsl.ReadOp.at(total, Index(), type, {}))))

    def _linear(self, axes: int) -> Index:
        """The position among the invocations that differ in the first ids only."""
        position = Index()
        for lid, size in list(zip(self._lid, self._sizes, strict=True))[:axes][::-1]:
            position = position * size + lid
        return position

    def _array(self, type: Attribute, shares: int, size: int) -> SSAValue:
        key = (type, shares, size)
        if key not in self._arrays:
            op = wgsl.WorkgroupOp(f"s{len(self._arrays)}", MemRefType(type, [size]))
            function = self._module.function
            self._module.body.block.insert_op_before(op, function)
            self._arrays[key] = op.memory
        return self._arrays[key]
