"""From the text of rules to their syntax tree, with errors that name line, column and what was expected."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken

from tstorch.diagnostics import DiagnosticError

WILDCARD = "_"
_WORDS = {"NAME": "a name", "DOTTED": "a name with a dot", "STRING": "a string", "SIGNED_NUMBER": "a number"}


class RuleError(DiagnosticError):
    """A rules file that cannot be read: the message begins with file, line and column."""


@dataclass(frozen=True)
class Field:
    """`c.strides`: a property of the op that a name stands for."""

    name: Token
    property: str


Argument = Token | Field | str | int | float | list[int] | list[float]


@dataclass(frozen=True)
class Condition:
    """`not is_zero(x)`."""

    predicate: Token
    arguments: tuple[Argument, ...]
    negated: bool


@dataclass(frozen=True)
class Match:
    """`match c = prim.conv(x, w) one_use where ...`."""

    name: Token
    op: Token
    operands: tuple[Token, ...]
    one_use: bool
    conditions: tuple[Condition, ...]


@dataclass(frozen=True)
class Call:
    """`prim.conv(x, w) like c {strides = [1, 1]}`, or `spread(scale, w, 0)`: a builder's name has no dot."""

    op: Token
    operands: "tuple[Call | Token | int | float, ...]"
    like: Token | None
    attributes: tuple[tuple[Token, Argument], ...]


@dataclass(frozen=True)
class Replace:
    """`replace r with EXPRESSION`."""

    name: Token
    expression: Call | Token


@dataclass(frozen=True)
class Outline:
    """`outline r as "conv+bias"`."""

    name: Token
    label: str


@dataclass(frozen=True)
class Rule:
    """One pattern of a file."""

    name: Token
    matches: tuple[Match, ...]
    action: Replace | Outline
    file: str

    def match(self, name: str) -> Match | None:
        """The match that binds a name; None for a name that stands for any value."""
        return next((match for match in self.matches if match.name == name), None)

    def error(self, at: Token, problem: str) -> RuleError:
        """An error at a place in the file."""
        return RuleError(f"{self.file}:{at.line}:{at.column}: rule {self.name}: {problem}")


def parse_rules(text: str, file: str) -> list[Rule]:
    """The rules in `text`, in order; names are checked. Raises RuleError."""
    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        raise RuleError(_syntax_message(error, text, file)) from None
    rules: list[Rule] = _Builder(file).transform(tree)
    for index, rule in enumerate(rules):
        if any(rule.name == earlier.name for earlier in rules[:index]):
            raise rule.error(rule.name, "this name is taken by an earlier rule of the file")
        for at, problem in _name_problems(rule):
            raise rule.error(at, problem)
    return rules


@cache
def _parser() -> Lark:
    grammar = Path(__file__).with_name("rules.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", propagate_positions=True, maybe_placeholders=False)


def _syntax_message(error: UnexpectedInput, text: str, file: str) -> str:
    lines = text.splitlines() or [""]
    if isinstance(error, UnexpectedEOF) or (isinstance(error, UnexpectedToken) and error.token.type == "$END"):
        line, column, found = len(lines), len(lines[-1]) + 1, "the end of the file"
    else:
        line, column = error.line, error.column
        found = f"'{error.token}'" if isinstance(error, UnexpectedToken) else f"'{lines[line - 1][column - 1]}'"
    wanted: set[str] = set()
    if isinstance(error, UnexpectedToken):
        wanted = set(error.accepts or error.expected)
    elif isinstance(error, UnexpectedCharacters | UnexpectedEOF):
        wanted = set(getattr(error, "allowed", None) or getattr(error, "expected", ()))
    expected = ", ".join(sorted(filter(None, map(_word, wanted))))
    shown = lines[line - 1] if line <= len(lines) else ""
    return f"{file}:{line}:{column}: found {found}; expected {expected}\n  {shown}\n  {' ' * (column - 1)}^"


def _word(terminal: str) -> str:
    """What a terminal of the grammar is called in a message."""
    if terminal in _WORDS:
        return _WORDS[terminal]
    if terminal in ("WS", "COMMENT"):
        return ""
    if terminal == "$END":
        return "the end of the file"
    pattern = next((t.pattern.value for t in _parser().terminals if t.name == terminal), terminal)
    return f"'{pattern}'"


