"""The host's control over graphs: what is run when the model is loaded, when it is called, when it takes a step.

    program.entry "init" {
      program.run @init
    }
    program.entry "run" {
      program.run @main
    }

These ops stand around every level from prim on. A *segment* is what the compiler sees as one graph: a function, and at
level buf the host program that it became. It finds inputs, outputs and state by their names. A static model is one
entry "run" with a single run.
"""

from collections.abc import Iterator

from xdsl.dialects.builtin import FlatSymbolRefAttrConstr, ModuleOp, StringAttr, SymbolRefAttr
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Dialect, Operation, Region
from xdsl.irdl import IRDLOperation, irdl_op_definition, lazy_traits_def, prop_def, region_def, traits_def
from xdsl.traits import HasParent, NoTerminator, SymbolTable, SymbolUserOpInterface
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects import buf

INIT = "init"
"""The entry that is run once, at load."""
RUN = "run"
"""The entry that answers a call."""
STEP = "step"
"""The entry that trains: it answers a call and updates state."""


class _SegmentExists(SymbolUserOpInterface):
    """What a run names is a segment."""

    def verify(self, op: Operation) -> None:
        if not isinstance(op, RunOp):
            return
        segment = SymbolTable.lookup_symbol(op, op.segment)
        if segment is None:
            raise VerifyException(f"no segment @{op.segment_name}")
        if not isinstance(segment, FuncOp | buf.EntryOp):
            raise VerifyException(f"@{op.segment_name} is a {segment.name}; expected a func.func or a buf.entry")


@irdl_op_definition
class RunOp(IRDLOperation):
    """Runs a segment from its inputs to its outputs."""

    name = "program.run"
    segment = prop_def(FlatSymbolRefAttrConstr)
    assembly_format = "$segment attr-dict"
    traits = lazy_traits_def(lambda: (HasParent(EntryOp), _SegmentExists()))

    def __init__(self, segment: str):
        super().__init__(properties={"segment": SymbolRefAttr(segment)})

    @property
    def segment_name(self) -> str:
        return self.segment.root_reference.data


@irdl_op_definition
class EntryOp(IRDLOperation):
    """What the runtime does when it is asked for this entry by name: one run of one segment."""

    name = "program.entry"
    entry_name = prop_def(StringAttr)
    body = region_def("single_block")
    assembly_format = "$entry_name attr-dict-with-keyword $body"
    traits = traits_def(NoTerminator())

    def __init__(self, name: str, segment: str):
        super().__init__(properties={"entry_name": StringAttr(name)}, regions=[Region(Block([RunOp(segment)]))])

    @property
    def run(self) -> RunOp:
        """The one command."""
        op = self.body.block.first_op
        assert isinstance(op, RunOp)
        return op

    def verify_(self) -> None:
        name = self.entry_name.data
        ops = list(self.body.block.ops)
        if len(ops) != 1 or not isinstance(ops[0], RunOp):
            found = ", ".join(op.name for op in ops)
            raise VerifyException(f'entry "{name}" holds {found}; expected one program.run')
        block = self.parent
        others = [op for op in block.ops if isinstance(op, EntryOp) and op is not self] if block is not None else []
        if any(other.entry_name == self.entry_name for other in others):
            raise VerifyException(f'there are two entries "{name}"; the runtime asks for them by name')


def entries_of(module: ModuleOp) -> Iterator[tuple[EntryOp, FuncOp | buf.EntryOp]]:
    """Each entry with the segment that it runs, in order."""
    segments = {op.sym_name.data: op for op in module.body.block.ops if isinstance(op, FuncOp | buf.EntryOp)}
    for op in module.body.block.ops:
        if isinstance(op, EntryOp):
            yield op, segments[op.run.segment_name]


def run_before(segment: FuncOp, name: str) -> None:
    """Puts an entry that runs the segment ahead of it."""
    block = segment.parent
    assert block is not None
    block.insert_op_before(EntryOp(name, segment.sym_name.data), segment)


def rename(module: ModuleOp, old: tuple[str, str], new: tuple[str, str]) -> None:
    """Gives the entry and segment of the names `old` those of `new`, where there is such an entry."""
    for op in module.body.block.ops:
        if isinstance(op, EntryOp) and (op.entry_name.data, op.run.segment_name) == old:
            op.properties["entry_name"] = StringAttr(new[0])
            op.run.properties["segment"] = SymbolRefAttr(new[1])


Program = Dialect("program", [EntryOp, RunOp], [])
