"""Artifacts made by hand, run on a GPU in this process: every kind of value, entry and refusal."""

import numpy as np
import pytest

from tstorch.artifact.format import ArtifactError
from tstorch.diagnostics import RunError
from tstorch.runtime.client import Worker
from tstorch.runtime.recorder import Recorder
from tstorch.runtime.shared import LENT_BYTES, MOST_BLOCKS

pytestmark = pytest.mark.gpu

MAP = """@group(0) @binding(0) var<storage, read> a: array<{a}>;
@group(0) @binding(1) var<storage, read_write> b: array<{b}>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
    if (id.x < arrayLength(&b)) {{ b[id.x] = {value}; }}
}}
"""


@pytest.fixture(scope="module")
def worker():
    with Worker.start(isolation="none") as worker:
        yield worker


@pytest.fixture
def load(worker, tmp_path):
    def load(builder):
        builder.artifact().write(tmp_path / "a.tsart")
        return worker.load(tmp_path / "a.tsart", builder.sources(tmp_path))

    return load


def map_kernel(builder, name, a, b, value):
    builder.kernel(name, MAP.format(a=a, b=b, value=value), ["read", "read_write"])


def test_one_kernel(worker, load, add_builder):
    load(add_builder)
    x, z = np.random.default_rng(0).standard_normal((2, 4, 25)).astype(np.float32)
    for factor in (1, 2, 3):  # the same buffers serve every run
        np.testing.assert_array_equal(worker.run({"x": factor * x, "z": z})["y"], factor * x + z)


def test_what_a_caller_keeps_is_not_touched_by_later_runs(builder, tmp_path):
    count = LENT_BYTES // 4
    builder.adder(count).artifact().write(tmp_path / "a.tsart")
    given = np.arange(count, dtype=np.float32)
    with Worker.start() as worker:
        worker.load(tmp_path / "a.tsart", {})
        kept = [worker.run({"x": given, "z": np.full_like(given, n)})["y"] for n in range(2 * MOST_BLOCKS)]
        part = [each[5:9].reshape(2, 2) for each in kept]
        del kept[1::2]
        for n in range(MOST_BLOCKS):  # memory that nobody keeps any more serves again
            np.testing.assert_array_equal(worker.run({"x": given, "z": given * n})["y"], given * (n + 1))
    for n, each in enumerate(kept):
        np.testing.assert_array_equal(each, given + 2 * n)
    for n, each in enumerate(part):
        np.testing.assert_array_equal(each.ravel(), given[5:9] + n)


def test_command_buffers_are_encoded_ahead_for_each_kind_of_run(worker, load, builder, monkeypatch):
    load(builder.adder(64))
    encoded = []
    encode = Recorder._encode
    monkeypatch.setattr(Recorder, "_encode", lambda *args: encoded.append(args[1]) or encode(*args))
    given = np.arange(64, dtype=np.float32)
    for n, kind in enumerate(["plain", "light", "plain", "light", "plain"]):
        found = worker.measure({"x": given, "z": given + n}, kind=kind)
        np.testing.assert_array_equal(found.outputs["y"], 2 * given + n)
    # The first run of each kind encodes its own commands and the next ones', every other only the next ones'.
    assert len(encoded) == 5 + 2
    worker.read_state([])
    load(builder)  # what was encoded ahead goes with its device, or that would never go


def test_no_command_buffer_is_left(worker, load, builder):
    load(builder.adder(64))
    device = worker._connection._service._device
    before = device.counted("commandBuffers")
    given = np.arange(64, dtype=np.float32)
    for kind in ("plain", "light", "detailed", "plain"):
        worker.measure({"x": given, "z": given}, kind=kind)
    load(builder)
    assert device.counted("commandBuffers") == before


@pytest.mark.parametrize("kind", ["plain", "light", "detailed"])
def test_every_kind_of_run_gives_the_same_values(worker, load, builder, kind):
    x, y = builder.value("inputs", "x", (1000,)), builder.value("outputs", "y", (1000,))
    middle = builder.buffer(4000, "activation")
    map_kernel(builder, "double", "f32", "f32", "a[id.x] * 2.0")
    map_kernel(builder, "increment", "f32", "f32", "a[id.x] + 1.0")
    builder.dispatch("double", [16, 1, 1], x, middle)
    builder.dispatch("increment", [16, 1, 1], middle, y)
    builder.finish()
    load(builder)
    given = np.arange(1000, dtype=np.float32)
    measured = worker.measure({"x": given}, kind=kind)
    np.testing.assert_array_equal(measured.outputs["y"], given * 2 + 1)
    if kind == "plain":
        assert measured.timed is None
    else:
        assert measured.timed["valid"]
        assert measured.timed["ticks"] == sorted(measured.timed["ticks"])
    if kind == "light":
        assert measured.timed["gpu"] > 0
    if kind == "detailed":
        assert [ident for ident, _ in measured.timed["dispatches"]] == [0, 1]
        assert all(ns > 0 for _, ns in measured.timed["dispatches"])
    assert sum(measured.spans.values()) + measured.handoff_ns <= measured.whole_ns


