"""Which expressions get a name: the last step of the conversion.

An expression is spelled where it is used, so it needs a `let` where that would cost (several uses, or a use inside a
loop), where it would be wrong (memory it reads is written before the use), and where the line would grow too long.
"""

from collections.abc import Iterator

from xdsl.ir import Block, Operation, SSAValue

from tstorch.dialects import wgsl

# Operators in one line.
_LONGEST = 16


def name_values(function: wgsl.FunctionOp) -> None:
    """Inserts a `wgsl.let` wherever one is needed."""
    for block in [block for op in function.walk() for region in op.regions for block in region.blocks]:
        _name_in(block)


def _name_in(block: Block) -> None:
    ops = list(block.ops)
    position = {op: number for number, op in enumerate(ops)}
    writes = _writes(ops)
    too_long = _too_long(ops)
    spelled_at: dict[Operation, int] = {}
    for op in reversed(ops):
        if not isinstance(op, wgsl.ExpressionOp):
            continue
        users = [use.operation for use in op.result.uses]
        if not users:
            continue
        here = position[op]
        user = users[0]
        at = spelled_at.get(user, position.get(user, here))
        named = not _is_trivial(op) and (
            len(users) > 1
            or user.parent is not block
            or op in too_long
            or any(here < write < at for write in writes.get(_memory(op), ()))
        )
        if named and not isinstance(user, wgsl.LetOp):
            _insert_let(op)
            at = here
        spelled_at[op] = at


def _insert_let(op: wgsl.ExpressionOp) -> None:
    users = list(op.result.uses)
    let = wgsl.LetOp(op.result)
    let.location = op.location
    block = op.parent
    if block is not None:
        block.insert_op_after(let, op)
    for use in users:
        use.operation.operands[use.index] = let.result


def _is_trivial(op: Operation) -> bool:
    """A constant, or the component of an id."""
    if isinstance(op, wgsl.ComponentOp):
        return isinstance(op.value.owner, Block)
    return isinstance(op, wgsl.ConstantOp) or (isinstance(op, wgsl.IndexOp) and op.is_trivial)


def _memory(op: Operation) -> SSAValue | None:
    return op.memory if isinstance(op, wgsl.LoadOp | wgsl.ReadOp) else None


def _writes(ops: list[Operation]) -> dict[SSAValue | None, list[int]]:
    """The positions at which each memory changes; a barrier may change all memory of the workgroup."""
    found: dict[SSAValue | None, list[int]] = {}
    barriers: list[int] = []
    shared: set[SSAValue] = set()
    for number, op in enumerate(ops):
        for inner in _inside(op):
            if isinstance(inner, wgsl.StoreOp | wgsl.WriteOp):
                found.setdefault(inner.memory, []).append(number)
            elif isinstance(inner, wgsl.BarrierOp):
                barriers.append(number)
            elif isinstance(inner, wgsl.LoadOp):
                shared.add(inner.memory)
    for memory in shared:
        found[memory] = found.get(memory, []) + barriers
    return found


def _inside(op: Operation) -> Iterator[Operation]:
    return op.walk() if op.regions else iter((op,))


def _too_long(ops: list[Operation]) -> set[Operation]:
    """Expressions that would make a line too long if they were not named."""
    size: dict[SSAValue, int] = {}
    found: set[Operation] = set()
    for op in ops:
        if isinstance(op, wgsl.ExpressionOp):
            total = 1 + sum(size.get(operand, 0) for operand in op.operands)
            if total > _LONGEST:
                found.add(op)
                total = 1
            size[op.result] = total
    return found
