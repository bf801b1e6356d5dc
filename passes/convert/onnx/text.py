"""Counting sequences of numbers that stand for words: TfIdfVectorizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
from xdsl.dialects.builtin import f32
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.elementwise import AndOp
from tstorch.passes.convert.onnx.indexing import looked_up
from tstorch.passes.convert.onnx.node import Node, onnx_op, rules_of
from tstorch.passes.convert.onnx.tables import table
from tstorch.passes.convert.onnx.value import Value

Grams = Mapping[int, Mapping[tuple[int, ...], int]]
"""Length -> sequence -> the column that counts it."""


@onnx_op("TfIdfVectorizer")
def count_sequences(node: Node) -> Value:
    """How often each sequence of the pool occurs in each row: as a count, as 1 where it does, weighed or not."""
    value, mode = node.input(0), node.attribute("mode")
    if mode not in ("TF", "IDF", "TFIDF") or value.rank not in (1, 2):
        raise VerifyException(f"mode is {mode}, the input {value.shape}; expected TF, IDF or TFIDF of rank 1 or 2")
    grams, width = _grams(node), max(node.attribute("ngram_indexes")) + 1
    rows = value.reshape([1, *value.shape][-2:])
    counts = [_occurrences(node, rows, length, list(found)) for length, found in grams.items()]
    zeros = value.emit.full(0, [rows.shape[0], 1], f32)
    joined = zeros.concatenate(counts, 1)
    columns = [column for found in grams.values() for column in found.values()]
    if len(set(columns)) != len(columns):
        raise VerifyException("ngram_indexes count two sequences in one column; expected one column for each")
    places = np.zeros(width, np.int32)
    places[columns] = np.arange(1, len(columns) + 1)
    result = looked_up(joined, table(node.emit, places), 1)
    if mode == "IDF":
        result = result.minimum(1)
    if mode != "TF" and (weights := node.attribute("weights")):
        if len(weights) < width:
            raise VerifyException(f"{len(weights)} weights for {width} columns")
        result = result * table(node.emit, np.asarray(weights[:width], np.float32)).along(1, result.shape)
    return result.reshape([*value.shape[:-1], width])


def _grams(node: Node) -> Grams:
    """The pool's sequences of the lengths wanted: those of one number first, then those of two, and so on."""
    pool, starts, columns = (node.attribute(name) for name in ("pool_int64s", "ngram_counts", "ngram_indexes"))
    if not pool:
        raise VerifyException("pool_int64s is empty; sequences of strings have no form here")
    grams, number = {}, 0
    for length, (start, end) in enumerate(zip(starts, [*starts[1:], len(pool)], strict=True), 1):
        found = {}
        for at in range(start, end - length + 1, length):
            found[tuple(pool[at : at + length])] = columns[number]
            number += 1
        if found and node.attribute("min_gram_length") <= length <= node.attribute("max_gram_length"):
            grams[length] = found
    return grams


def _occurrences(node: Node, rows: Value, length: int, grams: Sequence[tuple[int, ...]]) -> Value:
    """(rows, sequences): occurrences at all distances between neighbours, from next to each other on."""
    words = [table(node.emit, column) for column in np.array(grams, rows.dtype).T]
    parts = [rows.emit.full(0, [rows.shape[0], len(grams)], f32)]
    for distance in range(1, 2 + (node.attribute("max_skip_count") if length > 1 else 0)):
        starts = rows.shape[1] - distance * (length - 1)
        if starts < 1:
            break
        shape = [rows.shape[0], starts, len(grams)]
        matches = []
        for at, word in enumerate(words):
            seen = rows.take(1, at * distance, at * distance + starts).reshape([*shape[:2], 1])
            matches.append(seen.broadcast_to(shape).compare("eq", word))
        parts.append(reduce(lambda left, right: left.apply(AndOp, right), matches).convert(f32).reduce("add", [1]))
    return reduce(Value.__add__, parts)


RULES = rules_of(globals())
