"""Grows kernels: where joining an op to a producer's kernel is legal and pays, and what to say where it does not."""

from collections.abc import Iterable
from dataclasses import dataclass

from xdsl.ir import Operation, SSAValue

from tstorch.dialects.flow import KernelKind
from tstorch.dialects.prim.base import ContractionOp, ElementwiseOp, IndexMapOp
from tstorch.dialects.prim.indexing import GatherOp
from tstorch.dialects.prim.shape import ConcatenateOp
from tstorch.dialects.prim.weight import WeightOp
from tstorch.locations import fused_location, location_ids
from tstorch.passes.fusion.kernel_form import (
    TWO_ANCHORS,
    KernelForm,
    Refusal,
    anchor_kind,
    kernel_form,
    shape_of,
    two_anchors,
)
from tstorch.passes.fusion.partition import Group, Partition
from tstorch.passes.fusion.worth import ADVICE, mixes, saved_by_joining, value_bytes
from tstorch.remarks import RemarkSink

KEPT = "TST-F001"
CYCLE = "TST-F002"
MAX_OPS = 64
MAX_RECOMPUTED = 16
"""Elementwise ops that may run once per copy of a value that is broadcast, rather than in a kernel of their own."""
MAX_ADDRESS = 4
"""Elementwise ops that may run once per element that is looked up."""

MAX_DECODE = 16
"""Elementwise ops that may run once per weight that a tile reads, to decode it."""

_PER_TILE = (KernelKind.CONTRACTION, KernelKind.WINDOW, KernelKind.INDEXED, KernelKind.SORT, KernelKind.RECURRENCE)