def _name_problems(rule: Rule) -> Iterator[tuple[Token, str]]:
    """What is wrong with the names of a rule: unbound ones, matches that hang in the air, doubled ones."""
    names = [match.name for match in rule.matches]
    for index, match in enumerate(rule.matches):
        if match.name in names[:index]:
            yield match.name, f"'{match.name}' is matched twice"
    root = rule.action.name
    if rule.match(root) is None:
        yield root, f"'{root}' is no match of this rule; expected one of {', '.join(names)}"
    used = {operand for match in rule.matches for operand in match.operands}
    for match in rule.matches:
        if match.name != root and match.name not in used:
            yield match.name, f"'{match.name}' feeds no other match; write it as an operand of one"
        if match.name == root and root in used:
            yield root, f"'{root}' is replaced, so it must not feed another match"
    bound = (used | set(names)) - {WILDCARD}
    for name in _names_used(rule):
        if name not in bound:
            yield name, f"'{name}' is not bound by any match"


def _names_used(rule: Rule) -> Iterator[Token]:
    for match in rule.matches:
        for condition in match.conditions:
            yield from _argument_names(condition.arguments)
    if isinstance(rule.action, Replace):
        pending: list[Call | Token | int | float] = [rule.action.expression]
        while pending:
            expression = pending.pop()
            if isinstance(expression, Token):
                yield expression
            if not isinstance(expression, Call):
                continue
            pending.extend(expression.operands)
            yield from filter(None, [expression.like])
            yield from _argument_names(tuple(value for _, value in expression.attributes))


def _argument_names(arguments: tuple[Argument, ...]) -> Iterator[Token]:
    for argument in arguments:
        if isinstance(argument, Field):
            yield argument.name
        elif isinstance(argument, Token):
            yield argument


class _Builder(Transformer[Token, Any]):
    """Makes the syntax tree's nodes out of Lark's."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self._file = file

    def start(self, rules: list[Rule]) -> list[Rule]:
        return rules

    def rule(self, parts: list[Any]) -> Rule:
        name, *matches, action = parts
        return Rule(name, tuple(matches), action, self._file)

    def match(self, parts: list[Any]) -> Match:
        name, op, operands, *rest = parts
        conditions = next((part for part in rest if isinstance(part, tuple)), ())
        return Match(name, op, operands, any(part is True for part in rest), conditions)

    def operands(self, names: list[Token]) -> tuple[Token, ...]:
        return tuple(names)

    def one_use(self, _: list[Any]) -> bool:
        return True

    def negation(self, _: list[Any]) -> bool:
        return True

    def where(self, conditions: list[Condition]) -> tuple[Condition, ...]:
        return tuple(conditions)

    def condition(self, parts: list[Any]) -> Condition:
        negated = parts[0] is True
        predicate, *arguments = parts[negated:]
        return Condition(predicate, tuple(map(_argument, arguments)), negated)

    def replace(self, parts: list[Any]) -> Replace:
        return Replace(*parts)

    def outline(self, parts: list[Any]) -> Outline:
        return Outline(parts[0], parts[1][1:-1])

    def call(self, parts: list[Any]) -> Call:
        op, *rest = parts
        operands = tuple(_operand(part) for part in rest if isinstance(part, Call | Token))
        like = next((part.name for part in rest if isinstance(part, _Like)), None)
        attributes = next((part for part in rest if isinstance(part, tuple)), ())
        return Call(op, operands, like, attributes)

    def like(self, parts: list[Token]) -> "_Like":
        return _Like(parts[0])

    def attributes(self, parts: list[Any]) -> tuple[Any, ...]:
        return tuple(parts)

    def attribute(self, parts: list[Any]) -> tuple[Token, Argument]:
        return parts[0], _argument(parts[1])

    def number(self, parts: list[Token]) -> int | float:
        return _number(parts[0])

    def list(self, parts: list[Token]) -> Any:
        return [_number(part) for part in parts]


@dataclass(frozen=True)
class _Like:
    name: Token


def _argument(part: Any) -> Argument:
    if isinstance(part, Token) and part.type == "DOTTED":
        name, _, field = part.rpartition(".")
        return Field(part.update(type="NAME", value=name), field)
    if isinstance(part, Token) and part.type == "STRING":
        return str(part[1:-1])
    return part


def _operand(part: Call | Token) -> Call | Token | int | float:
    return _number(part) if isinstance(part, Token) and part.type == "SIGNED_NUMBER" else part


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("+-").isdecimal() else float(text)
