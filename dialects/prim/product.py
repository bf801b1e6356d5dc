"""A contraction as the one loop nest that code generation knows: groups, rows, columns and steps.

    result[at(g, r, c)] = sum over s of lhs[left(g, r, s)] * rhs[right(g, c, s)]

A matrix product has one row and one column dimension; a convolution's rows are its output pixels, its columns the
output channels of a group, its steps the taps and the input channels of a group.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from tstorch.dialects.indexing import Index
from tstorch.dialects.prim.base import Source

Indices = Sequence[Index]


@dataclass(frozen=True)
class Product(ABC):
    """The sizes of the four kinds of loop, and where their indices land in the operands and in the result."""

    groups: tuple[int, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    steps: tuple[int, ...]

    @abstractmethod
    def left(self, group: Indices, row: Indices, step: Indices) -> Source:
        """Where the left factor stands; zero where the source's mask does not hold."""

    @abstractmethod
    def right(self, group: Indices, column: Indices, step: Indices) -> Source:
        """Where the right factor stands."""

    @abstractmethod
    def at(self, group: Indices, row: Indices, column: Indices) -> tuple[Index, ...]:
        """The result's element."""

    @abstractmethod
    def loops_at(self, index: Indices) -> tuple[Indices, Indices, Indices]:
        """The group, row and column at which the result's element at `index` is made: the inverse of `at`."""

    @property
    def flops(self) -> int:
        """A multiplication and an addition for each factor pair."""
        return 2 * prod(self.groups) * prod(self.rows) * prod(self.columns) * prod(self.steps)


@dataclass(frozen=True)
class DotProduct(Product):
    """`prim.dot_general`: batch dimensions are groups, contracted ones are steps."""

    lhs_dims: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    rhs_dims: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    """For each operand: its batch, free and contracted dimensions."""

    @classmethod
    def of(
        cls,
        lhs_shape: Sequence[int],
        rhs_shape: Sequence[int],
        lhs_batch: Sequence[int],
        rhs_batch: Sequence[int],
        lhs_contract: Sequence[int],
        rhs_contract: Sequence[int],
    ) -> DotProduct:
        """The product of two operands with these shapes."""

        def free(rank: int, *taken: Sequence[int]) -> tuple[int, ...]:
            return tuple(d for d in range(rank) if not any(d in dims for dims in taken))

        lhs_free = free(len(lhs_shape), lhs_batch, lhs_contract)
        rhs_free = free(len(rhs_shape), rhs_batch, rhs_contract)
        return cls(
            groups=tuple(lhs_shape[d] for d in lhs_batch),
            rows=tuple(lhs_shape[d] for d in lhs_free),
            columns=tuple(rhs_shape[d] for d in rhs_free),
            steps=tuple(lhs_shape[d] for d in lhs_contract),
            lhs_dims=(tuple(lhs_batch), lhs_free, tuple(lhs_contract)),
            rhs_dims=(tuple(rhs_batch), rhs_free, tuple(rhs_contract)),
        )

    def left(self, group: Indices, row: Indices, step: Indices) -> Source:
        return Source(0, _placed(self.lhs_dims, (group, row, step)))

    def right(self, group: Indices, column: Indices, step: Indices) -> Source:
        return Source(1, _placed(self.rhs_dims, (group, column, step)))

    def at(self, group: Indices, row: Indices, column: Indices) -> tuple[Index, ...]:
        return (*group, *row, *column)

    def loops_at(self, index: Indices) -> tuple[Indices, Indices, Indices]:
        first, second = len(self.groups), len(self.groups) + len(self.rows)
        return index[:first], index[first:second], index[second:]


def _placed(dims: Sequence[Sequence[int]], indices: Sequence[Indices]) -> tuple[Index, ...]:
    by_dim = dict(zip((d for part in dims for d in part), (i for part in indices for i in part), strict=True))
    return tuple(by_dim[d] for d in range(len(by_dim)))


def spatial_letters(layout: str) -> list[str]:
    """The spatial dimensions of a layout such as "NHWC", in the order of strides and paddings."""
    return [letter for letter in "DHW" if letter in layout]


@dataclass(frozen=True)
class ConvProduct(Product):
    """`prim.conv`: one group dimension, rows (batch, *spatial), one column dimension, steps (*taps, channels)."""

    input_shape: tuple[int, ...]
    input_layout: str
    kernel_layout: str
    output_layout: str
    strides: tuple[int, ...]
    padding_low: tuple[int, ...]
    lhs_dilation: tuple[int, ...]
    rhs_dilation: tuple[int, ...]
    kernel_spatial: tuple[int, ...]
    batch_grouped: bool
    reverse_window: bool

    def left(self, group: Indices, row: Indices, step: Indices) -> Source:
        """The input pixel under a tap; zero in the padding and between dilated pixels."""
        (g,), (n, *pixel), (*taps, c) = group, row, step
        sizes = dict(zip(self.input_layout, self.input_shape, strict=True))
        index = {"N": n, "C": c}
        if self.batch_grouped:
            index["N"] = g * self.rows[0] + n
        else:
            index["C"] = g * self.steps[-1] + c
        mask: list[tuple[Index, int]] = []
        for axis, letter in enumerate(spatial_letters(self.input_layout)):
            at = pixel[axis] * self.strides[axis] + taps[axis] * self.rhs_dilation[axis] - self.padding_low[axis]
            dilation, size = self.lhs_dilation[axis], sizes[letter]
            if dilation > 1:
                mask.append((at % dilation, 1))
                at = at // dilation
            if not at.is_within(size):
                mask.append((at, size))
            index[letter] = at
        return Source(0, tuple(index[letter] for letter in self.input_layout), tuple(mask))

    def right(self, group: Indices, column: Indices, step: Indices) -> Source:
        (g,), (o,), (*taps, c) = group, column, step
        index = {"O": g * self.columns[0] + o, "I": c}
        for axis, letter in enumerate(spatial_letters(self.kernel_layout)):
            index[letter] = self.kernel_spatial[axis] - 1 - taps[axis] if self.reverse_window else taps[axis]
        return Source(1, tuple(index[letter] for letter in self.kernel_layout))

    def at(self, group: Indices, row: Indices, column: Indices) -> tuple[Index, ...]:
        (g,), (n, *pixel), (o,) = group, row, column
        index = {"N": n, "C": g * self.columns[0] + o}
        index |= zip(spatial_letters(self.output_layout), pixel, strict=True)
        return tuple(index[letter] for letter in self.output_layout)

    def loops_at(self, index: Indices) -> tuple[Indices, Indices, Indices]:
        by_letter = dict(zip(self.output_layout, index, strict=True))
        channel, size = by_letter["C"], self.columns[0]
        pixel = [by_letter[letter] for letter in spatial_letters(self.output_layout)]
        return [channel // size], [by_letter["N"], *pixel], [channel % size]
