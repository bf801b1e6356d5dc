"""Tests of ONNX Runtime's own operators: on the GPU each computes what its kernel for the CPU does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from chain import Chain
from networks import onnxruntime_outputs
from onnx import ModelProto, helper, numpy_helper

from tstorch.check import relative_error
from tstorch.diagnostics import DiagnosticError
from tstorch.runtime.client import Worker

pytestmark = pytest.mark.gpu


def floats(*shape: int, low: float = -2, high: float = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def whole(*shape: int, low: int = 0, high: int = 256, seed: int = 0, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


def scalar(number: float, dtype: type = np.float32) -> np.ndarray:
    return np.array(number, dtype)


class Stored:
    """An operand that is a weight."""

    def __init__(self, array: np.ndarray):
        self.array = array


def one_operator(op_type: str, operands: Sequence, attributes: dict, outputs: int) -> tuple[ModelProto, dict]:
    """A model of one operator, and what it is given; None is an absent operand."""
    names = ["" if each is None else f"x{at}" for at, each in enumerate(operands)]
    domain = "" if op_type == "SimplifiedLayerNormalization" else "com.microsoft"
    results = [f"y{at}" for at in range(outputs)]
    node = helper.make_node(op_type, names, results, name="n", domain=domain, **attributes)
    given = {name: each for name, each in zip(names, operands, strict=True) if isinstance(each, np.ndarray)}
    stored = {name: each.array for name, each in zip(names, operands, strict=True) if isinstance(each, Stored)}
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in given.items()],
        [helper.make_empty_tensor_value_info(name) for name in results],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8), given


def few_bits(rows: int, columns: int, block: int, bits: int, zeros=None, shape=(3,), bias=None, groups=None):
    blocks = -(-columns // block)
    packed = Stored(whole(rows, blocks, block * bits // 8, seed=1))
    scales = Stored(floats(rows, blocks, low=0.01, high=0.1, seed=2))
    operands = [floats(*shape, columns), packed, scales, zeros, groups, bias]
    while operands[-1] is None:
        operands.pop()
    return ("MatMulNBits", operands, {"N": rows, "K": columns, "block_size": block, "bits": bits})


X, ROW = floats(2, 5, 8), Stored(floats(8, seed=3))
S, Z8, I8 = Stored(scalar(0.05)), Stored(scalar(120, np.uint8)), Stored(scalar(-7, np.int8))
BYTES, SIGNED = whole(2, 3, 6, 6), whole(2, 3, 6, 6, low=-128, high=128, dtype=np.int8)
OUT = Stored(scalar(0.07))
QKV = [floats(2, 5, 16, seed=at) for at in range(3)]
CACHE = [floats(2, 4, 3, 4, seed=at) for at in (7, 8)]
MASK = np.array([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]], np.int32)
ATTENTION = [floats(2, 5, 12), Stored(floats(12, 48, low=-0.4, high=0.4)), Stored(floats(48))]
TABLES = [Stored(floats(10, 4, low=-1, high=1, seed=at)) for at in (1, 2)]
IDS = whole(2, 5, high=9, dtype=np.int32)
PLACES = whole(2, 5, high=6, dtype=np.int32)
EMBED = [Stored(floats(9, 8)), Stored(floats(6, 8, seed=1)), Stored(floats(2, 8, seed=2)), ROW, ROW]
CONV = [floats(1, 4, 7, 6), Stored(floats(6, 2, 3, 3)), Stored(floats(6))]

CASES = [
    ("Gelu", [X], {}),
    ("BiasGelu", [X, ROW], {}),
    ("FastGelu", [X], {}),
    ("FastGelu", [X, ROW], {}),
    ("QuickGelu", [X], {}),
    ("QuickGelu", [X], {"alpha": 1.5}),
    ("FusedMatMul", [X, floats(2, 8, 3)], {"alpha": 0.5}),
    ("FusedMatMul", [X, floats(3, 8)], {"transB": 1}),
    ("FusedMatMul", [floats(2, 8, 5), floats(2, 3, 8)], {"transA": 1, "transB": 1, "alpha": 2.0}),
    ("FusedMatMul", [floats(5, 2, 3, 8), floats(2, 3, 8, 4)], {"transBatchA": 1}),
    ("FusedMatMul", [floats(2, 3, 5, 8), floats(4, 2, 3, 8)], {"transBatchB": 1, "transB": 1}),
    ("TransposeMatMul", [floats(8, 5), floats(8, 3)], {"transA": 1}),
    (
        "FusedGemm",
        [floats(5, 8), floats(3, 8), floats(3)],
        {"transB": 1, "alpha": 0.5, "beta": 2.0, "activation": "Relu"},
    ),
    ("FusedGemm", [floats(8, 5), floats(8, 3)], {"transA": 1, "activation": "LeakyRelu", "activation_alpha": 0.2}),
    ("FusedConv", CONV, {"group": 2, "activation": "Relu", "pads": [1, 1, 1, 1]}),
    ("FusedConv", CONV, {"group": 2, "activation": "LeakyRelu", "activation_params": [0.3], "strides": [2, 2]}),
    ("FusedConv", CONV, {"group": 2, "activation": "Clip", "activation_params": [0.0, 1.5]}),
    ("FusedConv", CONV, {"group": 2, "activation": "HardSigmoid", "activation_params": [0.2, 0.5]}),
    ("FusedConv", CONV, {"group": 2, "activation": "Sigmoid"}),
    ("FusedConv", [*CONV, floats(1, 6, 5, 4)], {"group": 2, "activation": "Relu"}),
    ("SimplifiedLayerNormalization", [X, ROW], {"axis": -1, "epsilon": 1e-3}),
    ("SkipLayerNormalization", [X, floats(2, 5, 8, seed=1), ROW, ROW, ROW], {"epsilon": 1e-3}),
    ("SkipLayerNormalization", [X, floats(5, 8, seed=1), ROW], {}),
    ("SkipSimplifiedLayerNormalization", [X, floats(2, 5, 8, seed=1), ROW, ROW], {"epsilon": 1e-3}),
    ("Attention", ATTENTION, {"num_heads": 4}),
    ("Attention", [*ATTENTION, MASK], {"num_heads": 4, "scale": 0.3}),
    ("Attention", [*ATTENTION, np.array([5, 2], np.int32)], {"num_heads": 2}),
    ("Attention", [*ATTENTION, np.array([5, 3, 1, 0], np.int32)], {"num_heads": 4}),
    ("Attention", [*ATTENTION, whole(2, 5, 5, high=2, dtype=np.int32)], {"num_heads": 4}),
    ("Attention", ATTENTION, {"num_heads": 4, "unidirectional": 1}),
    ("Attention", [*ATTENTION, MASK, None, floats(1, 4, 5, 5)], {"num_heads": 4, "mask_filter_value": -100.0}),
    ("Attention", ATTENTION, {"num_heads": 2, "qkv_hidden_sizes": [12, 12, 24]}),
    ("MultiHeadAttention", QKV, {"num_heads": 4}),
    ("MultiHeadAttention", [QKV[0], floats(2, 7, 16), floats(2, 7, 24), floats(56)], {"num_heads": 4}),
    ("MultiHeadAttention", [*QKV, None, MASK], {"num_heads": 4, "scale": 0.2}),
    ("MultiHeadAttention", [*QKV, None, np.array([5, 2], np.int32)], {"num_heads": 4}),
    ("MultiHeadAttention", [*QKV, None, None, floats(1, 4, 5, 5)], {"num_heads": 4, "unidirectional": 1}),
    ("MultiHeadAttention", [QKV[0], floats(2, 4, 7, 4), floats(2, 4, 7, 4, seed=1)], {"num_heads": 4}),
    ("RotaryEmbedding", [floats(2, 5, 16), IDS.astype(np.int64), *TABLES], {}),
    ("RotaryEmbedding", [floats(2, 3, 5, 8), IDS.astype(np.int64), *TABLES], {"interleaved": 1}),
    ("RotaryEmbedding", [floats(2, 3, 5, 8), np.array([2]), *TABLES], {}),
    ("RotaryEmbedding", [floats(2, 5, 24), IDS.astype(np.int64), *TABLES], {"num_heads": 2, "rotary_embedding_dim": 8}),
    few_bits(8, 32, 16, 4),
    few_bits(5, 40, 16, 4, Stored(whole(5, 2, seed=3)), shape=(2, 3)),
    few_bits(5, 64, 32, 4, Stored(floats(5, 2, low=4, high=12, seed=3))),
    few_bits(6, 32, 16, 8, Stored(whole(6, 2, seed=3))),
    few_bits(6, 32, 16, 4, bias=Stored(floats(6))),
    few_bits(5, 48, 16, 4, groups=Stored(whole(48, high=3, seed=4, dtype=np.int32))),
    ("GatherBlockQuantized", [Stored(whole(9, 16)), IDS, Stored(floats(9, 2, low=0.1))], {"block_size": 16}),
    (
        "GatherBlockQuantized",
        [Stored(whole(9, 16)), IDS, Stored(floats(9, 2, low=0.1)), Stored(whole(9, 1, seed=1))],
        {"block_size": 16},
    ),
    ("MatMulIntegerToFloat", [whole(4, 6), Stored(whole(6, 5)), S, S, Z8, Z8, Stored(floats(5))], {}),
    (
        "MatMulIntegerToFloat",
        [whole(4, 6), Stored(whole(6, 5)), S, Stored(floats(5)), Z8, Stored(whole(5, seed=4))],
        {},
    ),
    ("DynamicQuantizeMatMul", [floats(4, 6), Stored(whole(6, 5)), S, Z8, Stored(floats(5))], {}),
    ("DynamicQuantizeMatMul", [floats(2, 4, 6), Stored(whole(6, 5)), Stored(floats(5, low=0.1))], {}),
]

QUANTISED = [
    ("QuantizeLinear", [floats(3, 4), S, Z8], {}),
    ("QLinearAdd", [BYTES, S, Z8, BYTES[:1, ::-1], OUT, Z8, OUT, Z8], {}),
    ("QLinearAdd", [SIGNED, S, I8, SIGNED[0, 0], OUT, I8, OUT, I8], {}),
    ("QLinearMul", [BYTES, S, Z8, BYTES[::-1], OUT, Z8, OUT, Z8], {}),
    ("QLinearSigmoid", [BYTES, S, Z8, Stored(scalar(1 / 256)), Stored(scalar(0, np.uint8))], {}),
    ("QLinearLeakyRelu", [SIGNED, S, I8, OUT, I8], {"alpha": 0.1}),
    ("QLinearSoftmax", [BYTES, S, Z8, Stored(scalar(1 / 256)), Stored(scalar(0, np.uint8))], {"opset": 13, "axis": -1}),
    ("QLinearConcat", [OUT, Z8, BYTES, S, Z8, BYTES[:, :2], OUT, Z8], {"axis": 1}),
    ("QLinearWhere", [BYTES > 99, BYTES, S, Z8, BYTES[:1], OUT, Z8, OUT, Z8], {}),
    ("QLinearGlobalAveragePool", [BYTES, S, Z8, OUT, Z8], {}),
    ("QLinearAveragePool", [BYTES, S, Z8, OUT, Z8], {"kernel_shape": [2, 3], "pads": [0, 1, 0, 1], "strides": [2, 2]}),
    (
        "QLinearConv",
        [BYTES, S, Z8, Stored(whole(4, 3, 3, 3)), S, Z8, Stored(scalar(1.5)), Z8, Stored(whole(4, dtype=np.int32))],
        {"pads": [1, 1, 1, 1]},
    ),
    (
        "QGemm",
        [whole(4, 6), S, Z8, Stored(whole(6, 5)), S, Z8, Stored(whole(5, dtype=np.int32)), Stored(scalar(0.9)), Z8],
        {},
    ),
    ("QGemm", [whole(4, 6), S, Z8, Stored(whole(5, 6)), Stored(floats(5, low=0.1)), Stored(whole(5))], {"transB": 1}),
]


def name_of(value: object) -> str | None:
    return value if isinstance(value, str) else ""


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    with Worker.start() as worker:
        yield Chain(worker, tmp_path_factory.mktemp("contrib"))


def both(chain: Chain, op_type: str, operands: Sequence, attributes: dict, outputs: int = 1) -> list[tuple]:
    model, given = one_operator(op_type, operands, attributes, outputs)
    found, expected = chain.run(chain.compiled(model), given), onnxruntime_outputs(model, given)
    assert found.keys() == expected.keys()
    return [(found[name], expected[name]) for name in expected]


@pytest.mark.parametrize(("op_type", "operands", "attributes"), CASES, ids=name_of)
def test_it_computes_what_onnxruntime_does(chain, op_type, operands, attributes):
    ((found, expected),) = both(chain, op_type, operands, attributes)
    assert found.dtype == expected.dtype
    assert relative_error(found, expected) <= 1e-5


@pytest.mark.parametrize(("op_type", "operands", "attributes"), QUANTISED, ids=name_of)
def test_quantised_it_is_at_most_a_step_off_and_hardly_ever(chain, op_type, operands, attributes):
    """ONNX Runtime multiplies by reciprocals and in fixed point: a tie may fall to the other side."""
    ((found, expected),) = both(chain, op_type, operands, attributes)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    off = np.abs(found.astype(np.float64) - expected)
    if found.dtype == np.float32:
        assert relative_error(found, expected) <= 1e-5
    else:
        assert off.max() <= 1
        assert (off > 0).mean() <= 0.02


@pytest.mark.parametrize(
    ("op_type", "operands", "attributes", "outputs"),
    [
        ("EmbedLayerNormalization", [IDS, IDS // 5, *EMBED, MASK], {"epsilon": 1e-3}, 3),
        ("EmbedLayerNormalization", [IDS, None, *EMBED[:2], None, *EMBED[3:]], {}, 2),
        ("EmbedLayerNormalization", [IDS, None, *EMBED[:2], None, *EMBED[3:], None, PLACES], {}, 2),
        ("Attention", ATTENTION, {"num_heads": 4}, 2),
        ("Attention", [*ATTENTION, None, floats(2, 2, 4, 3, 4)], {"num_heads": 4, "unidirectional": 1}, 2),
        ("MultiHeadAttention", [*QKV, floats(48), None, None, *CACHE], {"num_heads": 4}, 3),
        ("MultiHeadAttention", [*QKV, None, None, None, *CACHE], {"num_heads": 4, "unidirectional": 1}, 3),
    ],
    ids=name_of,
)
def test_its_other_outputs_are_right_too(chain, op_type, operands, attributes, outputs):
    for found, expected in both(chain, op_type, operands, attributes, outputs):
        assert relative_error(found, expected) <= 1e-5


HALF = [Stored(floats(12, 8, low=-1, high=1, seed=at)) for at in (1, 2)]
GROUPED = {"num_heads": 4, "kv_num_heads": 2}


def grouped(rows: int, past: int, lengths: Sequence[int], total: int, *more: np.ndarray | Stored | None) -> list:
    """Operands of GroupQueryAttention: a batch for each length, four heads of width 16 that share two."""
    batch = len(lengths)
    query, key, value = (floats(batch, rows, width, seed=at) for at, width in enumerate((64, 32, 32)))
    cache = [floats(batch, 2, past, 16, seed=at) for at in (3, 4)] if past else [None, None]
    return [query, key, value, *cache, np.array(lengths, np.int32), Stored(np.array(total, np.int32)), *more]


@pytest.mark.parametrize(
    ("operands", "attributes"),
    [
        (grouped(5, 0, [4, 4], 5), {}),
        (grouped(5, 0, [4, 4], 5, *HALF), {"do_rotary": 1, "local_window_size": 2}),
        (grouped(1, 6, [6, 3], 7), {"scale": 0.3}),
        (grouped(1, 6, [6, 3], 7, *HALF), {"do_rotary": 1, "softcap": 2.0}),
        (grouped(2, 6, [7], 8, *HALF), {"do_rotary": 1, "rotary_interleaved": 1}),
        ([floats(2, 5, 128), None, None, *grouped(5, 0, [4, 4], 5)[3:]], {}),
    ],
    ids=["prompt", "window", "step", "turned", "two_rows", "packed"],
)
def test_grouped_queries_attend_to_what_of_the_cache_counts(chain, operands, attributes):
    (found, expected), *caches = both(chain, "GroupQueryAttention", operands, GROUPED | attributes, 3)
    assert relative_error(found, expected) <= 1e-5
    for ours, theirs in caches:
        for batch, last in enumerate(operands[5]):
            assert relative_error(ours[batch, :, : last + 1], theirs[batch, :, : last + 1]) <= 1e-5


def test_keys_and_values_in_one_tensor_are_as_good_as_apart(chain):
    """ONNX Runtime's kernel for the CPU refuses them, others do not."""
    pair = floats(2, 7, 4, 2, 4)
    apart = [pair[:, :, :, at].reshape(2, 7, 16) for at in (0, 1)]
    model, given = one_operator("MultiHeadAttention", [QKV[0], pair], {"num_heads": 4}, 1)
    other, others = one_operator("MultiHeadAttention", [QKV[0], *apart], {"num_heads": 4}, 1)
    found, expected = chain.run(chain.compiled(model), given), onnxruntime_outputs(other, others)
    assert relative_error(found["y0"], expected["y0"]) <= 1e-5


