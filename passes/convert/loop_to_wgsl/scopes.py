"""Where index arithmetic is done: in the outermost block that knows all it needs, once.

A block under construction is a scope. Ops are appended in order, and a loop only after its body is finished; so what is
appended to an outer scope while an inner one is open stands before the inner loop.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from xdsl.dialects.builtin import LocationAttr
from xdsl.ir import Block, SSAValue

from tstorch.dialects import wgsl
from tstorch.dialects.indexing import Atom, Dim, Index, Quotient, Remainder
from tstorch.passes.convert.loop_to_wgsl.emit import Emitter

Terms = frozenset[tuple[Atom, int]]


@dataclass
class Scope:
    """A block under construction, the index values computed in it, and constants that need code, by their bits."""

    block: Block
    depth: int
    static: bool
    known: dict[Terms, SSAValue] = field(default_factory=dict)
    constants: dict[int, SSAValue] = field(default_factory=dict)


class Scopes:
    """The open blocks, outermost first, and where each index value is known."""

    def __init__(self, body: Block) -> None:
        self._stack = [Scope(body, 0, static=False)]
        self._defined: dict[object, Scope] = {}
        self._values: dict[object, SSAValue] = {}

    @property
    def current(self) -> Scope:
        return self._stack[-1]

    @property
    def run_time(self) -> Scope:
        """The innermost block that is not expanded."""
        return next(scope for scope in reversed(self._stack) if not scope.static)

    @property
    def outermost(self) -> Scope:
        return self._stack[0]

    def build(self, block: Block, static: bool, fill: Callable[[], None]) -> None:
        """Opens a block, fills it and closes it."""
        self._stack.append(Scope(block, len(self._stack), static))
        fill()
        self._stack.pop()

    def define(self, key: object, value: SSAValue) -> None:
        """Says what index the loop-level value is; it is known in the current block."""
        self._values[key] = value
        self._defined[key] = self.current

    @property
    def values(self) -> Mapping[object, SSAValue]:
        """The u32 value of each index so far."""
        return self._values

    def spell(self, index: Index, emit: Emitter) -> SSAValue:
        """The index as a u32 value at the end of the emitter's block, sharing what outer blocks already computed."""
        shared = self._shared(index, emit.location)
        operands = [dim.key for dim in shared.dims]
        if len(operands) == 1 and not shared.const and shared.coefficient(operands[0]) == 1:
            if not wgsl.is_static(self._values[operands[0]]):
                return self._values[operands[0]]
        return emit.value(wgsl.IndexOp.of(shared, self._values))

    def _shared(self, index: Index, location: LocationAttr) -> Index:
        """The index with everything that is known at run time only replaced by one computed value."""
        moving: dict[int, dict[Atom, int]] = {}
        terms: dict[Atom, int] = {}
        for atom, factor in index.terms.items():
            fixed = [self._is_static(dim) for dim in atom_dims(atom)]
            if all(fixed):
                terms[atom] = factor
            elif any(fixed):
                terms[self._partly_shared(atom, location)] = factor
            else:
                depth = max(self._defined[dim.key].depth for dim in atom_dims(atom))
                moving.setdefault(depth, {})[atom] = factor
        base: dict[Atom, int] = {}
        for depth in sorted(moving):
            base = self._computed(self._stack[depth], base | moving[depth], location)
        return Index(index.const, base | terms)

    def _partly_shared(self, atom: Atom, location: LocationAttr) -> Atom:
        if isinstance(atom, Dim):
            return atom
        dividend = self._shared(atom.dividend, location)
        return Quotient(dividend, atom.divisor) if isinstance(atom, Quotient) else Remainder(dividend, atom.divisor)

    def _computed(self, scope: Scope, terms: dict[Atom, int], location: LocationAttr) -> dict[Atom, int]:
        """The sum as one value of the scope."""
        (atom, factor), *more = terms.items()
        if not more and factor == 1 and isinstance(atom, Dim):
            return terms
        key = frozenset(terms.items())
        if (value := scope.known.get(key)) is None:
            emit = Emitter(scope.block, location)
            index = emit.value(wgsl.IndexOp.of(Index(0, terms), self._values))
            value = scope.known[key] = emit.value(wgsl.LetOp(index))
            self._values[value] = value
            self._defined[value] = scope
        return {Dim(value, 1 << 32): 1}

    def is_static(self, index: Index) -> bool:
        """Whether only loops that are expanded decide the index."""
        return all(map(self._is_static, index.dims))

    def _is_static(self, dim: Dim) -> bool:
        return wgsl.is_static(self._values[dim.key])


def atom_dims(atom: Atom) -> tuple[Dim, ...]:
    """The dimensions that an atom depends on."""
    return (atom,) if isinstance(atom, Dim) else atom.dividend.dims
