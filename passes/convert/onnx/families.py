"""All conversion rules: every family's table in one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from tstorch.passes.convert.onnx import (
    activation,
    affine,
    constant,
    contrib_attention,
    contrib_cache,
    contrib_fused,
    contrib_normalization,
    contrib_packed,
    contrib_quantized,
    control,
    convolution,
    einsum,
    elementwise,
    flex_attention,
    folding,
    fourier,
    indexing,
    linear,
    linear_attention,
    normalization,
    pooling,
    quantization,
    recurrent,
    reduction,
    regions,
    resizing,
    sampling,
    scattering,
    selection,
    selection_unique,
    shape,
    sorting,
    spectra,
    suppression,
    text,
)
from tstorch.passes.convert.onnx.node import Rule

FAMILIES = (
    elementwise, activation, linear, convolution, pooling, normalization, reduction, shape, constant, indexing,
    scattering, sorting, selection, selection_unique, suppression, quantization, resizing, fourier, sampling,
    regions, control, folding, recurrent, text, spectra,
    contrib_fused, contrib_normalization, contrib_attention, contrib_cache, contrib_packed, contrib_quantized,
    affine, einsum, flex_attention, linear_attention,
)  # fmt: skip

Table = Mapping[tuple[str, str], tuple[Rule, ...]]


def _collected(rules: Iterable[Rule]) -> Table:
    """(domain, operator) -> its rules, the newest first."""
    table: dict[tuple[str, str], list[Rule]] = {}
    for rule in rules:
        for name in rule.names:
            table.setdefault((rule.domain, name), []).append(rule)
    newest_first = {key: tuple(sorted(found, key=lambda rule: -rule.since)) for key, found in table.items()}
    return MappingProxyType(newest_first)


TABLE: Table = _collected(rule for family in FAMILIES for rule in family.RULES)


def find_rule(domain: str, op_type: str, since: int) -> Rule | None:
    """The rule of an operator that has been what it is since that opset version."""
    return next((rule for rule in TABLE.get((domain, op_type), ()) if rule.since <= since), None)
