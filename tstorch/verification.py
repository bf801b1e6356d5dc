"""What must hold of any module between two passes, beyond what xDSL's verifier sees."""

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.traits import IsolatedFromAbove
from xdsl.utils.exceptions import VerifyException

from tstorch.locations import node_ids


def verify_module(module: ModuleOp) -> None:
    """Runs every op's verifier and the order check. Raises VerifyException."""
    module.verify()
    check_order(module)


def check_order(module: ModuleOp) -> None:
    """Checks that each value is defined before it is used, which xDSL's verifier does not. Raises VerifyException."""
    for block in module.body.blocks:
        _check_block(block, set())


def _check_block(block: Block, visible: set[SSAValue]) -> None:
    defined: list[SSAValue] = list(block.args)
    visible.update(defined)
    for op in block.ops:
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
