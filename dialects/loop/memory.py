"""Ops with index expressions: loads, stores, and the values of indices and masks."""

from collections.abc import Mapping, Sequence
from typing import Self

from xdsl.dialects.builtin import AffineMapAttr, DenseArrayBase, FloatAttr, IntegerAttr, MemRefType, i1, i32, i64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    base,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import MemoryReadEffect, MemoryWriteEffect, Pure
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.indexing import Index
from tstorch.dialects.loop.access import (
    AccessSyntax,
    IndexMaps,
    expressions,
    i64_array,
    index_type,
)
from tstorch.dialects.loop.structure import AllocOp, KernelOp, dim_of, is_static_index
from tstorch.dialects.loop.types import integer_word, is_vector, register_type, scalar_of, ui32, vector_of

# 0 <= expression < bound
Constraint = tuple[Index, int]


class IndexedOp(IRDLOperation):
    """An op with index expressions over its operands `used`."""

    used = var_operand_def(index_type)

    def expressions_of(self, affine: AffineMapAttr | None) -> list[Index]:
        """The results of one of the op's maps in normal form."""
        return [] if affine is None else expressions(affine.data, self.used, dim_of)


class MaskedOp(IndexedOp):
    """An op that happens only where its constraints hold."""

    mask = opt_prop_def(AffineMapAttr)
    bounds = opt_prop_def(DenseArrayBase.constr(i64))

    @property
    def constraints(self) -> list[Constraint]:
        """0 <= expression < bound, all of which must hold."""
        if self.mask is None or self.bounds is None:
            return []
        return list(zip(self.expressions_of(self.mask), map(int, self.bounds.get_values()), strict=True))

    def _verify_mask(self) -> None:
        if (self.mask is None) != (self.bounds is None):
            raise VerifyException("a mask has an expression and a bound for each constraint")
        if self.mask is not None and self.bounds is not None:
            if len(self.mask.data.results) != len(self.bounds) or not len(self.bounds):
                raise VerifyException(f"{len(self.mask.data.results)} mask expressions, {len(self.bounds)} bounds")
            if min(self.bounds.get_values()) < 1:
                raise VerifyException(f"mask bounds {list(self.bounds.get_values())}; expected all from 1")


class AccessOp(MaskedOp):
    """A load or store of one element, or of a vector of 4 whose lanes evaluate the indices at lane 0..3."""

    memory = operand_def(base(MemRefType))
    indices = prop_def(AffineMapAttr)

    @property
    def value_type(self) -> Attribute:
        raise VerifyException(f"'{self.name}' has no value")

    @property
    def memory_type(self) -> MemRefType:
        type = self.memory.type
        if not isinstance(type, MemRefType):
            raise VerifyException(f"'{self.name}' accesses {type}; expected a memref")
        return type

    @property
    def is_vector(self) -> bool:
        return is_vector(self.value_type)

    @property
    def index_list(self) -> list[Index]:
        """The index along each dimension of the memory."""
        return self.expressions_of(self.indices)

    @property
    def private(self) -> bool:
        owner = self.memory.owner
        return isinstance(owner, AllocOp) and owner.is_private

    def set_access(
        self,
        indices: Sequence[Index | int],
        constraints: Sequence[Constraint] = (),
    ) -> None:
        """Replaces the index expressions and the mask."""
        where = [expr for expr, _ in constraints]
        found = IndexMaps.of(indices, where)
        self.properties["indices"] = found.maps[0]
        self.properties.pop("mask", None)
        self.properties.pop("bounds", None)
        if constraints:
            self.properties["mask"] = found.maps[1]
            self.properties["bounds"] = i64_array([bound for _, bound in constraints])
        fixed = self.operands[: len(self.operands) - len(self.used)]
        self.operands = [*fixed, *found.operands]

    def verify_(self) -> None:
        self._verify_mask()
        shape = self.memory_type.get_shape()
        if len(self.indices.data.results) != len(shape):
            raise VerifyException(f"{len(self.indices.data.results)} indices into {self.memory_type}")
        for affine in (self.indices, self.mask):
            if affine is not None and affine.data.num_dims != len(self.used) + 1:
                raise VerifyException(
                    f"a map over {affine.data.num_dims} dimensions; expected the lane and each operand"
                )
        scalar = register_type(self.memory_type.element_type)
        if scalar is None or self.value_type not in (scalar, vector_of(scalar)):
            raise VerifyException(f"a value of type {self.value_type} from {self.memory_type}; expected {scalar}")
        uses_lane = 0 in self.indices.data.used_dims()
        if uses_lane != self.is_vector:
            told = "uses the lane" if uses_lane else "does not use the lane"
            raise VerifyException(f"an access of type {self.value_type} {told}: vectors run along it, scalars do not")
        if self.private:
            self._verify_private()

    def _verify_private(self) -> None:
        for position, value in enumerate(self.used):
            if position + 1 in self.indices.data.used_dims() and not is_static_index(value):
                raise VerifyException(
                    "private memory is indexed by a value that is known only at run time; "
                    "expected indices of unrolled loops and constants"
                )


