"""What every kernel shares whatever its nest: bindings, results, and the loop kernel around them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import DenseArrayBase, MemRefType, i64
from xdsl.ir import Attribute, Operation, SSAValue

from tstorch.dialects import flow, loop
from tstorch.dialects.indexing import Index, linearize
from tstorch.dialects.loop import Constraint, NestBuilder, kernel_builder
from tstorch.dialects.prim.base import ElementwiseOp, IndexMapOp
from tstorch.passes.convert.kernel_to_loop.emit import Emitter, unsettled
from tstorch.passes.convert.kernel_to_loop.nest import (
    Ids,
    load,
    loops,
    parallel,
    private,
    registers_of,
    serving,
    shape_of,
    size_of,
    split,
    store,
    tensor_type,
)

Indices = Sequence[Index]


@dataclass(frozen=True)
class Grid:
    """How many workgroups of how many invocations run a kernel."""

    groups: tuple[int, int, int]
    workgroup: tuple[int, int, int]


@dataclass(frozen=True)
class Frame:
    """A loop kernel under construction: its builder, its emitter, and where its results are stored."""

    kernel: flow.KernelOp
    build: NestBuilder
    emit: Emitter
    results: dict[int, SSAValue]
    """The binding of each result by number; a tied result is its operand's."""

    def store(self, places: Sequence["Place"]) -> None:
        """Emits one element of each result, then stores them: a tied result overwrites what others still read."""
        elements = [self.emit.at(self.kernel.yielded[place.result], place.index) for place in places]
        for place, element in zip(places, elements, strict=True):
            owner = self.kernel.yielded[place.result].owner
            with serving(self.build, owner if isinstance(owner, Operation) else self.kernel.ops[0]):
                memory = self.results[place.result]
                index = self._flat(place) if _is_flat(memory, place) else place.index
                self.build.insert(loop.StoreOp(element, memory, index, unsettled(place.mask)))

    @property
    def is_narrow(self) -> bool:
        """Whether elements of some result share a word: an invocation then stores whole words at once."""
        return any(map(is_narrow, self.kernel.yielded))

    def store_lanes(self, first: Index, count: int, places: Callable[[Index], Sequence["Place"]]) -> None:
        """Stores elements first .. first + count - 1 of results, in row-major order; `places` says which and where."""
        if self.is_narrow:
            self._store_together(first, count, places)
            return
        with loops(self.build, [count], unroll=True) as [lane]:
            self.store(places(lane))

    def _store_together(self, first: Index, count: int, places: Callable[[Index], Sequence["Place"]]) -> None:
        """Emits the elements one after the other, then stores them all: a narrow result's as the words they share."""
        build, values = self.build, self.kernel.yielded
        held = [private(build, [count], registers_of(values[place.result])) for place in places(Index())]
        with loops(build, [count], unroll=True) as [lane]:
            for place, memory in zip(places(lane), held, strict=True):
                store(build, self.emit.at(values[place.result], place.index), memory, lane)
        for number, memory in enumerate(held):
            with loops(build, [count], unroll=True) as [lane]:
                place = places(lane)[number]
                binding = self.results[place.result]
                index = self._flat(place, first + lane) if _is_flat(binding, place) else place.index
                build.insert(loop.StoreOp(load(build, memory, lane), binding, index, unsettled(place.mask)))

    def _flat(self, place: "Place", position: Index | None = None) -> Indices:
        """A narrow result's binding has one dimension, so that neighbours are seen to be neighbours."""
        shape = shape_of(self.kernel.yielded[place.result])
        if position is not None and list(place.index) == split(position, shape):
            return [position]
        return [linearize(place.index, shape)]

    def places_at(self, seeds: dict[SSAValue, Indices], mask: Sequence[Constraint] = ()) -> "list[Place]":
        """Each result's element where the loops stand; `seeds` says where that is in the anchor's values."""
        where = spread_indices(self.kernel, seeds)
        places: list[Place] = []
        for number, value in enumerate(self.kernel.yielded):
            if value not in where:
                name = self.kernel.sym_name.data
                raise TypeError(f"result {number} of kernel @{name} is no elementwise function of its anchor")
            places.append(Place(number, where[value], mask))
        return places


