"""Operators that ONNX Runtime adds to ONNX's own, as its optimiser and quantisers write them into files.

`onnx.defs` does not know them: their signatures stand here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

DOMAIN = "com.microsoft"


class Kind(StrEnum):
    """The kind of an attribute without a default, by ONNX's name."""

    INT = "INT"
    FLOAT = "FLOAT"
    INTS = "INTS"
    FLOATS = "FLOATS"
    TEXT = "STRING"


INT, FLOAT, INTS, FLOATS, TEXT = Kind


@dataclass(frozen=True)
class Signature:
    """What an operator takes: formal names (`?` optional, `*` any number), and attributes by default value or kind."""

    name: str
    inputs: str
    outputs: str
    required: Mapping[str, Kind]
    attributes: Mapping[str, object] = field(default_factory=dict)
    domain: str = DOMAIN


def _schema(
    name: str,
    inputs: str,
    outputs: str,
    required: Mapping[str, Kind] = MappingProxyType({}),
    domain: str = DOMAIN,
    **attributes: object,
) -> Signature:
    return Signature(name, inputs, outputs, required, attributes, domain)


_WINDOW = {"auto_pad": "NOTSET", "dilations": INTS, "kernel_shape": INTS, "pads": INTS, "strides": INTS}
_ATTENTION = {"mask_filter_value": FLOAT, "scale": FLOAT, "unidirectional": 0}


_SCHEMAS = (
    # activations
    _schema("Gelu", "X", "Y"),
    _schema("BiasGelu", "A B", "C"),
    _schema("FastGelu", "X bias?", "Y"),
    _schema("QuickGelu", "X", "Y", alpha=1.702),
    # products and convolutions with what follows them
    _schema("FusedMatMul", "A B", "Y", alpha=1.0, transA=0, transB=0, transBatchA=0, transBatchB=0),
    _schema("TransposeMatMul", "A B", "Y", alpha=1.0, transA=0, transB=0),
    _schema(
        "FusedGemm", "A B C?", "Y", alpha=1.0, beta=1.0, transA=0, transB=0,
        activation=TEXT, activation_alpha=FLOAT, activation_beta=FLOAT, activation_gamma=FLOAT,
    ),
    _schema("FusedConv", "X W B? Z?", "Y", group=1, activation=TEXT, activation_params=FLOATS, **_WINDOW),
    # normalisations
    _schema(
        "SimplifiedLayerNormalization", "X scale", "Y inv_std_var?", domain="", axis=-1, epsilon=1e-5, stash_type=1
    ),
    _schema("SkipLayerNormalization", "input skip gamma beta? bias?", "output mean? inv_std_var? sum?", epsilon=1e-12),
    _schema(
        "SkipSimplifiedLayerNormalization", "input skip gamma bias?", "output mean? inv_std_var? sum?", epsilon=1e-12
    ),
    _schema(
        "EmbedLayerNormalization",
        "input_ids segment_ids? word_embedding position_embedding segment_embedding? gamma beta mask? position_ids?",
        "output mask_index? embedding_sum?", epsilon=1e-12, mask_index_type=INT,
    ),
    # attention
    _schema(
        "Attention", "input weights bias? mask_index? past? attention_bias? past_sequence_length?", "output present?",
        {"num_heads": INT}, do_rotary=0, past_present_share_buffer=0, qkv_hidden_sizes=INTS, rotary_embedding_dim=INT,
        **_ATTENTION,
    ),
    _schema(
        "MultiHeadAttention",
        "query key? value? bias? key_padding_mask? attention_bias? past_key? past_value? past_sequence_length? "
        "cache_indirection?",
        "output present_key? present_value? qk?", {"num_heads": INT}, **_ATTENTION,
    ),
    _schema(
        "GroupQueryAttention",
        "query key? value? past_key? past_value? seqlens_k total_sequence_length cos_cache? sin_cache? position_ids? "
        "attention_bias? head_sink? k_scale? v_scale? q_norm_weight? k_norm_weight?",
        "output present_key? present_value? output_qk?", {"num_heads": INT, "kv_num_heads": INT},
        do_rotary=0, kv_cache_bit_width=0, local_window_size=-1, qk_norm_epsilon=1e-6, qk_output=0,
        rotary_interleaved=0, scale=FLOAT, smooth_softmax=-1, softcap=0.0,
        k_quant_type="NONE", v_quant_type="NONE", causal=1, sliding_window_cache=0,
    ),
    _schema(
        "RotaryEmbedding", "input position_ids cos_cache sin_cache", "output",
        interleaved=0, is_packed_batching=0, num_heads=0, rotary_embedding_dim=0, scale=1.0,
    ),
    # numbers of few bits
    _schema(
        "MatMulNBits", "A B scales zero_points? g_idx? bias?", "Y", {"K": INT, "N": INT, "block_size": INT},
        bits=4, accuracy_level=0, weight_prepacked=0,
    ),
    _schema(
        "GatherBlockQuantized", "data indices scales zero_points?", "output",
        bits=4, block_size=128, gather_axis=0, quantize_axis=1,
    ),
    _schema("QuantizeLinear", "x y_scale y_zero_point?", "y", axis=INT),
    _schema("DequantizeLinear", "x x_scale x_zero_point?", "y", axis=INT),
    _schema("DynamicQuantizeMatMul", "A B b_scale b_zero_point? bias?", "Y"),
    _schema("MatMulIntegerToFloat", "A B a_scale b_scale a_zero_point? b_zero_point? bias?", "Y"),
    _schema(
        "QGemm", "A a_scale a_zero_point B b_scale b_zero_point C? y_scale? y_zero_point?", "Y",
        alpha=1.0, transA=0, transB=0,
    ),
    _schema("QLinearAdd", "A A_scale A_zero_point? B B_scale B_zero_point? C_scale C_zero_point?", "C"),
    _schema("QLinearMul", "A A_scale A_zero_point? B B_scale B_zero_point? C_scale C_zero_point?", "C"),
    _schema("QLinearSigmoid", "X X_scale X_zero_point? Y_scale Y_zero_point?", "Y"),
    _schema("QLinearLeakyRelu", "X X_scale X_zero_point? Y_scale Y_zero_point?", "Y", alpha=0.01),
    _schema("QLinearSoftmax", "X X_scale X_zero_point? Y_scale Y_zero_point", "Y", axis=-1),  # every op has `opset`
    _schema("QLinearConcat", "Y_scale Y_zero_point inputs*", "Y", {"axis": INT}),
    _schema("QLinearWhere", "condition X x_scale x_zero_point Y y_scale y_zero_point z_scale z_zero_point", "Z"),
    _schema("QLinearGlobalAveragePool", "X x_scale x_zero_point y_scale y_zero_point", "Y", channels_last=0),
    _schema(
        "QLinearAveragePool", "X x_scale x_zero_point? y_scale y_zero_point?", "Y", {"kernel_shape": INTS},
        ceil_mode=0, channels_last=0, count_include_pad=0,
        **{key: value for key, value in _WINDOW.items() if key not in ("kernel_shape", "dilations")},
    ),
    _schema(
        "QLinearConv", "x x_scale x_zero_point w w_scale w_zero_point y_scale y_zero_point B?", "y",
        group=1, channels_last=0, **_WINDOW,
    ),
)  # fmt: skip

CONTRIB: Mapping[tuple[str, str], Signature] = MappingProxyType({(each.domain, each.name): each for each in _SCHEMAS})
"""(domain, operator) -> its signature."""