@dataclass
class Grower:
    """One left-to-right walk over a function's ops, each joining what came before."""

    partition: Partition
    remarks: RemarkSink
    max_bindings: int
    quiet: bool = False
    """Says nothing of chances missed: what runs once is not worth a word."""
    epilogue: bool = True
    """Whether what follows a contraction joins its kernel. What a rule put there may grow in any case."""
    apart: frozenset[str] = frozenset()
    """Nodes that share a kernel with no other node."""

    def run(self) -> None:
        """Merges groups until each op has tried all its producers, the latest first."""
        for op in self.partition.ops:
            if op in self.partition.group_of:
                self._join_producers(op)

    def _join_producers(self, op: Operation) -> None:
        tried: set[Group] = set()
        refused: list[tuple[Refusal, Group, Group]] = []
        joined = False
        while (producer := self._next_producer(op, tried)) is not None:
            tried.add(producer)
            consumer = self.partition.group_of[op]
            made = self._joined(producer, consumer)
            if isinstance(made, Group):
                self.partition.install(made)
                tried.add(made)
                joined = True
            else:
                refused.append((made, producer, consumer))
        for refusal, producer, consumer in refused:
            if not self.quiet and _worth_saying(refusal, consumer, joined):
                self._say(refusal, producer, consumer)

    def _next_producer(self, op: Operation, tried: set[Group]) -> Group | None:
        partition = self.partition
        consumer = partition.group_of[op]
        if consumer.host:
            return None
        groups = {partition.writer(value) for value in consumer.operands} - tried
        found = [group for group in groups if group is not None and not group.host]
        return max(found, key=lambda group: partition.position[group.ops[-1]], default=None)

    def _joined(self, producer: Group, consumer: Group) -> Group | Refusal:
        """The two as one kernel, or why they do not become one."""
        kept = self.partition.kept(producer, producer, consumer)
        if (refusal := self._plain_refusal(producer, consumer, kept)) is not None:
            return refusal
        made = self.partition.joined(producer, consumer)
        form = kernel_form(made.closure, made.results, producer.form)
        if isinstance(form, Refusal):
            return form
        made.form = form
        bindings = len(made.reads) + len(made.results)
        if bindings > self.max_bindings:
            return Refusal("TST-F004", f"the kernel would need {bindings} bindings, the target has {self.max_bindings}")
        return self._loss(producer, consumer, form, kept) or made

    def _plain_refusal(self, producer: Group, consumer: Group, kept: list[SSAValue]) -> Refusal | None:
        """What is cheap to see: it needs no look at the kernel that the two would be."""
        partition = self.partition
        if (node := mixes([*producer.ops, *consumer.ops], self.apart) if self.apart else None) is not None:
            return Refusal("TST-F011", f"'{node}' is to have kernels of its own (--no-fuse)")
        count = len(producer.ops) + len(consumer.ops)
        if count > MAX_OPS:
            return Refusal("TST-F007", f"the kernel would have {count} ops, at most {MAX_OPS} stay readable")
        if partition.makes_cycle(producer, consumer):
            return Refusal(CYCLE, "another kernel between the two needs the first and feeds the second")
        if kept and not producer.anchored and _per_tile(consumer):
            return Refusal(KEPT, "its result has other users, which need it in memory")
        if not self.epilogue and self._is_bare(producer, consumer):
            return Refusal("TST-F009", "left out (--without epilogue)", suggest="a rule may outline them")
        return two_anchors(partition.in_program_order([*producer.anchors, *consumer.anchors]))

    def _loss(self, producer: Group, consumer: Group, form: KernelForm, kept: list[SSAValue]) -> Refusal | None:
        """Why joining would cost more than it saves."""
        if kept and (early := self._early_user(kept, consumer)) is not None:
            return Refusal(KEPT, f"its result is kept for {early.name}, which comes before")
        if producer.anchored or form.kind is KernelKind.ROW_REDUCTION:
            return None
        if _per_tile(consumer):
            return self._prologue_loss(producer, consumer)
        return self._recompute_loss(producer, consumer, kept)

    def _prologue_loss(self, producer: Group, consumer: Group) -> Refusal | None:
        """A map ahead of a contraction or window runs once per tile that loads its result."""
        if self._behind_anchor(producer, consumer) or self._is_address(producer, consumer) or self._unpacks(producer):
            return None
        made, read = (sum(map(value_bytes, values)) for values in (producer.results, producer.operands))
        if read < made and not any(isinstance(op, ConcatenateOp) for op in producer.ops):
            return None
        if _is_pair(producer):
            return None
        return Refusal(
            "TST-F005", "it would be computed again for every tile that reads it", "fuse it into its own producer"
        )

    def _is_address(self, producer: Group, consumer: Group) -> bool:
        """Whether the producer only computes where a gather reads, in few steps: that costs less than a dispatch."""
        gathers = [op for op in consumer.ops if isinstance(op, GatherOp)]
        read = {root for op in gathers for root in self.partition.roots(op.indices)}
        steps = sum(isinstance(op, ElementwiseOp) for op in producer.ops)
        return not producer.anchored and steps <= MAX_ADDRESS and read >= set(producer.results)

    def _unpacks(self, producer: Group) -> bool:
        """Whether the producer only decodes weights of few bits: unpacked they would be read from memory many times."""
        weights = [value for value in producer.operands if isinstance(value.owner, WeightOp)]
        alone = len(weights) == len(producer.operands)
        made, read = (sum(map(value_bytes, values)) for values in (producer.results, weights))
        steps = sum(isinstance(op, ElementwiseOp) for op in producer.ops)
        return alone and not producer.anchored and steps <= MAX_DECODE and made > read

    def _recompute_loss(self, producer: Group, consumer: Group, kept: list[SSAValue]) -> Refusal | None:
        """A map whose result is read by several elements of the consumer is computed for each of them."""
        factor = self._copies(producer, consumer)
        if factor <= 1:
            return None
        if kept:
            return Refusal(KEPT, "its result has other users, which would compute it again")
        if sum(isinstance(op, ElementwiseOp) for op in producer.ops) > MAX_RECOMPUTED:
            return Refusal("TST-F005", f"it would be computed {factor} times an element")
        return None

    def _is_bare(self, producer: Group, consumer: Group) -> bool:
        """Whether the consumer takes what a contraction itself gives."""
        return any(isinstance(value.owner, ContractionOp) for value in producer.results if value in consumer.operands)

    def _early_user(self, kept: list[SSAValue], consumer: Group) -> Operation | None:
        """A user outside that comes before the consumer's first: it is the one that the value was kept for."""
        group_of = self.partition.group_of
        for value in (value for value in kept if value in consumer.operands):
            producer = self.partition.writer(value)
            for user in self.partition.users(value):
                group = group_of.get(user)
                if group is consumer:
                    break
                if group is not producer:
                    return user
        return None

    def _behind_anchor(self, producer: Group, consumer: Group) -> bool:
        """Whether the producer feeds only what comes after the consumer's anchor: it then runs once per element."""
        inside = set(consumer.ops)
        ahead = {root.owner for root in self.partition.operands(consumer.anchors)}
        work = list(ahead)
        while work:
            owner = work.pop()
            if isinstance(owner, Operation) and owner in inside:
                more = {root.owner for root in self.partition.operands([owner])} - ahead
                ahead |= more
                work.extend(more)
        return not ahead & set(producer.ops)

    def _copies(self, producer: Group, consumer: Group) -> int:
        """How many elements of the consumer read one element of the producer, at most."""
        partition = self.partition
        most = 1
        for value in (value for value in producer.results if value in consumer.operands):
            size = max(_elements(value), 1)
            for user in consumer.ops:
                reach = sum(_elements(v) for v in user.operands if value in partition.roots(v))
                most = max(most, reach // size)
        return most

    def _say(self, refusal: Refusal, producer: Group, consumer: Group) -> None:
        self.remarks.missed(
            group_nodes([*producer.ops[-1:], *consumer.ops[:1]]),
            refusal.id,
            f"{producer.ops[-1].name} and {consumer.ops[0].name} stay two dispatches: {refusal.reason}",
            suggest=refusal.suggest or ADVICE.get(refusal.id, ""),
            metric=saved_by_joining(self.partition, producer, consumer),
        )


def _is_pair(producer: Group) -> bool:
    """Whether it only puts two tensors side by side: a second load then costs less than writing and reading both."""
    joins = [op for op in producer.ops if isinstance(op, ConcatenateOp)]
    moves_only = all(isinstance(op, IndexMapOp) for op in producer.ops)
    return moves_only and len(joins) == 1 and len(joins[0].operands) == 2


def group_nodes(ops: Iterable[Operation]) -> tuple[str, ...]:
    """The ids of the ONNX nodes that ops serve."""
    return tuple(location_ids(fused_location(op.location for op in ops)))


def _worth_saying(refusal: Refusal, consumer: Group, joined: bool) -> bool:
    """Whether a refusal is a chance missed: that an anchor starts a kernel of its own, or a residual's second operand
    comes from another kernel, is the nature of the graph."""
    return refusal.id not in (TWO_ANCHORS, CYCLE) or not (joined or consumer.anchored)


def _per_tile(group: Group) -> bool:
    """Whether what stands ahead of the group's anchor is computed again and again."""
    return any(anchor_kind(op) in _PER_TILE for op in group.anchors)


def _elements(value: SSAValue) -> int:
    count = 1
    for size in shape_of(value):
        count *= size
    return count
