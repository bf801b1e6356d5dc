"""Every primitive states its facts once; here they are checked against each other on the op's own samples."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scalar_interpreter import interpret
from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects.builtin import Builtin, ModuleOp, f32, i1, i32
from xdsl.dialects.func import Func, FuncOp, ReturnOp
from xdsl.ir import Block, Region, SSAValue
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.rewriter import InsertPoint

from tstorch.dialects.indexing import Index
from tstorch.dialects.loop import register_type
from tstorch.dialects.prim.base import ContractionOp, ElementwiseOp, IndexMapOp, PrimOp, Source
from tstorch.dialects.prim.control import YieldOp
from tstorch.dialects.prim.dialect import Prim
from tstorch.dialects.prim.generator import ConstantOp
from tstorch.dialects.prim.reference import evaluate
from tstorch.dialects.prim.sample import Sample
from tstorch.dialects.prim.types import FLOATS, type_of, ui32
from tstorch.dialects.prim.values import ValuesAttr
from tstorch.dialects.prim.weight import ExternalOp

OPS: list[type[PrimOp]] = [op for op in Prim.operations if issubclass(op, PrimOp)]
CASES = [(op, number, sample) for op in OPS for number, sample in enumerate(op.samples())]
REGISTERS = (f32, i32, ui32, i1)


def cases(kind: type = PrimOp, where: Callable[[Sample], bool] = lambda sample: True) -> Any:
    """The samples of all ops of a kind, as test parameters."""
    chosen = [(op, n, s) for op, n, s in CASES if issubclass(op, kind) and where(s)]
    ids = [f"{op.name.removeprefix('prim.')}-{number}" for op, number, _ in chosen]
    return pytest.mark.parametrize(("op_class", "sample"), [(op, sample) for op, _, sample in chosen], ids=ids)


def draw(sample: Sample) -> list[np.ndarray]:
    """The sample's operands, the same at each call."""
    return sample.operands(np.random.default_rng(20260101))


def place(
    op_class: type[PrimOp], sample: Sample, halves_as: type[np.floating] = np.float16
) -> tuple[PrimOp, Block, list[np.ndarray]]:
    """The sample's op in a block whose arguments are its operands."""
    operands = [x.astype(halves_as) if x.dtype == np.float16 else x for x in draw(sample)]
    block = Block(arg_types=[type_of(operand) for operand in operands])
    op = op_class(*block.args, **sample.keywords())
    block.add_op(op)
    return op, block, operands


def loops(shape: tuple[int, ...], kind: str) -> tuple[list[Index], dict[Any, np.ndarray]]:
    """One dimension per axis of a loop nest, and the value of each at every point."""
    dims = [Index.dim((kind, axis), size) for axis, size in enumerate(shape)]
    return dims, {(kind, axis): grid for axis, grid in enumerate(np.indices(shape))}


def read(source: Source, operands: list[np.ndarray], values: dict[Any, np.ndarray], shape: tuple[int, ...]) -> Any:
    """What the source holds at every point and whether its mask does."""
    holds = np.full(shape, True)
    for e, bound in source.mask:
        at = np.asarray(e.evaluate(values))  # pyright: ignore[reportArgumentType]
        holds &= (at >= 0) & (at < bound)
    operand = operands[source.operand]
    places = [np.broadcast_to(np.asarray(e.evaluate(values)), shape) for e in source.index]  # pyright: ignore[reportArgumentType]
    inside = [np.where(holds, at, 0) for at in places]
    return operand[tuple(inside)] if places else np.broadcast_to(operand, shape), holds


@pytest.mark.parametrize("op_class", OPS, ids=lambda op: op.name)
def test_every_fact_is_stated(op_class: type[PrimOp]) -> None:
    assert not inspect.isabstract(op_class), sorted(op_class.__abstractmethods__)
    assert list(op_class.samples()), "an op without samples is not tested"
    assert op_class.__doc__, "an op says what it is"


def test_an_op_that_lacks_a_fact_cannot_be_made() -> None:
    class Lacking(PrimOp):
        name = "prim.lacking"

    with pytest.raises(TypeError, match="abstract"):
        Lacking([], {})  # pyright: ignore[reportAbstractUsage]


@cases(where=lambda sample: True)
def test_types_are_the_reference_s(op_class: type[PrimOp], sample: Sample) -> None:
    op, _, operands = place(op_class, sample)
    op.verify()
    if isinstance(op, ExternalOp):
        with pytest.raises(LookupError, match="no value of its own"):
            op.reference()
        return
    results = op.reference(*operands)
    assert [type_of(array) for array in results] == list(op.result_types)


@cases()
@pytest.mark.parametrize("generic", [False, True], ids=["pretty", "generic"])
def test_text_round_trips(op_class: type[PrimOp], sample: Sample, generic: bool) -> None:
    op, block, _ = place(op_class, sample)
    block.add_op(ReturnOp(*op.results))
    types = [argument.type for argument in block.args], list(op.result_types)
    module = ModuleOp([FuncOp("main", types, Region(block))])
    text = io.StringIO()
    Printer(text, print_generic_format=generic).print_op(module)
    context = Context()
    for dialect in (Builtin, Func, Prim):
        context.load_dialect(dialect)
    parsed = Parser(context, text.getvalue()).parse_module()
    parsed.verify()
    assert parsed.is_structurally_equivalent(module), text.getvalue()


