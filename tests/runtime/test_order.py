"""Tests that rows of every length are ordered, run along and thinned out on the GPU as the references say."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from prim_program import PrimProgram

from tstorch.runtime.client import Worker

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    started = Worker.start(None, "process")
    yield started
    started.close()


def sort_program(shape: tuple[int, ...], dimension: int, types: str, descending: str) -> PrimProgram:
    """A sort of operands of those element types, by as many keys as `descending` has entries."""
    kinds = [f"tensor<{'x'.join(map(str, shape))}x{each}>" for each in types.split()]
    names = [f"%x{number}" for number in range(len(kinds))]
    results = ", ".join(f"%y{number}" for number in range(len(kinds)))
    arguments = ", ".join(f"{name}: {kind}" for name, kind in zip(names, kinds, strict=True))
    listed = ", ".join(kinds)
    return PrimProgram(
        f"({arguments}) -> ({listed}) {{ {results} = prim.sort {', '.join(names)} dimension = {dimension}, "
        f"descending = [{descending}], runs = 1 to {shape[dimension]} : {listed} -> {listed} "
        f"func.return {results} : {listed} }}"
    )


@pytest.mark.parametrize(
    ("shape", "dimension", "types", "descending"),
    [
        ((2048,), 0, "f32 i32", "1"),  # a workgroup's memory, full
        ((2049,), 0, "f32 i32", "1"),  # a second run of one element
        ((3, 5000), 1, "i32 i32", "0"),  # three runs: one merge of two, one with nothing
        ((4097, 2), 0, "f32 f32", "0"),  # rows that are not contiguous, through two merges
        ((1500,), 0, "i32 ui32 i32", "0, 1"),  # two keys: runs of 1024
        ((70000, 2), 1, "i32 i32", "0"),  # more short rows than one dimension of a grid has workgroups for
        ((100003,), 0, "i32 i32", "1"),  # six merges
        ((7, 3), 1, "i8 f16", "0"),  # rows whose elements share words
        ((3, 1), 1, "f32", "0"),
    ],
)
def test_a_sort_is_stable_whatever_the_length(
    worker: Worker, tmp_path: Path, shape: tuple[int, ...], dimension: int, types: str, descending: str
) -> None:
    program = sort_program(shape, dimension, types, descending)
    inputs = program.inputs()
    for got, want in zip(program.run(worker, tmp_path, inputs), program.expected(inputs), strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_long_sort_puts_what_is_no_number_last(worker: Worker, tmp_path: Path) -> None:
    program = sort_program((5000,), 0, "f32 i32", "0")
    rng = np.random.default_rng(4)
    x = rng.choice(np.array([np.nan, -np.inf, np.inf, -0.0, 0.0, 1e-42, -1e-42, 1.5], np.float32), 5000)
    inputs = [x, np.arange(5000, dtype=np.int32)]
    order = np.argsort(np.where(np.isnan(x), np.inf, x) + 0.0, kind="stable")
    order = np.concatenate([order[~np.isnan(x[order])], order[np.isnan(x[order])]])
    values, places = program.run(worker, tmp_path, inputs)
    np.testing.assert_array_equal(places, order)
    np.testing.assert_array_equal(values, x[order])


@pytest.mark.parametrize("descending", [0, 1])
@pytest.mark.parametrize(("shape", "dimension", "few"), [((6145,), 0, 5), ((2, 4097), 1, 1000), ((70001, 2), 0, 100)])
def test_the_first_of_a_long_row_are_those_of_the_whole_sort(
    worker: Worker, tmp_path: Path, shape: tuple[int, ...], dimension: int, few: int, descending: int
) -> None:
    kept = tuple(few if at == dimension else size for at, size in enumerate(shape))
    whole, part = ("tensor<" + "x".join(map(str, each)) for each in (shape, kept))
    cut = f"start = {[0] * len(shape)}, limit = {list(kept)}, stride = {[1] * len(shape)}"
    program = PrimProgram(
        f"(%x: {whole}xf32>) -> ({part}xf32>, {part}xi32>) {{ %i = prim.iota dimension = {dimension} : {whole}xi32> "
        f"%s, %p = prim.sort %x, %i dimension = {dimension}, descending = [{descending}], runs = 1 to "
        f"{shape[dimension]} : {whole}xf32>, {whole}xi32> -> {whole}xf32>, {whole}xi32> "
        f"%a = prim.slice %s, {cut} : {whole}xf32> -> {part}xf32> "
        f"%b = prim.slice %p, {cut} : {whole}xi32> -> {part}xi32> "
        f"func.return %a, %b : {part}xf32>, {part}xi32> }}"
    )
    [x] = program.inputs()
    last = np.inf if descending else -np.inf
    x = np.where(np.random.default_rng(1).random(shape) < 0.999, np.float32(-last), x).astype(np.float32)
    for got, want in zip(program.run(worker, tmp_path, [x]), program.expected([x]), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("kind", ["add", "max"])
@pytest.mark.parametrize("how", ["exclusive = 0, reverse = 0", "exclusive = 1, reverse = 1"])
@pytest.mark.parametrize(("shape", "dimension"), [((70001,), 0), ((2, 257), 1), ((300, 3), 0), ((3000, 5), 1)])
def test_a_running_sum_is_exact_whatever_the_length(
    worker: Worker, tmp_path: Path, shape: tuple[int, ...], dimension: int, kind: str, how: str
) -> None:
    type = f"tensor<{'x'.join(map(str, shape))}xi32>"
    program = PrimProgram(
        f"(%x: {type}) -> {type} {{ %y = prim.cumulative {kind} %x, dimension = {dimension}, {how} : {type} -> {type} "
        f"func.return %y : {type} }}"
    )
    inputs = program.inputs()
    np.testing.assert_array_equal(*program.run(worker, tmp_path, inputs), *program.expected(inputs))


@pytest.mark.parametrize(("length", "asked"), [(1, 3), (2047, 2049), (90000, 70001)])
def test_a_place_is_found_in_rows_of_every_length(worker: Worker, tmp_path: Path, length: int, asked: int) -> None:
    rows, queries, result = f"tensor<2x{length}xi32>", f"tensor<2x{asked}xi32>", f"tensor<2x{asked}xi32>"
    program = PrimProgram(
        f"(%r: {rows}, %q: {queries}) -> {result} {{ %y = prim.search_sorted %r, %q : {rows}, {queries} -> {result} "
        f"func.return %y : {result} }}"
    )
    rng = np.random.default_rng(length)
    inputs = [rng.integers(-length, length, (2, size)).astype(np.int32) for size in (length, asked)]
    inputs[0].sort(axis=1)
    np.testing.assert_array_equal(*program.run(worker, tmp_path, inputs), *program.expected(inputs))


@pytest.mark.parametrize(("boxes", "most"), [(1, 1), (63, 63), (5000, 12)])
def test_the_boxes_that_stay_do_not_overlap(worker: Worker, tmp_path: Path, boxes: int, most: int) -> None:
    types = f"tensor<2x{boxes}x4xf32>, tensor<2x3x{boxes}xui32>, tensor<f32>"
    result = f"tensor<2x3x{most}xi32>"
    program = PrimProgram(
        f"(%b: tensor<2x{boxes}x4xf32>, %p: tensor<2x3x{boxes}xui32>, %t: tensor<f32>) -> {result} {{ "
        f"%y = prim.non_max_suppression %b, %p, %t, most = {most} : {types} -> {result} func.return %y : {result} }}"
    )
    rng = np.random.default_rng(boxes)
    low = rng.uniform(0, 16, (2, boxes, 2))
    corners = np.concatenate([low, low + rng.uniform(0, 4, (2, boxes, 2))], -1).astype(np.float32)
    inputs = [corners, rng.integers(0, 2**32, (2, 3, boxes)).astype(np.uint32), np.array(0.25, np.float32)]
    np.testing.assert_array_equal(*program.run(worker, tmp_path, inputs), *program.expected(inputs))
