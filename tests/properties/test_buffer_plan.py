"""Properties of buffer plans on random host programs: what is read is what was written, and nothing beats the bound."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ArrayAttr, DenseArrayBase, IntegerAttr, ModuleOp, StringAttr, TensorType, f32, i64
from xdsl.ir import Block, SSAValue
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects import buf
from tstorch.dialects.buf.lower_bound import lower_bound
from tstorch.passes.buffers.plan_buffers import PlanBuffersPass
from tstorch.registry import make_context
from tstorch.remarks import get_remarks

CELL = 4


@dataclass(frozen=True)
class Step:
    """One dispatch: which earlier tensors it reads, how many elements it makes, whether it writes over the first."""

    reads: tuple[int, ...]
    elements: int
    in_place: bool


@st.composite
def programs(draw: st.DrawFn) -> list[Step]:
    """Dispatches in order; tensor 0 is the input, tensor i the result of dispatch i - 1."""
    steps: list[Step] = []
    sizes = [0]  # the input is never written over
    dead: set[int] = set()
    for number in range(draw(st.integers(1, 12))):
        alive = [tensor for tensor in range(number + 1) if tensor not in dead]
        reads = draw(st.lists(st.sampled_from(alive), min_size=1, max_size=3, unique=True))
        in_place = draw(st.booleans()) and reads[0] != 0
        steps.append(Step(tuple(reads), sizes[reads[0]] if in_place else draw(st.integers(1, 300)), in_place))
        sizes.append(steps[-1].elements)
        if in_place:
            dead.add(reads[0])
    return steps


def build(steps: list[Step]) -> ModuleOp:
    """The program with a buffer for each tensor; the last result is read back."""
    buffers: list[buf.BufferOp] = []
    places: list[buf.ViewOp] = []
    commands: list[buf.Command] = []

    def allocate(elements: int) -> SSAValue:
        name = f"run.{len(buffers)}"
        buffers.append(buf.BufferOp(name, elements * CELL, buf.Category.ACTIVATION))
        places.append(buf.ViewOp(name, 0, name, TensorType(f32, [elements])))
        return places[-1].result

    views = [allocate(input_size(steps))]
    text = {key: StringAttr("float32" if key == "dtype" else "f32") for key in ("dtype", "storage", "label")}
    commands.append(buf.UploadOp.create(operands=[views[0]], properties=text))
    for number, step in enumerate(steps):
        result = views[step.reads[0]] if step.in_place else allocate(step.elements)
        uses = [(views[read], buf.Access.READ) for read in step.reads[step.in_place :]]
        uses.append((result, buf.Access.INOUT if step.in_place else buf.Access.WRITE))
        nothing = {"label": StringAttr(""), "nodes": ArrayAttr([]), "flops": DenseArrayBase.from_list(i64, [])}
        commands.append(buf.DispatchOp("k", uses, [1, 1, 1], number, **nothing))  # pyright: ignore[reportArgumentType]
        views.append(result)
    commands.append(buf.ReadbackOp.create(operands=[views[-1]], properties=text))
    entry = buf.EntryOp("run", Block([*places, *commands]))
    return ModuleOp([*buffers, entry])


def input_size(steps: list[Step]) -> int:
    """Elements of the input, which is never written over: any number will do."""
    return 1 + sum(step.elements for step in steps) % 300


def entry_of(module: ModuleOp) -> buf.EntryOp:
    return next(op for op in module.body.block.ops if isinstance(op, buf.EntryOp))


def place(view: SSAValue) -> tuple[str, int, int]:
    """Buffer, offset and bytes of a view, read off the op that declares it."""
    assert isinstance(view.owner, buf.ViewOp)
    return view.owner.buffer_name, view.owner.byte_offset, view.owner.result.type.bytes  # pyright: ignore[reportAttributeAccessIssue]


def simulate(entry: buf.EntryOp) -> None:
    """Runs the program on tags instead of numbers: each write stamps its bytes, each read wants to find that stamp."""
    memory: dict[tuple[str, int], tuple[SSAValue, int]] = {}
    stamps: dict[SSAValue, int] = {}
    for time, command in enumerate(entry.commands):
        assert isinstance(command, buf.Command)
        for view, access in command.touched:
            name, offset, size = place(view)
            if access.reads:
                found = {memory.get((name, offset + byte)) for byte in range(0, size, CELL)}
                assert found == {(view, stamps[view])}
        for view, access in command.touched:
            if access.writes:
                name, offset, size = place(view)
                stamps[view] = time
                memory.update({(name, offset + byte): (view, time) for byte in range(0, size, CELL)})


def least_bytes(steps: list[Step]) -> int:
    """The largest live set, counted on the steps themselves: bytes of the tensors between first and last use."""
    sizes = [input_size(steps), *(step.elements for step in steps)]
    root = [0]
    for number, step in enumerate(steps):
        root.append(root[step.reads[0]] if step.in_place else number + 1)
    last = {root[0]: 0}
    for number, step in enumerate(steps):
        last.update(dict.fromkeys([*(root[read] for read in step.reads), root[number + 1]], number))
    last[root[-1]] = len(steps)
    live = []
    for now in range(len(steps)):
        alive = {root[made] for made in range(now + 2) if last[root[made]] >= now}
        live.append(sum(sizes[tensor] for tensor in alive) * CELL)
    return max(live)


@pytest.mark.parametrize("strategy", ["search", "greedy"])
@settings(max_examples=60, deadline=None)
@given(steps=programs())
def test_a_plan_keeps_every_tensor_until_it_is_read(strategy, steps):
    module = build(steps)
    module.verify()
    simulate(entry_of(module))
    PlanBuffersPass(strategy).apply(make_context(), module)
    module.verify()
    simulate(entry_of(module))


@settings(max_examples=60, deadline=None)
@given(steps=programs())
def test_the_peak_is_at_least_the_bound_and_at_most_one_buffer_each(steps):
    module = build(steps)
    separate = sum(op.bytes for op in module.body.block.ops if isinstance(op, buf.BufferOp))
    assert lower_bound(entry_of(module)) == least_bytes(steps)
    PlanBuffersPass().apply(make_context(), module)
    assert lower_bound(entry_of(module)) == least_bytes(steps)
    peak = sum(op.bytes for op in module.body.block.ops if isinstance(op, buf.BufferOp))
    [remark] = get_remarks(module)
    assert remark.metric == {"arena_peak": peak, "lower_bound": least_bytes(steps)}
    padding = 256 * (len(steps) + 1)
    assert least_bytes(steps) <= peak <= separate + padding


@settings(max_examples=60, deadline=None)
@given(steps=programs(), data=st.data())
def test_moving_one_tensor_onto_another_alive_is_caught(steps, data):
    module = build(steps)
    entry = entry_of(module)
    commands = entry.commands
    views = [op for op in entry.body.block.ops if isinstance(op, buf.ViewOp)]
    command = data.draw(st.sampled_from([op for op in commands if isinstance(op, buf.DispatchOp)]))
    used = list(dict.fromkeys(view for view, _ in command.touched))
    if len(used) < 2 or len(views) < 2:
        return
    victim, target = used[0].owner, used[1].owner
    assert isinstance(victim, buf.ViewOp)
    assert isinstance(target, buf.ViewOp)
    buffer = buf.buffers_of(entry)[target.buffer_name]
    buffer.properties["size"] = IntegerAttr(1 << 20, i64)
    victim.place(target.buffer_name, 0)
    with pytest.raises(VerifyException, match=r"share bytes|reads and writes|writes bytes"):
        module.verify()
