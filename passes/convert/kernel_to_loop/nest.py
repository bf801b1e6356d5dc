"""Small helpers that all loop nests are built with."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod

from xdsl.dialects.builtin import MemRefType, TensorType
from xdsl.ir import Attribute, Operation, SSAValue

from tstorch.dialects import loop
from tstorch.dialects.indexing import Index, delinearize
from tstorch.dialects.loop import Id, NestBuilder
from tstorch.dialects.prim.scalar import constant

MAX_GROUPS = 65535  # workgroups along one dimension of a grid, WebGPU's maxComputeWorkgroupsPerDimension

Ids = dict[Id, Index]


@contextmanager
def parallel(build: NestBuilder, grid: Sequence[int], workgroup: Sequence[int]) -> Iterator[Ids]:
    """The loop over all invocations; gives each id as an expression, 0 for those that do not vary."""
    extents = dict(zip(Id, (*grid, *workgroup), strict=True))
    varying = [id for id, extent in extents.items() if extent > 1]
    with build.parallel(varying) as indices:
        yield dict.fromkeys(Id, Index()) | dict(zip(varying, indices, strict=True))


@contextmanager
def loops(build: NestBuilder, extents: Sequence[int], *, unroll: bool = False) -> Iterator[list[Index]]:
    """Loops inside each other, outermost first; none where there is one iteration."""
    if not extents:
        yield []
    elif extents[0] == 1:
        with loops(build, extents[1:], unroll=unroll) as rest:
            yield [Index(), *rest]
    else:
        with build.loop(extents[0], unroll=unroll) as first, loops(build, extents[1:], unroll=unroll) as rest:
            yield [first, *rest]


@contextmanager
def steps(build: NestBuilder, extent: int, step: int) -> Iterator[Index]:
    """A serial loop over 0, step, ... below `extent`; none where it would run once."""
    if extent <= step:
        yield Index()
    else:
        with build.loop(extent, step) as index:
            yield index


@contextmanager
def serving(build: NestBuilder, op: Operation) -> Iterator[None]:
    """Ops inserted inside get the location of `op`."""
    before, build.location = build.location, op.location
    yield
    build.location = before


def private(build: NestBuilder, shape: Sequence[int], element: Attribute) -> SSAValue:
    """Registers of one invocation."""
    return build.insert(loop.AllocOp(loop.MemorySpace.PRIVATE, MemRefType(element, shape))).memory


def load(build: NestBuilder, memory: SSAValue, *index: Index) -> SSAValue:
    """The element at `index`."""
    return build.insert(loop.LoadOp(memory, index)).result


def store(build: NestBuilder, value: SSAValue, memory: SSAValue, *index: Index) -> None:
    """Writes the element at `index`."""
    build.insert(loop.StoreOp(value, memory, index))


def number(build: NestBuilder, value: float, type: Attribute) -> SSAValue:
    """A constant of a register type."""
    return constant(value, type, build).value


def tensor_type(value: SSAValue) -> TensorType:
    """The type of a kernel's tensor value."""
    if not isinstance(value.type, TensorType):
        raise TypeError(f"{value.type} is no tensor")
    return value.type


def shape_of(value: SSAValue) -> tuple[int, ...]:
    """The shape of a kernel's tensor value."""
    return tensor_type(value).get_shape()


def size_of(value: SSAValue) -> int:
    """The number of elements."""
    return prod(shape_of(value))


def registers_of(value: SSAValue) -> Attribute:
    """The type in which an element of the value is computed."""
    element = tensor_type(value).element_type
    if (found := loop.register_type(element)) is None:
        raise TypeError(f"{element} has no register type; legalize-types leaves none such")
    return found


def split(position: Index, shape: Sequence[int]) -> list[Index]:
    """The indices of a row-major position; beyond the last element the first index goes on growing."""
    inner = prod(shape[1:])
    return [position // inner, *delinearize(position % inner, shape[1:])] if shape else []


def largest_divisor(size: int, limit: int) -> int:
    """The largest divisor of `size` that is at most `limit`."""
    return next(d for d in range(min(size, limit), 0, -1) if size % d == 0)


def spread(groups: int) -> tuple[int, int, int]:
    """A grid of at least so many workgroups, within the limit along each dimension."""
    y = -(-groups // MAX_GROUPS)
    return -(-groups // y), y, 1


def flat_group(ids: Ids, grid: Sequence[int]) -> Index:
    """The number of the workgroup in a grid of `spread`."""
    return ids[Id.WG_Y] * grid[0] + ids[Id.WG_X]
