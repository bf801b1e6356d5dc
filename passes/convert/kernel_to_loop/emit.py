"""Scalar code for single elements of a kernel's values, pulled from the bindings through index maps.

Nothing is materialised between two ops of a kernel: whoever needs an element asks for it at its index, the index maps
on the way are composed, and elementwise bodies are emitted where they are needed.
"""

from collections.abc import Callable, Mapping, Sequence

from xdsl.dialects import arith
from xdsl.dialects.builtin import f16
from xdsl.ir import Block, SSAValue

from tstorch.dialects import loop
from tstorch.dialects.indexing import Index, as_index, linearize
from tstorch.dialects.loop import Constraint, NestBuilder
from tstorch.dialects.prim.base import ElementwiseOp, IndexMapOp, PrimOp, Source, constant_of
from tstorch.dialects.prim.elementwise import (
    CeilOp,
    FloorOp,
    MaximumOp,
    MinimumOp,
    RoundOp,
    SelectOp,
    SignOp,
    TruncOp,
)
from tstorch.dialects.prim.generator import ConstantOp, IotaOp
from tstorch.dialects.prim.indexing import GatherOp
from tstorch.dialects.prim.scalar import Scalar, number_attribute
from tstorch.dialects.prim.selection import narrow_bounds
from tstorch.dialects.prim.types import integer, ints
from tstorch.passes.convert.kernel_to_loop.nest import (
    number,
    registers_of,
    serving,
    shape_of,
    tensor_type,
)

Indices = Sequence[Index]
_EXACT = (SelectOp, MaximumOp, MinimumOp, FloorOp, CeilOp, RoundOp, TruncOp, SignOp)
"""What gives one of its operands, or a whole number near it: as narrow as they are."""
Known = Callable[[Indices], SSAValue | None]
"""The element at an index, where loops hold it; None where they do not."""