def test_a_copy_and_a_fill_between_dispatches_keep_their_order(worker, load, builder):
    x, y = builder.value("inputs", "x", (64,)), builder.value("outputs", "y", (64,))
    middle, other = builder.buffer(256, "activation"), builder.buffer(256, "activation")
    map_kernel(builder, "double", "f32", "f32", "a[id.x] * 2.0")
    builder.dispatch("double", [1, 1, 1], x, middle)
    view = {"buffer": middle, "offset": 0}
    builder.entries["run"] += [
        {"op": "copy", "source": view, "target": {"buffer": other, "offset": 128}, "bytes": 128},
        {"op": "fill", "target": {"buffer": other, "offset": 0}, "bytes": 128},
    ]
    builder.dispatch("double", [1, 1, 1], other, y)
    builder.finish()
    load(builder)
    given = np.arange(64, dtype=np.float32)
    expected = np.concatenate([np.zeros(32), 4 * given[:32]])
    for kind in ("plain", "light", "detailed"):
        np.testing.assert_array_equal(worker.measure({"x": given}, kind=kind).outputs["y"], expected)


def test_bytes_are_read_from_words(worker, load, builder):
    x, y = builder.value("inputs", "x", (3, 7), "u8"), builder.value("outputs", "y", (3, 7))
    map_kernel(builder, "unpack", "u32", "f32", "f32((a[id.x / 4u] >> (8u * (id.x % 4u))) & 255u)")
    builder.dispatch("unpack", [1, 1, 1], x, y)
    builder.finish()
    load(builder)
    given = np.random.default_rng(1).integers(0, 256, (3, 7)).astype(np.uint8)
    np.testing.assert_array_equal(worker.run({"x": given})["y"], given.astype(np.float32))


def test_wide_integers_and_booleans_travel_as_words(worker, load, builder):
    ids, flags = builder.value("inputs", "ids", (5,), "i32<i64"), builder.value("inputs", "flags", (5,), "u32<bool")
    doubled, negated = builder.value("outputs", "d", (5,), "i32<i64"), builder.value("outputs", "n", (5,), "u32<bool")
    map_kernel(builder, "double", "i32", "i32", "a[id.x] * 2")
    map_kernel(builder, "negate", "u32", "u32", "1u - a[id.x]")
    builder.dispatch("double", [1, 1, 1], ids, doubled)
    builder.dispatch("negate", [1, 1, 1], flags, negated)
    builder.finish()
    load(builder)
    given = {"ids": np.array([-3, 0, 7, 2**30 - 1, -(2**30)]), "flags": np.array([True, False, True, True, False])}
    found = worker.run(given)
    assert found["d"].dtype == np.int64
    np.testing.assert_array_equal(found["d"], given["ids"] * 2)
    np.testing.assert_array_equal(found["n"], ~given["flags"])
    with pytest.raises(RunError, match="'ids' holds values from 0 to 4294967296"):
        worker.run(given | {"ids": np.array([0, 2**32, 1, 2, 3])})
    np.testing.assert_array_equal(worker.run(given)["d"], given["ids"] * 2)  # a refused input leaves nothing behind


def test_a_weight_spans_two_buffers(worker, load, builder):
    weight = np.random.default_rng(2).standard_normal(3_000_000).astype(np.float32)  # in three chunks
    cut = 2_000_000
    first, second = builder.buffer(4 * cut, "weight"), builder.buffer(4 * (weight.size - cut) + 256, "weight")
    builder.weight(
        "w",
        weight,
        [
            {"buffer": first, "offset": 0, "source_offset": 0, "bytes": 4 * cut},
            {"buffer": second, "offset": 256, "source_offset": 4 * cut, "bytes": 4 * (weight.size - cut)},
        ],
    )
    y = builder.value("outputs", "y", (128,))
    builder.kernel(
        "ends",
        """@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) {
    y[i] = a[arrayLength(&a) - 64u + i];
    y[64u + i] = b[64u + i];
}
""",
        ["read", "read", "read_write"],
    )
    builder.dispatch("ends", [1, 1, 1], first, second, y)
    builder.finish()
    report = load(builder)
    np.testing.assert_array_equal(worker.run({})["y"], weight[cut - 64 : cut + 64])
    assert report.uploaded_bytes == weight.nbytes
    assert sum(report.stages.values()) <= report.total