@cases(where=lambda sample: sample.smooth)
def test_gradient_is_the_difference_quotient(op_class: type[PrimOp], sample: Sample) -> None:
    # A rule's own constants have the precision of its type: of halves, too little for a difference quotient.
    op, block, operands = place(op_class, sample, halves_as=np.float32)
    if not any(type.element_type in FLOATS for type in op.result_types):  # pyright: ignore[reportAttributeAccessIssue]
        return
    floats = [n for n, type in enumerate(op.operand_types) if type.element_type in FLOATS]  # pyright: ignore[reportAttributeAccessIssue]
    cotangents = [block.insert_arg(type, len(block.args)) for type in op.result_types]
    gradients = op.vjp(cotangents, Builder(InsertPoint.at_end(block)))
    assert len(gradients) == len(op.operands)
    assert all(g is None for n, g in enumerate(gradients) if n not in floats), "a gradient of what is no float"
    if isinstance(op, ExternalOp):
        return
    rng = np.random.default_rng(7)
    wide = [x.astype(np.float64) if n in floats else x for n, x in enumerate(operands)]
    seeds = [rng.uniform(-1, 1, type.get_shape()) for type in op.result_types]  # pyright: ignore[reportAttributeAccessIssue]
    block.add_op(YieldOp(*(g for g in gradients if g is not None)))
    region = Region(block)
    region.block.verify()
    found = iter(evaluate(region, [*wide, *seeds], dtype=np.float64))
    for number, gradient in enumerate(gradients):
        if gradient is not None:
            assert gradient.type == op.operands[number].type
            compare_with_quotients(op, wide, seeds, number, next(found))
        elif number in floats:
            compare_with_quotients(op, wide, seeds, number, np.zeros_like(wide[number]))


def compare_with_quotients(
    op: PrimOp, operands: list[np.ndarray], seeds: list[np.ndarray], number: int, gradient: np.ndarray
) -> None:
    """One operand's gradient against central differences, at 48 of its elements."""
    step = 1e-6
    rng = np.random.default_rng(11)
    flat = np.arange(operands[number].size)
    for at in flat if flat.size <= 48 else rng.choice(flat, 48, replace=False):
        sums = []
        for sign in (1, -1):
            moved = [x.copy() for x in operands]
            moved[number].reshape(-1)[at] += sign * step
            sums.append(sum(np.sum(s * y) for s, y in zip(seeds, op.reference(*moved), strict=True)))
        quotient = (sums[0] - sums[1]) / (2 * step)
        scale = max(1.0, np.abs(gradient).max())
        assert abs(gradient.reshape(-1)[at] - quotient) <= op.VJP_TOLERANCE * scale, f"operand {number}, element {at}"


def test_non_differentiable_ops_are_these() -> None:
    assert [op.name for op in OPS if hasattr(op.vjp, "reason")] == [
        "prim.sign", "prim.floor", "prim.ceil", "prim.round", "prim.trunc", "prim.not", "prim.is_nan", "prim.is_inf",
        "prim.and", "prim.or", "prim.xor", "prim.shift_left", "prim.shift_right", "prim.compare", "prim.bitcast",
        "prim.decode", "prim.encode", "prim.divide_words", "prim.arg_reduce", "prim.search_sorted",
        "prim.non_max_suppression",
    ]  # fmt: skip


@cases(IndexMapOp)
def test_sources_are_where_the_reference_reads(op_class: type[IndexMapOp], sample: Sample) -> None:
    op, _, operands = place(op_class, sample)
    [expected] = op.reference(*operands)
    dims, values = loops(expected.shape, "at")
    found, settled = np.zeros_like(expected), np.full(expected.shape, False)
    for source in op.sources(dims):  # pyright: ignore[reportAttributeAccessIssue]
        assert all(e.low > -(2**31) and e.high < 2**31 for e in source.index)
        array, holds = read(source, operands, values, expected.shape)
        np.copyto(found, array, where=holds & ~settled)
        settled |= holds
    assert settled.all(), "no source holds for some element"
    np.testing.assert_array_equal(found, expected)


@cases(IndexMapOp)
def test_forward_is_where_the_reference_writes(op_class: type[IndexMapOp], sample: Sample) -> None:
    op, _, operands = place(op_class, sample)
    dims, values = loops(operands[0].shape, "at")
    landed = op.forward(dims)  # pyright: ignore[reportAttributeAccessIssue]
    if landed is None:
        return
    [expected] = op.reference(*operands)
    places = [np.broadcast_to(np.asarray(e.evaluate(values)), operands[0].shape) for e in landed]
    np.testing.assert_array_equal(
        expected[tuple(places)] if places else expected.reshape(operands[0].shape), operands[0]
    )


