"""Tests of weights that one binding of the target cannot hold, on the GPU: whole rows in several bindings."""

from dataclasses import replace

import numpy as np
import pytest
from chain import Chain
from models import Builder
from onnx import ModelProto, TensorProto

from tstorch.runtime.client import Worker
from tstorch.target import Target

pytestmark = pytest.mark.gpu

ROWS, WIDTH = 21, 64
SMALL = replace(Target.default("cpu").limits, max_storage_buffer_binding_size=8 * WIDTH * 4)


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    with Worker.start() as worker:
        yield Chain(worker, tmp_path_factory.mktemp("oversized"))


def embedding() -> tuple[ModelProto, np.ndarray]:
    """Rows of a table by int64 ids, from both ends; and the table."""
    build = Builder(1)
    table = build.rng.standard_normal((ROWS, WIDTH)).astype(np.float32)
    rows = build.node("Gather", build.constant("table", table), "ids", name="rows")
    return build.model({"ids": (TensorProto.INT64, [2, 4])}, {rows: (TensorProto.FLOAT, [2, 4, WIDTH])}), table


def test_rows_of_a_table_in_three_bindings_are_one_dispatch(chain):
    model, table = embedding()
    target = replace(Target.default("cpu"), limits=SMALL)
    compiled = chain.compiled(model, target=target)
    (dispatch,) = [command for command in compiled.artifact.program["entries"]["run"] if command["op"] == "dispatch"]
    assert len(dispatch["bindings"]) == 3 + 2
    assert max(binding["bytes"] for binding in dispatch["bindings"]) <= SMALL.max_storage_buffer_binding_size
    ids = np.array([[0, 6, 7, 13], [14, ROWS - 1, -1, -ROWS]])
    (found,) = chain.run(compiled, {"ids": ids}).values()
    np.testing.assert_array_equal(found, table[ids])


def test_a_tied_embedding_is_read_in_parts_by_its_look_up_and_by_its_product(chain):
    build = Builder(2)
    table = build.rng.standard_normal((ROWS, WIDTH)).astype(np.float32)
    weight = build.constant("table", table)
    hidden = build.node("Gather", weight, "ids", name="rows")
    logits = build.node("MatMul", hidden, build.node("Transpose", weight, name="tied", perm=[1, 0]), name="head")
    model = build.model({"ids": (TensorProto.INT64, [2, 4])}, {logits: (TensorProto.FLOAT, [2, 4, ROWS])})
    compiled = chain.compiled(model, target=replace(Target.default("cpu"), limits=SMALL))
    assert [weight["bytes"] for weight in compiled.artifact.program["weights"]] == [table.nbytes]
    ids = np.arange(-8, 0).reshape(2, 4) * 2
    (found,) = chain.run(compiled, {"ids": ids}).values()
    np.testing.assert_allclose(found, table[ids] @ table.T, rtol=0, atol=1e-4)


def test_more_tensors_than_a_kernel_binds_are_put_side_by_side(chain):
    build = Builder(3)
    parts = [build.node("Relu", f"x{at}", name=f"relu{at}") for at in range(20)]
    whole = build.node("Concat", *parts, name="cat", axis=1)
    given = {f"x{at}": (TensorProto.FLOAT, [3, at % 3 + 1]) for at in range(20)}
    sizes = sum(shape[1] for _, shape in given.values())
    compiled, errors = chain.errors(build.model(given, {whole: (TensorProto.FLOAT, [3, sizes])}))
    dispatches = [command for command in compiled.artifact.program["entries"]["run"] if command["op"] == "dispatch"]
    assert max(len(dispatch["bindings"]) for dispatch in dispatches) <= 8
    assert errors == {whole: 0}


def test_bytes_that_would_be_too_large_as_floats_are_unpacked_where_they_are_read(chain):
    build = Builder(4)
    table = build.constant("table", build.rng.integers(-128, 128, (ROWS, WIDTH)).astype(np.int8))
    scale, zero = build.constant("scale", np.float32(0.02)), build.constant("zero", np.int8(3))
    real = build.node("DequantizeLinear", table, scale, zero, name="real")
    logits = build.node("MatMul", "x", build.node("Transpose", real, name="turned", perm=[1, 0]), name="head")
    model = build.model({"x": (TensorProto.FLOAT, [2, WIDTH])}, {logits: (TensorProto.FLOAT, [2, ROWS])})
    compiled, errors = chain.errors(model, target=replace(Target.default("cpu"), limits=SMALL))
    assert not compiled.artifact.program["entries"].get("init")
    assert errors[logits] <= 1e-5
