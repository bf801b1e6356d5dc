"""Tests on the GPU of products that are cut so that more units share them: the same answers, and more dispatches."""

import dataclasses

import numpy as np
import pytest
from chain import Chain
from models import Builder
from onnx import ModelProto, TensorProto

from tstorch.check import TOLERANCE
from tstorch.passes.fusion.split_reduction import parts
from tstorch.runtime.client import Worker
from tstorch.target import Target

MANY_UNITS = dataclasses.replace(Target.default("discrete"), id="many", units=132)
NO_UNITS = dataclasses.replace(MANY_UNITS, id="none", units=1)


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    with Worker.start() as worker:
        yield Chain(worker, tmp_path_factory.mktemp("split"))


def network(stride: int) -> ModelProto:
    """Two convolutions over many channels, their residual, a pool, and a dense layer whose weight lies by rows."""
    build = Builder(3)
    first = build.node("Conv", "image", build.weight("first", 16, 96, 3, 3), name="first", pads=[1] * 4)
    bias = build.weight("bias", 96)
    wide = build.node("Conv", first, build.weight("wide", 96, 16, 1, 1), bias, name="wide", strides=[stride] * 2)
    relu = build.node("Relu", wide, name="relu")
    again = build.node("Conv", relu, build.weight("again", 96, 96, 3, 3), name="again", pads=[1] * 4)
    both = build.node("Add", again, relu, name="add")
    flat = build.node("Flatten", build.node("GlobalAveragePool", both, name="pool"), name="flatten")
    tall = build.node("MatMul", flat, build.weight("tall", 96, 512), name="tall")
    end = build.node("Gemm", tall, build.weight("end", 10, 512), build.weight("last", 10), name="end", transB=1)
    return build.model({"image": (TensorProto.FLOAT, [1, 96, 8, 8])}, {end: (TensorProto.FLOAT, [1, 10])})


@pytest.mark.gpu
@pytest.mark.parametrize("stride", [1, 2])
def test_a_network_of_parts_gives_what_the_whole_one_gives(chain, stride):
    cut, errors = chain.errors(network(stride), target=MANY_UNITS)
    assert max(errors.values()) < TOLERANCE
    whole, errors = chain.errors(network(stride), target=NO_UNITS)
    assert max(errors.values()) < TOLERANCE
    ids = [remark["id"] for remark in cut.artifact.remarks if remark["kind"] == "passed"]
    assert ids.count("TST-F040") >= 2
    assert ids.count("TST-F041") == 1
    entries = [[row["entry"] for row in each.artifact.dispatches] for each in (cut, whole)]
    assert entries[0].count("run") > entries[1].count("run")
    assert entries[0].count("init") == entries[1].count("init") > 0, "weights are rearranged at load"


@pytest.mark.gpu
def test_the_pass_may_be_left_out(chain):
    whole, errors = chain.errors(network(1), target=MANY_UNITS, without=["split-reduction"])
    assert max(errors.values()) < TOLERANCE
    assert not [remark for remark in whole.artifact.remarks if remark["id"] == "TST-F040"]


def staged_kernels(compiled) -> int:
    return sum("var<workgroup>" in kernel.wgsl for kernel in compiled.artifact.kernels.values())


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("lines", "depth", "lanes"),
    [(24, 16, 32), (49, 32, 40), (65, 48, 68), (130, 64, 100), (200, 16, 31), (70, 77, 48), (65, 197, 64)],
)
def test_products_through_workgroup_memory_are_right_where_blocks_are_partly_empty(chain, lines, depth, lanes):
    build = Builder(1)
    product = build.node("MatMul", "x", build.weight("w", depth, lanes, scale=1.0), name="product")
    shape = {product: (TensorProto.FLOAT, [lines, lanes])}
    compiled, errors = chain.errors(build.model({"x": (TensorProto.FLOAT, [lines, depth])}, shape), target=NO_UNITS)
    assert staged_kernels(compiled) == 1
    assert max(errors.values()) < 1e-5


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("stride", "pad", "size", "groups"), [(1, 1, 9, 1), (2, 1, 14, 1), (1, 0, 7, 2), (2, 3, 13, 1)]
)
def test_convolutions_through_workgroup_memory_are_right_at_their_edges(chain, stride, pad, size, groups):
    build = Builder(2)
    weight, bias = build.weight("w", 64, 32 // groups, 3, 3), build.weight("b", 64)
    strides, pads = [stride] * 2, [pad] * 4
    conv = build.node("Conv", "x", weight, bias, name="conv", strides=strides, pads=pads, group=groups)
    end = build.node("Relu", conv, name="relu")
    out = (size + 2 * pad - 3) // stride + 1
    model = build.model({"x": (TensorProto.FLOAT, [2, 32, size, size])}, {end: (TensorProto.FLOAT, [2, 64, out, out])})
    compiled, errors = chain.errors(model, target=NO_UNITS)
    assert staged_kernels(compiled) == 1
    assert max(errors.values()) < 1e-5


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("shape", "other"), [((3, 200, 384), (3, 384, 8)), ((2, 2, 70, 192), (2, 2, 192, 40)), ((5, 64, 77), (5, 77, 12))]
)
def test_batches_of_products_are_cut_and_staged_however_narrow(chain, shape, other):
    build = Builder(5)
    product = build.node("MatMul", "x", "w", name="product")
    given = {"x": (TensorProto.FLOAT, list(shape)), "w": (TensorProto.FLOAT, list(other))}
    model = build.model(given, {product: (TensorProto.FLOAT, [*shape[:-1], other[-1]])})
    cut, errors = chain.errors(model, target=MANY_UNITS)
    assert staged_kernels(cut) == 1
    assert max(errors.values()) < 1e-5
    ids = [remark["id"] for remark in cut.artifact.remarks if remark["kind"] == "passed"]
    assert ids.count("TST-F040") == (shape[-1] > 96)


