"""Primitives that read or write where another operand says, as StableHLO defines them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from xdsl.builder import Builder
from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, TensorType, f16, f32, i32, i64
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import Operation, SpacedOpaqueSyntaxAttribute, SSAValue
from xdsl.irdl import VarConstraint, base, irdl_attr_definition, irdl_op_definition, operand_def, prop_def, result_def
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum

from tstorch.dialects.prim.base import Array, Cotangents, Gradients, IndexedOp, Properties, elements
from tstorch.dialects.prim.formula import Formula, filled, formulas
from tstorch.dialects.prim.generator import ConstantOp
from tstorch.dialects.prim.operands import require, shape_of
from tstorch.dialects.prim.reduction import ReduceOp
from tstorch.dialects.prim.sample import Sample
from tstorch.dialects.prim.shape import BroadcastInDimOp
from tstorch.dialects.prim.types import INTEGERS, array_attr, dtype_of, int_attr, integer, ints, tensor


def _batch_shape(indices: Sequence[int], vector_axis: int) -> list[int]:
    """The shape of the index operand without the dimension that holds an index's components."""
    return [size for axis, size in enumerate(indices) if axis != vector_axis]


def _components(indices: TensorType, vector_axis: int) -> int:
    """How many components each index has; an index dimension past the last stands for one."""
    shape = indices.get_shape()
    require(indices.element_type in INTEGERS, f"{indices} holds no indices")
    require(0 <= vector_axis <= len(shape), f"there is no index dimension {vector_axis} in {indices}")
    return shape[vector_axis] if vector_axis < len(shape) else 1


def _index_vectors(indices: Array, vector_axis: int) -> Array:
    """The indices with their components last."""
    return np.moveaxis(indices, vector_axis, -1) if vector_axis < indices.ndim else indices[..., None]


def _window_positions(starts: Array, axes: Sequence[int], window: Sequence[int]) -> list[Array]:
    """For each operand dimension, where each element of each window lies: arrays that broadcast to batch + window."""
    batch = starts.ndim - 1
    positions = []
    for axis, size in enumerate(window):
        within = np.arange(size).reshape([-1 if axis == other else 1 for other in range(len(window))])
        start = starts[..., axes.index(axis)] if axis in axes else np.zeros(starts.shape[:-1], np.int64)
        positions.append(start.reshape(start.shape + (1,) * len(window)) + within.reshape((1,) * batch + within.shape))
    return positions


def _placed(rank: int, window_dims: Sequence[int]) -> list[int]:
    """The permutation that takes batch + window dimensions to where `window_dims` puts the window's."""
    batch = iter(range(rank - len(window_dims)))
    window = iter(range(rank - len(window_dims), rank))
    return [next(window) if axis in window_dims else next(batch) for axis in range(rank)]


def _check_window(dims: Sequence[int], dropped: Sequence[int], axes: Sequence[int], rank: int, total: int) -> None:
    for what, values, bound in (("window", dims, total), ("dropped", dropped, rank)):
        require(
            list(values) == sorted(set(values)) and all(0 <= axis < bound for axis in values),
            f"the {what} dimensions {list(values)} are not ascending numbers below {bound}",
        )
    require(
        len(set(axes)) == len(axes) and all(0 <= axis < rank for axis in axes),
        f"index components {list(axes)} are not different dimensions of an operand of rank {rank}",
    )
    require(len(dims) + len(dropped) == rank, f"{len(dims)} window and {len(dropped)} dropped dimensions, rank {rank}")


