"""Loop kernels built by hand, and a small runner for what they become."""

from collections.abc import Callable, Sequence
from io import StringIO

import numpy as np
import wgpu
from numpy.typing import NDArray
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import FloatAttr, MemRefType, ModuleOp, f32
from xdsl.ir import Attribute, SSAValue
from xdsl.parser import Parser
from xdsl.printer import Printer

from tstorch.artifact.wgsl_text import KernelText, kernel_text
from tstorch.dialects import wgsl
from tstorch.dialects.indexing import Index
from tstorch.dialects.loop import (
    AllocOp,
    Constraint,
    Id,
    KernelOp,
    LoadOp,
    MemorySpace,
    NestBuilder,
    StoreOp,
    kernel_builder,
)
from tstorch.passes.base import TSTorchPass
from tstorch.passes.convert.convert_loop_to_wgsl import ConvertLoopToWgslPass
from tstorch.passes.loop.bound_trip_counts import BoundTripCountsPass
from tstorch.passes.loop.drop_masks import DropMasksPass
from tstorch.passes.loop.hoist_vector_loads import HoistVectorLoadsPass
from tstorch.passes.loop.pack_words import PackWordsPass
from tstorch.passes.loop.vectorize_loop import VectorizeLoopPass
from tstorch.registry import make_context

Array = NDArray[np.generic]
PASSES: tuple[TSTorchPass, ...] = (
    VectorizeLoopPass(),
    HoistVectorLoadsPass(),
    DropMasksPass(),
    BoundTripCountsPass(),
    PackWordsPass(),
)


def new_kernel(
    types: Sequence[tuple[Sequence[int], Attribute]], grid: Sequence[int], workgroup: Sequence[int], ops: int = 1
) -> tuple[KernelOp, NestBuilder]:
    """A kernel with bindings of these shapes and element types, and a builder in it."""
    bindings = [MemRefType(element, shape) for shape, element in types]
    names = [f"prim.op{number}" for number in range(ops)]
    kernel = KernelOp("k", bindings, [*grid, 1, 1][:3], [*workgroup, 1, 1][:3], kind="test", ops=names)
    return kernel, kernel_builder(kernel)


def parse(text: str) -> ModuleOp:
    """A module from text, verified."""
    module = Parser(make_context(), text).parse_module()
    module.verify()
    return module


def text_of(module: ModuleOp) -> str:
    """The module with its locations."""
    stream = StringIO()
    Printer(stream, print_debuginfo=True).print_op(module)
    return stream.getvalue()


def compile_kernel(kernel: KernelOp | ModuleOp, passes: Sequence[TSTorchPass] = PASSES) -> wgsl.ModuleOp:
    """The shader, verified after every pass and parsed back from its text once."""
    module = ModuleOp([kernel]) if isinstance(kernel, KernelOp) else kernel
    module.verify()
    for each in (*passes, ConvertLoopToWgslPass()):
        each.apply(make_context(), module)
        module.verify()
    [shader] = parse(text_of(module)).ops
    assert isinstance(shader, wgsl.ModuleOp)
    return shader


class Gpu:
    """Runs shaders on whatever adapter there is."""

    def __init__(self) -> None:
        self.device = wgpu.gpu.request_adapter_sync().request_device_sync()

    def run(self, shader: wgsl.ModuleOp, arrays: Sequence[Array]) -> list[Array]:
        """The bindings after one dispatch."""
        text: KernelText = kernel_text(shader)
        module = self.device.create_shader_module(code=text.text)
        pipeline = self.device.create_compute_pipeline(
            layout="auto", compute={"module": module, "entry_point": shader.function.sym_name.data}
        )
        usage = wgpu.BufferUsage.STORAGE | wgpu.BufferUsage.COPY_SRC
        padded = [np.ascontiguousarray(a).tobytes() for a in arrays]
        buffers = [
            self.device.create_buffer_with_data(data=data + bytes(-len(data) % 16), usage=usage) for data in padded
        ]
        entries = [
            {"binding": number, "resource": {"buffer": buffer, "offset": 0, "size": buffer.size}}
            for number, buffer in enumerate(buffers)
        ]
        group = self.device.create_bind_group(layout=pipeline.get_bind_group_layout(0), entries=entries)
        encoder = self.device.create_command_encoder()
        compute = encoder.begin_compute_pass()
        compute.set_pipeline(pipeline)
        compute.set_bind_group(0, group)
        compute.dispatch_workgroups(*(int(n) for n in shader.grid.get_values()))
        compute.end()
        self.device.queue.submit([encoder.finish()])
        contents = [bytes(self.device.queue.read_buffer(buffer)) for buffer in buffers]
        return [
            np.frombuffer(data[: a.nbytes], a.dtype).reshape(a.shape) for data, a in zip(contents, arrays, strict=True)
        ]