def test_init_runs_once_and_its_buffers_are_gone(worker, load, builder):
    raw, packed = builder.buffer(256, "weight", lifetime="init"), builder.buffer(256, "weight")
    builder.weight(
        "w", np.arange(64, dtype=np.float32), [{"buffer": raw, "offset": 0, "source_offset": 0, "bytes": 256}]
    )
    x, y = builder.value("inputs", "x", (64,)), builder.value("outputs", "y", (64,))
    map_kernel(builder, "pack", "f32", "f32", "b[id.x] + a[63u - id.x]")  # adds up if it ran twice
    builder.kernel("add", _add(), ["read", "read", "read_write"])
    builder.dispatch("pack", [1, 1, 1], raw, packed, entry="init")
    builder.dispatch("add", [1, 1, 1], x, packed, y)
    builder.finish()
    load(builder)
    given = np.ones(64, np.float32)
    for _ in range(2):
        np.testing.assert_array_equal(worker.run({"x": given})["y"], 1 + np.arange(63, -1, -1))
    assert worker.facts()["memory"]["requested_by"]["weight"] == 256


def _add():
    return """@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) { c[id.x] = a[id.x] + b[id.x]; }
"""


def state_builder(builder):
    x = builder.value("inputs", "x", (64,))
    total = builder.value("state", "total", (64,), start={"fill": 10.0})
    kept = builder.value("state", "kept", (64,), start={"weight": "w"})
    builder.weight("w", np.arange(64, dtype=np.float32), [])
    map_kernel(builder, "accumulate", "f32", "f32", "b[id.x] + a[id.x]")
    builder.dispatch("accumulate", [1, 1, 1], x, total)
    builder.dispatch("accumulate", [1, 1, 1], x, kept)
    builder.finish()
    return builder


def test_state_survives_runs_and_can_be_read_and_written(worker, load, builder):
    load(state_builder(builder))
    ones = np.ones(64, np.float32)
    for _ in range(3):
        assert worker.run({"x": ones}) == {}
    found = worker.read_state(["total", "kept"])
    np.testing.assert_array_equal(found["total"], 13 * ones)
    np.testing.assert_array_equal(found["kept"], np.arange(64) + 3)
    worker.write_state({"total": 100 * ones})
    worker.run({"x": ones})
    np.testing.assert_array_equal(worker.read_state(["total"])["total"], 101 * ones)
    with pytest.raises(RunError, match="there is no state 'sum'; expected one of kept, total"):
        worker.read_state(["sum"])
    with pytest.raises(RunError, match=r"input 'total' is float64\[64\]"):
        worker.write_state({"total": np.ones(64)})


def test_outputs_may_be_chosen(worker, load, builder):
    x = builder.value("inputs", "x", (64,))
    outputs = [builder.value("outputs", name, (64,)) for name in ("y", "z")]
    map_kernel(builder, "double", "f32", "f32", "a[id.x] * 2.0")
    for output in outputs:
        builder.dispatch("double", [1, 1, 1], x, output)
    builder.finish()
    load(builder)
    ones = np.ones(64, np.float32)
    assert sorted(worker.run({"x": ones})) == ["y", "z"]
    assert sorted(worker.run({"x": ones}, outputs=["z"])) == ["z"]
    assert worker.run({"x": ones}, outputs=[]) == {}
    with pytest.raises(RunError, match="entry 'run' has no output q; expected some of y, z"):
        worker.run({"x": ones}, outputs=["q"])
    with pytest.raises(RunError, match="there is no entry 'step'; expected one of init, run"):
        worker.run({"x": ones}, entry="step")


