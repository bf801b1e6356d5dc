"""Moves what depends on weights alone into @init."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, FunctionType, ModuleOp, StringAttr, TensorType, i1
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation, Region, SSAValue

from tstorch.dialects.buf import storage_bytes
from tstorch.dialects.prim.base import ContractionOp, ElementwiseOp, GeneratorOp, IndexMapOp, PrimOp
from tstorch.dialects.prim.elementwise import ConvertOp, DecodeOp
from tstorch.dialects.prim.scan import ScanOp
from tstorch.dialects.prim.shape import ConcatenateOp, ReshapeOp, TransposeOp
from tstorch.dialects.prim.types import tensor, ui32
from tstorch.dialects.prim.weight import DerivedOp, WeightOp
from tstorch.dialects.program import INIT, EntryOp, run_before
from tstorch.levels import Level
from tstorch.locations import node_ids
from tstorch.passes.base import TSTorchPass
from tstorch.target import get_target

CHEAP = 4096
"""Elements of what is computed again for each derived value that needs it."""
MOST_GROWTH = 4
"""Bytes become floats at load; what is packed more tightly is unpacked where it is read."""


@dataclass(frozen=True)
class OutlineInitPass(TSTorchPass):
    """Moves what depends on weights alone into @init, which entry "init" runs at load; @main reads the results.

    A batch norm that is folded into weights costs nothing per run then. Broadcasts, slices and reshapes of a weight and
    conversions to a wider type stay where they are: they cost nothing in the kernel that reads through them, and would
    only take memory; so would weights of four bits and less, once unpacked, and what no binding could hold. A transpose
    that feeds a contraction, be it through a reshape, is moved: in order, the weight is read faster. What two values
    need and is small, as a batch norm's scale, is computed for each, so that each is one kernel. Leaves trainable
    weights alone.

        // before
        func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>) {
          %w = prim.weight<"m.onnx", "w", "9f2c"> : tensor<4xf32>
          %e = prim.exp %w : tensor<4xf32> loc("/exp")
          %0 = prim.mul %x, %e : tensor<4xf32> loc("/mul")
          func.return %0 : tensor<4xf32>
        }
        // after
        program.entry "init" {
          program.run @init
        }
        func.func @init() -> (tensor<4xf32> {tst.name = "w.derived"}) {
          %w = prim.weight<"m.onnx", "w", "9f2c"> : tensor<4xf32>
          %e = prim.exp %w : tensor<4xf32> loc("/exp")
          func.return %e : tensor<4xf32>
        }
        func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>) {
          %e = prim.derived "w.derived" : tensor<4xf32>
          %0 = prim.mul %x, %e : tensor<4xf32> loc("/mul")
          func.return %0 : tensor<4xf32>
        }
    """

    name = "outline-init"
    requires = ensures = Level.PRIM

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        functions = [op for op in module.body.block.ops if isinstance(op, FuncOp)]
        init = next((func for func in functions if func.sym_name.data == INIT), None)
        limit = get_target(module).limits.max_storage_buffer_binding_size
        with self.remarks(module) as remarks:
            for func in functions:
                values = [] if func is init else list(_worth_deriving(func, limit))
                if values:
                    init = init or _empty_init(module)
                    names = _Init(init).add(values)
                    ids = [id for value in values for id in node_ids(_owner(value))]
                    remarks.passed(dict.fromkeys(ids), "TST-I001", f"{len(values)} tensors are computed once, at load")
                    _replace(func, values, names)


def _worth_deriving(func: FuncOp, limit: int) -> Iterator[SSAValue]:
    """The values that weights alone decide and something else uses, each once, in program order.

    None that takes more than `limit` bytes: no kernel could bind it.
    """
    fixed: dict[SSAValue, bool] = {}  # value -> whether a weight is in it
    found: dict[SSAValue, None] = {}
    for op in func.body.block.ops:
        if _is_fixed(op, fixed):
            weights = isinstance(op, WeightOp) or any(fixed[operand] for operand in op.operands)
            fixed.update(dict.fromkeys(op.results, weights))
        else:
            sources = [_behind_reads(value, op) for value in op.operands if fixed.get(value)]
            worth = [value for value in sources if not isinstance(value.owner, WeightOp | DerivedOp)]
            found.update((value, None) for value in worth if _bytes(value) <= limit and not _is_unpacked(value))
    order = {op: position for position, op in enumerate(func.body.block.ops)}
    yield from sorted(found, key=lambda value: order[_owner(value)])


def _is_fixed(op: Operation, fixed: dict[SSAValue, bool]) -> bool:
    if isinstance(op, WeightOp):
        return op.trainable is None
    if isinstance(op, DerivedOp) or not isinstance(op, PrimOp):
        return False
    return isinstance(op, GeneratorOp) or (bool(op.operands) and all(operand in fixed for operand in op.operands))


def _behind_reads(value: SSAValue, user: Operation, into_product: bool = False) -> SSAValue:
    """What an index map, or a conversion to a wider type, reads: both cost nothing where they are."""
    owner = value.owner
    into_product = isinstance(user, ContractionOp | ScanOp) or (into_product and isinstance(user, ReshapeOp))
    packs = isinstance(owner, TransposeOp) and into_product
    moves = isinstance(owner, IndexMapOp) and not isinstance(owner, ConcatenateOp) and not packs
    widens = isinstance(owner, ConvertOp | DecodeOp) and _bytes(owner.operand) < _bytes(owner.result)
    if isinstance(owner, Operation) and (moves or widens):
        return _behind_reads(owner.operands[0], owner, into_product)
    return value


def _is_unpacked(value: SSAValue) -> bool:
    """Whether a value takes far more memory than the weights of few bits that it is decoded from."""
    weights = [op.result for op in _needed([value]) if isinstance(op, WeightOp)]
    packed = any(_bytes(weight) <= _size(weight.owner) for weight in weights)
    return packed and _bytes(value) > MOST_GROWTH * sum(map(_bytes, weights))


def _empty_init(module: ModuleOp) -> FuncOp:
    func = FuncOp(INIT, ((), ()), Region(Block([ReturnOp()])), res_attrs=ArrayAttr(()))
    first = next(op for op in module.body.block.ops if isinstance(op, EntryOp | FuncOp))
    module.body.block.insert_op_before(func, first)
    run_before(func, INIT)
    return func


class _Init:
    """@init as it grows."""

    def __init__(self, func: FuncOp) -> None:
        self._func = func
        terminator = func.body.block.last_op
        assert isinstance(terminator, ReturnOp)
        self._return = terminator
        self._notes = list(func.res_attrs.data) if func.res_attrs is not None else []

    def add(self, values: Sequence[SSAValue]) -> list[str]:
        """Copies what computes the values; their names."""
        shared: dict[SSAValue, SSAValue] = {}
        results: list[SSAValue] = []
        names: list[str] = []
        for value in values:
            needed = _needed([value])
            results.append(self._stored(self._copy(needed, shared)[value]))
            shared.pop(value, None)  # another may lie in its buffer, which one kernel cannot read and write: made again
            names.append(self._name([op for op in needed if isinstance(op, WeightOp)]))
        self._return.operands = [*self._return.operands, *results]
        self._func.res_attrs = ArrayAttr(self._notes)
        self._func.function_type = FunctionType.from_lists((), [value.type for value in self._return.operands])
        return names

    def _stored(self, value: SSAValue) -> SSAValue:
        """Truth values are stored as words."""
        if value.type.element_type != i1:  # pyright: ignore[reportAttributeAccessIssue]
            return value
        words = ConvertOp(value, element_type=ui32)
        words.location = _owner(value).location
        self._func.body.block.insert_op_before(words, self._return)
        return words.result

    def _copy(self, ops: Sequence[Operation], shared: dict[SSAValue, SSAValue]) -> dict[SSAValue, SSAValue]:
        """Copies ops that are not there yet. What is small is there once for each value, and joins its kernel."""
        copies: dict[SSAValue, SSAValue] = {}
        for op in ops:
            if all(result in shared for result in op.results):
                continue
            copy = op.clone(shared | copies)
            copy.location = op.location
            self._func.body.block.insert_op_before(copy, self._return)
            (copies if _is_cheap(op) else shared).update(zip(op.results, copy.results, strict=True))
            for old, new in zip(op.results, copy.results, strict=True):
                new.name_hint = old.name_hint
        return shared | copies

    def _name(self, weights: Sequence[WeightOp]) -> str:
        """After the largest weight in it."""
        stem = max(weights, key=_size).key.data + ".derived"
        taken = {note.data["tst.name"] for note in self._notes}
        name, count = stem, 2
        while StringAttr(name) in taken:
            name, count = f"{stem}.{count}", count + 1
        self._notes.append(DictionaryAttr({"tst.name": StringAttr(name)}))
        return name


def _replace(func: FuncOp, values: Sequence[SSAValue], names: Sequence[str]) -> None:
    """Reads the derived values, and drops what nothing needs any more."""
    block = func.body.block
    candidates = _needed(values)
    for value, name in zip(values, names, strict=True):
        new = _derived(name, value)
        new[-1].results[0].name_hint = value.name_hint
        for op in new:
            block.insert_op_before(op, _owner(value))
        value.replace_all_uses_with(new[-1].results[0])
    for op in reversed(candidates):
        if not any(result.uses for result in op.results):
            op.detach()
            op.erase()


def _derived(name: str, value: SSAValue) -> list[Operation]:
    """What reads in @main what @init stored."""
    type = value.type
    assert isinstance(type, TensorType)
    if type.element_type != i1:
        return [DerivedOp(name, type=type)]
    words = DerivedOp(name, type=tensor(type.get_shape(), ui32))
    truth = ConvertOp(words.result, element_type=i1)
    truth.location = next((use.operation.location for use in value.uses), truth.location)
    return [words, truth]


def _needed(values: Sequence[SSAValue]) -> list[Operation]:
    """The ops that compute values, in program order."""
    found: dict[Operation, None] = {}
    stack = [_owner(value) for value in values if isinstance(value.owner, Operation)]
    while stack:
        op = stack.pop()
        if op not in found:
            found[op] = None
            stack.extend(operand.owner for operand in op.operands if isinstance(operand.owner, Operation))
    block = next(iter(found)).parent
    assert block is not None
    return [op for op in block.ops if op in found]


def _owner(value: SSAValue) -> Operation:
    assert isinstance(value.owner, Operation)
    return value.owner


def _is_cheap(op: Operation) -> bool:
    """Whether computing it twice costs less than a dispatch and a place of its own."""
    return isinstance(op, ElementwiseOp | IndexMapOp | GeneratorOp) and _size(op) <= CHEAP


def _bytes(value: SSAValue) -> int:
    return storage_bytes(value.type)  # pyright: ignore[reportArgumentType]


def _size(op: Operation) -> int:
    """Elements of its first result."""
    return prod(op.results[0].type.get_shape())  # pyright: ignore[reportAttributeAccessIssue]
