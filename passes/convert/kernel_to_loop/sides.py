"""A product as kernels see it: lanes, along which results lie side by side, and lines."""

from collections.abc import Sequence
from dataclasses import dataclass

from tstorch.dialects.indexing import Index
from tstorch.dialects.prim.base import Source
from tstorch.dialects.prim.product import Product

Indices = Sequence[Index]


@dataclass(frozen=True)
class Sides:
    """A product seen from its result's last dimension."""

    product: Product
    lanes_are_columns: bool

    @classmethod
    def of(cls, product: Product) -> "Sides":
        """The sides of a product; its last result dimension decides."""
        row = [Index.dim(("row", d), size) for d, size in enumerate(product.rows)]
        column = [Index.dim(("column", d), size) for d, size in enumerate(product.columns)]
        group = [Index.dim(("group", d), size) for d, size in enumerate(product.groups)]
        last = next((e for e in reversed(product.at(group, row, column)) if not e.is_constant), Index())
        return cls(product, not any(last.depends_on(("row", d)) for d in range(len(row))))

    @property
    def lanes(self) -> tuple[int, ...]:
        return self.product.columns if self.lanes_are_columns else self.product.rows

    @property
    def lines(self) -> tuple[int, ...]:
        return self.product.rows if self.lanes_are_columns else self.product.columns

    def lane_source(self, group: Indices, lane: Indices, step: Indices) -> Source:
        """The factor that varies along the lanes."""
        factor = self.product.right if self.lanes_are_columns else self.product.left
        return factor(group, lane, step)

    def line_source(self, group: Indices, line: Indices, step: Indices) -> Source:
        """The factor that varies along the lines."""
        factor = self.product.left if self.lanes_are_columns else self.product.right
        return factor(group, line, step)

    def at(self, group: Indices, line: Indices, lane: Indices) -> tuple[Index, ...]:
        """The result's element."""
        row, column = (line, lane) if self.lanes_are_columns else (lane, line)
        return self.product.at(group, row, column)
