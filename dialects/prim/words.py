"""What 64-bit integers need beyond the arithmetic of 32-bit words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr, i64
from xdsl.ir import Operation, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def

from tstorch.dialects.prim.base import NON_DIFFERENTIABLE, Array, ElementwiseOp
from tstorch.dialects.prim.sample import Sample
from tstorch.dialects.prim.scalar import Scalar
from tstorch.dialects.prim.types import int_attr, integer, ui32


@irdl_op_definition
class DivideWordsOp(ElementwiseOp):
    """One word (0: the low one) of a quotient of unsigned 64-bit integers, each given as two words, the low one first.

    By long division, a bit at a time; all ones where the divisor is 0.
    """

    name = "prim.divide_words"
    DOMAIN: ClassVar = frozenset({ui32})
    vjp = NON_DIFFERENTIABLE("words of integers carry no gradient")

    low = operand_def(ElementwiseOp.T)
    high = operand_def(ElementwiseOp.T)
    divisor_low = operand_def(ElementwiseOp.T)
    divisor_high = operand_def(ElementwiseOp.T)
    word = prop_def(IntegerAttr.constr(i64))
    result = result_def(ElementwiseOp.T)
    assembly_format = (
        "$low `,` $high `by` $divisor_low `,` $divisor_high `,` `word` `=` $word attr-dict `:` type($result)"
    )

    def __init__(
        self,
        low: SSAValue | Operation,
        high: SSAValue | Operation,
        divisor_low: SSAValue | Operation,
        divisor_high: SSAValue | Operation,
        *,
        word: int,
    ):
        super().__init__([low, high, divisor_low, divisor_high], {"word": int_attr(word)})

    def compute(self, low: Array, high: Array, divisor_low: Array, divisor_high: Array) -> Array:
        dividend, divisor = _joined(low, high), _joined(divisor_low, divisor_high)
        quotient = np.where(divisor == 0, np.uint64(2**64 - 1), dividend // np.maximum(divisor, np.uint64(1)))
        return (quotient >> np.uint64(32 * integer(self.word))).astype(np.uint32)

    def scalar(self, low: Scalar, high: Scalar, divisor_low: Scalar, divisor_high: Scalar) -> Scalar:
        quotient = rest_low = rest_high = low.lift(0)
        for place in reversed(range(64)):
            bits, shift = (high, place - 32) if place >= 32 else (low, place)
            over = rest_high.compare("ge", 2**31)  # the rest has 65 bits for a moment
            rest_high = _left(rest_high, 1) | _right(rest_low, 31)
            rest_low = _left(rest_low, 1) | (_right(bits, shift) & 1)
            equal = rest_high.compare("eq", divisor_high) & rest_low.compare("ge", divisor_low)
            fits = over | rest_high.compare("gt", divisor_high) | equal
            borrow = rest_low.compare("lt", divisor_low).select(1, low.lift(0))
            rest_high = fits.select(rest_high - divisor_high - borrow, rest_high)
            rest_low = fits.select(rest_low - divisor_low, rest_low)
            if place // 32 == integer(self.word):
                quotient = fits.select(quotient | (1 << shift), quotient)
        return quotient

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        numbers = np.array([7, 2**64 - 1, 2**64 - 1, 2**63, 10**18, 5, 0, 2**63 + 12345], np.uint64)
        divisors = np.array([2, 2**64 - 1, 3, 2**63 + 1, 10**9 + 7, 0, 9, 2**33 - 1], np.uint64)
        words = [part for x in (numbers, divisors) for part in (x.astype(np.uint32), (x >> np.uint64(32)).astype("u4"))]
        for word in (0, 1):
            yield Sample(arrays=words, properties={"word": word})


def _joined(low: Array, high: Array) -> Array:
    return low.astype(np.uint64) | high.astype(np.uint64) << np.uint64(32)


def _left(x: Scalar, places: int) -> Scalar:
    return x.apply(arith.ShLIOp, places)


def _right(x: Scalar, places: int) -> Scalar:
    return x.apply(arith.ShRUIOp, places) if places else x
