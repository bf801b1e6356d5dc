"""The host's control over graphs: what is run when the model is loaded, when it is called, when it takes a step.

    program.entry "init" {
      program.run @init
    }
    program.entry "run" {
      program.run @main
    }

These ops stand around every level from prim on. A *segment* is what the compiler sees as one graph: a function, and at
level buf the host program that it became. A static model is one entry "run" with a single run, whose segment finds
inputs, outputs and state by their names. Where what is run depends on data, the entry holds the steps that decide it
(`program_steps`): their values go from segment to segment.
"""

from collections.abc import Iterator

from xdsl.dialects.builtin import ModuleOp, StringAttr, SymbolRefAttr
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Dialect, Operation, Region
from xdsl.irdl import IRDLOperation, irdl_op_definition, prop_def, region_def, traits_def
from xdsl.traits import NoTerminator, SymbolTable
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects import buf
from tstorch.dialects.program_steps import (
    STEPS,
    ConstantOp,
    IfOp,
    InputOp,
    OutputOp,
    PaddedOp,
    RunOp,
    SegmentOp,
    SpecialiseOp,
    StepOp,
    TakeOp,
    WhileOp,
    YieldOp,
    is_open,
)

__all__ = [
    "INIT", "RUN", "STEP", "ConstantOp", "EntryOp", "IfOp", "InputOp", "OutputOp", "PaddedOp", "Program", "RunOp",
    "SegmentOp", "SpecialiseOp", "StepOp", "TakeOp", "WhileOp", "YieldOp", "control_of", "entries_of", "is_open",
    "rename", "run_before", "segments_of",
]  # fmt: skip

INIT = "init"
"""The entry that is run once, at load."""
RUN = "run"
"""The entry that answers a call."""
STEP = "step"
"""The entry that trains: it answers a call and updates state."""

Segment = FuncOp | buf.EntryOp


@irdl_op_definition
class EntryOp(IRDLOperation):
    """What the runtime does when it is asked for this entry by name: one run of one segment, or the steps of a host."""

    name = "program.entry"
    entry_name = prop_def(StringAttr)
    body = region_def("single_block")
    assembly_format = "$entry_name attr-dict-with-keyword $body"
    traits = traits_def(NoTerminator())

    def __init__(self, name: str, steps: list[Operation]):
        super().__init__(properties={"entry_name": StringAttr(name)}, regions=[Region(Block(steps))])

    @property
    def is_plain(self) -> bool:
        """Whether it is one run of one segment, and nothing decides anything."""
        first, last = self.body.block.first_op, self.body.block.last_op
        return first is last and isinstance(first, RunOp) and not first.operands and not first.results

    @property
    def run(self) -> RunOp:
        """The one command of a plain entry."""
        op = self.body.block.first_op
        assert isinstance(op, RunOp)
        return op

    def verify_(self) -> None:
        name = self.entry_name.data
        if others := [op.name for op in self.body.block.ops if not isinstance(op, StepOp)]:
            raise VerifyException(f'entry "{name}" holds {", ".join(others)}; expected steps of a program alone')
        if not self.is_plain:
            _check_steps(self)
        block = self.parent
        entries = [op for op in block.ops if isinstance(op, EntryOp) and op is not self] if block is not None else []
        if any(other.entry_name == self.entry_name for other in entries):
            raise VerifyException(f'there are two entries "{name}"; the runtime asks for them by name')
        for op in self.walk():
            if isinstance(op, RunOp | SpecialiseOp):
                _check_segment(op)


def _check_steps(entry: EntryOp) -> None:
    """Values have names only where the whole program is one run."""
    for op in entry.walk():
        if isinstance(op, RunOp) and not op.results:
            raise VerifyException(
                f"program.run @{op.segment_name} gives nothing; without values it must be the entry's only step"
            )


def _check_segment(op: RunOp | SpecialiseOp) -> None:
    """What a step names is a segment of its kind."""
    segment = SymbolTable.lookup_symbol(op, op.segment)
    if segment is None:
        raise VerifyException(f"no segment @{op.segment_name}")
    if isinstance(op, SpecialiseOp):
        if not isinstance(segment, SegmentOp):
            raise VerifyException(f"@{op.segment_name} is a {segment.name}; expected a program.segment")
        return
    if not isinstance(segment, Segment):
        raise VerifyException(f"@{op.segment_name} is a {segment.name}; expected a func.func or a buf.entry")
    if op.results and isinstance(segment, FuncOp):
        counts = len(segment.body.block.args), len(segment.function_type.outputs)
        if counts != (len(op.inputs), len(op.outputs)):
            raise VerifyException(
                f"@{op.segment_name} takes {counts[0]} values and gives {counts[1]}; the step has {len(op.inputs)} and "
                f"{len(op.outputs)}"
            )


def segments_of(module: ModuleOp) -> Iterator[tuple[str, EntryOp, Segment]]:
    """Each compiled segment, in order: the name of its host program, the entry that runs it, and itself.

    The host program of a plain entry has the entry's name, of any other its own.
    """
    symbols = {op.sym_name.data: op for op in module.body.block.ops if isinstance(op, FuncOp | buf.EntryOp)}
    for entry in module.body.block.ops:
        if not isinstance(entry, EntryOp):
            continue
        if entry.is_plain:
            yield entry.entry_name.data, entry, symbols[entry.run.segment_name]
            continue
        for name in dict.fromkeys(op.segment_name for op in entry.walk() if isinstance(op, RunOp)):
            yield name, entry, symbols[name]


def entries_of(module: ModuleOp) -> Iterator[tuple[EntryOp, Segment]]:
    """Each compiled segment with the entry that runs it, in order."""
    return ((entry, segment) for _, entry, segment in segments_of(module))


def control_of(module: ModuleOp) -> EntryOp | None:
    """The entry that is more than one run; None for a static model."""
    return next((op for op in module.body.block.ops if isinstance(op, EntryOp) and not op.is_plain), None)


def run_before(segment: FuncOp, name: str) -> None:
    """Puts an entry that runs the segment ahead of it."""
    block = segment.parent
    assert block is not None
    block.insert_op_before(EntryOp(name, [RunOp(segment.sym_name.data)]), segment)


def rename(module: ModuleOp, old: tuple[str, str], new: tuple[str, str]) -> None:
    """Gives the plain entry and segment of the names `old` those of `new`, where there is such an entry."""
    for op in module.body.block.ops:
        if isinstance(op, EntryOp) and op.is_plain and (op.entry_name.data, op.run.segment_name) == old:
            op.properties["entry_name"] = StringAttr(new[0])
            op.run.properties["segment"] = SymbolRefAttr(new[1])


Program = Dialect("program", [EntryOp, *STEPS], [])