@irdl_op_definition
class GatherOp(IndexedOp):
    """Reads a window of the operand at each index; indices are clamped so that the windows lie inside.

    `start_index_map` names the operand dimensions that an index's components are for, `slice_sizes` is the window,
    `collapsed_slice_dims` its dimensions of size 1 that the result lacks, `offset_dims` where the others stand in it.
    """

    name = "prim.gather"
    operand = operand_def(base(TensorType))
    indices = operand_def(base(TensorType))
    offset_dims = prop_def(DenseArrayBase.constr(i64))
    collapsed_slice_dims = prop_def(DenseArrayBase.constr(i64))
    start_index_map = prop_def(DenseArrayBase.constr(i64))
    index_vector_dim = prop_def(IntegerAttr.constr(i64))
    slice_sizes = prop_def(DenseArrayBase.constr(i64))
    result = result_def(base(TensorType))
    assembly_format = (
        "$operand `,` $indices `,` `offset_dims` `=` $offset_dims `,` `collapsed_slice_dims` `=` $collapsed_slice_dims "
        "`,` `start_index_map` `=` $start_index_map `,` `index_vector_dim` `=` $index_vector_dim `,` "
        "`slice_sizes` `=` $slice_sizes attr-dict `:` type($operand) `,` type($indices) `->` type($result)"
    )

    def __init__(
        self,
        operand: SSAValue | Operation,
        indices: SSAValue | Operation,
        *,
        offset_dims: Sequence[int],
        collapsed_slice_dims: Sequence[int],
        start_index_map: Sequence[int],
        index_vector_dim: int,
        slice_sizes: Sequence[int],
    ):
        properties = {
            "offset_dims": array_attr(offset_dims),
            "collapsed_slice_dims": array_attr(collapsed_slice_dims),
            "start_index_map": array_attr(start_index_map),
            "index_vector_dim": int_attr(index_vector_dim),
            "slice_sizes": array_attr(slice_sizes),
        }
        super().__init__([operand, indices], properties)

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        operand, indices = operands
        offsets, dropped, axes, window = (
            ints(properties[key]) for key in ("offset_dims", "collapsed_slice_dims", "start_index_map", "slice_sizes")
        )
        vector_axis, shape = integer(properties["index_vector_dim"]), operand.get_shape()
        require(_components(indices, vector_axis) == len(axes), f"{indices} does not hold {len(axes)} index components")
        batch = _batch_shape(indices.get_shape(), vector_axis)
        rank = len(batch) + len(offsets)
        _check_window(offsets, dropped, axes, len(shape), rank)
        require(
            len(window) == len(shape) and all(0 <= size <= n for size, n in zip(window, shape, strict=True)),
            f"no window {list(window)} fits {operand}",
        )
        require(all(window[axis] == 1 for axis in dropped), f"a collapsed dimension of {list(window)} is not 1")
        kept = [size for axis, size in enumerate(window) if axis not in dropped]
        sizes = [*batch, *kept]
        return [tensor([sizes[axis] for axis in _placed(rank, offsets)], operand.element_type)]

    def reference(self, x: Array, indices: Array) -> Sequence[Array]:
        axes, window = ints(self.start_index_map), ints(self.slice_sizes)
        limits = np.array([x.shape[axis] - window[axis] for axis in axes], np.int64)
        starts = np.clip(_index_vectors(indices, integer(self.index_vector_dim)).astype(np.int64), 0, limits)
        found = x[tuple(_window_positions(starts, axes, window))].reshape((*starts.shape[:-1], *window))
        dropped = tuple(starts.ndim - 1 + axis for axis in ints(self.collapsed_slice_dims))
        found = found.squeeze(dropped)
        return [found.transpose(_placed(found.ndim, ints(self.offset_dims)))]

    def vjp(self, cotangents: Cotangents, build: Builder) -> Gradients:
        window, axes = ints(self.slice_sizes), ints(self.start_index_map)
        shape, vector_axis = shape_of(self.operand), integer(self.index_vector_dim)
        limits = index_limits(self.indices, vector_axis, [shape[axis] - window[axis] for axis in axes], build)
        clamped = limits.clamp(self.indices)
        zeros = filled(0, self.operand.type, build)  # pyright: ignore[reportArgumentType]
        scatter = ScatterOp(
            zeros, clamped, *cotangents, kind="add", update_window_dims=ints(self.offset_dims),
            inserted_window_dims=ints(self.collapsed_slice_dims), scatter_dims_to_operand_dims=axes,
            index_vector_dim=vector_axis,
        )  # fmt: skip
        return [build.insert(scatter).result, None]

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        rows = {"collapsed_slice_dims": (0,), "start_index_map": (0,), "slice_sizes": (1, 3)}
        ids, table = np.array([[1, 4, 4, 0], [9, -3, 2, 1]]), np.arange(15, dtype=np.float32).reshape(5, 3)
        yield Sample(arrays=[table, ids], properties={"offset_dims": (2,), "index_vector_dim": 2, **rows})
        yield Sample(arrays=[table, ids[0]], properties={"offset_dims": (0,), "index_vector_dim": 1, **rows})
        yield Sample(arrays=[table, ids[0, 0]], properties={"offset_dims": (0,), "index_vector_dim": 0, **rows})
        pairs = {"offset_dims": (), "collapsed_slice_dims": (0, 1), "start_index_map": (1, 0), "slice_sizes": (1, 1)}
        yield Sample(arrays=[table, ids.astype(np.int32)], properties={"index_vector_dim": 0, **pairs})
        yield Sample(
            [(4, 5, 2), (3, 2)],
            {"offset_dims": (0, 2), "collapsed_slice_dims": (1,), "start_index_map": (0, 1), "index_vector_dim": 1,
             "slice_sizes": (2, 1, 2)},
            types=[f16, i32], ranges=[(-2, 2), (0, 4)],
        )  # fmt: skip


