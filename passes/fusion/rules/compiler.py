"""From a rule's syntax tree to a pattern of the rewriting driver."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lark import Token
from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, DenseArrayBase, FloatAttr, IntegerAttr, StringAttr, f64, i64
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.base import GeneratorOp, PrimOp
from tstorch.dialects.prim.control import CompositeOp, YieldOp
from tstorch.dialects.prim.shape import BroadcastInDimOp
from tstorch.passes.fusion.rules.builders import BUILDERS
from tstorch.passes.fusion.rules.matching import Found, Matcher, resolve
from tstorch.passes.fusion.rules.predicates import Predicate, predicate_named
from tstorch.passes.fusion.rules.provenance import locate
from tstorch.passes.fusion.rules.syntax import Call, Field, Outline, Replace, Rule
from tstorch.passes.rewrite import Pattern, Rewriter, fused_location
from tstorch.plugins import Extensions

Expression = Call | Token | int | float
Maker = Callable[[Builder, Sequence[Any], Mapping[str, Attribute]], SSAValue]


def compile_rule(rule: Rule, context: Context, extensions: Extensions) -> Pattern:
    """The pattern that a rule means. Raises RuleError for an unknown op or predicate."""
    kinds = {str(match.name): _op_class(rule, match.op, context) for match in rule.matches}
    predicates: dict[str, Predicate] = {}
    for match in rule.matches:
        for condition in match.conditions:
            predicate = predicate_named(condition.predicate, extensions)
            if predicate is None:
                raise rule.error(condition.predicate, f"unknown predicate '{condition.predicate}'")
            predicates[condition.predicate] = predicate
    matcher = Matcher(rule, kinds, predicates)
    if isinstance(rule.action, Outline):
        return OutlinePattern(matcher)
    makers = {str(call.op): _maker(rule, call, context) for call in _calls(rule.action)}
    return ReplacePattern(matcher, rule.action, makers)


class RulePattern(Pattern):
    """A rule as a pattern: its remarks carry the id `rule:NAME`."""

    def __init__(self, matcher: Matcher) -> None:
        self.matcher = matcher
        self.id = f"rule:{matcher.rule.name}"

    @property
    def name(self) -> str:
        return f"{self.matcher.rule.name} ({self.matcher.rule.file})"

    def roots(self) -> tuple[type[Operation], ...]:
        return (self.matcher.kinds[self.matcher.root.name],)

    def match_and_rewrite(self, op: Operation, rewriter: Rewriter) -> None:
        if isinstance(op.parent_op(), CompositeOp):
            return  # a group is closed: nothing is taken out of it again
        refusals: list[str] = []
        for found in self.matcher.candidates(op):
            refusal = self.matcher.refusal(found)
            if refusal is None:
                return self.rewrite(op, found, rewriter)
            refusals.append(refusal)
        if refusals:
            rewriter.missed(op, self.id, refusals[0])

    def rewrite(self, op: Operation, found: Found, rewriter: Rewriter) -> None:
        """Does what the rule says with what it found."""
        raise TypeError(f"{type(self).__name__} says nothing to do")


class ReplacePattern(RulePattern):
    """`replace NAME with EXPRESSION`."""

    def __init__(self, matcher: Matcher, action: Replace, makers: Mapping[str, Maker]) -> None:
        super().__init__(matcher)
        self._action = action
        self._makers = makers

    def rewrite(self, op: Operation, found: Found, rewriter: Rewriter) -> None:
        build, made = rewriter.builder(op), list[Operation]()
        build.operation_insertion_handler = [*(build.operation_insertion_handler or ()), made.append]
        value = self._build(self._action.expression, found, build)
        locate(made[:-1], found)
        if value.type != op.results[0].type:
            problem = f"the replacement has type {value.type}, '{self._action.name}' has {op.results[0].type}"
            raise self.matcher.rule.error(self._action.name, problem)
        rewriter.replace(op, value, reason=f"replaced by an existing value (rule {self.matcher.rule.name})")
        rewriter.passed(value.owner if isinstance(value.owner, Operation) else op, self.id, "replaced")

    def _build(self, expression: Expression, found: Found, build: Builder) -> Any:
        if isinstance(expression, int | float):
            return expression
        if not isinstance(expression, Call):
            return found.value(expression)
        operands = [self._build(operand, found, build) for operand in expression.operands]
        properties: dict[str, Attribute] = dict(found.ops[expression.like].properties) if expression.like else {}
        for name, argument in expression.attributes:
            properties[name] = _attribute(resolve(argument, found), argument, self.matcher.rule, expression)
        try:
            return self._makers[expression.op](build, operands, properties)
        except (VerifyException, KeyError, ValueError, TypeError) as error:
            detail = f"property {error} is missing" if isinstance(error, KeyError) else str(error)
            raise self.matcher.rule.error(expression.op, f"cannot build {expression.op}: {detail}") from error


class OutlinePattern(RulePattern):
    """`outline NAME as "label"`: the matched ops become one named group, which becomes one kernel."""

    def rewrite(self, op: Operation, found: Found, rewriter: Rewriter) -> None:
        action = self.matcher.rule.action
        assert isinstance(action, Outline)
        members = _in_order(op, found)
        results = _results(members)
        if results != list(op.results):
            return rewriter.missed(op, self.id, "an op of the group is used outside it; say one_use in the rule")
        group = _group(action.label, members, op.results)
        rewriter.replace(op, group)
        for member in members[:-1][::-1]:
            rewriter.erase(member)
        rewriter.passed(group, self.id, f"outlined as {action.label}")


def _in_order(root: Operation, found: Found) -> list[Operation]:
    """The ops of the group in the order of the block: matched ops, broadcasts between them, and small data."""
    chosen = {*found.ops.values(), *(op for ops in found.broadcasts.values() for op in ops)}
    block = root.parent_block()
    return [op for op in block.ops if op in chosen] if block else []


def _results(members: Sequence[Operation]) -> list[SSAValue]:
    inside = set(members)
    return [r for op in members for r in op.results if any(use.operation not in inside for use in r.uses)]


def _group(label: str, members: Sequence[Operation], results: Sequence[SSAValue]) -> CompositeOp:
    """A composite of clones of the members. Broadcasts and constants that feed them move in: a kernel computes them."""
    inner = _with_sources(members)
    outside = dict.fromkeys(value for op in inner for value in op.operands if value.owner not in inner)
    block = Block(arg_types=[value.type for value in outside])
    mapping: dict[SSAValue, SSAValue] = dict(zip(outside, block.args, strict=True))
    for op in inner:
        block.add_op(op.clone(mapping))
    block.add_op(YieldOp(*(mapping[value] for value in results)))
    group = CompositeOp(*outside, label=label, region=Region(block))
    group.location = fused_location(op.location for op in members)
    return group


def _with_sources(members: Sequence[Operation]) -> list[Operation]:
    inner: dict[Operation, None] = {}

    def visit(op: Operation) -> None:
        for value in op.operands:
            if isinstance(owner := value.owner, BroadcastInDimOp | GeneratorOp) and owner not in inner:
                visit(owner)
        inner[op] = None

    for member in members:
        if member not in inner:
            visit(member)
    return list(inner)


def _op_class(rule: Rule, name: object, context: Context) -> type[Operation]:
    kind = context.get_optional_op(str(name))
    if kind is None:
        raise rule.error(name, f"there is no op '{name}'")  # pyright: ignore[reportArgumentType]
    return kind


def _maker(rule: Rule, call: Call, context: Context) -> Maker:
    """What makes the value that a call in a replacement stands for: an op of a class, or a builder."""
    if call.op.type == "NAME":
        builder = BUILDERS.get(call.op)
        if builder is None:
            raise rule.error(call.op, f"there is no builder '{call.op}'; builders are: {', '.join(BUILDERS)}")
        return lambda build, operands, properties: builder(build, *operands)
    kind = _op_class(rule, call.op, context)
    if not issubclass(kind, PrimOp):
        raise rule.error(call.op, f"'{call.op}' is no primitive: a replacement is made of prim ops")
    return lambda build, operands, properties: build.insert(_new_op(kind, operands, properties)).results[0]


def _calls(action: Replace) -> Iterator[Call]:
    pending: list[Expression] = [action.expression]
    while pending:
        expression = pending.pop()
        if isinstance(expression, Call):
            yield expression
            pending.extend(expression.operands)


def _new_op(kind: type[PrimOp], operands: Sequence[SSAValue], properties: Mapping[str, Attribute]) -> PrimOp:
    """An op of any kind from its properties: constructors take them in their own ways."""
    types = kind.infer_types([value.type for value in operands], properties)  # pyright: ignore[reportArgumentType]
    op = kind.create(operands=operands, result_types=types, properties=dict(properties))
    op.verify()
    return op


def _attribute(value: object, argument: object, rule: Rule, call: Call) -> Attribute:
    match value:
        case Attribute():
            return value
        case int():
            return IntegerAttr(value, i64)
        case float():
            return FloatAttr(value, f64)
        case str():
            return StringAttr(value)
        case [*numbers] if all(isinstance(number, int) for number in numbers):
            return DenseArrayBase.from_list(i64, numbers)
        case [*numbers]:
            return ArrayAttr([FloatAttr(float(number), f64) for number in numbers])
    shown = f"{argument.name}.{argument.property}" if isinstance(argument, Field) else argument
    raise rule.error(call.op, f"'{shown}' is no property")