@irdl_op_definition
class LoadOp(AccessOp):
    """Reads an element, or 4 of them as a vector.

        %v = loop.load %x[%y * 8 + %i, %c] : memref<64x32xf32> -> f32
        %v = loop.load %x[%r, %c + lane] where (%r - 1 < 62) else 0.0 : memref<64x32xf32> -> vector<4xf32>

    Where a constraint fails (0 <= %r - 1 < 62) nothing is read and the value is `else`, by default 0.
    """

    name = "loop.load"

    other = opt_prop_def(FloatAttr | IntegerAttr)
    result = result_def()

    traits = traits_def(MemoryReadEffect())

    def __init__(
        self,
        memory: SSAValue,
        indices: Sequence[Index | int],
        constraints: Sequence[Constraint] = (),
        other: FloatAttr | IntegerAttr | None = None,
        *,
        type: Attribute | None = None,
    ) -> None:
        """`type` is the vector type of a vector load; by default one element is loaded.

        Raises VerifyException where `memory` is no memref.
        """
        if not isinstance(memory.type, MemRefType):
            raise VerifyException(f"loop.load of {memory.type}; expected a memref")
        found = IndexMaps.of(indices, [expr for expr, _ in constraints])
        super().__init__(
            operands=[memory, found.operands],
            properties=access_properties(found, constraints) | {"other": other},
            result_types=[type or register_type(memory.type.element_type)],
        )

    @property
    def value_type(self) -> Attribute:
        return self.result.type

    def verify_(self) -> None:
        super().verify_()
        if self.other is not None and self.mask is None:
            raise VerifyException("`else` without a mask")
        if self.other is not None and self.other.type != scalar_of(self.value_type):
            raise VerifyException(f"`else` has type {self.other.type}; expected {scalar_of(self.value_type)}")

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        print_access(printer, self)
        if self.other is not None:
            printer.print_string(" else ")
            printer.print_attribute(self.other)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.memory_type)
        printer.print_string(" -> ")
        printer.print_attribute(self.value_type)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        memory = parser.parse_unresolved_operand()
        used, properties = parse_access(parser)
        if parser.parse_optional_keyword("else"):
            properties["other"] = parser.parse_attribute()
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        memory_type = parser.parse_type()
        parser.parse_punctuation("->")
        return cls.create(
            operands=[parser.resolve_operand(memory, memory_type), *used],
            properties=properties,
            attributes=attributes,
            result_types=[parser.parse_type()],
        )


