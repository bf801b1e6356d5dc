"""One host program."""

from xdsl.dialects.builtin import (
    StringAttr,
    SymbolNameConstraint,
)
from xdsl.ir import (
    Block,
    Operation,
    Region,
)
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    prop_def,
    region_def,
    traits_def,
)
from xdsl.traits import IsolatedFromAbove, NoTerminator, SymbolOpInterface

from tstorch.dialects.buf.memory import verify_memory
from tstorch.dialects.buf.places import BufferOp, Placed, SubviewOp


@irdl_op_definition
class EntryOp(IRDLOperation):
    """One host program, run from top to bottom: `init` once at load, then `run` or `step` as often as asked."""

    name = "buf.entry"
    sym_name = prop_def(SymbolNameConstraint())
    body = region_def("single_block")
    assembly_format = "$sym_name attr-dict-with-keyword $body"
    traits = traits_def(IsolatedFromAbove(), SymbolOpInterface(), NoTerminator())

    def __init__(self, name: str, block: Block):
        super().__init__(properties={"sym_name": StringAttr(name)}, regions=[Region(block)])

    @property
    def commands(self) -> list[Operation]:
        """What is done, in order: all but the declarations of bytes."""
        return [op for op in self.body.block.ops if not isinstance(op, Placed | SubviewOp)]

    def verify_(self) -> None:
        verify_memory(self, buffers_of(self))


def buffers_of(entry: EntryOp) -> dict[str, BufferOp]:
    """The buffers that stand beside the entry, by name."""
    block = entry.parent
    ops = block.ops if block is not None else ()
    return {op.sym_name.data: op for op in ops if isinstance(op, BufferOp)}