def test_a_column_has_the_scale_and_the_zero_point_of_its_group(chain):
    """ONNX Runtime's kernel for the CPU takes the groups' scales, and leaves out their zero points."""
    groups, zeros = whole(48, high=3, seed=4, dtype=np.int32), whole(5, 2, seed=3)
    op_type, operands, attributes = few_bits(5, 48, 16, 4, Stored(zeros), groups=Stored(groups))
    model, given = one_operator(op_type, operands, attributes, 1)
    packed, scales = operands[1].array, operands[2].array
    codes, centres = (
        np.stack([each & 15, each >> 4], -1).reshape(5, -1).astype(np.float32) for each in (packed, zeros)
    )
    expected = operands[0] @ ((codes - centres[:, groups]) * scales[:, groups]).T
    assert relative_error(chain.run(chain.compiled(model), given)["y0"], expected) <= 1e-5


def test_queries_keys_and_values_in_one_tensor_are_as_good_as_apart(chain):
    """ONNX Runtime's kernel for the CPU refuses them, too."""
    whole = floats(2, 5, 4, 3, 4)
    apart = [whole[:, :, :, at].reshape(2, 5, 16) for at in range(3)]
    model, given = one_operator("MultiHeadAttention", [whole], {"num_heads": 4}, 1)
    other, others = one_operator("MultiHeadAttention", apart, {"num_heads": 4}, 1)
    found, expected = chain.run(chain.compiled(model), given), onnxruntime_outputs(other, others)
    assert relative_error(found["y0"], expected["y0"]) <= 1e-5