class _Limits:
    """The largest allowed index, component by component, as a tensor of the indices' type."""

    def __init__(self, limits: Formula, vector_axis: int):
        self.limits = limits
        self.vector_axis = vector_axis

    def clamp(self, indices: SSAValue) -> SSAValue:
        """The indices, moved inside."""
        from tstorch.dialects.prim.elementwise import MaximumOp, MinimumOp

        return Formula(indices, self.limits.build).apply(MaximumOp, 0).apply(MinimumOp, self.limits).value

    def inside(self, indices: SSAValue) -> Formula:
        """Which indices have all components inside, in the batch's shape, as i1."""
        from tstorch.dialects.prim.elementwise import AndOp

        given = Formula(indices, self.limits.build)
        within = given.compare("ge", 0).apply(AndOp, given.compare("le", self.limits))
        if self.vector_axis == len(shape_of(indices)):
            return within
        return within.apply(ReduceOp, dimensions=[self.vector_axis], kind="and")


def index_limits(indices: SSAValue, vector_axis: int, limits: Sequence[int], build: Builder) -> _Limits:
    """The largest allowed value of each index component, repeated to the shape of the indices."""
    type = indices.type
    numbers = np.array(limits, dtype_of(type))  # pyright: ignore[reportArgumentType]
    placed = vector_axis < len(shape_of(indices))
    constant = build.insert(ConstantOp(numbers if placed else numbers.reshape(()))).result
    dimensions = [vector_axis] if placed else []
    spread = build.insert(BroadcastInDimOp(constant, shape=shape_of(indices), dimensions=dimensions)).result
    return _Limits(Formula(spread, build), vector_axis)


class ScatterKind(StrEnum):
    """What becomes of an element and the update that meets it."""

    ADD = "add"
    MUL = "mul"
    MAX = "max"
    MIN = "min"
    ASSIGN = "assign"


@irdl_attr_definition
class ScatterKindAttr(EnumAttribute[ScatterKind], SpacedOpaqueSyntaxAttribute):
    name = "prim.scatter_kind"


_COMBINE = {
    ScatterKind.ADD: np.add, ScatterKind.MUL: np.multiply, ScatterKind.MAX: np.maximum, ScatterKind.MIN: np.minimum,
}  # fmt: skip


