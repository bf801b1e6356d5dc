"""Finding a rule's matches in the IR, and saying what kept one from applying."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from xdsl.ir import Attribute, Operation, SSAValue

from tstorch.dialects.prim.elementwise import AddOp, AndOp, MaximumOp, MinimumOp, MulOp, OrOp, XorOp
from tstorch.dialects.prim.shape import BroadcastInDimOp
from tstorch.passes.fusion.rules.predicates import Predicate
from tstorch.passes.fusion.rules.syntax import WILDCARD, Argument, Condition, Field, Match, Rule

COMMUTATIVE = (AddOp, AndOp, MaximumOp, MinimumOp, MulOp, OrOp, XorOp)


@dataclass(frozen=True)
class Found:
    """One way in which the ops of a rule lie in the IR: what its names stand for."""

    ops: Mapping[str, Operation] = field(default_factory=dict)
    values: Mapping[str, SSAValue] = field(default_factory=dict)
    broadcasts: Mapping[str, tuple[Operation, ...]] = field(default_factory=dict)
    """The broadcasts between a matched op and the op that it feeds, by the name of the former."""

    def value(self, name: str) -> SSAValue:
        """The value that a name stands for: a matched op's is its result."""
        return self.ops[name].results[0] if name in self.ops else self.values[name]

    def with_op(self, name: str, op: Operation, broadcasts: Sequence[Operation]) -> "Found | None":
        if name in self.ops:
            return self if self.ops[name] is op else None
        return Found({**self.ops, name: op}, self.values, {**self.broadcasts, name: tuple(broadcasts)})

    def with_value(self, name: str, value: SSAValue) -> "Found | None":
        if name == WILDCARD:
            return self
        if name in self.values:
            return self if self.values[name] is value else None
        return Found(self.ops, {**self.values, name: value}, self.broadcasts)


@dataclass(frozen=True)
class Matcher:
    """A rule whose op names are classes and whose predicates are functions."""

    rule: Rule
    kinds: Mapping[str, type[Operation]]
    predicates: Mapping[str, Predicate]

    @property
    def root(self) -> Match:
        """The match that the rule replaces or outlines."""
        match = self.rule.match(self.rule.action.name)
        assert match is not None, "checked when the file was read"
        return match

    def candidates(self, op: Operation) -> Iterator[Found]:
        """The ways in which the rule's ops lie at `op`, whatever its conditions say."""
        return self._solve(self.root, op, (), Found())

    def refusal(self, found: Found) -> str | None:
        """Why the rule does not apply there; None where it does."""
        for match in self.rule.matches:
            shared = [found.ops[match.name], *found.broadcasts[match.name]]
            if match.one_use and any(not op.results[0].has_one_use() for op in shared):
                return f"'{match.name}' ({match.op}) has other users, which keep it alive"
            for condition in match.conditions:
                if not self._holds(condition, found):
                    return f"{_text(condition)} does not hold"
        return None

    def _solve(self, match: Match, op: Operation, broadcasts: Sequence[Operation], found: Found) -> Iterator[Found]:
        if not isinstance(op, self.kinds[match.name]) or len(op.operands) != len(match.operands):
            return
        extended = found.with_op(match.name, op, broadcasts)
        if extended is None:
            return
        for operands in _orders(op):
            yield from self._solve_operands(match.operands, operands, extended)

    def _solve_operands(self, names: Sequence[str], values: Sequence[SSAValue], found: Found) -> Iterator[Found]:
        if not names:
            yield found
            return
        for extended in self._solve_operand(names[0], values[0], found):
            yield from self._solve_operands(names[1:], values[1:], extended)

    def _solve_operand(self, name: str, value: SSAValue, found: Found) -> Iterator[Found]:
        match = self.rule.match(name)
        if match is None:
            extended = found.with_value(name, value)
            if extended is not None:
                yield extended
            return
        broadcasts: list[Operation] = []
        while isinstance(op := value.owner, BroadcastInDimOp) and not issubclass(self.kinds[name], BroadcastInDimOp):
            broadcasts.append(op)
            value = op.operand
        if isinstance(op, Operation):
            yield from self._solve(match, op, broadcasts, found)

    def _holds(self, condition: Condition, found: Found) -> bool:
        arguments = [resolve(argument, found) for argument in condition.arguments]
        return bool(self.predicates[condition.predicate](*arguments)) != condition.negated


def resolve(argument: Argument, found: Found) -> object:
    """What an argument stands for: a value, a property of a matched op (None where it has none), or itself."""
    if isinstance(argument, Field):
        return property_of(found.ops[argument.name], argument.property)
    return found.value(argument) if isinstance(argument, str) and hasattr(argument, "line") else argument


def property_of(op: Operation, name: str) -> Attribute | None:
    """A property of an op, or else a free attribute."""
    return op.properties.get(name, op.attributes.get(name))


def _orders(op: Operation) -> Iterator[Sequence[SSAValue]]:
    yield op.operands
    if isinstance(op, COMMUTATIVE):
        yield tuple(reversed(op.operands))


def _text(condition: Condition) -> str:
    arguments = ", ".join(f"{a.name}.{a.property}" if isinstance(a, Field) else str(a) for a in condition.arguments)
    return f"{'not ' if condition.negated else ''}{condition.predicate}({arguments})"