@cases(ContractionOp)
def test_product_is_the_reference(op_class: type[ContractionOp], sample: Sample) -> None:
    op, _, operands = place(op_class, sample)
    nest = op.product()  # pyright: ignore[reportAttributeAccessIssue]
    kinds = {kind: getattr(nest, kind) for kind in ("groups", "rows", "columns", "steps")}
    shape = tuple(size for sizes in kinds.values() for size in sizes)
    values, dims, first = {}, {}, 0
    for kind, sizes in kinds.items():
        dims[kind], _ = loops(sizes, kind)
        values |= {(kind, axis): np.indices(shape)[first + axis] for axis in range(len(sizes))}
        first += len(sizes)
    left, holds = read(nest.left(dims["groups"], dims["rows"], dims["steps"]), operands, values, shape)
    right, also = read(nest.right(dims["groups"], dims["columns"], dims["steps"]), operands, values, shape)
    at = nest.at(dims["groups"], dims["rows"], dims["columns"])
    places = [np.broadcast_to(np.asarray(e.evaluate(values)), shape) for e in at]
    [expected] = op.reference(*operands)
    total = np.zeros(expected.shape)
    np.add.at(
        total,
        tuple(places) if places else ...,
        np.where(holds & also, left.astype(float) * right, 0.0).sum()
        if not places
        else np.where(holds & also, left.astype(float) * right, 0.0),
    )
    np.testing.assert_allclose(
        total, expected, rtol=0, atol=2e-3 * max(1, np.abs(expected).max()) if expected.dtype == np.float16 else 1e-5
    )


def in_registers(op_class: type[PrimOp], sample: Sample) -> bool:
    """Whether all of the sample's types are ones that scalar code holds."""
    op, _, _ = place(op_class, sample)
    return all(type.element_type in REGISTERS for type in (*op.operand_types, *op.result_types))  # pyright: ignore[reportAttributeAccessIssue]


@cases(ElementwiseOp)
def test_scalar_body_is_the_reference(op_class: type[ElementwiseOp], sample: Sample) -> None:
    op, _, operands = place(op_class, sample)
    body = Block(arg_types=[type.element_type for type in op.operand_types])  # pyright: ignore[reportAttributeAccessIssue]
    result = op.scalar_body(body.args, Builder(InsertPoint.at_end(body)))  # pyright: ignore[reportAttributeAccessIssue]
    element = op.results[0].type.element_type  # pyright: ignore[reportAttributeAccessIssue]
    assert result.type in (element, register_type(element))
    if not in_registers(op_class, sample):
        return
    for inner in body.ops:
        inner.verify()
    [expected] = op.reference(*operands)
    found = interpret(body, operands, result)
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=3e-6, atol=5e-7)


@pytest.mark.parametrize(
    ("name", "low", "high", "relative"),
    [
        ("log1p", -0.9, 50, 1e-6), ("log1p", -1e-3, 1e-3, 1e-6), ("expm1", -5, 5, 1e-6), ("expm1", -1e-3, 1e-3, 1e-6),
        ("sinh", -20, 20, 4e-6), ("sinh", -1e-3, 1e-3, 1e-6), ("asinh", -1e6, 1e6, 1e-6), ("asinh", -1e-3, 1e-3, 1e-6),
        ("atanh", -0.99, 0.99, 2e-6), ("acosh", 1.01, 50, 2e-6), ("asin", -1, 1, 1e-6), ("atan", -50, 50, 1e-6),
        ("erf", -5, 5, 1e-6), ("tanh", -30, 30, 1e-6), ("cosh", -80, 80, 8e-6),
    ],
)  # fmt: skip
def test_composed_functions_are_exact_to_rounding(name: str, low: float, high: float, relative: float) -> None:
    op_class = next(op for op in OPS if op.name == f"prim.{name}")
    x = np.linspace(low, high, 20001).astype(np.float32)
    test = Sample(arrays=[x])
    op, _, _ = place(op_class, test)
    body = Block(arg_types=[f32])
    found = interpret(body, [x], op.scalar_body(body.args, Builder(InsertPoint.at_end(body))))  # pyright: ignore[reportAttributeAccessIssue]
    [expected] = op.reference(x.astype(np.float64))
    np.testing.assert_allclose(found, expected, rtol=relative, atol=1e-30)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=5e-7)


@cases()
def test_fold_is_the_reference(op_class: type[PrimOp], sample: Sample) -> None:
    operands = draw(sample)
    if any(operand.size > 64 for operand in operands):
        return
    constants = [ConstantOp(operand) for operand in operands]
    op = op_class(*constants, **sample.keywords())
    folded = op.fold()
    if folded is None:
        assert isinstance(op, ExternalOp) or op.regions or any(np.prod(t.get_shape()) > 64 for t in op.result_types)  # pyright: ignore[reportAttributeAccessIssue]
        return
    for value, expected in zip(folded, op.reference(*operands), strict=True):
        if isinstance(value, SSAValue):
            value = value.owner.value  # pyright: ignore[reportAttributeAccessIssue]
        assert isinstance(value, ValuesAttr)
        assert value == ValuesAttr.of(expected)
