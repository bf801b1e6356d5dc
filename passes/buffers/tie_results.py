"""Lets kernels write over an operand that nothing needs any more."""

from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, DenseArrayBase, DictionaryAttr, ModuleOp, StringAttr, SymbolRefAttr, i64
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import BlockArgument, Operation, SSAValue

from tstorch.dialects.flow import NOT_TIED, DispatchOp, KernelOp, YieldOp
from tstorch.dialects.prim.base import ElementwiseOp
from tstorch.dialects.prim.shape import ConcatenateOp
from tstorch.levels import Level
from tstorch.locations import node_ids
from tstorch.passes.base import TSTorchPass


@dataclass(frozen=True)
class TieResultsPass(TSTorchPass):
    """Lets kernels write over an operand that nothing needs any more: a residual sum, an updated weight.

    The operand must be of the result's type, must have been made by a dispatch (or be a state), must not be used later,
    and must reach the result through elementwise ops alone: then each invocation reads just the elements that it
    writes. Declines silently: most kernels have no such operand. The tied kernel is a copy under a name of its own.

        // before
        flow.kernel @add_0(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> {
          %0 = prim.add %a, %b : tensor<4xf32> loc("0")
          flow.yield %0 : tensor<4xf32>
        }
        func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>) {
          %0 = flow.dispatch @add_0(%x, %x) {nodes = [loc("/a")], label = "add", flops = array<i64: 4>}
              : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("/a")
          %1 = flow.dispatch @add_0(%x, %0) {nodes = [loc("/b")], label = "add", flops = array<i64: 4>}
              : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("/b")
          func.return %1 : tensor<4xf32>
        }
        // after
        flow.kernel @add_0(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> {
          %0 = prim.add %a, %b : tensor<4xf32> loc("0")
          flow.yield %0 : tensor<4xf32>
        }
        flow.kernel @add_0_over_1(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> attributes {
            tied = array<i64: 1>} {
          %0 = prim.add %a, %b : tensor<4xf32> loc("0")
          flow.yield %0 : tensor<4xf32>
        }
        func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>) {
          %0 = flow.dispatch @add_0(%x, %x) {nodes = [loc("/a")], label = "add", flops = array<i64: 4>}
              : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("/a")
          %1 = flow.dispatch @add_0_over_1(%x, %0) {
              nodes = [loc("/b")], label = "add", flops = array<i64: 4>, tied = array<i64: 1>}
              : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("/b")
          func.return %1 : tensor<4xf32>
        }
    """

    name = "tie-results"
    requires = ensures = Level.FLOW

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        kernels = {op.sym_name.data: op for op in module.body.block.ops if isinstance(op, KernelOp)}
        with self.remarks(module) as remarks:
            for func in [op for op in module.body.block.ops if isinstance(op, FuncOp)]:
                uses = _Uses(func)
                for op in [op for op in func.body.block.ops if isinstance(op, DispatchOp)]:
                    tied = _tied(op, kernels[op.kernel_name], uses)
                    if any(operand != NOT_TIED for operand in tied):
                        _tie(op, kernels, tied)
                        remarks.passed(node_ids(op), "TST-B002", f"{op.label.data} is written over its operand")
        _drop_unused(module, kernels)


class _Uses:
    """Where each value of a function is used last, and which values decide where they lie themselves."""

    def __init__(self, func: FuncOp) -> None:
        self._position = {op: position for position, op in enumerate(func.body.block.ops)}
        self._states = _states(func)
        terminator = func.body.block.last_op
        self._returned = list(terminator.operands) if isinstance(terminator, ReturnOp) else []
        self._result_states = _state_names(func.res_attrs, len(self._returned))

    def may_go(self, value: SSAValue, op: DispatchOp, result: SSAValue) -> bool:
        """Whether `result` may take the place of `value` at `op`, which reads it once and not through a view, too."""
        if isinstance(value, BlockArgument):
            if value not in self._states or not self._updates(value, result):
                return False
        elif not isinstance(value.owner, DispatchOp):
            return False
        users = list(_readers(value))
        later = any(self._position[user] > self._position[op] for user in users)
        parts = any(isinstance(user, ConcatenateOp) for user in (*users, *_readers(result)))
        return not later and not parts and users.count(op) == 1

    def _updates(self, state: SSAValue, result: SSAValue) -> bool:
        """Whether the result is returned as that state."""
        places = [place for place, value in enumerate(self._returned) if value is result]
        return [self._result_states[place] for place in places] == [self._states[state]]


def _readers(value: SSAValue) -> Iterator[Operation]:
    """All ops that read a value, through views of it too."""
    for use in value.uses:
        yield use.operation
        if not isinstance(use.operation, DispatchOp | ReturnOp):
            for result in use.operation.results:
                yield from _readers(result)


def _states(func: FuncOp) -> dict[SSAValue, str]:
    names = _state_names(func.arg_attrs, len(func.body.block.args))
    return {arg: name for arg, name in zip(func.body.block.args, names, strict=True) if name}


def _state_names(attributes: ArrayAttr[DictionaryAttr] | None, count: int) -> list[str]:
    if attributes is None:
        return [""] * count
    notes = (entry.data.get("tst.state") for entry in attributes)
    return [note.data if isinstance(note, StringAttr) else "" for note in notes]


def _tied(op: DispatchOp, kernel: KernelOp, uses: _Uses) -> list[int]:
    """For each result, the operand that it may be written over, or -1; each operand once."""
    taken: set[int] = set()
    tied: list[int] = []
    for result, value in enumerate(op.outputs):
        fitting = (
            operand
            for operand, argument in enumerate(op.arguments)
            if operand not in taken
            and argument.type == value.type
            and uses.may_go(argument, op, value)
            and reaches_only(kernel.block.args[operand], kernel.yielded[result])
        )
        found = next(fitting, NOT_TIED)
        taken.add(found)
        tied.append(found)
    return tied


def reaches_only(arg: SSAValue, result: SSAValue) -> bool:
    """Whether a kernel's argument is used by elementwise ops alone, on the way to a result, index for index.

    Other results may use it too where they are computed at the same index, by elementwise ops behind `result`.
    """
    stack, seen = [arg], set[SSAValue]()
    while stack:
        value = stack.pop()
        seen.add(value)
        for use in value.uses:
            if isinstance(use.operation, YieldOp):
                continue
            if not isinstance(use.operation, ElementwiseOp):
                return False
            stack.extend(result for result in use.operation.results if result not in seen)
    return result in seen


def _tie(op: DispatchOp, kernels: dict[str, KernelOp], tied: list[int]) -> None:
    attribute = DenseArrayBase.from_list(i64, tied)
    original = kernels[op.kernel_name]
    suffix = "_".join(str(operand) for operand in tied if operand != NOT_TIED)
    name = f"{op.kernel_name}_over_{suffix}"
    if name not in kernels:
        copy = original.clone()
        for old, new in zip(original.block.ops, copy.block.ops, strict=True):
            new.location = old.location
        copy.properties["sym_name"] = StringAttr(name)
        copy.properties["tied"] = attribute
        block = original.parent
        assert block is not None
        block.insert_op_after(copy, original)
        kernels[name] = copy
    op.properties["kernel"] = SymbolRefAttr(name)
    op.properties["tied"] = attribute


def _drop_unused(module: ModuleOp, kernels: dict[str, KernelOp]) -> None:
    used = {op.kernel_name for op in module.walk() if isinstance(op, DispatchOp)}
    for name, kernel in kernels.items():
        if name not in used:
            kernel.detach()
            kernel.erase()