@pytest.mark.gpu
def test_products_of_halves_are_cut_and_staged(chain):
    build = Builder(6)
    wide = build.node("Cast", "x", name="cast", to=TensorProto.FLOAT16)
    weight = build.node("Cast", build.weight("w", 512, 40), name="weight", to=TensorProto.FLOAT16)
    conv = build.node("Cast", build.weight("k", 64, 32, 3, 3), name="kernel", to=TensorProto.FLOAT16)
    image = build.node("Cast", "image", name="image_cast", to=TensorProto.FLOAT16)
    ends = [build.node("MatMul", wide, weight, name="product"), build.node("Conv", image, conv, name="conv")]
    out = [build.node("Cast", end, name=f"out{n}", to=TensorProto.FLOAT) for n, end in enumerate(ends)]
    shapes = {out[0]: (TensorProto.FLOAT, [64, 40]), out[1]: (TensorProto.FLOAT, [1, 64, 8, 8])}
    given = {"x": (TensorProto.FLOAT, [64, 512]), "image": (TensorProto.FLOAT, [1, 32, 10, 10])}
    compiled, errors = chain.errors(build.model(given, shapes), target=MANY_UNITS)
    assert staged_kernels(compiled) == 2
    assert max(errors.values()) < 2e-3
    assert len([remark for remark in compiled.artifact.remarks if remark["id"] == "TST-F040"]) == 2


@pytest.mark.gpu
def test_patches_of_an_image_are_a_product(chain):
    build = Builder(7)
    conv = build.node("Conv", "x", build.weight("w", 40, 3, 4, 4), build.weight("b", 40), name="conv", strides=[4, 4])
    model = build.model({"x": (TensorProto.FLOAT, [2, 3, 16, 24])}, {conv: (TensorProto.FLOAT, [2, 40, 4, 6])})
    for without in ([], ["propagate-layout"]):
        compiled, errors = chain.errors(model, target=NO_UNITS, without=without)
        assert max(errors.values()) < 1e-5
        [row] = [row for row in compiled.artifact.dispatches if row["entry"] == "run"]
        assert row["label"].startswith("conv" if without else "dot_general")


@pytest.mark.gpu
@pytest.mark.parametrize("columns", [7, 31, 50, 197, 640, 768, 1500, 5000, 9001])
def test_rows_are_right_whether_they_are_held_in_registers_or_read_again(chain, columns):
    build = Builder(4)
    norm = build.node(
        "LayerNormalization", "x", build.weight("scale", columns), build.weight("b", columns), name="norm"
    )
    end = build.node("Softmax", build.node("Mul", norm, "x", name="mul"), name="softmax", axis=-1)
    shape = (TensorProto.FLOAT, [5, columns])
    _, errors = chain.errors(build.model({"x": shape}, {end: shape}), target=NO_UNITS)
    assert max(errors.values()) < TOLERANCE


@pytest.mark.gpu
def test_tiles_need_not_be_read_ahead(chain):
    build = Builder(1)
    product = build.node("MatMul", "x", build.weight("w", 256, 64, scale=1.0), name="product")
    model = build.model({"x": (TensorProto.FLOAT, [64, 256])}, {product: (TensorProto.FLOAT, [64, 64])})
    for without in ([], ["prefetch-tiles"]):
        compiled, errors = chain.errors(model, target=NO_UNITS, without=without)
        assert staged_kernels(compiled) == 1
        assert max(errors.values()) < 1e-5


@pytest.mark.parametrize("units", [2, 16, 132, 500])
def test_parts_divide_evenly_and_leave_enough_to_each(units):
    rng = np.random.default_rng(0)
    for rows, columns, length in rng.integers(1, 4096, (200, 3)):
        count = parts(rows, columns, length, length, units)
        assert length % count == 0
        assert count == 1 or length // count >= 96
        assert count == 1 or -(-rows // 64) * -(-columns // 64) * count <= 3.3 * units
