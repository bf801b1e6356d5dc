"""How index expressions stand in the text of an op: `[%y * 8 + %i, %x + lane]` and `where (%y - 1 < 56)`.

An op with index expressions holds the values they use as operands and the expressions as an affine map, whose
dimension 0 is the *lane* (0..3 within a vector; `lane` in text) and whose dimension i + 1 is operand i. Expressions are
combined in the normal form of `tstorch.dialects.indexing`; the map is only how they are kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import AffineMapAttr, DenseArrayBase, IndexType, i64
from xdsl.ir import SSAValue
from xdsl.ir.affine import AffineMap

from tstorch.dialects.index_syntax import IndexSyntax
from tstorch.dialects.indexing import Index, as_index, from_affine_map, to_affine_map

LANES = 4
LANE_KEY = "lane"
# The lane number within a vector access: loads and stores of a vector<4xT> evaluate their indices for lane 0..3.
LANE = Index.dim(LANE_KEY, LANES)

index_type = IndexType()


@dataclass(frozen=True)
class IndexMaps:
    """Index expressions as an op keeps them: the values they use, and one affine map per list of expressions."""

    operands: tuple[SSAValue, ...]
    maps: tuple[AffineMapAttr, ...]

    @classmethod
    def of(cls, *lists: Sequence[Index | int]) -> "IndexMaps":
        """The expressions of several lists over common operands, which are the keys of their dimensions."""
        keys: dict[object, None] = {LANE_KEY: None}
        normal = [[as_index(expr) for expr in exprs] for exprs in lists]
        for exprs in normal:
            for expr in exprs:
                keys.update(dict.fromkeys(dim.key for dim in expr.dims))
        operands = [key for key in keys if key is not LANE_KEY]
        if foreign := [key for key in operands if not isinstance(key, SSAValue)]:
            raise ValueError(f"index expression uses {foreign[0]!r}, which is no value of the IR")
        order = list(keys)
        return cls(
            tuple(operands),  # pyright: ignore[reportArgumentType]
            tuple(AffineMapAttr(to_affine_map(exprs, order)) for exprs in normal),
        )


def expressions(affine: AffineMap, operands: Sequence[SSAValue], dim_of: Callable[[SSAValue], Index]) -> list[Index]:
    """The map's results in normal form."""
    return from_affine_map(affine, [LANE, *(dim_of(value) for value in operands)])


def i64_array(values: Sequence[int]) -> DenseArrayBase:
    """The form in which ops keep lists of integers."""
    return DenseArrayBase.from_list(i64, values)


class AccessSyntax(IndexSyntax):
    """Index expressions as loop ops print them: dimension 0 is `lane`."""

    leading = (LANE_KEY,)
    operand_type = index_type
