"""Loop kernels built by hand, compiled to WGSL and run, against NumPy."""

import numpy as np
import pytest
from loop_kernels import (
    PASSES,
    Array,
    Gpu,
    compile_kernel,
    constant,
    contraction,
    error,
    filled_tile,
    gemm,
    new_kernel,
    parse,
)
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import FloatAttr, IntegerType, MemRefType, Signedness, f16, f32, i1, i8, i32
from xdsl.ir import SSAValue

from tstorch.artifact.wgsl_text import kernel_map, kernel_text
from tstorch.dialects.loop import (
    AllocOp,
    BarrierOp,
    CastOp,
    Id,
    IndexValueOp,
    IsNanOp,
    LoadOp,
    MemorySpace,
    ReduceKind,
    ReduceTileOp,
    ReduceWorkgroupOp,
    SelectOp,
    StoreOp,
    ToIndexOp,
    WithinOp,
    ui32,
)
from tstorch.passes.loop.bound_trip_counts import BoundTripCountsPass
from tstorch.passes.loop.vectorize_loop import VectorizeLoopPass
from tstorch.remarks import get_remarks

pytestmark = pytest.mark.gpu
ui8 = IntegerType(8, Signedness.UNSIGNED)
RNG = np.random.default_rng(7)


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    return Gpu()


def normal(*shape: int) -> Array:
    return RNG.standard_normal(shape, dtype=np.float32)


