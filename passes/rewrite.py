"""The one rewriting driver: it keeps and fuses locations, lists nodes that vanish, and stops what does not terminate.

xDSL's own walker gives rewritten ops `loc(unknown)` and has no cap; nothing in this project uses it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, get_type_hints

from xdsl.builder import Builder
from xdsl.dialects.builtin import UNKNOWN_LOC, LocationAttr, ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import InsertPoint
from xdsl.rewriter import Rewriter as IRRewriter
from xdsl.transforms.dead_code_elimination import is_trivially_dead

from tstorch.diagnostics import DiagnosticError
from tstorch.locations import (
    fused_location,
    kernel_of,
    location_ids,
    node_ids,
    node_location,
    node_roles,
    served_ids,
    with_role,
)
from tstorch.passes.rewrite_log import Fired, RewriteLog
from tstorch.remarks import Metric, Remark, RemarkKind, RemarkSink

__all__ = [
    "Pattern",
    "Rewriter",
    "apply_patterns",
    "fused_location",
    "node_ids",
    "node_location",
    "node_roles",
    "served_ids",
    "with_role",
]

Replacement = Operation | SSAValue | Sequence[Operation] | Sequence[SSAValue]


class Pattern(ABC):
    """One rewrite of one kind of op. It checks fully before it changes anything, and says why it declines.

    `root` names the op classes it looks at (subclasses included); without it, the annotation of the first parameter of
    `match_and_rewrite` does. Patterns hold no state.
    """

    root: ClassVar[type[Operation] | tuple[type[Operation], ...] | None] = None

    @abstractmethod
    def match_and_rewrite(self, op: Any, rewriter: Rewriter, /) -> None:
        """Rewrites at `op`, or leaves everything as it is."""

    @property
    def name(self) -> str:
        """What diagnostics call the pattern."""
        return type(self).__name__

    def roots(self) -> tuple[type[Operation], ...]:
        """The op classes that the pattern looks at."""
        if self.root is not None:
            return self.root if isinstance(self.root, tuple) else (self.root,)
        hints = get_type_hints(type(self).match_and_rewrite)
        annotated = next(iter(hints.values()))
        return getattr(annotated, "__args__", (annotated,))


class _Match:
    """What one firing of a pattern has done so far."""

    def __init__(self, pattern: Pattern, root: Operation) -> None:
        self.pattern = pattern
        self.root = root
        self.fired = False
        self.reason: str | None = None
        self.in_kernel = kernel_of(root) is not None
        self.created: dict[Operation, Operation] = {}  # new op -> the op it was put at
        self.modified: dict[Operation, None] = {}
        self.removed: dict[Operation, tuple[SSAValue, ...]] = {}  # erased op -> the operands it had
        self.values: dict[SSAValue, None] = {}  # what now stands for replaced results
        self.passed: list[tuple[Operation, dict[str, Any]]] = []
        self.missed: list[Remark] = []


class Rewriter:
    """What a pattern changes the IR with. All changes of one firing share one fused location."""

    def __init__(self, module: ModuleOp, sink: RemarkSink, pass_name: str) -> None:
        self.module = module
        self._sink = sink
        self._pass_name = pass_name
        self._pending: dict[Operation, None] = {}
        self._missed: dict[Operation, dict[Pattern, list[Remark]]] = {}
        self._match: _Match

    def replace(self, op: Operation, new: Replacement, *, reason: str = "") -> None:
        """Replaces `op` by new ops (put before it; the last one's results stand for its own) or by existing values.

        Where existing values replace it, its nodes are recorded as elided with `reason` unless some op still has them.
        """
        items = [new] if isinstance(new, Operation | SSAValue) else list(new)
        ops = [item for item in items if isinstance(item, Operation)]
        values = list(ops[-1].results) if ops else [item for item in items if isinstance(item, SSAValue)]
        if len(values) != len(op.results):
            raise ValueError(f"'{op.name}' has {len(op.results)} results, its replacement {len(values)}")
        for each in ops:
            self.insert_before(op, each)
        for old, value in zip(op.results, values, strict=True):
            self.replace_uses(old, value)
            if value.name_hint is None:
                value.name_hint = old.name_hint
        self.erase(op, reason=reason)

    def replace_uses(self, old: SSAValue, new: SSAValue) -> None:
        """Lets all users of `old` use `new`."""
        self._match.fired = True
        self._match.values[new] = None
        for use in old.uses:
            self._pending[use.operation] = None
        old.replace_all_uses_with(new)

    def erase(self, op: Operation, *, reason: str = "") -> None:
        """Erases an op without users; its nodes go to the ops made in this firing, else they are elided."""
        match = self._match
        match.fired = True
        match.reason = reason or match.reason
        for inner in op.walk() if op.regions else (op,):
            match.removed[inner] = tuple(inner.operands)
            match.created.pop(inner, None)
            self._pending.pop(inner, None)
            self._missed.pop(inner, None)
        IRRewriter.erase_op(op)

    def insert_before(self, op: Operation, new: Operation) -> None:
        """Puts a new op before `op`."""
        IRRewriter.insert_op(new, InsertPoint.before(op))
        self._created(new, op)

    def insert_after(self, op: Operation, new: Operation) -> None:
        """Puts a new op after `op`."""
        IRRewriter.insert_op(new, InsertPoint.after(op))
        self._created(new, op)

    def builder(self, op: Operation) -> Builder:
        """A builder that puts ops before `op` and gives them this firing's location."""
        return self.builder_at(InsertPoint.before(op), op)

    def builder_at(self, point: InsertPoint, anchor: Operation) -> Builder:
        """A builder at any point; `anchor` lends its location where nothing is replaced."""
        return Builder(point, operation_insertion_handler=[lambda new: self._created(new, anchor)])

    def changed(self, op: Operation) -> None:
        """Says that `op` was modified in place. Producers that die of it lend it their nodes."""
        self._match.fired = True
        self._match.modified[op] = None

    def elide(self, op: Operation, reason: str) -> None:
        """Says why the nodes of `op` vanish; it is no loss where some op still has them."""
        self._elide_all([op], reason)

    def missed(
        self, op: Operation, id: str, reason: str, *, suggest: str = "", metric: Mapping[str, Metric] | None = None
    ) -> None:
        """Says why the pattern declines at `op`; forgotten again if it fires there later."""
        remark = Remark(RemarkKind.MISSED, id, self._pass_name, reason, served_ids(op), suggest, metric or {})
        self._match.missed.append(remark)

    def passed(
        self, op: Operation, id: str, reason: str, *, suggest: str = "", metric: Mapping[str, Metric] | None = None
    ) -> None:
        """Says what was done at `op`, under all nodes that it serves after this firing."""
        details = {"id": id, "reason": reason, "suggest": suggest, "metric": metric or {}}
        self._match.passed.append((op, details))

    def _created(self, new: Operation, anchor: Operation) -> None:
        self._match.fired = True
        self._match.created[new] = anchor

    def _attempt(self, pattern: Pattern, op: Operation) -> bool:
        """Tries one pattern at one op; True where it fired."""
        match = self._match = _Match(pattern, op)
        operands = tuple(op.operands)
        pattern.match_and_rewrite(op, self)
        if match.fired:
            self._finish(match, operands)
        elif match.missed:
            self._missed.setdefault(op, {})[pattern] = match.missed
        elif op in self._missed:
            self._missed[op].pop(pattern, None)
        return match.fired

    def _finish(self, match: _Match, operands: tuple[SSAValue, ...]) -> None:
        replaced = list(match.removed)
        dying = self._erase_dead(match, operands)
        carriers = [*match.created, *match.modified]
        absorbed = _absorbed(match, dying, carriers)
        sources = _producers_first([*replaced, *absorbed], match.removed)
        location = fused_location(op.location for op in sources)
        for new, anchor in match.created.items():
            _locate(new, location, anchor, match.root)
        for op in match.modified:
            op.location = fused_location([location, op.location])
        if not carriers:
            reason = match.reason or f"replaced by an equal value ({self._pass_name})"
            self._elide_all(sources, reason)
        self._elide_all([op for op in dying if op not in absorbed], f"dead ({self._pass_name})")
        for op, details in match.passed:
            self._sink.passed(served_ids(op) or location_ids(location), **details)
        self._missed.pop(match.root, None)
        self._revisit(match, carriers)

    def _erase_dead(self, match: _Match, operands: tuple[SSAValue, ...]) -> list[Operation]:
        """Erases the producers that lost their last use, and theirs in turn."""
        dead: list[Operation] = []
        candidates = [*operands, *(value for values in match.removed.values() for value in values)]
        while candidates:
            op = candidates.pop().owner
            if isinstance(op, Operation) and op.parent is not None and is_trivially_dead(op):
                candidates.extend(op.operands)
                dead.append(op)
                self.erase(op)
        return dead

    def _elide_all(self, ops: Iterable[Operation], reason: str) -> None:
        if not self._match.in_kernel:
            for op in ops:
                self._sink.elide(node_ids(op), reason)

    def _revisit(self, match: _Match, carriers: Sequence[Operation]) -> None:
        """Queues what the firing may have enabled: new ops, their users, producers left with one user."""
        for values in match.removed.values():
            for value in values:
                owner = value.owner
                if isinstance(owner, Operation) and owner.parent is not None and value.has_one_use():
                    self._pending[owner] = None
        for op in carriers:
            for inner in op.walk() if op.regions else (op,):
                self._pending[inner] = None
            for result in op.results:
                self._pending.update((use.operation, None) for use in result.uses)

    def _flush_missed(self) -> None:
        for by_pattern in self._missed.values():
            for remarks in by_pattern.values():
                for remark in remarks:
                    self._sink.add(remark)


def apply_patterns(
    module: ModuleOp, patterns: Sequence[Pattern], *, pass_name: str, log: RewriteLog | None = None
) -> bool:
    """Applies patterns everywhere until none fires; the first of `patterns` that fires at an op wins.

    `log` learns what fires, and may end it early. Returns whether anything changed. Raises DiagnosticError naming the
    pattern that goes on for ever.
    """
    with RemarkSink(module, pass_name) as sink:
        rewriter = Rewriter(module, sink, pass_name)
        changed = _Driver(rewriter, patterns, pass_name, log).run()
        rewriter._flush_missed()
    return changed


class _Driver:
    """The worklist: each op is visited in program order, and again whenever its surroundings change."""

    def __init__(self, rewriter: Rewriter, patterns: Sequence[Pattern], pass_name: str, log: RewriteLog | None) -> None:
        self._rewriter = rewriter
        self._log = log
        self._roots = [(pattern, pattern.roots()) for pattern in patterns]
        self._table: dict[type[Operation], tuple[Pattern, ...]] = {}
        self._fired: dict[Pattern, int] = {}
        self._pass_name = pass_name

    def run(self) -> bool:
        """Sweeps until a sweep changes nothing: a pattern may look further than its own neighbours."""
        changed = False
        while self._sweep():
            changed = True
        return changed

    def _sweep(self) -> bool:
        pending = self._rewriter._pending
        ops = [op for op in self._rewriter.module.body.walk() if self._patterns_of(op)]
        pending.update((op, None) for op in reversed(ops))
        cap = 64 + 16 * len(ops)
        changed = False
        while pending:
            op, _ = pending.popitem()
            if self._log is not None and self._log.is_full:
                pending.clear()
                return False
            for pattern in self._patterns_of(op):
                note = self._note(pattern, op)
                if self._rewriter._attempt(pattern, op):
                    changed = True
                    self._count(pattern, op, cap)
                    if self._log is not None and note is not None:
                        self._log.fired.append(note)
                    break
        return changed

    def _note(self, pattern: Pattern, op: Operation) -> Fired | None:
        """What the log is told if the pattern fires: the op may be gone then."""
        return Fired(self._pass_name, pattern.name, op.name, served_ids(op)) if self._log is not None else None

    def _patterns_of(self, op: Operation) -> tuple[Pattern, ...]:
        kind = type(op)
        found = self._table.get(kind)
        if found is None:
            found = self._table[kind] = tuple(pattern for pattern, roots in self._roots if issubclass(kind, roots))
        return found

    def _count(self, pattern: Pattern, op: Operation, cap: int) -> None:
        fired = self._fired[pattern] = self._fired.get(pattern, 0) + 1
        if fired > cap:
            raise DiagnosticError(
                f"pattern {pattern.name} of pass {self._pass_name} fired {fired} times, last at '{op.name}', and does "
                "not come to an end; a pattern must not match what it or another pattern produces",
                node=next(iter(node_ids(op)), None),
            )


def _absorbed(match: _Match, dying: Sequence[Operation], carriers: Sequence[Operation]) -> dict[Operation, None]:
    """The dying producers whose work was taken over: those on a way from what now stands there, and their data.

    The others (what fed a multiplication by zero) did not merge into anything: they are dead.
    """
    reached = {operand for op in carriers for inner in op.walk() for operand in inner.operands} | match.values.keys()
    absorbed: dict[Operation, None] = {}
    for op in reversed(dying):  # consumers were found first
        if any(operand in reached for operand in match.removed[op]):
            absorbed[op] = None
            reached.update(op.results)
    taken = [match.removed[op] for op in match.removed if op not in dying or op in absorbed]
    data_of = {operand.owner for operands in taken for operand in operands}
    absorbed.update((op, None) for op in dying if op in data_of and not match.removed[op] and not op.regions)
    return absorbed


def _producers_first(ops: Sequence[Operation], operands: Mapping[Operation, tuple[SSAValue, ...]]) -> list[Operation]:
    """Orders erased ops so that each stands after those that fed it."""
    members = dict.fromkeys(ops)
    ordered: dict[Operation, None] = {}
    stack = [(op, False) for op in reversed(list(members))]
    while stack:
        op, expanded = stack.pop()
        if expanded:
            ordered[op] = None
        elif op not in ordered:
            stack.append((op, True))
            owners = [value.owner for value in operands[op] if isinstance(value.owner, Operation)]
            stack.extend((owner, False) for owner in reversed(owners) if owner in members and owner not in ordered)
    return list(ordered)


def _locate(new: Operation, location: LocationAttr, anchor: Operation, root: Operation) -> None:
    """Gives `new` and the ops inside it the firing's location; without one, that of the op it was put at."""
    known = next((each for each in (location, anchor.location, root.location) if each != UNKNOWN_LOC), UNKNOWN_LOC)
    for op in new.walk() if new.regions else (new,):
        if op.location == UNKNOWN_LOC:
            op.location = known