def error(found: Array, expected: Array) -> float:
    """max|a - b| / max|b|"""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-30))


def constant(build: NestBuilder, value: float) -> SSAValue:
    return build.insert(arith.ConstantOp(FloatAttr(value, f32))).result


def filled_tile(build: NestBuilder, shape: tuple[int, int], value: float) -> SSAValue:
    """A private tile of f32 with every element set."""
    tile = build.insert(AllocOp(MemorySpace.PRIVATE, MemRefType(f32, shape))).memory
    start = constant(build, value)
    with build.loop(shape[0], unroll=True) as i, build.loop(shape[1], unroll=True) as j:
        build.insert(StoreOp(start, tile, [i, j]))
    return tile


LoadAt = Callable[[Index, Index], SSAValue]
StoreAt = Callable[[SSAValue, Index, Index], None]


def contraction(
    build: NestBuilder,
    tile: tuple[int, int],
    place: tuple[Index, Index],
    k: int,
    step: int,
    a: LoadAt,
    b: LoadAt,
    store: StoreAt,
) -> None:
    """out[m, n] = sum over k of a(m, k) * b(k, n) for a tile of results at `place`."""
    m0, n0 = place
    acc = filled_tile(build, tile, 0.0)
    with build.loop(k, step) as k0:
        right = build.insert(AllocOp(MemorySpace.PRIVATE, MemRefType(f32, [step, tile[1]]))).memory
        with build.loop(step, unroll=True) as kk, build.loop(tile[1], unroll=True) as j:
            build.insert(StoreOp(b(k0 + kk, n0 + j), right, [kk, j]))
        with build.loop(tile[0], unroll=True) as i, build.loop(step, unroll=True) as kk:
            left = a(m0 + i, k0 + kk)
            with build.loop(tile[1], unroll=True) as j:
                weight = build.insert(LoadOp(right, [kk, j])).result
                so_far = build.insert(LoadOp(acc, [i, j])).result
                total = build.insert(math.FmaOp(left, weight, so_far)).result
                build.insert(StoreOp(total, acc, [i, j]))
    with build.loop(tile[0], unroll=True) as i, build.loop(tile[1], unroll=True) as j:
        store(build.insert(LoadOp(acc, [i, j])).result, m0 + i, n0 + j)


def gemm(m: int, n: int, k: int, tile: tuple[int, int], step: int = 4) -> KernelOp:
    """relu(a @ b + bias), masked at the edges."""
    workgroup = (4, 4)
    grid = (-(-n // (tile[1] * workgroup[0])), -(-m // (tile[0] * workgroup[1])))
    kernel, build = new_kernel([((m, k), f32), ((k, n), f32), ((n,), f32), ((m, n), f32)], grid, workgroup, ops=3)
    a, b, bias, out = kernel.bindings
    ids = [Id.WG_X, Id.WG_Y, Id.LID_X, Id.LID_Y]

    def load(memory: SSAValue, indices: list[Index], where: list[Constraint]) -> SSAValue:
        return build.insert(LoadOp(memory, indices, where)).result

    def epilogue(value: SSAValue, mi: Index, ni: Index) -> None:
        with build.op_location(1):
            added = build.insert(arith.AddfOp(value, load(bias, [ni], [(ni, n)]))).result
        with build.op_location(2):
            positive = build.insert(arith.MaximumfOp(added, constant(build, 0.0))).result
            build.insert(StoreOp(positive, out, [mi, ni], [(mi, m), (ni, n)]))

    with build.parallel(ids) as (gx, gy, x, y), build.op_location(0):
        contraction(
            build,
            tile,
            ((gy * 4 + y) * tile[0], (gx * 4 + x) * tile[1]),
            -(-k // step) * step,
            step,
            lambda mi, ki: load(a, [mi, ki], [(mi, m), (ki, k)]),
            lambda ki, ni: load(b, [ki, ni], [(ki, k), (ni, n)]),
            epilogue,
        )
    return kernel
