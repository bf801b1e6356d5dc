"""What a conversion rule sees of an ONNX node, and the tables that rules stand in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.ir import BlockArgument, Operation, Region, SSAValue
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.onnx import NodeOp
from tstorch.passes.convert.onnx.counted import Counted
from tstorch.passes.convert.onnx.value import Emitter, Value

Result = Value | Counted | Sequence[Value | Counted | None]


class DataDependentError(VerifyException):
    """What decides shapes follows from data. `arguments` are the positions of the graph's inputs that it follows from:
    with their values known the node could be converted."""

    def __init__(self, position: int, arguments: frozenset[int], decides: str = "shapes"):
        super().__init__(
            f"input {position} decides {decides} and depends on data; it must be a constant or follow from shapes"
        )
        self.position, self.arguments = position, arguments


class UnrollError(DataDependentError):
    """A loop has too many iterations to stand in the graph one after the other."""

    def __init__(self, most: int):
        VerifyException.__init__(
            self, f"unrolled, the model's subgraphs are more than {most} nodes; give its loops fewer iterations"
        )
        self.position, self.arguments = 0, frozenset()


Inline = Callable[[Region, Sequence[SSAValue]], list[SSAValue]]
"""(subgraph, its inputs) -> its outputs: what converts the subgraph's nodes where the conversion stands."""


@dataclass(frozen=True)
class Subgraph:
    """A subgraph of a node. Each call converts its nodes once more; all copies keep their nodes' names."""

    name: str
    region: Region
    inline: Inline

    def __call__(self, arguments: Sequence[Value], emit: Emitter) -> list[Value]:
        """The outputs for these inputs. Raises VerifyException for another number of inputs."""
        expected = len(self.region.block.args)
        if len(arguments) != expected:
            raise VerifyException(f"{self.name} takes {expected} inputs; the node gives it {len(arguments)}")
        return [Value(result, emit) for result in self.inline(self.region, [value.ssa for value in arguments])]


class Node:
    """A node whose inputs have been converted: operands as tensors, attributes as Python values.

    Raises VerifyException for what the operator does not allow; the pass puts the node's name before it.
    """

    def __init__(
        self, op: NodeOp, inputs: Sequence[SSAValue | None], emit: Emitter, constants: Constants, inline: Inline
    ):
        self.op = op
        self.emit = emit
        self.given = [None if value is None else Value(value, emit) for value in inputs]
        self._constants = constants
        self._inline = inline

    @property
    def version(self) -> int:
        """The opset version since which the operator has been what it is here."""
        schema = self.op.schema
        return schema.since_version if schema is not None else 1

    @property
    def outputs(self) -> int:
        """How many outputs the node names."""
        return len(self.op.results)

    def is_used(self, position: int) -> bool:
        """Whether the node has that output and something uses it."""
        return position < self.outputs and bool(self.op.results[position].uses)

    def input(self, position: int) -> Value:
        """An operand that must be there."""
        if (value := self.optional(position)) is None:
            raise VerifyException(f"input {position} is absent")
        return value

    def optional(self, position: int) -> Value | None:
        """An operand, None where absent."""
        return self.given[position] if position < len(self.given) else None

    @property
    def inputs(self) -> list[Value]:
        """All operands, none of which may be absent."""
        return [self.input(position) for position in range(len(self.given))]

    def attribute(self, name: str) -> Any:
        """An attribute, else its default, else None."""
        return self.op.attribute(name)

    def known(self, position: int) -> np.ndarray | None:
        """An operand's numbers where they are known at compile time."""
        value = self.optional(position)
        return None if value is None else self._constants(value.ssa)

    def constant(self, position: int, decides: str = "shapes") -> np.ndarray | None:
        """An operand's numbers, None where absent. Raises DataDependentError where only a run could tell them."""
        value = self.optional(position)
        return None if value is None else self.settled(value, position, decides)

    def settled(self, value: Value, position: int, decides: str) -> np.ndarray:
        """What a value that follows from an operand is. Raises DataDependentError where only a run could tell."""
        if (known := self._constants(value.ssa)) is None:
            raise DataDependentError(position, arguments_of(value.ssa), decides)
        return known

    def subgraph(self, name: str) -> Subgraph | None:
        """A subgraph by its attribute's name; None where absent."""
        region = self.op.subgraph(name)
        return None if region is None else Subgraph(name, region, self._inline)

    def body(self, name: str) -> Subgraph:
        """A subgraph that must be there."""
        if (found := self.subgraph(name)) is None:
            raise VerifyException(f"attribute {name} is missing")
        return found

    def setting(self, name: str, position: int) -> Any:
        """What older opsets give as an attribute and newer ones as an input: a list, a number, or None."""
        if name in self.op.properties:
            return self.attribute(name)
        value = self.constant(position)
        return self.attribute(name) if value is None else value.tolist()

    def axis(self, name: str = "axis", rank: int | None = None) -> int:
        """An attribute that names an axis of the first operand, counted from the front."""
        return normalized(self.attribute(name), self.input(0).rank if rank is None else rank)


