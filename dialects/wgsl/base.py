"""What every wgsl op is: an expression, a statement, or a statement with a body."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.irdl import IRDLOperation, result_def
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.index_syntax import IndexSyntax
from tstorch.dialects.loop.types import ui32
from tstorch.dialects.wgsl.spelling import SpellingOf, Text, is_wgsl_type


class WgslIndexSyntax(IndexSyntax):
    """Index expressions over u32 values: `[%base + %i * 128 + 1]`."""

    operand_type = ui32


class ExpressionOp(IRDLOperation):
    """An op that is spelled where its result is used. Only `wgsl.let` gives a value a name."""

    result = result_def()

    @abstractmethod
    def spell(self, of: SpellingOf) -> Text:
        """The expression, from the spelling of its operands."""

    def verify_(self) -> None:
        if not is_wgsl_type(self.result.type):
            raise VerifyException(f"a value of type {self.result.type}, which WGSL has not")


class StatementOp(IRDLOperation):
    """An op that is spelled as lines of its own."""

    @abstractmethod
    def spell_lines(self, of: SpellingOf) -> Sequence[Text]:
        """The lines, at most three."""


class BodyOp(IRDLOperation):
    """A statement with a body: lines before it and one after it."""

    @property
    def block(self) -> Block:
        return self.regions[0].block

    @abstractmethod
    def spell_opening(self, of: SpellingOf) -> Sequence[Text]:
        """The lines before the body."""


def require_type(op: Operation, value: SSAValue, expected: Attribute) -> None:
    """Raises VerifyException where the value has another type."""
    if value.type != expected:
        raise VerifyException(f"'{op.name}' got a value of type {value.type}; expected {expected}")


@dataclass(frozen=True)
class Excess:
    """A limit of the target, by WebGPU's name, that a module goes beyond."""

    rule: str
    value: int
    limit: int
    what: str

    def __str__(self) -> str:
        return f"{self.value} {self.what}; the target allows {self.limit}"
