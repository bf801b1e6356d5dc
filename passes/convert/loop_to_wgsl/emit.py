"""Building wgsl expressions in few words."""

from xdsl.dialects.builtin import FloatAttr, IntegerAttr, IntegerType, LocationAttr, VectorType, f32, i1, i32
from xdsl.ir import Attribute, Block, Operation, SSAValue

from tstorch.dialects import wgsl
from tstorch.dialects.loop import scalar_of, ui32
from tstorch.dialects.wgsl import Builtin, Operator, Prefix


class Emitter:
    """Appends ops to a block, with one location for all."""

    def __init__(self, block: Block, location: LocationAttr) -> None:
        self.block = block
        self.location = location

    def add(self, op: Operation) -> None:
        """Appends a statement."""
        op.location = self.location
        self.block.add_op(op)

    def value(self, op: Operation) -> SSAValue:
        """Appends an op and gives its result."""
        self.add(op)
        return op.results[0]

    def number(self, number: float, type: Attribute) -> SSAValue:
        """A finite constant; the same in all lanes for a vector type."""
        scalar = scalar_of(type)
        attribute = FloatAttr(number, f32)
        if isinstance(scalar, IntegerType):
            attribute = IntegerAttr(int(number), scalar)
        constant = self.value(wgsl.ConstantOp(attribute))
        return self.convert(type, constant) if isinstance(type, VectorType) else constant

    def binary(self, operator: Operator, lhs: SSAValue, rhs: SSAValue) -> SSAValue:
        """Operands of one type; comparisons give conditions."""
        type = lhs.type
        if operator.compares:
            type = VectorType(i1, type.get_shape()) if isinstance(type, VectorType) else i1
        return self.value(wgsl.BinaryOp.of(operator, lhs, rhs, type))

    def unary(self, prefix: Prefix, value: SSAValue) -> SSAValue:
        return self.value(wgsl.UnaryOp.of(prefix, value))

    def call(self, builtin: Builtin, *arguments: SSAValue, type: Attribute | None = None) -> SSAValue:
        """The result has the first argument's type unless told."""
        return self.value(wgsl.CallOp.of(builtin, arguments, type or arguments[0].type))

    def convert(self, type: Attribute, *arguments: SSAValue) -> SSAValue:
        return self.value(wgsl.ConvertOp.of(arguments, type))

    def bitcast(self, scalar: Attribute, value: SSAValue) -> SSAValue:
        """The bits as another scalar, or as a vector of it."""
        if scalar_of(value.type) == scalar:
            return value
        type = VectorType(scalar, value.type.get_shape()) if isinstance(value.type, VectorType) else scalar
        return self.value(wgsl.BitcastOp.of(value, type))

    def select(self, condition: SSAValue, then: SSAValue, otherwise: SSAValue) -> SSAValue:
        return self.call(Builtin.SELECT, otherwise, then, condition)

    def component(self, value: SSAValue, lane: int) -> SSAValue:
        return self.value(wgsl.ComponentOp.of(value, lane))

    def bits(self, value: SSAValue) -> SSAValue:
        """As ui32."""
        return self.bitcast(ui32, value)

    def signed(self, value: SSAValue) -> SSAValue:
        """As i32."""
        return self.bitcast(i32, value)