def arguments_of(value: SSAValue) -> frozenset[int]:
    """The positions of the function's arguments that a value is computed from."""
    found, seen, pending = set[int](), {value}, [value]
    while pending:
        current = pending.pop()
        if isinstance(current, BlockArgument):
            found.add(current.index)
        elif isinstance(current.owner, Operation):
            fresh = [operand for operand in current.owner.operands if operand not in seen]
            seen.update(fresh)
            pending.extend(fresh)
    return frozenset(found)


Constants = Callable[[SSAValue], "np.ndarray | None"]


def normalized(axis: int, rank: int) -> int:
    """An axis counted from the front. Raises VerifyException where there is none of that number."""
    if not -rank <= axis < rank:
        raise VerifyException(f"axis {axis} of a tensor of rank {rank}; expected {-rank} to {rank - 1}")
    return axis % rank if rank else 0


def normalized_axes(axes: Iterable[int], rank: int) -> list[int]:
    """Several axes, each once."""
    found = [normalized(int(axis), rank) for axis in axes]
    if len(set(found)) != len(found):
        raise VerifyException(f"axes {list(axes)} name one axis twice")
    return found


@dataclass(frozen=True)
class Rule:
    """How operators become primitives, from an opset version on."""

    names: tuple[str, ...]
    since: int
    domain: str
    convert: Callable[[Node], Result]


def onnx_op(*names: str, since: int = 1, domain: str = "") -> Callable[[Callable[[Node], Result]], Rule]:
    """Makes a function of a node the rule of operators; of several rules the newest that is not too new holds."""
    return lambda convert: Rule(names, since, domain, convert)


def unary(kinds: Mapping[str, type[Operation]]) -> tuple[Rule, ...]:
    """Rules of operators that are one primitive of one operand."""
    return tuple(onnx_op(name)(_applied(kind)) for name, kind in kinds.items())


def _applied(kind: type[Operation]) -> Callable[[Node], Value]:
    return lambda node: node.input(0).apply(kind)


def operands(node: Node) -> tuple[Value, Value]:
    """Both operands. Up to opset 6 the second may say at which axis of the first it begins."""
    left, right = node.input(0), node.input(1)
    axis = node.attribute("axis")
    if axis is None or not right.rank:
        return left, right
    behind = left.rank - normalized(axis, left.rank) - right.rank
    return left, right.reshape([*right.shape, *[1] * behind])


def binary(kinds: Mapping[str, type[Operation]]) -> tuple[Rule, ...]:
    """Rules of operators that are one primitive of two operands, broadcast."""
    return tuple(onnx_op(name)(_applied_to_two(kind)) for name, kind in kinds.items())


def _applied_to_two(kind: type[Operation]) -> Callable[[Node], Value]:
    def convert(node: Node) -> Value:
        left, right = operands(node)
        return left.apply(kind, right)

    return convert


def rules_of(names: Mapping[str, object]) -> tuple[Rule, ...]:
    """All rules that a family's file defines, in its order."""
    return tuple(value for value in names.values() if isinstance(value, Rule))