def test_the_sum_that_was_normalised_is_an_output(chain):
    operands = [X, X, ROW, ROW, ROW]
    model, given = one_operator("SkipLayerNormalization", operands, {}, 4)
    del model.graph.output[1:3]
    model.graph.node[0].output[1:3] = ["", ""]
    found, expected = chain.run(chain.compiled(model), given), onnxruntime_outputs(model, given)
    assert relative_error(found["y3"], expected["y3"]) <= 1e-5


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (("MatMulNBits", few_bits(8, 32, 16, 3)[1], few_bits(8, 32, 16, 3)[2]), "3 bits a number; expected one of"),
        (("MatMulNBits", few_bits(8, 32, 16, 4)[1], {**few_bits(8, 32, 16, 4)[2], "K": 48}), "expected K = 48"),
        (("FusedGemm", [floats(5, 8), floats(8, 3)], {"activation": "Softmax"}), "activation is Softmax; expected"),
        (("Attention", ATTENTION, {"num_heads": 4, "do_rotary": 1}), "do_rotary is 1, which has no form here"),
        (("Attention", ATTENTION, {"num_heads": 5}), "16 columns in 5 heads; expected a divisor"),
        (("GroupQueryAttention", grouped(5, 0, [4, 4], 5), {**GROUPED, "smooth_softmax": 1}), "smooth_softmax is 1"),
        (("GroupQueryAttention", grouped(1, 0, [4, 4], 5), GROUPED), "1 rows and no cache; expected"),
        (("BiasGelu", [X], {}), "1 inputs; expected 2 to 2"),
        (("Gelu", [X], {"alpha": 1.0}), "unknown attribute alpha"),
        (("NhwcConv", CONV, {}), "NhwcConv .not in com.microsoft at opset 1"),
    ],
)
def test_what_has_no_form_is_refused_by_the_node(chain, case, message):
    model, _ = one_operator(*case, outputs=1)
    with pytest.raises(DiagnosticError, match=message):
        chain.compiled(model)


def test_weights_of_four_bits_stay_packed_and_are_read_by_the_product_itself(chain):
    op_type, operands, attributes = few_bits(64, 64, 32, 4)
    model, _ = one_operator(op_type, operands, attributes, 1)
    program = chain.compiled(model).artifact.program
    assert [command["op"] for command in program["entries"]["run"]].count("dispatch") == 1
    assert not program["entries"].get("init")
    assert sum(weight["bytes"] for weight in program["weights"]) == 64 * 32 + 64 * 2 * 4