def test_the_device_has_exactly_the_targets_limits(worker, load, add_builder):
    load(add_builder)
    assert {name: worker.limits[name] for name in add_builder.limits} == add_builder.limits
    granted = worker.adapter_info()["limits"]
    assert granted["max_storage_buffers_per_shader_stage"] > 8  # the adapter has more than was asked for
    add_builder.limits["max_storage_buffers_per_shader_stage"] = granted["max_storage_buffers_per_shader_stage"] + 1
    with pytest.raises(RunError, match="smaller than the target: max_storage_buffers_per_shader_stage"):
        load(add_builder)


def test_a_refused_shader_leads_to_op_line_and_node(worker, load, add_builder):
    good = add_builder.kernels["add"].wgsl
    extra = {"lines": {"5": [0]}, "ops": ["prim.add"]}
    add_builder.kernel("add", good.replace("a[id.x] +", "1u +"), ["read", "read", "read_write"], **extra)
    with pytest.raises(
        RunError, match=r"onnx '/add/Add': the driver refused the shader made for prim\.add, kernel 'add' "
    ):
        load(add_builder)
    add_builder.kernel("add", good.replace("fn main", "fn other"), ["read", "read", "read_write"])
    with pytest.raises(RunError, match="onnx '/add/Add': the driver refused"):
        load(add_builder)


def test_a_shader_that_contradicts_its_bindings_is_refused(worker, load, add_builder):
    add_builder.kernels["add"].map["bindings"][2] = "read"
    for command in add_builder.entries["run"]:
        for binding in command.get("bindings", []):
            binding["access"] = "read"
    with pytest.raises(RunError, match="the driver refused the shader"):
        load(add_builder)


def test_loops_longer_than_the_driver_runs_are_refused(worker, load, add_builder):
    add_builder.kernels["add"].map["iterations"] = 100_000
    if worker_caps_loops(worker, load, add_builder):
        with pytest.raises(
            RunError, match=r"kernel 'add' runs 100000 loop iterations .* ends every invocation after 65535"
        ):
            load(add_builder)
    else:
        load(add_builder)


def worker_caps_loops(worker, load, builder):
    builder.kernels["add"].map["iterations"] = 1
    load(builder)
    builder.kernels["add"].map["iterations"] = 100_000
    assert worker.loop_cap in (None, 65_535)
    return worker.loop_cap is not None


def test_memory_is_what_our_buffers_take(worker, load, add_builder):
    load(add_builder)
    x = np.zeros((4, 25), np.float32)
    worker.run({"x": x, "z": x})
    memory = worker.facts()["memory"]
    assert memory["requested"] == sum(memory["requested_by"].values())
    expected = {"input": 800, "output": 400, "staging": 800}
    assert {name: memory["requested_by"][name] for name in expected} == expected
    assert memory["reserved"] is None or memory["reserved"] >= memory["requested"]
    assert memory["reserved_source"]


def test_a_weight_that_nobody_has_is_named(worker, add_builder, tmp_path):
    weights = add_builder.buffer(16, "weight")
    piece = {"buffer": weights, "offset": 0, "source_offset": 0, "bytes": 16}
    add_builder.weight("fc.weight", np.ones(4, np.float32), [piece])
    add_builder.artifact().write(tmp_path / "a.tsart")
    with pytest.raises(RunError, match=r"no bytes for fc\.weight; give the same model file"):
        worker.load(tmp_path / "a.tsart", {})
    sources = add_builder.sources(tmp_path)
    (tmp_path / "weights.bin").write_bytes(b"short")
    with pytest.raises(RunError, match=r"weights\.bin' ends before weight 'fc\.weight' does"):
        worker.load(tmp_path / "a.tsart", sources)


def test_embedded_weights_need_no_source(worker, builder, tmp_path):
    weights, y = builder.buffer(256, "weight"), builder.value("outputs", "y", (64,))
    piece = {"buffer": weights, "offset": 0, "source_offset": 0, "bytes": 256}
    builder.weight("w", np.arange(64, dtype=np.float32), [piece])
    map_kernel(builder, "copy", "f32", "f32", "a[id.x]")
    builder.dispatch("copy", [1, 1, 1], weights, y)
    builder.finish()
    builder.artifact().write(tmp_path / "a.tsart", builder.data)
    worker.load(tmp_path / "a.tsart")
    np.testing.assert_array_equal(worker.run({})["y"], np.arange(64))


def test_a_broken_artifact_is_one_message(worker, tmp_path):
    (tmp_path / "broken.tsart").write_bytes(b"PK")
    with pytest.raises(ArtifactError, match="not a whole artifact"):
        worker.load(tmp_path / "broken.tsart")
