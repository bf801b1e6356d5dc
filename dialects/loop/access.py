"""How index expressions stand in the text of an op: `[%y * 8 + %i, %x + lane]` and `where (%y - 1 < 56)`.

An op with index expressions holds the values they use as operands and the expressions as an affine map, whose
dimension 0 is the *lane* (0..3 within a vector; `lane` in text) and whose dimension i + 1 is operand i. Expressions are
combined in the normal form of `tstorch.dialects.indexing`; the map is only how they are kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import AffineMapAttr, DenseArrayBase, IndexType, i64
from xdsl.ir import SSAValue
from xdsl.ir.affine import AffineConstantExpr, AffineDimExpr, AffineExpr, AffineMap
from xdsl.parser import Parser, UnresolvedOperand
from xdsl.printer import Printer

from tstorch.dialects.indexing import Index, affine_tokens, from_affine_map, to_affine_map

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
    def of(cls, *lists: Sequence[Index]) -> "IndexMaps":
        """The expressions of several lists over common operands, which are the keys of their dimensions."""
        keys: dict[object, None] = {LANE_KEY: None}
        for exprs in lists:
            for expr in exprs:
                keys.update(dict.fromkeys(dim.key for dim in expr.dims))
        operands = [key for key in keys if key is not LANE_KEY]
        if foreign := [key for key in operands if not isinstance(key, SSAValue)]:
            raise ValueError(f"index expression uses {foreign[0]!r}, which is no value of the IR")
        order = list(keys)
        return cls(
            tuple(operands),  # pyright: ignore[reportArgumentType]
            tuple(AffineMapAttr(to_affine_map(exprs, order)) for exprs in lists),
        )


def expressions(affine: AffineMap, operands: Sequence[SSAValue], dim_of: Callable[[SSAValue], Index]) -> list[Index]:
    """The map's results in normal form."""
    return from_affine_map(affine, [LANE, *(dim_of(value) for value in operands)])


def i64_array(values: Sequence[int]) -> DenseArrayBase:
    """The form in which ops keep lists of integers."""
    return DenseArrayBase.from_list(i64, values)


# --- text ------------------------------------------------------------------------------------------------------------


def print_index(printer: Printer, expr: AffineExpr, operands: Sequence[SSAValue]) -> None:
    """Prints one expression with SSA names for its dimensions."""
    for token in affine_tokens(expr):
        if isinstance(token, str):
            printer.print_string(token)
        elif token == 0:
            printer.print_string(LANE_KEY)
        else:
            printer.print_ssa_value(operands[token - 1])


def print_indices(printer: Printer, affine: AffineMap, operands: Sequence[SSAValue]) -> None:
    """Prints `[e, e, ...]`."""
    printer.print_string("[")
    printer.print_list(affine.results, lambda expr: print_index(printer, expr, operands))
    printer.print_string("]")


def print_constraints(printer: Printer, affine: AffineMap, bounds: Sequence[int], operands: Sequence[SSAValue]) -> None:
    """Prints `(e < bound, ...)`, each of which says 0 <= e < bound."""

    def print_one(pair: tuple[AffineExpr, int]) -> None:
        print_index(printer, pair[0], operands)
        printer.print_string(f" < {pair[1]}")

    printer.print_string("(")
    printer.print_list(list(zip(affine.results, bounds, strict=True)), print_one)
    printer.print_string(")")


class IndexParser:
    """Parses index expressions and collects the values that they use, each once."""

    def __init__(self, parser: Parser) -> None:
        self._parser = parser
        self._positions: dict[str, int] = {}
        self._unresolved: list[UnresolvedOperand] = []

    def operands(self) -> list[SSAValue]:
        """The values used so far, in the order of their dimensions."""
        return [self._parser.resolve_operand(operand, index_type) for operand in self._unresolved]

    def indices(self) -> list[AffineExpr]:
        """`[e, e, ...]`"""
        return self._parser.parse_comma_separated_list(self._parser.Delimiter.SQUARE, self.expression)

    def constraints(self) -> tuple[list[AffineExpr], list[int]]:
        """`(e < bound, ...)`"""
        pairs = self._parser.parse_comma_separated_list(self._parser.Delimiter.PAREN, self._constraint)
        return [expr for expr, _ in pairs], [bound for _, bound in pairs]

    def map_attr(self, exprs: Sequence[AffineExpr]) -> AffineMapAttr:
        """The expressions as a map over the lane and all values used so far; call after the last was parsed."""
        return AffineMapAttr(AffineMap(len(self._unresolved) + 1, 0, tuple(exprs)))

    def expression(self) -> AffineExpr:
        """Sums of terms."""
        negative = self._parser.parse_optional_punctuation("-") is not None
        total = self._term() * -1 if negative else self._term()
        while True:
            if self._parser.parse_optional_punctuation("+"):
                total = total + self._term()
            elif self._parser.parse_optional_punctuation("-"):
                total = total + self._term() * -1
            else:
                return total

    def _constraint(self) -> tuple[AffineExpr, int]:
        expr = self.expression()
        self._parser.parse_punctuation("<")
        return expr, self._parser.parse_integer(allow_negative=False)

    def _term(self) -> AffineExpr:
        term = self._factor()
        while True:
            if self._parser.parse_optional_characters("*"):
                term = term * self._constant()
            elif self._parser.parse_optional_keyword("floordiv"):
                term = term // self._constant()
            elif self._parser.parse_optional_keyword("mod"):
                term = term % self._constant()
            else:
                return term

    def _factor(self) -> AffineExpr:
        parser = self._parser
        if parser.parse_optional_punctuation("("):
            expr = self.expression()
            parser.parse_punctuation(")")
            return expr
        if (value := parser.parse_optional_integer(allow_boolean=False, allow_negative=False)) is not None:
            return AffineConstantExpr(value)
        if parser.parse_optional_keyword(LANE_KEY):
            return AffineDimExpr(0)
        operand = parser.parse_unresolved_operand("expected an index expression: a value, an integer, lane or (")
        name = operand.operand_name
        if name not in self._positions:
            self._positions[name] = len(self._unresolved)
            self._unresolved.append(operand)
        return AffineDimExpr(self._positions[name] + 1)

    def _constant(self) -> int:
        return self._parser.parse_integer(allow_boolean=False)
