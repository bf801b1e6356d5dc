"""Named groups start kernels: each prim.composite is inlined, and its ops stay together under its label."""

from dataclasses import dataclass

from xdsl.dialects.builtin import UNKNOWN_LOC
from xdsl.dialects.func import FuncOp
from xdsl.ir import Operation, SSAValue

from tstorch.dialects.prim.control import CompositeOp
from tstorch.passes.fusion.grow import group_nodes
from tstorch.passes.fusion.kernel_form import Refusal, kernel_form
from tstorch.passes.fusion.partition import Group, Partition
from tstorch.passes.fusion.worth import ADVICE, mixes, saved_by_fusing
from tstorch.remarks import RemarkSink


@dataclass(frozen=True)
class Named:
    """The ops that a composite held, and its label."""

    label: str
    ops: list[Operation]


def inline_composites(func: FuncOp) -> list[Named]:
    """Puts the ops of each composite in its place; says which were together. A composite inside one is part of it."""
    found: list[Named] = []
    for op in list(func.body.block.ops):
        if isinstance(op, CompositeOp):
            found.append(Named(op.label.data, _inline(op)))
    return found


def _inline(op: CompositeOp) -> list[Operation]:
    block = op.parent
    assert block is not None
    values: dict[SSAValue, SSAValue] = dict(zip(op.body.block.args, op.operands, strict=True))
    *inner, end = op.body.block.ops
    copies: list[Operation] = []
    for each in inner:
        copy = each.clone(values)
        copy.location = op.location if each.location == UNKNOWN_LOC else each.location
        block.insert_op_before(copy, op)
        copies.append(copy)
    for result, value in zip(op.results, end.operands, strict=True):
        result.replace_all_uses_with(values.get(value, value))
    op.detach()
    op.erase()
    return [leaf for copy in copies for leaf in (_inline(copy) if isinstance(copy, CompositeOp) else [copy])]


def group_composites(
    partition: Partition, named: list[Named], max_bindings: int, remarks: RemarkSink, apart: frozenset[str]
) -> None:
    """Makes one group of each composite; declines, with a remark, where no one kernel can hold it, or may."""
    for each in named:
        ops = [op for op in each.ops if op in partition.group_of]
        if not ops:
            continue
        group = partition.gather(ops, dict.fromkeys(ops, each.label))
        refusal = _refusal(partition, group, max_bindings, apart)
        if refusal is None:
            partition.install(group)
        else:
            reason = f"{each.label} does not become one kernel: {refusal.reason}"
            saved = saved_by_fusing(partition, group)
            remarks.missed(group_nodes(ops), "TST-F008", reason, suggest=ADVICE["TST-F008"], metric=saved)


def _refusal(partition: Partition, group: Group, max_bindings: int, apart: frozenset[str]) -> Refusal | None:
    if (node := mixes(group.ops, apart)) is not None:
        return Refusal("TST-F011", f"'{node}' is to have kernels of its own (--no-fuse)")
    if any(partition.group_of[op].host for op in group.ops):
        return Refusal("TST-F008", "a concatenation in it is written by its producers")
    form = kernel_form(group.closure, group.results)
    if isinstance(form, Refusal):
        return form
    bindings = len(group.reads) + len(group.results)
    if bindings > max_bindings:
        return Refusal("TST-F004", f"it would need {bindings} bindings, the target has {max_bindings}")
    return None