@dataclass(frozen=True)
class Place:
    """One element of a result, by the result's number, and when it is to be stored."""

    result: int
    index: Indices
    mask: Sequence[Constraint] = ()


def _is_flat(memory: SSAValue, place: Place) -> bool:
    return isinstance(memory.type, MemRefType) and len(memory.type.get_shape()) != len(place.index)


def is_narrow(value: SSAValue) -> bool:
    """Whether several of the value's elements share a word of memory."""
    return loop.packed_per_word(tensor_type(value).element_type) > 1


def convert(kernel: flow.KernelOp, grid: Grid, body: Callable[[Frame, Ids], None]) -> loop.KernelOp:
    """The loop kernel whose nest `body` builds.

    Bindings are the operands, then the results that are not tied to an operand.
    """
    tied = kernel.tied_operands
    free = [number for number, operand in enumerate(tied) if operand == flow.NOT_TIED]
    values = [*kernel.block.args, *(kernel.yielded[number] for number in free)]
    schedule = kernel.schedule
    attributes: dict[str, Attribute] = {} if schedule is None else {"schedule": schedule}
    if len(free) < len(tied):
        attributes["tied"] = DenseArrayBase.from_list(i64, tied)
    converted = loop.KernelOp(
        kernel.sym_name.data,
        [MemRefType(tensor_type(value).element_type, _memory_shape(value, kernel)) for value in values],
        grid.groups,
        grid.workgroup,
        kind=None if schedule is None else schedule.kind.data,
        ops=[op.name for op in kernel.ops],
        attributes=attributes,
    )
    converted.location = kernel.location
    bindings = converted.bindings
    memory: dict[SSAValue, SSAValue] = dict(zip(kernel.block.args, bindings, strict=False))
    place = dict(zip(free, bindings[len(memory) :], strict=True))
    results = {number: place.get(number, bindings[operand]) for number, operand in enumerate(tied)}
    build = kernel_builder(converted)
    build.location = kernel.ops[0].location if kernel.ops else kernel.location
    with parallel(build, grid.groups, grid.workgroup) as ids:
        body(Frame(kernel, build, Emitter(build, memory), results), ids)
    return converted


def _memory_shape(value: SSAValue, kernel: flow.KernelOp) -> Sequence[int]:
    return [size_of(value)] if value not in kernel.block.args and is_narrow(value) else shape_of(value)


def spread_indices(kernel: flow.KernelOp, seeds: dict[SSAValue, Indices]) -> dict[SSAValue, Indices]:
    """Where the element that the loops stand at lies in each value: along elementwise ops and bijective index maps.

    `seeds` are the values whose index is known: the result of a contraction, the operand of a row reduction.
    """
    known = dict(seeds)
    ops, before = kernel.ops, -1
    while before != len(known):
        before = len(known)
        for op in ops:
            if isinstance(op, ElementwiseOp):
                values = [*op.operands, *op.results]
                index = next((known[value] for value in values if value in known), None)
                if index is not None:
                    known.update((value, index) for value in values if value not in known)
            elif isinstance(op, IndexMapOp):
                known.update(_across(op, known))
    return known


def _across(op: IndexMapOp, known: dict[SSAValue, Indices]) -> dict[SSAValue, Indices]:
    """The index on the other side of a bijective index map, where that on one side is known."""
    operand, result = op.operands[0], op.results[0]
    if operand in known and result not in known:
        moved = op.forward(known[operand])
        return {} if moved is None else {result: moved}
    if result in known and operand not in known:
        origin = op.sources(known[result])[0].index
        return {} if op.forward(origin) is None else {operand: origin}
    return {}
