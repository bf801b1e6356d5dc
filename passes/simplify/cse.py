"""Merges ops that compute the same."""

from collections.abc import Hashable
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation
from xdsl.traits import IsolatedFromAbove, IsTerminator, SymbolOpInterface, is_side_effect_free

from tstorch.locations import fused_location
from tstorch.passes.base import TSTorchPass

Known = dict[Hashable, list[Operation]]


@dataclass(frozen=True)
class CsePass(TSTorchPass):
    """Merges ops that compute the same: equal kind, operands, properties, attributes, types and regions.

    The one that stays serves the nodes of all. Declines for ops with effects.

        // before
        %a = arith.negf %x : f32
        %b = arith.negf %x : f32
        %c = arith.addf %a, %b : f32
        func.return %c : f32
        // after
        %a = arith.negf %x : f32
        %c = arith.addf %a, %a : f32
        func.return %c : f32
    """

    name = "cse"

    def apply(self, ctx: Context, module: ModuleOp) -> None:
        for block in module.body.blocks:
            _merge(block, {})


def _merge(block: Block, visible: Known) -> None:
    """Merges within a block; `visible` are ops of the enclosing blocks that its own may be merged into."""
    known = {key: list(ops) for key, ops in visible.items()}
    for op in list(block.ops):
        for region in op.regions:
            for inner in region.blocks:
                _merge(inner, {} if op.has_trait(IsolatedFromAbove) else known)
        if not _mergeable(op):
            continue
        equals = known.setdefault(_key(op), [])
        twin = next((other for other in equals if _same_regions(op, other)), None)
        if twin is None:
            equals.append(op)
        else:
            _replace(op, twin)


def _replace(op: Operation, twin: Operation) -> None:
    twin.location = fused_location([twin.location, op.location])
    for mine, theirs in zip(twin.walk(), op.walk(), strict=True) if op.regions else ():
        mine.location = fused_location([mine.location, theirs.location])
    for old, new in zip(op.results, twin.results, strict=True):
        old.replace_all_uses_with(new)
    op.detach()
    op.erase()


def _mergeable(op: Operation) -> bool:
    if not op.results or op.has_trait(IsTerminator) or op.has_trait(SymbolOpInterface):
        return False
    return is_side_effect_free(op)


def _key(op: Operation) -> Hashable:
    return (
        type(op),
        tuple(op.operands),
        tuple(op.result_types),
        frozenset(op.properties.items()),
        frozenset(op.attributes.items()),
    )


def _same_regions(op: Operation, other: Operation) -> bool:
    return all(mine.is_structurally_equivalent(theirs) for mine, theirs in zip(op.regions, other.regions, strict=True))
