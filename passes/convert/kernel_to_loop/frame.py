"""What every kernel shares whatever its nest: bindings, results, and the loop kernel around them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import DenseArrayBase, MemRefType, i64
from xdsl.ir import Attribute, Operation, SSAValue

from tstorch.dialects import flow, loop
from tstorch.dialects.indexing import Index
from tstorch.dialects.loop import Constraint, NestBuilder, kernel_builder
from tstorch.dialects.prim.base import ElementwiseOp, IndexMapOp
from tstorch.passes.convert.kernel_to_loop.emit import Emitter, unsettled
from tstorch.passes.convert.kernel_to_loop.nest import Ids, parallel, serving, shape_of, tensor_type

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
                self.build.insert(loop.StoreOp(element, memory, place.index, unsettled(place.mask)))

    def store_at(self, seeds: dict[SSAValue, Indices], mask: Sequence[Constraint] = ()) -> None:
        """Stores each result's element where the loops stand; `seeds` says where that is in the anchor's values."""
        where = spread_indices(self.kernel, seeds)
        places: list[Place] = []
        for number, value in enumerate(self.kernel.yielded):
            if value not in where:
                name = self.kernel.sym_name.data
                raise TypeError(f"result {number} of kernel @{name} is no elementwise function of its anchor")
            places.append(Place(number, where[value], mask))
        self.store(places)


@dataclass(frozen=True)
class Place:
    """One element of a result, by the result's number, and when it is to be stored."""

    result: int
    index: Indices
    mask: Sequence[Constraint] = ()


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
        [MemRefType(tensor_type(value).element_type, shape_of(value)) for value in values],
        grid.groups,
        grid.workgroup,
        kind=None if schedule is None else schedule.kind.data,
        ops=[op.name for op in kernel.ops],
        attributes=attributes,
    )
    converted.location = kernel.location
    bindings = converted.bindings
    memory = dict(zip(kernel.block.args, bindings, strict=False))
    place = dict(zip(free, bindings[len(memory) :], strict=True))
    results = {number: place.get(number, bindings[operand]) for number, operand in enumerate(tied)}
    build = kernel_builder(converted)
    build.location = kernel.ops[0].location if kernel.ops else kernel.location
    with parallel(build, grid.groups, grid.workgroup) as ids:
        body(Frame(kernel, build, Emitter(build, memory), results), ids)
    return converted


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
