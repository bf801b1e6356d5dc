"""Index expressions in the text of an op, with values by name: `[%y * 8 + %i, %x - 1]` and `(%y - 1 < 56)`."""

from collections.abc import Sequence
from typing import ClassVar

from xdsl.dialects.builtin import AffineMapAttr
from xdsl.ir import Attribute, SSAValue
from xdsl.ir.affine import AffineConstantExpr, AffineDimExpr, AffineExpr, AffineMap
from xdsl.parser import Parser, UnresolvedOperand
from xdsl.printer import Printer

from tstorch.dialects.indexing import affine_tokens


class IndexSyntax:
    """Prints maps over `leading` named dimensions followed by one dimension per operand; parses them, collecting the
    operands, each once."""

    leading: ClassVar[tuple[str, ...]] = ()
    operand_type: ClassVar[Attribute]

    def __init__(self, parser: Parser) -> None:
        self._parser = parser
        self._positions: dict[str, int] = {}
        self._unresolved: list[UnresolvedOperand] = []

    @classmethod
    def print_index(cls, printer: Printer, expr: AffineExpr, operands: Sequence[SSAValue]) -> None:
        """Prints one expression."""
        for token in affine_tokens(expr):
            if isinstance(token, str):
                printer.print_string(token)
            elif token < len(cls.leading):
                printer.print_string(cls.leading[token])
            else:
                printer.print_ssa_value(operands[token - len(cls.leading)])

    @classmethod
    def print_indices(cls, printer: Printer, affine: AffineMapAttr, operands: Sequence[SSAValue]) -> None:
        """Prints `[e, e, ...]`."""
        printer.print_string("[")
        printer.print_list(affine.data.results, lambda expr: cls.print_index(printer, expr, operands))
        printer.print_string("]")

    @classmethod
    def print_constraints(
        cls, printer: Printer, affine: AffineMapAttr, bounds: Sequence[int], operands: Sequence[SSAValue]
    ) -> None:
        """Prints `(e < bound, ...)`."""

        def print_one(pair: tuple[AffineExpr, int]) -> None:
            cls.print_index(printer, pair[0], operands)
            printer.print_string(f" < {pair[1]}")

        printer.print_string("(")
        printer.print_list(list(zip(affine.data.results, bounds, strict=True)), print_one)
        printer.print_string(")")

    def operands(self) -> list[SSAValue]:
        """The values used so far, in the order of their dimensions."""
        return [self._parser.resolve_operand(operand, self.operand_type) for operand in self._unresolved]

    def indices(self) -> list[AffineExpr]:
        """`[e, e, ...]`"""
        return self._parser.parse_comma_separated_list(self._parser.Delimiter.SQUARE, self.expression)

    def constraints(self) -> tuple[list[AffineExpr], list[int]]:
        """`(e < bound, ...)`"""
        pairs = self._parser.parse_comma_separated_list(self._parser.Delimiter.PAREN, self._constraint)
        return [expr for expr, _ in pairs], [bound for _, bound in pairs]

    def map_attr(self, exprs: Sequence[AffineExpr]) -> AffineMapAttr:
        """The expressions as a map over all values used so far; call after the last was parsed."""
        return AffineMapAttr(AffineMap(len(self._unresolved) + len(self.leading), 0, tuple(exprs)))

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
        for position, name in enumerate(self.leading):
            if parser.parse_optional_keyword(name):
                return AffineDimExpr(position)
        operand = parser.parse_unresolved_operand("expected an index expression: a value, an integer or (")
        name = operand.operand_name
        if name not in self._positions:
            self._positions[name] = len(self._unresolved)
            self._unresolved.append(operand)
        return AffineDimExpr(self._positions[name] + len(self.leading))

    def _constant(self) -> int:
        return self._parser.parse_integer(allow_boolean=False)