class Emitter:
    """Emits the elements of a kernel's values. `known` holds what loops have computed: accumulators, row sums."""

    def __init__(self, build: NestBuilder, memory: Mapping[SSAValue, SSAValue]) -> None:
        self.build = build
        self.memory = memory
        self.known: dict[SSAValue, Known] = {}
        self._emitted: dict[Block, dict[tuple, SSAValue]] = {}

    def at(self, value: SSAValue, index: Indices, mask: Sequence[Constraint] = ()) -> SSAValue:
        """The element of `value` at `index`, as a scalar.

        Where a constraint of `mask` fails no memory is read and the element is anything: 0 if it comes from memory.
        """
        key = (value, tuple(index), tuple(mask))
        if (found := self._lookup(key)) is None:
            found = self._emit(value, index, mask)
            self._emitted.setdefault(self._block, {})[key] = found
        return found

    def at_or(self, value: SSAValue, index: Indices, mask: Sequence[Constraint], fill: float) -> SSAValue:
        """The element where the mask holds, else the number `fill`."""
        mask = unsettled(mask)
        if not mask:
            return self.at(value, index)
        if value in self.memory and value not in self.known:
            return self._load(value, index, mask, fill)
        owner = value.owner
        if isinstance(owner, IndexMapOp) and (source := only_source(owner, index)) is not None:
            return self.at_or(owner.operands[source.operand], source.index, mask, fill)
        return self._choose(mask, self.at(value, index, mask), number(self.build, fill, registers_of(value)))

    def at_source(self, op: PrimOp, source: Source, fill: float) -> SSAValue:
        """The operand's element that a source names, else `fill`."""
        return self.at_or(op.operands[source.operand], source.index, source.mask, fill)

    @property
    def _block(self) -> Block:
        return self.build.insertion_point.block

    def _lookup(self, key: tuple) -> SSAValue | None:
        """What was emitted for the key in this block or one around it."""
        block: Block | None = self._block
        while block is not None:
            if (found := self._emitted.get(block, {}).get(key)) is not None:
                return found
            block = block.parent_block()
        return None

    def _emit(self, value: SSAValue, index: Indices, mask: Sequence[Constraint]) -> SSAValue:
        if (known := self.known.get(value)) is not None and (held := known(index)) is not None:
            return self._wrapped(held, value)
        owner = value.owner
        if isinstance(owner, Block):
            return self._load(value, index, unsettled(mask), 0)
        with serving(self.build, owner):
            match owner:
                case ElementwiseOp():
                    operands = [self.at(operand, index, mask) for operand in owner.operands]
                    result = owner.scalar_body(operands, self.build)
                    return result if isinstance(owner, _EXACT) else self._wrapped(result, value)
                case IndexMapOp():
                    return self._moved(owner, index, mask)
                case ConstantOp():
                    return self._constant(owner, index)
                case IotaOp():
                    return self._ramp(owner, index)
                case GatherOp():
                    return self._gathered(owner, index, mask)
        raise TypeError(f"'{owner.name}' has no element of its own; its kind needs a loop nest around it")

    def _wrapped(self, scalar: SSAValue, value: SSAValue) -> SSAValue:
        """The scalar as the value's type holds it: registers are wider than what is stored, and a number must not
        depend on whether it was stored in between.
        """
        element = tensor_type(value).element_type
        if element == f16:
            return self.build.insert(loop.RoundHalfOp(scalar)).result
        bounds = narrow_bounds(element)
        if bounds is None:
            return scalar
        low, high = bounds
        spare = 32 - (high - low).bit_length()
        if low == 0:
            return (Scalar(scalar, self.build) & high).value
        amount = number(self.build, spare, scalar.type)
        shifted = self.build.insert(arith.ShLIOp(scalar, amount)).result
        return self.build.insert(arith.ShRSIOp(shifted, amount)).result

    def _load(self, value: SSAValue, index: Indices, mask: Sequence[Constraint], fill: float) -> SSAValue:
        memory = self.memory[value]
        other = number_attribute(fill, registers_of(value)) if mask and fill else None
        return self.build.insert(loop.LoadOp(memory, index, mask, other)).result

    def _choose(self, mask: Sequence[Constraint], then: SSAValue, otherwise: SSAValue) -> SSAValue:
        condition = self.build.insert(loop.WithinOp(mask)).result
        return self.build.insert(loop.SelectOp(condition, then, otherwise)).result

    def _moved(self, op: IndexMapOp, index: Indices, mask: Sequence[Constraint]) -> SSAValue:
        """The first source whose mask holds; the last one's always does where none before it did."""
        *others, last = op.sources(index)
        filler = constant_of(op.operands[last.operand])
        if len(others) == 1 and not mask and filler is not None and filler.is_splat():
            return self.at_source(op, others[0], filler.get_values()[0])
        result = self.at(op.operands[last.operand], last.index, [*mask, *unsettled(last.mask)])
        for source in reversed(others):
            where = unsettled(source.mask)
            element = self.at(op.operands[source.operand], source.index, [*mask, *where])
            result = self._choose(where, element, result) if where else element
        return result

    def _constant(self, op: ConstantOp, index: Indices) -> SSAValue:
        """The number itself, or a choice between the few numbers of a table."""
        type = registers_of(op.result)
        numbers = op.value.get_values()
        if op.value.is_splat():
            return number(self.build, numbers[0], type)
        position = linearize(index, shape_of(op.result))
        result = number(self.build, numbers[-1], type)
        for place, each in enumerate(numbers[:-1]):
            result = self._choose([(position - place, 1)], number(self.build, each, type), result)
        return result

    def _ramp(self, op: IotaOp, index: Indices) -> SSAValue:
        type = registers_of(op.result)
        counted = self.build.insert(loop.IndexValueOp(index[op.dimension.value.data])).result
        return counted if counted.type == type else self.build.insert(loop.CastOp(counted, type)).result

    def _gathered(self, op: GatherOp, index: Indices, mask: Sequence[Constraint]) -> SSAValue:
        """The operand's element whose window begins where the indices say, clamped so that the window fits."""
        offsets, dropped, axes = ints(op.offset_dims), ints(op.collapsed_slice_dims), ints(op.start_index_map)
        batch = [at for dim, at in enumerate(index) if dim not in offsets]
        within = iter(index[dim] for dim in offsets)
        place: list[Index] = []
        for axis, (size, window) in enumerate(zip(shape_of(op.operand), ints(op.slice_sizes), strict=True)):
            at = Index() if axis in dropped else next(within)
            if axis in axes and size > window:
                held = self.at(op.indices, _component(op, batch, axes.index(axis)), mask)
                at = at + self._bounded(held, size - window)
            place.append(at)
        return self.at(op.operand, place, mask)

    def _bounded(self, value: SSAValue, highest: int) -> Index:
        """An integer as an index, clamped to 0..highest."""
        type = value.type
        low, high = (number(self.build, bound, type) for bound in (0, highest))
        if type == loop.ui32:
            clamped = self.build.insert(arith.MinUIOp(value, high)).result
        else:
            raised = self.build.insert(arith.MaxSIOp(value, low)).result
            clamped = self.build.insert(arith.MinSIOp(raised, high)).result
        position = self.build.insert(loop.ToIndexOp(clamped, highest + 1)).result
        return loop.dim_of(position)


def unsettled(mask: Sequence[Constraint]) -> list[Constraint]:
    """The constraints that do not always hold."""
    return [(as_index(e), bound) for e, bound in mask if not as_index(e).is_within(bound)]


def only_source(op: IndexMapOp, index: Indices) -> Source | None:
    """The one operand element that the result's is, whatever the index; None where it depends."""
    sources = op.sources(index)
    return sources[0] if len(sources) == 1 and not unsettled(sources[0].mask) else None


def _component(op: GatherOp, batch: Indices, number: int) -> list[Index]:
    """Where in the indices component `number` of the index for `batch` stands."""
    place, axis = list(batch), integer(op.index_vector_dim)
    if axis < len(shape_of(op.indices)):
        place.insert(axis, Index(number))
    return place
