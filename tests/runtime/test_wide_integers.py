"""Tests that 64-bit integers are exact on the GPU: what no word holds, and what meets it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.helpers.prim_program import PrimProgram
from tstorch import backend
from tstorch.runtime.client import Worker

pytestmark = pytest.mark.gpu

EDGES = [
    0, 1, -1, 7, -7, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**32 - 1, 2**32, -(2**32), 2**63 - 1, -(2**63),
    123456789012345, -987654321098765,
]  # fmt: skip
BINARY = ["add", "sub", "mul", "div", "rem", "minimum", "maximum", "and", "or", "xor"]
COMPARED = ["lt", "le", "eq", "ne", "ge", "gt"]
UNARY = ["neg", "abs", "sign", "not"]
SHIFTED = ["shift_left", "shift_right"]
REDUCED = ["add", "mul", "max", "min", "and", "or"]
CONVERTED = ["f32", "f16", "i32", "ui32", "i8", "ui8", "i1"]
DTYPES = {"i64": np.int64, "ui64": np.uint64}
OF_ROWS = "offset_dims = [1], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1"
INTO_ROWS = (
    "update_window_dims = [1], inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1"
)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    started = Worker.start(None, "process")
    yield started
    started.close()


def any_numbers(element: str, *shape: int, seed: int = 0) -> np.ndarray:
    """Numbers from all that 64 bits hold."""
    return np.random.default_rng(seed).integers(-(2**63), 2**63 - 1, shape).astype(DTYPES[element])


def check(text: str, inputs: list[np.ndarray], worker: Worker, folder: Path) -> None:
    program = PrimProgram(text)
    with np.errstate(all="ignore"):
        expected = program.expected(inputs)
    for number, (got, want) in enumerate(zip(program.run(worker, folder, inputs), expected, strict=True)):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want, f"result {number}")


def program_of(arguments: list[str], lines: list[tuple[str, str]]) -> str:
    """A function of arguments of these types that returns all of what the lines compute, with their types."""
    taken = ", ".join(f"%x{n}: {type}" for n, type in enumerate(arguments))
    body = "\n".join(f"  %{n} = {line}" for n, (line, _) in enumerate(lines))
    values, types = ", ".join(f"%{n}" for n in range(len(lines))), ", ".join(type for _, type in lines)
    return f"({taken}) -> ({types}) {{\n{body}\n  func.return {values} : {types}\n}}"


@pytest.mark.parametrize("element", DTYPES)
def test_arithmetic_at_the_edges(element: str, worker: Worker, tmp_path: Path) -> None:
    edges = np.array(EDGES, np.int64).astype(DTYPES[element])
    a, b = np.repeat(edges, len(edges)), np.tile(edges, len(edges))
    t, c = f"tensor<{len(a)}x{element}>", f"tensor<{len(a)}xi1>"
    lines = [(f"prim.{op} %x0, %x1 : {t}", t) for op in BINARY]
    lines += [(f"prim.compare {how} %x0, %x1 : {t} -> {c}", c) for how in COMPARED]
    lines += [(f"prim.{op} %x0 : {t}", t) for op in UNARY]
    check(program_of([t, t], lines), [a, b], worker, tmp_path)


@pytest.mark.parametrize("element", DTYPES)
def test_shifts_by_all_places(element: str, worker: Worker, tmp_path: Path) -> None:
    places = np.arange(64).astype(DTYPES[element])
    t = "tensor<64x" + element + ">"
    lines = [(f"prim.{op} %x0, %x1 : {t}", t) for op in SHIFTED]
    check(program_of([t, t], lines), [any_numbers(element, 64), places], worker, tmp_path)


@pytest.mark.parametrize("element", DTYPES)
def test_conversions(element: str, worker: Worker, tmp_path: Path) -> None:
    edges = np.array(EDGES, np.int64).astype(DTYPES[element])
    powers = (2 ** np.random.default_rng(1).uniform(0, 63, 112)).astype(DTYPES[element])
    numbers = np.concatenate([edges, powers, any_numbers(element, 128)])
    lines = [(f"prim.convert %x0 to {to} : tensor<256x{element}> -> tensor<256x{to}>",
              f"tensor<256x{to}>") for to in CONVERTED]  # fmt: skip
    check(program_of([f"tensor<256x{element}>"], lines), [numbers], worker, tmp_path)


@pytest.mark.parametrize("element", DTYPES)
def test_floats_become_integers(element: str, worker: Worker, tmp_path: Path) -> None:
    special = [0, 1.5, -1.5, 2**31, 2**33 + 4096, -(2**40), 9.3e18, -9.3e18, 1.9e19, np.nan, np.inf, -np.inf, 0.99]
    rng = np.random.default_rng(2)
    drawn = rng.normal(size=115) * 2.0 ** rng.uniform(0, 64, 115)
    numbers = np.array([*special, *drawn], np.float32)
    line = f"prim.convert %x0 to {element} : tensor<128xf32> -> tensor<128x{element}>"
    check(program_of(["tensor<128xf32>"], [(line, f"tensor<128x{element}>")]), [numbers], worker, tmp_path)


@pytest.mark.parametrize("element", DTYPES)
def test_reductions(element: str, worker: Worker, tmp_path: Path) -> None:
    t, r = f"tensor<3x7x5x{element}>", f"tensor<3x5x{element}>"
    lines = [(f"prim.reduce {kind} %x0, dimensions = [1] : {t} -> {r}", r) for kind in REDUCED]
    p = "tensor<3x5xi64>"
    lines.append((f"prim.arg_reduce min %x0, dimension = 1 : {t} -> {p}", p))
    lines.append((f"prim.cumulative add %x0, dimension = 1, exclusive = 1, reverse = 1 : {t} -> {t}", t))
    check(program_of([t], lines), [any_numbers(element, 3, 7, 5)], worker, tmp_path)


@pytest.mark.parametrize("element", DTYPES)
def test_what_moves_elements(element: str, worker: Worker, tmp_path: Path) -> None:
    x, i, u = f"tensor<5x3x{element}>", "tensor<4xi64>", f"tensor<4x3x{element}>"
    t, c = f"tensor<3x5x{element}>", f"tensor<10x3x{element}>"
    lines = [
        (f"prim.gather %x0, %x1, {OF_ROWS}, slice_sizes = [1, 3] : {x}, {i} -> {u}", u),
        (f"prim.scatter assign %x0, %x1, %x2, {INTO_ROWS} : {x}, {i}, {u}", x),
        (f"prim.scatter add %x0, %x1, %x2, {INTO_ROWS} : {x}, {i}, {u}", x),
        (f"prim.transpose %x0, permutation = [1, 0] : {x} -> {t}", t),
        (f"prim.concatenate %1, %2 dimension = 0 : {x}, {x} -> {c}", c),
        (f"prim.sort %x0 dimension = 0, descending = [1], runs = 1 to 5 : {x} -> {x}", x),
    ]
    inputs = [any_numbers(element, 5, 3), np.array([4, 0, 2, 2]), any_numbers(element, 4, 3, seed=3)]
    check(program_of([x, i, u], lines), inputs, worker, tmp_path)


@pytest.mark.parametrize("element", DTYPES)
def test_products_of_matrices(element: str, worker: Worker, tmp_path: Path) -> None:
    a, b, c = f"tensor<3x9x{element}>", f"tensor<9x7x{element}>", f"tensor<3x7x{element}>"
    line = f"prim.dot_general %x0, %x1, batch = [] x [], contract = [1] x [0] : {a}, {b} -> {c}"
    check(program_of([a, b], [(line, c)]), [any_numbers(element, 3, 9), any_numbers(element, 9, 7)], worker, tmp_path)


HASHED = """(%x: tensor<9xELEMENT>, %t: tensor<10xf32>) -> tensor<9xf32> {
  %m = prim.constant dense<2654435761> : tensor<ELEMENT>
  %b = prim.broadcast_in_dim %m, shape = [9], dimensions = [] : tensor<ELEMENT> -> tensor<9xELEMENT>
  %h = prim.mul %x, %b : tensor<9xELEMENT>
  %s = prim.mul %h, %h : tensor<9xELEMENT>
  %n = prim.constant dense<10> : tensor<ELEMENT>
  %d = prim.broadcast_in_dim %n, shape = [9], dimensions = [] : tensor<ELEMENT> -> tensor<9xELEMENT>
  %r = prim.rem %s, %d : tensor<9xELEMENT>
  %g = prim.gather %t, %r, offset_dims = [], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1,
      slice_sizes = [1] : tensor<10xf32>, tensor<9xELEMENT> -> tensor<9xf32>
  func.return %g : tensor<9xf32>
}"""


@pytest.mark.parametrize("element", DTYPES)
def test_a_place_computed_beyond_32_bits(element: str, worker: Worker, tmp_path: Path) -> None:
    keys = np.random.default_rng(4).integers(0, 2**29 - 1, 9).astype(DTYPES[element])
    check(HASHED.replace("ELEMENT", element), [keys, np.arange(10, dtype=np.float32)], worker, tmp_path)


@pytest.mark.parametrize("element", DTYPES)
def test_a_place_that_may_be_anything_is_clamped(element: str, worker: Worker, tmp_path: Path) -> None:
    x, i, r = "tensor<5x3xf32>", f"tensor<4x{element}>", "tensor<4x3xf32>"
    lines = [
        (f"prim.gather %x0, %x1, {OF_ROWS}, slice_sizes = [1, 3] : {x}, {i} -> {r}", r),
        (f"prim.or %x1, %x1 : {i}", i),
    ]
    rows = np.arange(15, dtype=np.float32).reshape(5, 3)
    check(program_of([x, i], lines), [rows, np.array([4, 0, 2**40, 2], DTYPES[element])], worker, tmp_path)


def test_a_loop_carries_pairs_from_segment_to_segment() -> None:
    """The count of rounds is an input: what each round makes goes on to the next, and to what follows."""
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "s"], ["t"]), helper.make_node("Identity", ["c"], ["d"])],
        "body",
        [info("i", TensorProto.INT64, []), info("c", TensorProto.BOOL, []), info("s", TensorProto.INT64, [3])],
        [info("d", TensorProto.BOOL, []), info("t", TensorProto.INT64, [3])],
    )
    nodes = [
        helper.make_node("Loop", ["n", "", "x"], ["y"], body=body),
        helper.make_node("Mod", ["y", "m"], ["r"]),
        helper.make_node("Gather", ["v", "r"], ["g"], axis=0),
    ]
    taken = [info("n", TensorProto.INT64, []), info("x", TensorProto.INT64, [3]), info("m", TensorProto.INT64, [1])]
    given = [info("y", TensorProto.INT64, [3]), info("g", TensorProto.FLOAT, [3])]
    graph = helper.make_graph(nodes, "doubled", [*taken, info("v", TensorProto.FLOAT, [7])], given)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    x, values = np.array([3, 5, -7]), np.arange(7, dtype=np.float32)
    doubled, found = backend.prepare(model).run([np.array(40), x, np.array([7]), values])
    np.testing.assert_array_equal(doubled, x * 2**40)
    np.testing.assert_array_equal(found, values[x * 2**40 % 7])