def zeros(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize("leave_out", [None, 0, 1, 2])
@pytest.mark.parametrize(("m", "n", "k", "tile"), [(64, 64, 64, (16, 8)), (40, 72, 20, (8, 8)), (33, 30, 37, (4, 8))])
def test_gemm(gpu: Gpu, m: int, n: int, k: int, tile: tuple[int, int], leave_out: int | None) -> None:
    """With all passes, and with each optimisation left out."""
    passes = [each for number, each in enumerate(PASSES) if number != leave_out]
    shader = compile_kernel(gemm(m, n, k, tile), passes)
    a, b, bias = normal(m, k), normal(k, n), normal(n)
    *_, out = gpu.run(shader, [a, b, bias, zeros(m, n)])
    assert error(out, np.maximum(a @ b + bias, 0)) <= 1e-5


def test_gemm_lines_name_their_ops() -> None:
    shader = compile_kernel(gemm(64, 64, 64, (4, 8)))
    text = kernel_text(shader)
    lines = text.text.splitlines()
    assert {number for ops in text.lines.values() for number in ops} == {0, 1, 2}
    fma_lines = [number for number, line in enumerate(lines, 1) if "fma(" in line]
    assert fma_lines
    assert all(text.lines[number] == [0] for number in fma_lines)
    assert all(1 in text.lines[number] for number, line in enumerate(lines, 1) if "b2[" in line)
    assert kernel_map(shader, text)["bindings"] == ["read", "read", "read", "read_write"]
    assert kernel_map(shader, text)["iterations"] == 16


def test_map_with_broadcast_and_transpose(gpu: Gpu) -> None:
    """out[i, j] = x[j, i] * row[j] + 1, over a linear grid whose end is masked."""
    kernel, build = new_kernel([((30, 20), f32), ((30,), f32), ((20, 30), f32)], [3], [64])
    x, row, out = kernel.bindings
    with build.parallel([Id.WG_X, Id.LID_X]) as (group, lane), build.loop(4, unroll=True) as i:
        place = group * 256 + lane * 4 + i
        where = [(place, 600)]
        a = build.insert(LoadOp(x, [place % 30, place // 30], where)).result
        b = build.insert(LoadOp(row, [place % 30], where)).result
        product = build.insert(arith.MulfOp(a, b)).result
        build.insert(
            StoreOp(
                build.insert(arith.AddfOp(product, constant(build, 1.0))).result, out, [place // 30, place % 30], where
            )
        )
    data, scale = normal(30, 20), normal(30)
    *_, found = gpu.run(compile_kernel(kernel), [data, scale, zeros(20, 30)])
    assert error(found, data.T * scale + 1) <= 1e-6


@pytest.mark.parametrize(("rows", "columns", "threads"), [(3, 100, (64, 1)), (10, 37, (8, 4)), (5, 300, (32, 2))])
def test_softmax_of_rows(gpu: Gpu, rows: int, columns: int, threads: tuple[int, int]) -> None:
    """Several invocations share a row, several rows a workgroup."""
    along, per_group = threads
    kernel, build = new_kernel([((rows, columns), f32), ((rows, columns), f32)], [-(-rows // per_group)], threads)
    x, out = kernel.bindings
    ids = [Id.WG_X, Id.LID_X, *([Id.LID_Y] if per_group > 1 else [])]
    with build.parallel(ids) as (group, lane, *more):
        row = group * per_group + (more[0] if more else 0)
        over = [Id.LID_X]

        def reduce_row(kind: ReduceKind, start: float, value_at) -> SSAValue:
            acc = filled_tile(build, (1, 1), start)
            with build.loop(-(-columns // along)) as step:
                value = value_at(step * along + lane)
                so_far = build.insert(LoadOp(acc, [0, 0])).result
                combine = arith.MaximumfOp if kind is ReduceKind.MAX else arith.AddfOp
                build.insert(StoreOp(build.insert(combine(so_far, value)).result, acc, [0, 0]))
            total = build.insert(ReduceTileOp(kind, acc)).result
            return build.insert(ReduceWorkgroupOp(kind, total, over)).result

        def element(column) -> SSAValue:
            where = [(row, rows), (column, columns)]
            return build.insert(LoadOp(x, [row, column], where, FloatAttr(float("-inf"), f32))).result

        highest = reduce_row(ReduceKind.MAX, float("-inf"), element)

        def power(column) -> SSAValue:
            return build.insert(math.ExpOp(build.insert(arith.SubfOp(element(column), highest)).result)).result

        total = reduce_row(ReduceKind.ADD, 0.0, power)
        with build.loop(-(-columns // along)) as step:
            column = step * along + lane
            share = build.insert(arith.DivfOp(power(column), total)).result
            build.insert(StoreOp(share, out, [row, column], [(row, rows), (column, columns)]))
    data = normal(rows, columns)
    *_, found = gpu.run(compile_kernel(kernel), [data, zeros(rows, columns)])
    powers = np.exp(data - data.max(axis=1, keepdims=True))
    assert error(found, powers / powers.sum(axis=1, keepdims=True)) <= 1e-5


def conv_reference(image: Array, weights: Array) -> Array:
    """3x3, stride 1, one pixel of zeros around; NHWC without N, weights [ky, kx, in, out]."""
    height, width, _ = image.shape
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    taps = [(ky, kx) for ky in range(3) for kx in range(3)]
    return sum(padded[ky : ky + height, kx : kx + width] @ weights[ky, kx] for ky, kx in taps)


@pytest.mark.parametrize(("size", "channels", "out_channels", "tile"), [(8, 8, 16, (4, 8)), (7, 6, 10, (7, 4))])
def test_conv_as_implicit_gemm(gpu: Gpu, size: int, channels: int, out_channels: int, tile: tuple[int, int]) -> None:
    shapes = [(size, size, channels), (3, 3, channels, out_channels), (size, size, out_channels)]
    grid = [-(-out_channels // (tile[1] * 4)), -(-size * size // (tile[0] * 4))]
    kernel, build = new_kernel([(shape, f32) for shape in shapes], grid, [4, 4])
    x, w, out = kernel.bindings
    tail = -(-channels // 4) * 4
    with build.parallel([Id.WG_X, Id.WG_Y, Id.LID_X, Id.LID_Y]) as (gx, gy, lx, ly):

        def pixel(m, k) -> SSAValue:
            y = m // size + k // (3 * tail) - 1
            column = m % size + k // tail % 3 - 1
            where = [(y, size), (column, size), (k % tail, channels)]
            return build.insert(LoadOp(x, [y, column, k % tail], where)).result

        def weight(k, n) -> SSAValue:
            where = [(n, out_channels), (k % tail, channels)]
            return build.insert(LoadOp(w, [k // (3 * tail), k // tail % 3, k % tail, n], where)).result

        def store(value: SSAValue, m, n) -> None:
            where = [(m, size * size), (n, out_channels)]
            build.insert(StoreOp(value, out, [m // size, m % size, n], where))

        place = ((gy * 4 + ly) * tile[0], (gx * 4 + lx) * tile[1])
        contraction(build, tile, place, 9 * tail, 4, pixel, weight, store)
    image, weights = normal(*shapes[0]), normal(*shapes[1])
    *_, found = gpu.run(compile_kernel(kernel), [image, weights, zeros(*shapes[2])])
    assert error(found, conv_reference(image, weights)) <= 1e-5


def test_depthwise_conv(gpu: Gpu) -> None:
    size, channels = 10, 16
    shapes = [(size, size, channels), (3, 3, channels), (size, size, channels)]
    kernel, build = new_kernel([(shape, f32) for shape in shapes], [7], [64])
    x, w, out = kernel.bindings
    with build.parallel([Id.WG_X, Id.LID_X]) as (group, lane):
        place = group * 64 + lane
        pixel, first = place // (channels // 4), place % (channels // 4) * 4
        acc = filled_tile(build, (1, 4), 0.0)
        with build.loop(3) as ky, build.loop(3) as kx, build.loop(4, unroll=True) as c:
            y, column = pixel // size + ky - 1, pixel % size + kx - 1
            value = build.insert(LoadOp(x, [y, column, first + c], [(y, size), (column, size)])).result
            tap = build.insert(LoadOp(w, [ky, kx, first + c])).result
            so_far = build.insert(LoadOp(acc, [0, c])).result
            build.insert(StoreOp(build.insert(math.FmaOp(value, tap, so_far)).result, acc, [0, c]))
        with build.loop(4, unroll=True) as c:
            value = build.insert(LoadOp(acc, [0, c])).result
            build.insert(StoreOp(value, out, [pixel // size, pixel % size, first + c], [(pixel, size * size)]))
    image, weights = normal(*shapes[0]), normal(*shapes[1])
    *_, found = gpu.run(compile_kernel(kernel), [image, weights, zeros(*shapes[2])])
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    expected = sum(padded[ky : ky + size, kx : kx + size] * weights[ky, kx] for ky in range(3) for kx in range(3))
    assert error(found, expected) <= 1e-5


@pytest.mark.parametrize(("element", "dtype"), [(ui8, np.uint8), (i8, np.int8), (f16, np.float16)])
@pytest.mark.parametrize("shift", [0, 1])
def test_dequantise_narrow_elements(gpu: Gpu, element, dtype, shift: int) -> None:
    """As whole words, and (shifted) one element of a word at a time."""
    kernel, build = new_kernel([((101,), element), ((100,), f32)], [1], [32])
    x, out = kernel.bindings
    with build.parallel([Id.LID_X]) as (lane,), build.loop(4, unroll=True) as i:
        place = lane * 4 + i
        raw = build.insert(LoadOp(x, [place + shift], [(place, 100)])).result
        value = raw if raw.type == f32 else build.insert(CastOp(raw, f32)).result
        scaled = build.insert(arith.MulfOp(value, constant(build, 0.5))).result
        build.insert(StoreOp(scaled, out, [place], [(place, 100)]))
    data = (normal(101) * 50).astype(dtype)
    *_, found = gpu.run(compile_kernel(kernel), [data, zeros(100)])
    assert error(found, data[shift : 100 + shift].astype(np.float32) * 0.5) <= 1e-6


@pytest.mark.parametrize(("element", "dtype"), [(ui8, np.uint8), (i8, np.int8), (f16, np.float16)])
def test_store_narrow_elements(gpu: Gpu, element, dtype) -> None:
    """The last word is not full: what lies behind the array is padding."""
    kernel, build = new_kernel([((101,), f32), ((101,), element)], [1], [32])
    x, out = kernel.bindings
    register = f32 if element == f16 else ui32 if element == ui8 else i32
    with build.parallel([Id.LID_X]) as (lane,), build.loop(4, unroll=True) as i:
        place = lane * 4 + i
        value = build.insert(LoadOp(x, [place], [(place, 101)])).result
        build.insert(StoreOp(build.insert(CastOp(value, register)).result, out, [place], [(place, 101)]))
    data = np.trunc(RNG.uniform(0, 100, 101)).astype(np.float32)
    *_, found = gpu.run(compile_kernel(kernel), [data, np.zeros(101, dtype)])
    assert np.array_equal(found, data.astype(dtype))


def test_concat_by_masks(gpu: Gpu) -> None:
    """Both parts are loaded under masks; which one counts is a condition."""
    kernel, build = new_kernel([((5, 12), f32), ((5, 8), f32), ((5, 20), f32)], [1], [32])
    left, right, out = kernel.bindings
    with build.parallel([Id.LID_X]) as (lane,), build.loop(4, unroll=True) as i:
        place = lane * 4 + i
        row, column = place // 20, place % 20
        a = build.insert(LoadOp(left, [row, column], [(column, 12), (row, 5)])).result
        b = build.insert(LoadOp(right, [row, column - 12], [(column - 12, 8), (row, 5)])).result
        first = build.insert(WithinOp([(column, 12)])).result
        build.insert(StoreOp(build.insert(SelectOp(first, a, b)).result, out, [row, column], [(row, 5)]))
    parts = [normal(5, 12), normal(5, 8)]
    parts[0][0, 0] = -0.0
    *_, found = gpu.run(compile_kernel(kernel), [*parts, zeros(5, 20)])
    assert np.array_equal(found.view(np.uint32), np.concatenate(parts, axis=1).view(np.uint32))


def test_gather_rows(gpu: Gpu) -> None:
    kernel, build = new_kernel([((50, 8), f32), ((12,), i32), ((12, 8), f32)], [1], [24])
    table, ids, out = kernel.bindings
    with build.parallel([Id.LID_X]) as (lane,):
        position, first = lane // 2, lane % 2 * 4
        wanted = build.insert(LoadOp(ids, [position])).result
        row = build.insert(ToIndexOp(wanted, 50))
        with build.loop(4, unroll=True) as i:
            value = build.insert(LoadOp(table, [row.index, first + i])).result
            build.insert(StoreOp(value, out, [position, first + i]))
    data, rows = normal(50, 8), RNG.integers(0, 50, 12).astype(np.int32)
    *_, found = gpu.run(compile_kernel(kernel), [data, rows, zeros(12, 8)])
    assert np.array_equal(found, data[rows])


@pytest.mark.parametrize("length", [1 << 19, 90001])
def test_long_sum_within_the_trip_limit(gpu: Gpu, length: int) -> None:
    """Unbounded, lavapipe stops it after 65,535 iterations and returns a wrong sum without a word."""
    kernel, build = new_kernel([((length,), f32), ((4,), f32)], [1], [4])
    x, out = kernel.bindings
    with build.parallel([Id.LID_X]) as (lane,):
        acc = filled_tile(build, (1, 1), 0.0)
        with build.loop(length) as k:
            value = build.insert(LoadOp(x, [k])).result
            so_far = build.insert(LoadOp(acc, [0, 0])).result
            build.insert(StoreOp(build.insert(arith.AddfOp(so_far, value)).result, acc, [0, 0]))
        build.insert(StoreOp(build.insert(LoadOp(acc, [0, 0])).result, out, [lane]))
    shader = compile_kernel(kernel)
    assert shader.iterations is not None
    assert length // 64 < shader.iterations.value.data <= BoundTripCountsPass().limit
    data = np.resize(np.array([1, 2, 0.5, -1], np.float32), length)
    *_, found = gpu.run(shader, [data, zeros(4)])
    assert error(found, np.full(4, data.sum(dtype=np.float64))) <= 1e-5


def test_workgroup_memory_and_barriers(gpu: Gpu) -> None:
    """Reverses 64 numbers through shared memory, of which the second half was only ever set to zero."""
    kernel, build = new_kernel([((64,), f32), ((128,), f32)], [1], [64])
    x, out = kernel.bindings
    with build.parallel([Id.LID_X]) as (lane,):
        tile = build.insert(AllocOp(MemorySpace.WORKGROUP, MemRefType(f32, [128]), zero=True)).memory
        build.insert(StoreOp(build.insert(LoadOp(x, [lane])).result, tile, [63 - lane]))
        build.insert(BarrierOp())
        with build.loop(2, unroll=True) as half:
            build.insert(StoreOp(build.insert(LoadOp(tile, [half * 64 + lane])).result, out, [half * 64 + lane]))
    data = normal(64)
    *_, found = gpu.run(compile_kernel(kernel), [data, normal(128)])
    assert np.array_equal(found, np.concatenate([data[::-1], zeros(64)]))


def test_conditions_in_memory_and_iota(gpu: Gpu) -> None:
    """A condition is a word; an index becomes a number; NaN is found by its bits."""
    kernel, build = new_kernel([((8,), f32), ((8,), i1), ((8,), f32)], [1], [2])
    x, nans, out = kernel.bindings
    with build.parallel([Id.LID_X]) as (lane,), build.loop(4, unroll=True) as i:
        place = lane * 4 + i
        value = build.insert(LoadOp(x, [place])).result
        test = build.insert(IsNanOp(value)).result
        build.insert(StoreOp(test, nans, [place]))
        number = build.insert(CastOp(build.insert(IndexValueOp(place * 3 + 1)).result, f32)).result
        build.insert(StoreOp(build.insert(SelectOp(test, number, value)).result, out, [place]))
    data = np.array([1, np.nan, np.inf, -np.inf, 0, -np.nan, 3e38, 1e-30], np.float32)
    _, found, filled = gpu.run(compile_kernel(kernel), [data, np.zeros(8, np.uint32), zeros(8)])
    assert np.array_equal(found, np.isnan(data))
    assert np.array_equal(filled, np.where(np.isnan(data), np.arange(8) * 3 + 1, data))


UNARY = [
    (math.ExpOp, np.exp, (-10, 10)),
    (math.TanhOp, np.tanh, (-500, 500)),
    (math.LogOp, np.log, (1e-3, 100)),
    (math.Log1pOp, np.log1p, (-1e-3, 1e-3)),
    (math.Log1pOp, np.log1p, (0, 1e9)),
    (math.ExpM1Op, np.expm1, (-1e-3, 1e-3)),
    (math.ExpM1Op, np.expm1, (-20, 5)),
    (math.RoundEvenOp, np.rint, (-5, 5)),
    (math.RsqrtOp, lambda x: 1 / np.sqrt(x), (0.1, 10)),
    (math.CbrtOp, np.cbrt, (-8, 8)),
    (math.FloorOp, np.floor, (-5, 5)),
    (math.SinOp, np.sin, (-10, 10)),
    (math.AsinhOp, np.arcsinh, (-5, 5)),
]


@pytest.mark.parametrize(("op", "reference", "domain"), UNARY, ids=lambda value: getattr(value, "name", None))
def test_scalar_functions(gpu: Gpu, op, reference, domain: tuple[float, float]) -> None:
    kernel, build = new_kernel([((64,), f32), ((64,), f32)], [1], [16])
    x, out = kernel.bindings
    with build.parallel([Id.LID_X]) as (lane,), build.loop(4, unroll=True) as i:
        value = build.insert(LoadOp(x, [lane * 4 + i])).result
        build.insert(StoreOp(build.insert(op(value)).result, out, [lane * 4 + i]))
    data = np.linspace(*domain, 64).astype(np.float32)
    *_, found = gpu.run(compile_kernel(kernel), [data, zeros(64)])
    assert error(found, reference(data.astype(np.float64))) <= 2e-6


def test_powers_of_negative_numbers(gpu: Gpu) -> None:
    kernel, build = new_kernel([((8,), f32), ((8,), f32), ((8,), f32)], [1], [8])
    x, y, out = kernel.bindings
    with build.parallel([Id.LID_X]) as (lane,):
        operands = [build.insert(LoadOp(memory, [lane])).result for memory in (x, y)]
        build.insert(StoreOp(build.insert(math.PowFOp(*operands)).result, out, [lane]))
    base = np.array([-2, -2, -3, 0, 0, 2, 5, -1.5], np.float32)
    exponent = np.array([2, 3, -1, 0, 2, 0.5, 0, 4], np.float32)
    *_, found = gpu.run(compile_kernel(kernel), [base, exponent, zeros(8)])
    assert error(found, np.power(base, exponent)) <= 1e-5


def test_run_time_end_of_a_loop(gpu: Gpu) -> None:
    """A loop ends before a number that a binding holds, and at its static bound at the latest."""
    kernel, build = new_kernel([((1,), i32), ((16,), f32), ((1,), f32)], [1], [1])
    count, x, out = kernel.bindings
    with build.parallel([]) as _:
        end = build.insert(ToIndexOp(build.insert(LoadOp(count, [0])).result, 1 << 20))
        acc = filled_tile(build, (1, 1), 0.0)
        with build.loop(16, until=end.result) as k:
            so_far = build.insert(LoadOp(acc, [0, 0])).result
            total = build.insert(arith.AddfOp(so_far, build.insert(LoadOp(x, [k])).result)).result
            build.insert(StoreOp(total, acc, [0, 0]))
        build.insert(StoreOp(build.insert(LoadOp(acc, [0, 0])).result, out, [0]))
    shader = compile_kernel(kernel)
    data = normal(16)
    for number in (0, 5, 16, 1000):
        *_, found = gpu.run(shader, [np.array([number], np.int32), data, zeros(1)])
        assert error(found + 1, data[:number].sum(keepdims=True) + 1) <= 1e-5


SHIFTED = """
loop.kernel @shift(%x: memref<64xf32>) grid [1, 1, 1] workgroup [16, 1, 1] {
  loop.parallel %t = lid.x {
    loop.for unroll %i < 4 {
      %v = loop.load %x[%t * 4 + %i] : memref<64xf32> -> f32
      loop.store %v, %x[%t * 4 - %i + 3] : f32, memref<64xf32>
    }
  }
}
"""


def test_loop_whose_steps_depend_on_each_other_stays_scalar() -> None:
    module = parse(SHIFTED)
    before = str(module.body.block.first_op)
    VectorizeLoopPass().apply(None, module)  # pyright: ignore[reportArgumentType]
    assert str(module.body.block.first_op) == before
    (remark,) = get_remarks(module)
    assert remark.id == "TST-V003"
