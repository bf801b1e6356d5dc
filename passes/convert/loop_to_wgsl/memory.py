"""Arrays and registers for a kernel's memory, and its loads and stores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import MemRefType, f32, i1
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects import loop, wgsl
from tstorch.dialects.indexing import Index, linearize
from tstorch.dialects.loop import LANES, Constraint, packed_per_word, register_type, ui32, vector_of
from tstorch.dialects.loop.access import LANE_KEY
from tstorch.dialects.loop.types import element_count
from tstorch.dialects.wgsl import Builtin, Operator
from tstorch.passes.convert.loop_to_wgsl.emit import Emitter
from tstorch.passes.convert.loop_to_wgsl.scalars import nonfinite_bits
from tstorch.passes.convert.loop_to_wgsl.scopes import Scopes


@dataclass(frozen=True)
class Memory:
    """How a memory of the kernel is laid out: one type of element, vectors where all accesses allow it."""

    type: MemRefType
    lanes: int
    registers: bool = False
    value: SSAValue | None = None

    @property
    def scalar(self) -> Attribute:
        """The register type of an element."""
        found = register_type(self.type.element_type)
        if found is None:
            raise VerifyException(f"{self.type} has no WGSL form")
        return found

    @property
    def stored(self) -> Attribute:
        """The type of an element in memory: a condition is a word, 0 or 1, where others may read it."""
        return ui32 if self.scalar == i1 and not self.registers else self.scalar

    @property
    def array_type(self) -> MemRefType:
        """The one-dimensional array of the WGSL variable."""
        element = vector_of(self.stored) if self.lanes > 1 else self.stored
        return MemRefType(element, [-(-element_count(self.type) // self.lanes)])


class AccessPlan:
    """What all accesses of a kernel ask of its memory."""

    def __init__(self, kernel: loop.KernelOp) -> None:
        self._linear: dict[Operation, Index] = {}
        self._accesses: dict[SSAValue, list[loop.AccessOp]] = {}
        for op in kernel.walk():
            if isinstance(op, loop.AccessOp):
                self._accesses.setdefault(op.memory, []).append(op)
                self._linear[op] = linearize(op.index_list, op.memory_type.get_shape())

    def linear(self, op: loop.AccessOp) -> Index:
        """The position of the element, of lane `lane` for a vector."""
        return self._linear[op]

    def vector_start(self, op: loop.AccessOp) -> Index | None:
        """The position of lane 0 where the lanes are neighbours and lane 0 is a multiple of 4; else None."""
        linear = self._linear[op]
        if linear.coefficient(LANE_KEY) != 1:
            return None
        start = linear.substitute({LANE_KEY: 0})
        return start if start.is_multiple_of(LANES) else None

    def is_written(self, memory: SSAValue) -> bool:
        return any(isinstance(op, loop.StoreOp | loop.MergeOp) for op in self._accesses.get(memory, ()))

    def is_shared(self, memory: SSAValue) -> bool:
        """Whether several invocations write parts of one word."""
        return any(isinstance(op, loop.MergeOp) for op in self._accesses.get(memory, ()))

    def layout(self, memory: SSAValue) -> Memory:
        """Decides between vectors and scalars."""
        type = memory.type
        if not isinstance(type, MemRefType) or packed_per_word(type.element_type) > 1:
            raise VerifyException(f"memory of type {type} is packed; pack-words has to run before")
        accesses = self._accesses.get(memory, [])
        owner = memory.owner
        if isinstance(owner, loop.AllocOp) and owner.is_private:
            return Memory(type, LANES if self._registers_as_vectors(accesses) else 1, registers=True)
        whole = element_count(type) % LANES == 0 and bool(accesses) and all(map(self._as_vector, accesses))
        return Memory(type, LANES if whole else 1)

    def _registers_as_vectors(self, accesses: Sequence[loop.AccessOp]) -> bool:
        """A scalar access is then a component of a register."""
        vectors = [op for op in accesses if op.is_vector]
        return bool(vectors) and all(self.vector_start(op) is not None for op in vectors)

    def _as_vector(self, op: loop.AccessOp) -> bool:
        if not op.is_vector or self.vector_start(op) is None:
            return False
        return isinstance(op, loop.LoadOp) or lane_free(op.constraints) is not None


def lane_free(constraints: Sequence[Constraint]) -> list[Constraint] | None:
    """Constraints that hold for a whole vector or for none of it, without the lane; None where lanes differ."""
    found: list[Constraint] = []
    for expr, bound in constraints:
        coefficient = expr.coefficient(LANE_KEY)
        start = expr.substitute({LANE_KEY: 0})
        if coefficient not in (0, 1) or (coefficient == 1 and (bound % LANES or not start.is_multiple_of(LANES))):
            return None
        found.append((start, bound))
    return found


@dataclass
class Accesses:
    """Lowers loads, stores and masks."""

    plan: AccessPlan
    scopes: Scopes
    memories: dict[SSAValue, Memory]

    def load(self, op: loop.LoadOp, emit: Emitter) -> SSAValue:
        """The value loaded, or the one that stands for it where the mask fails."""
        memory = self.memories[op.memory]
        constraints = op.constraints
        if not op.is_vector:
            value = self._element(memory, self.plan.linear(op), emit)
            condition = self.condition(constraints, emit)
        else:
            value = self._vector(memory, op, emit)
            condition = self.vector_condition(constraints, emit)
        if condition is None:
            return value
        other = op.other.value.data if op.other is not None else 0
        return emit.select(condition, value, self.constant(other, value.type, emit))

    def constant(self, number: float, type: Attribute, emit: Emitter) -> SSAValue:
        """A constant, infinite or not."""
        if number - number == 0:
            return emit.number(number, type)
        scalar = self.nonfinite(number, emit)
        return scalar if type == f32 else emit.convert(type, scalar)

    def nonfinite(self, number: float, emit: Emitter) -> SSAValue:
        """An infinity or NaN, which WGSL can only make at run time, out of bits that no compiler folds."""
        bits = nonfinite_bits(number)
        outermost = self.scopes.outermost
        if (value := outermost.constants.get(bits)) is None:
            top = Emitter(outermost.block, emit.location)
            zero = top.value(wgsl.RegistersOp(MemRefType(ui32, [1])))
            word = top.value(wgsl.ReadOp.at(zero, Index(), ui32, {}))
            made = top.bitcast(f32, top.binary(Operator.OR, word, top.number(bits, ui32)))
            value = outermost.constants[bits] = top.value(wgsl.LetOp(made))
        return value

    def store(self, op: loop.StoreOp, value: SSAValue, emit: Emitter) -> None:
        memory = self.memories[op.memory]
        constraints = op.constraints
        if not op.is_vector:
            self._guarded(constraints, emit, lambda inner: self._set(memory, self.plan.linear(op), value, inner))
            return
        whole = lane_free(constraints)
        start = self.plan.vector_start(op)
        if memory.lanes > 1 and start is not None and whole is not None:
            self._guarded(whole, emit, lambda inner: self._set(memory, start, value, inner))
        elif whole is not None:
            self._guarded(whole, emit, lambda inner: self._set_lanes(memory, op, value, inner))
        else:
            for lane in range(LANES):
                at = {LANE_KEY: lane}
                one = [(expr.substitute(at), bound) for expr, bound in constraints]
                self._guarded(one, emit, lambda inner, lane=lane: self._set_lane(memory, op, value, lane, inner))

    def merge(self, op: loop.MergeOp, bits: SSAValue, keep: SSAValue, emit: Emitter) -> None:
        """Replaces some bits of a word."""
        array = _variable(self.memories[op.memory])

        def change(inner: Emitter) -> None:
            place = self.scopes.spell(self.plan.linear(op), inner)
            inner.add(wgsl.MergeOp(bits, keep, array, place))

        self._guarded(op.constraints, emit, change)

    def condition(self, constraints: Sequence[Constraint], emit: Emitter) -> SSAValue | None:
        """Whether all hold; None where they always do."""
        found: SSAValue | None = None
        for expr, bound in constraints:
            if expr.is_within(bound):
                continue
            index = self.scopes.spell(expr, emit)
            one = emit.binary(Operator.LT, index, emit.number(bound, ui32))
            found = one if found is None else emit.binary(Operator.BOTH, found, one)
        return found

    def vector_condition(self, constraints: Sequence[Constraint], emit: Emitter) -> SSAValue | None:
        """One condition for all lanes where they agree, else one for each."""
        if (whole := lane_free(constraints)) is not None:
            return self.condition(whole, emit)
        lanes = []
        for lane in range(LANES):
            at = [(expr.substitute({LANE_KEY: lane}), bound) for expr, bound in constraints]
            condition = self.condition(at, emit)
            lanes.append(emit.number(1, i1) if condition is None else condition)
        return emit.convert(vector_of(i1), *lanes)

    def _guarded(self, constraints: Sequence[Constraint], emit: Emitter, fill: Callable[[Emitter], None]) -> None:
        condition = self.condition(constraints, emit)
        if condition is None:
            fill(emit)
            return
        op = wgsl.IfOp(condition)
        inner = Emitter(op.body.block, emit.location)
        self.scopes.build(op.body.block, False, lambda: fill(inner))
        emit.add(op)

    def _vector(self, memory: Memory, op: loop.LoadOp, emit: Emitter) -> SSAValue:
        start = self.plan.vector_start(op)
        if memory.lanes > 1 and start is not None:
            return self._whole(memory, start, emit)
        linear = self.plan.linear(op)
        lanes = [self._element(memory, linear.substitute({LANE_KEY: lane}), emit) for lane in range(LANES)]
        return emit.convert(vector_of(memory.scalar), *lanes)

    def _whole(self, memory: Memory, start: Index, emit: Emitter) -> SSAValue:
        array = _variable(memory)
        if memory.registers:
            return emit.value(wgsl.ReadOp.at(array, start, vector_of(memory.scalar), self.scopes.values))
        value = emit.value(wgsl.LoadOp(array, self.scopes.spell(start // LANES, emit)))
        return self._from_memory(memory, value, emit)

    def _element(self, memory: Memory, position: Index, emit: Emitter) -> SSAValue:
        array = _variable(memory)
        if memory.registers:
            return emit.value(wgsl.ReadOp.at(array, position, memory.scalar, self.scopes.values))
        value = emit.value(wgsl.LoadOp(array, self._legal(memory, position, emit)))
        return self._from_memory(memory, value, emit)

    def _legal(self, memory: Memory, position: Index, emit: Emitter) -> SSAValue:
        """The position; one inside the array where it is known to be outside, or will be once loops are expanded.

        No mask lets such a one through, and no compiler accepts it.
        """
        count = element_count(memory.type)
        if position.is_constant and not position.is_within(count):
            return self.scopes.spell(Index(), emit)
        place = self.scopes.spell(position, emit)
        if position.is_within(count) or not self.scopes.is_static(position):
            return place
        return emit.call(Builtin.MIN, place, emit.number(count - 1, place.type))

    def _from_memory(self, memory: Memory, value: SSAValue, emit: Emitter) -> SSAValue:
        if memory.scalar == memory.stored:
            return value
        return emit.binary(Operator.NE, value, emit.number(0, value.type))

    def _set(self, memory: Memory, position: Index, value: SSAValue, emit: Emitter) -> None:
        """Stores an element, or a vector that starts at the position."""
        array = _variable(memory)
        if memory.registers:
            emit.add(wgsl.WriteOp.at(value, array, position, self.scopes.values))
            return
        if memory.scalar != memory.stored:
            value = emit.convert(vector_of(memory.stored) if memory.lanes > 1 else memory.stored, value)
        place = self.scopes.spell(position // memory.lanes if memory.lanes > 1 else position, emit)
        emit.add(wgsl.StoreOp(value, array, place))

    def _set_lanes(self, memory: Memory, op: loop.StoreOp, value: SSAValue, emit: Emitter) -> None:
        for lane in range(LANES):
            self._set_lane(memory, op, value, lane, emit)

    def _set_lane(self, memory: Memory, op: loop.StoreOp, value: SSAValue, lane: int, emit: Emitter) -> None:
        position = self.plan.linear(op).substitute({LANE_KEY: lane})
        self._set(memory, position, emit.component(value, lane), emit)


def _variable(memory: Memory) -> SSAValue:
    if memory.value is None:
        raise VerifyException(f"memory of type {memory.type} is used before it is allocated")
    return memory.value
