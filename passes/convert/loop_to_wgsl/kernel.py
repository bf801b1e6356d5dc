"""One kernel from loop to wgsl: structure here, the rest by kind of op."""

from xdsl.dialects import arith
from xdsl.dialects.builtin import DictionaryAttr, FloatAttr, IntegerAttr, i32, i64
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects import loop, wgsl
from tstorch.dialects.indexing import Index
from tstorch.dialects.loop import LANES, scalar_of, ui32
from tstorch.dialects.loop.access import LANE_KEY, i64_array
from tstorch.dialects.loop.types import is_vector
from tstorch.dialects.wgsl import Access
from tstorch.passes.convert.loop_to_wgsl.emit import Emitter
from tstorch.passes.convert.loop_to_wgsl.memory import Accesses, AccessPlan, Memory
from tstorch.passes.convert.loop_to_wgsl.naming import name_values
from tstorch.passes.convert.loop_to_wgsl.reductions import WorkgroupReductions, reduce_tile
from tstorch.passes.convert.loop_to_wgsl.scalars import RULES, is_infinite_or_nan
from tstorch.passes.convert.loop_to_wgsl.scopes import Scopes


def convert_kernel(kernel: loop.KernelOp, limits: DictionaryAttr | None) -> wgsl.ModuleOp:
    """The kernel as a shader module. Raises VerifyException naming the kernel and the op without a WGSL form."""
    try:
        return _KernelConversion(kernel, limits).run()
    except (VerifyException, ValueError) as error:
        raise VerifyException(f"kernel @{kernel.sym_name.data}: {error}") from error