@irdl_op_definition
class ScatterOp(IndexedOp):
    """The operand with a window of updates combined into it at each index; a window not wholly inside is dropped.

    The dimensions mirror prim.gather's. Where two updates meet with `assign`, either may stay; a gradient then counts
    for both.
    """

    name = "prim.scatter"
    T: ClassVar = VarConstraint("T", base(TensorType))
    operand = operand_def(T)
    indices = operand_def(base(TensorType))
    updates = operand_def(base(TensorType))
    kind = prop_def(ScatterKindAttr)
    update_window_dims = prop_def(DenseArrayBase.constr(i64))
    inserted_window_dims = prop_def(DenseArrayBase.constr(i64))
    scatter_dims_to_operand_dims = prop_def(DenseArrayBase.constr(i64))
    index_vector_dim = prop_def(IntegerAttr.constr(i64))
    result = result_def(T)
    assembly_format = (
        "$kind $operand `,` $indices `,` $updates `,` `update_window_dims` `=` $update_window_dims `,` "
        "`inserted_window_dims` `=` $inserted_window_dims `,` "
        "`scatter_dims_to_operand_dims` `=` $scatter_dims_to_operand_dims `,` "
        "`index_vector_dim` `=` $index_vector_dim attr-dict `:` type($operand) `,` type($indices) `,` type($updates)"
    )

    def __init__(
        self,
        operand: SSAValue | Operation,
        indices: SSAValue | Operation,
        updates: SSAValue | Operation,
        *,
        kind: str,
        update_window_dims: Sequence[int],
        inserted_window_dims: Sequence[int],
        scatter_dims_to_operand_dims: Sequence[int],
        index_vector_dim: int,
    ):
        properties = {
            "kind": ScatterKindAttr(ScatterKind(kind)),
            "update_window_dims": array_attr(update_window_dims),
            "inserted_window_dims": array_attr(inserted_window_dims),
            "scatter_dims_to_operand_dims": array_attr(scatter_dims_to_operand_dims),
            "index_vector_dim": int_attr(index_vector_dim),
        }
        super().__init__([operand, indices, updates], properties)

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        operand, indices, updates = operands
        dims, dropped, axes = (
            ints(properties[key])
            for key in ("update_window_dims", "inserted_window_dims", "scatter_dims_to_operand_dims")
        )
        vector_axis, shape = integer(properties["index_vector_dim"]), operand.get_shape()
        require(updates.element_type == operand.element_type, f"{updates} cannot be combined into {operand}")
        require(_components(indices, vector_axis) == len(axes), f"{indices} does not hold {len(axes)} index components")
        batch = _batch_shape(indices.get_shape(), vector_axis)
        _check_window(dims, dropped, axes, len(shape), len(updates.get_shape()))
        window = _window(operand.get_shape(), updates.get_shape(), dims, dropped)
        fits = all(size <= n for size, n in zip(window, shape, strict=True))
        given = [size for axis, size in enumerate(updates.get_shape()) if axis not in dims]
        if not fits or given != batch:
            raise VerifyException(f"updates {updates} do not fit {operand} at the indices {indices}")
        return [operand]

    def _positions(self, indices: Array) -> tuple[list[Array], Array]:
        """Where each update goes, and which indices are inside; both broadcast to batch + window."""
        shape = shape_of(self.operand)
        axes = ints(self.scatter_dims_to_operand_dims)
        window = _window(shape, shape_of(self.updates), ints(self.update_window_dims), ints(self.inserted_window_dims))
        starts = _index_vectors(indices, integer(self.index_vector_dim)).astype(np.int64)
        limits = np.array([shape[axis] - window[axis] for axis in axes], np.int64)
        inside = np.all((starts >= 0) & (starts <= limits), axis=-1)
        positions = _window_positions(np.where(inside[..., None], starts, 0), axes, window)
        return positions, inside.reshape(inside.shape + (1,) * len(window))

    def reference(self, x: Array, indices: Array, updates: Array) -> Sequence[Array]:
        positions, inside = self._positions(indices)
        given = np.broadcast_shapes(*(p.shape for p in positions), inside.shape)
        order = np.argsort(_placed(updates.ndim, ints(self.update_window_dims)))
        flat = updates.transpose(order).reshape(given)
        kept = np.broadcast_to(inside, given)
        places = tuple(np.broadcast_to(p, given)[kept] for p in positions)
        wide = np.float64 if x.dtype.kind == "f" else x.dtype
        result = x.astype(wide)
        if self.kind.data is ScatterKind.ASSIGN:
            result[places] = flat[kept]
        else:
            with np.errstate(all="ignore"):
                _COMBINE[self.kind.data].at(result, places, flat[kept].astype(wide))
        with np.errstate(all="ignore"):
            return [result.astype(x.dtype)]

    def vjp(self, cotangents: Cotangents, build: Builder) -> Gradients:
        g, x, u, y = formulas(build, *cotangents, self.operand, self.updates, self.result)
        zeros = g.lift(0.0)
        match self.kind.data:
            case ScatterKind.ADD:
                to_operand, to_updates = g, self._read(g)
            case ScatterKind.ASSIGN:
                to_operand, to_updates = self._write(g, u.lift(0.0), "assign"), self._read(g)
            case ScatterKind.MUL:
                to_operand, to_updates = self._write(g, u, "mul"), self._factor_gradient(g, x, u)
            case _:
                mine = x.compare("eq", y).convert(x.type.element_type)
                theirs = u.compare("eq", self._read(y)).convert(x.type.element_type)
                shared = self._write(mine, theirs, "add")
                each = shared.compare("gt", 0.0).select(g, zeros) / shared.compare("gt", 0.0).select(
                    shared, shared.lift(1.0)
                )
                to_operand, to_updates = mine * each, theirs * self._read(each)
        return [to_operand.value, None, self._dropped(to_updates).value]

    def _factor_gradient(self, g: Formula, x: Formula, u: Formula) -> Formula:
        """g times the product of what else was multiplied there, where some updates may be 0."""
        is_zero = u.compare("eq", 0.0)
        rest = is_zero.select(1.0, u)
        zeros = self._write(x.lift(0.0), is_zero.convert(x.type.element_type), "add")
        others = self._read(g * self._write(x, rest, "mul")) / rest
        alone = self._read(zeros).compare("eq", is_zero.convert(x.type.element_type))
        return alone.select(others, others.lift(0.0))

    def _write(self, into: Formula, updates: Formula, kind: str) -> Formula:
        """Updates combined into a tensor at this op's indices."""
        op = ScatterOp(
            into.value, self.indices, updates.value, kind=kind, update_window_dims=ints(self.update_window_dims),
            inserted_window_dims=ints(self.inserted_window_dims),
            scatter_dims_to_operand_dims=ints(self.scatter_dims_to_operand_dims),
            index_vector_dim=integer(self.index_vector_dim),
        )  # fmt: skip
        return Formula(into.build.insert(op).result, into.build)

    def _read(self, source: Formula) -> Formula:
        """What stands in a tensor where each update goes; anything for updates that are dropped."""
        shape, dropped = shape_of(self.operand), ints(self.inserted_window_dims)
        op = GatherOp(
            source.value, self.indices, offset_dims=ints(self.update_window_dims), collapsed_slice_dims=dropped,
            start_index_map=ints(self.scatter_dims_to_operand_dims), index_vector_dim=integer(self.index_vector_dim),
            slice_sizes=_window(shape, shape_of(self.updates), ints(self.update_window_dims), dropped),
        )  # fmt: skip
        return Formula(source.build.insert(op).result, source.build)

    def _dropped(self, gradient: Formula) -> Formula:
        """An update's gradient, 0 where the update was dropped."""
        shape, updates = shape_of(self.operand), shape_of(self.updates)
        dims, axes = ints(self.update_window_dims), ints(self.scatter_dims_to_operand_dims)
        window = _window(shape, updates, dims, ints(self.inserted_window_dims))
        vector_axis = integer(self.index_vector_dim)
        allowed = [shape[axis] - window[axis] for axis in axes]
        inside = index_limits(self.indices, vector_axis, allowed, gradient.build).inside(self.indices)
        batch = [axis for axis in range(len(updates)) if axis not in dims]
        mask = inside.apply(BroadcastInDimOp, shape=updates, dimensions=batch)
        return mask.select(gradient, gradient.lift(0.0))

    def flops(self) -> int:
        return 0 if self.kind.data is ScatterKind.ASSIGN else elements(self.updates)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        rows = {"update_window_dims": (1,), "inserted_window_dims": (0,), "scatter_dims_to_operand_dims": (0,)}
        rng = np.random.default_rng(5)
        table, updates = (rng.uniform(-2, 2, shape).astype(np.float32) for shape in ((5, 3), (4, 3)))
        ids = np.array([1, 4, 9, 0])
        for kind in ScatterKind:
            properties = {"kind": kind, "index_vector_dim": 1, **rows}
            yield Sample(arrays=[table, ids, updates], properties=properties)
            if kind is not ScatterKind.ASSIGN:
                yield Sample(arrays=[table, np.array([2, 2, -1, 2]), updates], properties=properties)
        zeros = np.where(np.arange(4)[:, None] < 2, 0, updates)
        properties = {"kind": "mul", "index_vector_dim": 1, **rows}
        yield Sample(arrays=[table, np.array([2, 3, 3, 3]), zeros], properties=properties)
        yield Sample(
            [(4, 5, 2), (3, 2), (2, 3, 2)],
            {"kind": "add", "update_window_dims": (0, 2), "inserted_window_dims": (1,),
             "scatter_dims_to_operand_dims": (0, 1), "index_vector_dim": 1},
            types=[f32, i32, f32], ranges=[(-2, 2), (0, 4), (-2, 2)],
        )  # fmt: skip
        yield Sample(
            arrays=[np.arange(6), np.array(2, np.int32), np.array(7)],
            properties={"kind": "assign", "update_window_dims": (), "inserted_window_dims": (0,),
                        "scatter_dims_to_operand_dims": (0,), "index_vector_dim": 0},
        )  # fmt: skip


def _window(operand: Sequence[int], updates: Sequence[int], dims: Sequence[int], dropped: Sequence[int]) -> list[int]:
    """The size of an update's window in each operand dimension."""
    sizes = iter([updates[axis] for axis in dims])
    return [1 if axis in dropped else next(sizes) for axis in range(len(operand))]
