"""What must hold of any module between two passes, beyond what xDSL's verifier sees."""

from collections.abc import Collection, Iterable

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.traits import IsolatedFromAbove
from xdsl.utils.exceptions import VerifyException

from tstorch.locations import node_ids


def verify_module(module: ModuleOp, settled: Collection[str] = ()) -> None:
    """Runs every op's verifier and the order check. Raises VerifyException.

    The module's own ops of a kind in `settled` have been verified as they stand, and are not looked into again.
    """
    changed = [op for op in module.body.block.ops if op.name not in settled]
    module.verify(verify_nested_ops=False)
    for op in changed:
        op.verify()
    _check_ops(changed, set())


def check_order(module: ModuleOp) -> None:
    """Checks that each value is defined before it is used, which xDSL's verifier does not. Raises VerifyException."""
    _check_ops(module.body.block.ops, set())


def _check_block(block: Block, visible: set[SSAValue]) -> None:
    visible.update(block.args)
    _check_ops(block.ops, visible)
    visible.difference_update(block.args)


def _check_ops(ops: Iterable[Operation], visible: set[SSAValue]) -> None:
    defined: list[SSAValue] = []
    for op in ops:
        for index, operand in enumerate(op.operands):
            if operand not in visible:
                raise VerifyException(_late(op, index))
        inherited = set[SSAValue]() if op.has_trait(IsolatedFromAbove) else visible
        for region in op.regions:
            for inner in region.blocks:
                _check_block(inner, inherited)
        defined.extend(op.results)
        visible.update(op.results)
    visible.difference_update(defined)


def _late(op: Operation, index: int) -> str:
    nodes = "".join(f" of onnx '{node}'" for node in node_ids(op)[:1])
    owner = op.operands[index].owner
    defined = f"by '{owner.name}'" if isinstance(owner, Operation) else "as a block argument"
    return f"'{op.name}'{nodes}: operand {index} is defined {defined} later or out of reach; define it before its use"
