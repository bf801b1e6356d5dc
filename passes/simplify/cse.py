"""Merges ops that compute the same."""

from collections.abc import Hashable
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.traits import IsolatedFromAbove, IsTerminator, SymbolOpInterface, is_side_effect_free

from tstorch.dialects.prim.base import GeneratorOp, IndexMapOp
from tstorch.locations import fused_location, node_ids
from tstorch.passes.base import TSTorchPass

Known = dict[Hashable, list[Operation]]


@dataclass(frozen=True)
class CsePass(TSTorchPass):
    """Merges ops that compute the same: equal kind, operands, properties, attributes, types and regions.

    The one that stays serves the nodes of all. Declines for ops with effects, and keeps apart the constants and index
    maps of different nodes: each kernel computes these in place, and would seem to serve the others' nodes.

        // before
        %a = prim.exp %x : tensor<4xf32>
        %b = prim.exp %x : tensor<4xf32>
        %c = prim.add %a, %b : tensor<4xf32>
        func.return %c : tensor<4xf32>
        // after
        %a = prim.exp %x : tensor<4xf32>
        %c = prim.add %a, %a : tensor<4xf32>
        func.return %c : tensor<4xf32>
    """

    name = "cse"

    def apply(self, ctx: Context, module: ModuleOp) -> None:
        merger = _Merger()
        for block in module.body.blocks:
            merger.run(block, {})


class _Merger:
    """Numbers values: equal values that are kept apart have one number, so that what uses them can merge."""

    def __init__(self) -> None:
        self._number: dict[SSAValue, SSAValue] = {}

    def run(self, block: Block, visible: Known) -> None:
        """Merges within a block; `visible` are ops of the enclosing blocks that its own may be merged into."""
        known = {key: list(ops) for key, ops in visible.items()}
        for op in list(block.ops):
            for region in op.regions:
                for inner in region.blocks:
                    self.run(inner, {} if op.has_trait(IsolatedFromAbove) else known)
            if not _mergeable(op):
                continue
            equals = known.setdefault(self._key(op), [])
            twin = next((other for other in equals if _same_regions(op, other)), None)
            if twin is None:
                equals.append(op)
            elif _kept_apart(op, twin):
                self._number.update(zip(op.results, twin.results, strict=True))
            else:
                _replace(op, twin)

    def _key(self, op: Operation) -> Hashable:
        return (
            type(op),
            tuple(self._number.get(operand, operand) for operand in op.operands),
            tuple(op.result_types),
            frozenset(op.properties.items()),
            frozenset(op.attributes.items()),
        )


def _replace(op: Operation, twin: Operation) -> None:
    for mine, theirs in zip(twin.walk(), op.walk(), strict=True):
        mine.location = fused_location([mine.location, theirs.location])
    for old, new in zip(op.results, twin.results, strict=True):
        old.replace_all_uses_with(new)
    op.detach()
    op.erase()


def _mergeable(op: Operation) -> bool:
    if not op.results or op.has_trait(IsTerminator) or op.has_trait(SymbolOpInterface):
        return False
    return is_side_effect_free(op)


def _kept_apart(op: Operation, twin: Operation) -> bool:
    return isinstance(op, GeneratorOp | IndexMapOp) and node_ids(op) != node_ids(twin)


def _same_regions(op: Operation, other: Operation) -> bool:
    return all(mine.is_structurally_equivalent(theirs) for mine, theirs in zip(op.regions, other.regions, strict=True))