class _KernelConversion:
    def __init__(self, kernel: loop.KernelOp, limits: DictionaryAttr | None) -> None:
        self.kernel = kernel
        self.module = _module(kernel, limits)
        self.function = wgsl.FunctionOp("main", kernel.workgroup_size)
        self.module.body.block.add_op(self.function)
        self.scopes = Scopes(self.function.body.block)
        self.accesses = Accesses(AccessPlan(kernel), self.scopes, {})
        self.reductions = WorkgroupReductions(self.module, kernel, self.scopes)
        self.values: dict[SSAValue, SSAValue] = {}

    def run(self) -> wgsl.ModuleOp:
        for number, binding in enumerate(self.kernel.bindings):
            self._declare_binding(number, binding)
        self._define_ids()
        self._convert_block(self.kernel.parallel.body.block, self.function.body.block)
        name_values(self.function)
        return self.module

    def _declare_binding(self, number: int, binding: SSAValue) -> None:
        plan = self.accesses.plan
        layout = plan.layout(binding)
        access = Access.READ_WRITE if plan.is_written(binding) else Access.READ
        shared = plan.is_shared(binding)
        op = wgsl.BindingOp(f"b{number}", number, access, layout.array_type, shared=shared)
        self.module.body.block.insert_op_before(op, self.function)
        self.accesses.memories[binding] = Memory(layout.type, layout.lanes, value=op.memory)

    def _define_ids(self) -> None:
        parallel = self.kernel.parallel
        wg, lid = self.function.body.block.args
        emit = Emitter(self.function.body.block, parallel.location)
        for id, argument in zip(parallel.id_list, parallel.body.block.args, strict=True):
            value = emit.component(wg if id.is_workgroup else lid, id.axis)
            self.scopes.define(argument, value)

    def _convert_block(self, source: Block, target: Block) -> None:
        for op in source.ops:
            self._convert(op, Emitter(target, op.location))

    def _convert(self, op: Operation, emit: Emitter) -> None:
        match op:
            case loop.ForOp():
                self._convert_for(op, emit)
            case loop.IfOp():
                guard = wgsl.IfOp(self.values[op.condition])
                self._fill(op.body.block, guard.body.block, static=False)
                emit.add(guard)
            case loop.AllocOp():
                self._convert_alloc(op, emit)
            case loop.BarrierOp():
                emit.add(wgsl.BarrierOp())
            case loop.StoreOp():
                self.accesses.store(op, self.values[op.value], emit)
            case loop.MergeOp():
                self.accesses.merge(op, self.values[op.bits], self.values[op.keep], emit)
            case loop.ToIndexOp():
                self.scopes.define(op.result, emit.bits(self.values[op.value]))
            case _:
                self.values[op.results[0]] = self._value(op, emit)

    def _value(self, op: Operation, emit: Emitter) -> SSAValue:
        match op:
            case loop.LoadOp():
                return self.accesses.load(op, emit)
            case loop.IndexValueOp():
                return self._index_value(op, emit)
            case loop.WithinOp():
                vector = is_vector(op.result.type)
                test = self.accesses.vector_condition if vector else self.accesses.condition
                condition = test(op.constraints, emit)
                if condition is None:
                    return emit.number(1, op.result.type)
                whole = vector and not is_vector(condition.type)
                return emit.convert(op.result.type, condition) if whole else condition
            case loop.ReduceTileOp():
                return reduce_tile(op, self.accesses.memories[op.memory], self.scopes, emit)
            case loop.ReduceWorkgroupOp():
                return self.reductions.reduce(op, self.values[op.value], emit)
        if is_infinite_or_nan(op) and isinstance(op, arith.ConstantOp) and isinstance(op.value, FloatAttr):
            return self.accesses.nonfinite(op.value.value.data, emit)
        if (rule := RULES.get(type(op))) is None:
            raise VerifyException(f"'{op.name}' has no WGSL form; expand it before this pass")
        return rule(emit, op, [self.values[operand] for operand in op.operands])

    def _index_value(self, op: loop.IndexValueOp, emit: Emitter) -> SSAValue:
        (index,) = op.expressions_of(op.index)
        type = op.result.type
        if not is_vector(type):
            return _as(type, self.scopes.spell(index, emit), emit)
        lanes = [self.scopes.spell(index.substitute({LANE_KEY: lane}), emit) for lane in range(LANES)]
        return emit.convert(type, *(_as(scalar_of(type), lane, emit) for lane in lanes))

    def _convert_for(self, op: loop.ForOp, emit: Emitter) -> None:
        if op.is_static:
            new = wgsl.StaticForOp(op.size, op.stride)
        else:
            until = None if op.until is None else self.scopes.values[op.until]
            new = wgsl.ForOp(op.size, op.stride, until)
        self._fill(op.body.block, new.body.block, static=op.is_static, iv=(op.iv, new.iv))
        emit.add(new)

    def _fill(self, source: Block, target: Block, *, static: bool, iv: tuple[SSAValue, SSAValue] | None = None) -> None:
        def fill() -> None:
            if iv is not None:
                self.scopes.define(*iv)
            self._convert_block(source, target)

        self.scopes.build(target, static, fill)

    def _convert_alloc(self, op: loop.AllocOp, emit: Emitter) -> None:
        layout = self.accesses.plan.layout(op.memory)
        if op.is_private:
            # Static loops are expanded: their registers are declared once, before them.
            home = Emitter(self.scopes.run_time.block, op.location)
            value = home.value(wgsl.RegistersOp(layout.array_type))
        else:
            array = wgsl.WorkgroupOp(f"w{self._workgroup_arrays()}", layout.array_type)
            self.module.body.block.insert_op_before(array, self.function)
            value = array.memory
        memory = Memory(layout.type, layout.lanes, layout.registers, value)
        self.accesses.memories[op.memory] = memory
        if op.zero is not None:
            self._fill_with_zero(memory, value, emit)

    def _workgroup_arrays(self) -> int:
        return sum(isinstance(op, wgsl.WorkgroupOp) for op in self.module.body.block.ops)

    def _fill_with_zero(self, memory: Memory, array: SSAValue, emit: Emitter) -> None:
        (count,) = memory.array_type.get_shape()
        zero = emit.number(0, memory.array_type.element_type)
        if memory.registers:
            for number in range(count):
                emit.add(wgsl.WriteOp.at(zero, array, Index(number * memory.lanes), {}))
            return
        self.reductions.fill(array, zero, count, emit)


def _as(type: Attribute, index: SSAValue, emit: Emitter) -> SSAValue:
    return index if type == ui32 else emit.bitcast(i32, index)


def _module(kernel: loop.KernelOp, limits: DictionaryAttr | None) -> wgsl.ModuleOp:
    properties = {
        "sym_name": kernel.sym_name,
        "grid": i64_array(kernel.grid_size),
        "kind": kernel.kind,
        "ops": kernel.ops,
        "iterations": kernel.iterations or IntegerAttr(kernel.serial_iterations, i64),
        "limits": limits,
    }
    module = wgsl.ModuleOp.create(
        properties={key: value for key, value in properties.items() if value is not None},
        attributes=dict(kernel.attributes),
        regions=[Region(Block())],
    )
    module.location = kernel.location
    return module