@irdl_op_definition
class StoreOp(AccessOp):
    """Writes an element, or 4 of them.

        loop.store %v, %out[%y * 8 + %i, %c + lane] where (%y < 7) : vector<4xf32>, memref<64x32xf32>

    Where a constraint fails nothing is written. Storing to a packed type truncates integers and rounds floats.
    """

    name = "loop.store"

    value = operand_def()

    traits = traits_def(MemoryWriteEffect())

    def __init__(
        self, value: SSAValue, memory: SSAValue, indices: Sequence[Index | int], constraints: Sequence[Constraint] = ()
    ) -> None:
        found = IndexMaps.of(indices, [expr for expr, _ in constraints])
        super().__init__(
            operands=[value, memory, found.operands],
            properties=access_properties(found, constraints),
        )

    @property
    def value_type(self) -> Attribute:
        return self.value.type

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.value)
        printer.print_string(", ")
        print_access(printer, self)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_list([self.value_type, self.memory_type], printer.print_attribute)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        value = parser.parse_unresolved_operand()
        parser.parse_punctuation(",")
        memory = parser.parse_unresolved_operand()
        used, properties = parse_access(parser)
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        value_type = parser.parse_type()
        parser.parse_punctuation(",")
        resolved = [parser.resolve_operand(value, value_type), parser.resolve_operand(memory, parser.parse_type())]
        return cls.create(operands=[*resolved, *used], properties=properties, attributes=attributes)


@irdl_op_definition
class IndexValueOp(IndexedOp):
    """An index expression as a number.

    %n = loop.index_value [%y * 8 + %i] : i32
    %n = loop.index_value [%c + lane] : vector<4xi32>
    """

    name = "loop.index_value"

    index = prop_def(AffineMapAttr)
    result = result_def()

    traits = traits_def(Pure())

    def __init__(self, index: Index, type: Attribute = i32) -> None:
        found = IndexMaps.of([index])
        super().__init__(operands=[found.operands], properties={"index": found.maps[0]}, result_types=[type])

    def set_index(self, index: Index) -> None:
        """Replaces the expression."""
        found = IndexMaps.of([index])
        self.operands = found.operands
        self.properties["index"] = found.maps[0]

    def verify_(self) -> None:
        type = self.result.type
        if scalar_of(type) not in (i32, ui32) or (is_vector(type) and type != vector_of(scalar_of(type))):
            raise VerifyException(f"an index as {type}; expected i32, ui32 or a vector of 4 of them")
        if len(self.index.data.results) != 1:
            raise VerifyException("expected one index expression")

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        AccessSyntax.print_indices(printer, self.index, self.used)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.result.type)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        indices = AccessSyntax(parser)
        exprs = indices.indices()
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        return cls.create(
            operands=indices.operands(),
            properties={"index": indices.map_attr(exprs)},
            attributes=attributes,
            result_types=[parser.parse_type()],
        )


@irdl_op_definition
class WithinOp(MaskedOp):
    """Whether all constraints hold: a mask as a condition, for `loop.select` and `loop.if`.

    %inside = loop.within (%i - %j < 64) : i1
    %inside = loop.within (%c + lane < 30, %r < 7) : vector<4xi1>
    """

    name = "loop.within"

    result = result_def()

    traits = traits_def(Pure())

    def __init__(self, constraints: Sequence[Constraint], type: Attribute = i1) -> None:
        found = IndexMaps.of([expr for expr, _ in constraints])
        bounds = i64_array([bound for _, bound in constraints])
        super().__init__(
            operands=[found.operands], properties={"mask": found.maps[0], "bounds": bounds}, result_types=[type]
        )

    def set_constraints(self, constraints: Sequence[Constraint]) -> None:
        """Replaces the constraints."""
        found = IndexMaps.of([expr for expr, _ in constraints])
        self.operands = found.operands
        self.properties["mask"] = found.maps[0]
        self.properties["bounds"] = i64_array([bound for _, bound in constraints])

    def verify_(self) -> None:
        self._verify_mask()
        if self.mask is None:
            raise VerifyException("expected at least one constraint")
        if self.result.type not in (i1, vector_of(i1)):
            raise VerifyException(f"a condition of type {self.result.type}; expected i1 or vector<4xi1>")

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        if self.mask is not None and self.bounds is not None:
            AccessSyntax.print_constraints(printer, self.mask, list(self.bounds.get_values()), self.used)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.result.type)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        indices = AccessSyntax(parser)
        exprs, bounds = indices.constraints()
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        return cls.create(
            operands=indices.operands(),
            properties={"mask": indices.map_attr(exprs), "bounds": i64_array(bounds)},
            attributes=attributes,
            result_types=[parser.parse_type()],
        )


@irdl_op_definition
class ToIndexOp(IRDLOperation):
    """A number as an index, for gathers: 0 <= value < bound is the promise of whoever wrote the kernel.

    %row = loop.to_index %id bound 50257 : i32
    """

    name = "loop.to_index"

    value = operand_def(integer_word)
    bound = prop_def(IntegerAttr)
    result = result_def(index_type)

    traits = traits_def(Pure())

    def __init__(self, value: SSAValue, bound: int) -> None:
        super().__init__(operands=[value], properties={"bound": IntegerAttr(bound, i64)}, result_types=[index_type])

    @property
    def index(self) -> Index:
        """The result as an index expression."""
        return dim_of(self.result)

    def verify_(self) -> None:
        if self.bound.value.data < 1:
            raise VerifyException(f"bound {self.bound.value.data}; expected at least 1")

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.value)
        printer.print_string(f" bound {self.bound.value.data}")
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.value.type)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        value = parser.parse_unresolved_operand()
        parser.parse_keyword("bound")
        bound = IntegerAttr(parser.parse_integer(allow_boolean=False), i64)
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        return cls.create(
            operands=[parser.resolve_operand(value, parser.parse_type())],
            properties={"bound": bound},
            attributes=attributes,
            result_types=[index_type],
        )


def accesses(op: Operation, memory: SSAValue) -> list[AccessOp]:
    """All loads and stores of the memory inside `op`, in order."""
    return [inner for inner in op.walk() if isinstance(inner, AccessOp) and inner.memory is memory]


def read_only_bindings(kernel: KernelOp) -> set[SSAValue]:
    """The bindings that the kernel never writes: a load of them may be moved over anything."""
    written = {op.memory for op in kernel.walk() if isinstance(op, AccessOp) and not isinstance(op, LoadOp)}
    return set(kernel.bindings) - written


def substitute_indices(op: Operation, by_value: Mapping[SSAValue, Index]) -> None:
    """Replaces index values in the expressions of an op by other expressions."""
    if not isinstance(op, IndexedOp) or not any(value in by_value for value in op.used):
        return
    if isinstance(op, AccessOp):
        constraints = [(expr.substitute(by_value), bound) for expr, bound in op.constraints]
        op.set_access([index.substitute(by_value) for index in op.index_list], constraints)
    elif isinstance(op, IndexValueOp):
        op.set_index(op.expressions_of(op.index)[0].substitute(by_value))
    elif isinstance(op, WithinOp):
        op.set_constraints([(expr.substitute(by_value), bound) for expr, bound in op.constraints])
    else:
        raise TypeError(f"'{op.name}' has index expressions that nothing may replace")


def access_properties(found: IndexMaps, constraints: Sequence[Constraint]) -> dict[str, Attribute | None]:
    """The maps of an access and its mask."""
    properties: dict[str, Attribute | None] = {"indices": found.maps[0]}
    if constraints:
        properties |= {"mask": found.maps[1], "bounds": i64_array([bound for _, bound in constraints])}
    return properties


def print_access(printer: Printer, op: AccessOp) -> None:
    """The memory, its indices and the mask."""
    printer.print_ssa_value(op.memory)
    AccessSyntax.print_indices(printer, op.indices, op.used)
    if op.mask is not None and op.bounds is not None:
        printer.print_string(" where ")
        AccessSyntax.print_constraints(printer, op.mask, list(op.bounds.get_values()), op.used)


def parse_access(parser: Parser) -> tuple[list[SSAValue], dict[str, Attribute]]:
    """What stands behind the memory: the values used, and the maps."""
    indices = AccessSyntax(parser)
    exprs = indices.indices()
    if parser.parse_optional_keyword("where") is None:
        return indices.operands(), {"indices": indices.map_attr(exprs)}
    where, bounds = indices.constraints()
    properties = {
        "indices": indices.map_attr(exprs),
        "mask": indices.map_attr(where),
        "bounds": i64_array(bounds),
    }
    return indices.operands(), properties
