"""Buffers, and the ops that name bytes of them."""

from xdsl.dialects.builtin import (
    FlatSymbolRefAttrConstr,
    FloatAttr,
    IntegerAttr,
    StringAttr,
    SymbolNameConstraint,
    SymbolRefAttr,
    TensorType,
    i64,
)
from xdsl.ir import (
    Attribute,
    SSAValue,
)
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    lazy_traits_def,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import HasParent, Pure, SymbolOpInterface
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.buf.types import WORD, Category, ViewType, WeightRefAttr, integer, view_bytes


@irdl_op_definition
class BufferOp(IRDLOperation):
    """One GPU buffer. With `lifetime = "init"` it is destroyed when the init entry has run."""

    name = "buf.buffer"
    sym_name = prop_def(SymbolNameConstraint())
    size = prop_def(IntegerAttr.constr(i64))
    category = prop_def(StringAttr)
    lifetime = opt_prop_def(StringAttr)
    assembly_format = "$sym_name `:` $size $category (`lifetime` $lifetime^)? attr-dict"
    traits = traits_def(SymbolOpInterface())

    def __init__(self, name: str, size: int, category: Category, lifetime: str | None = None):
        properties: dict[str, Attribute | None] = {
            "sym_name": StringAttr(name),
            "size": integer(size),
            "category": StringAttr(str(category)),
            "lifetime": StringAttr(lifetime) if lifetime else None,
        }
        super().__init__(properties=properties)

    @property
    def bytes(self) -> int:
        return self.size.value.data

    def verify_(self) -> None:
        if self.bytes <= 0 or self.bytes % WORD:
            raise VerifyException(f"buffer @{self.sym_name.data} has {self.bytes} bytes; expected a multiple of {WORD}")
        if self.category.data not in set(Category):
            raise VerifyException(f"category {self.category.data!r}; expected one of {', '.join(Category)}")


class Placed(IRDLOperation):
    """Bytes of a buffer at an offset."""

    buffer = prop_def(FlatSymbolRefAttrConstr)
    offset = prop_def(IntegerAttr.constr(i64))
    result = result_def(ViewType)
    traits = lazy_traits_def(lambda: (Pure(), HasParent(_entry())))

    @property
    def buffer_name(self) -> str:
        return self.buffer.root_reference.data

    @property
    def byte_offset(self) -> int:
        return self.offset.value.data

    def place(self, buffer: str, offset: int) -> None:
        """Moves the bytes to another buffer or offset."""
        self.properties["buffer"] = SymbolRefAttr(buffer)
        self.properties["offset"] = integer(offset)


@irdl_op_definition
class ViewOp(Placed):
    """One allocation, under the name of the tensor that it holds."""

    name = "buf.view"
    label = prop_def(StringAttr)
    assembly_format = "$buffer `[` $offset `]` $label attr-dict `:` type($result)"

    def __init__(self, buffer: str, offset: int, label: str, type: TensorType):
        properties = {"buffer": SymbolRefAttr(buffer), "offset": integer(offset), "label": StringAttr(label)}
        super().__init__(properties=properties, result_types=[ViewType(type)])


@irdl_op_definition
class WeightOp(Placed):
    """Bytes of a weight, there before the program starts, from byte `source_offset` of the stored tensor `whole` on."""

    name = "buf.weight"
    source = prop_def(WeightRefAttr)
    source_offset = prop_def(IntegerAttr.constr(i64))
    whole = prop_def(TensorType)
    assembly_format = "$buffer `[` $offset `]` $source `from` $source_offset `of` $whole attr-dict `:` type($result)"

    def __init__(
        self, buffer: str, offset: int, source: WeightRefAttr, type: TensorType, whole: TensorType, source_offset: int
    ):
        properties = {
            "buffer": SymbolRefAttr(buffer),
            "offset": integer(offset),
            "source": source,
            "source_offset": integer(source_offset),
            "whole": whole,
        }
        super().__init__(properties=properties, result_types=[ViewType(type)])


@irdl_op_definition
class StateOp(Placed):
    """What survives from run to run: it starts as the weight of `start`, or filled with a number."""

    name = "buf.state"
    label = prop_def(StringAttr)
    start = prop_def(WeightRefAttr | FloatAttr)
    assembly_format = "$buffer `[` $offset `]` $label `start` $start attr-dict `:` type($result)"

    def __init__(self, buffer: str, offset: int, label: str, start: WeightRefAttr | FloatAttr, type: TensorType):
        properties: dict[str, Attribute | None] = {
            "buffer": SymbolRefAttr(buffer),
            "offset": integer(offset),
            "label": StringAttr(label),
            "start": start,
        }
        super().__init__(properties=properties, result_types=[ViewType(type)])


@irdl_op_definition
class DerivedOp(Placed):
    """What the init entry wrote: packed or folded weights."""

    name = "buf.derived"
    label = prop_def(StringAttr)
    assembly_format = "$buffer `[` $offset `]` $label attr-dict `:` type($result)"

    def __init__(self, buffer: str, offset: int, label: str, type: TensorType):
        properties = {"buffer": SymbolRefAttr(buffer), "offset": integer(offset), "label": StringAttr(label)}
        super().__init__(properties=properties, result_types=[ViewType(type)])


@irdl_op_definition
class SubviewOp(IRDLOperation):
    """Bytes of another view, `offset` bytes from its start, under another type."""

    name = "buf.subview"
    view = operand_def(ViewType)
    offset = prop_def(IntegerAttr.constr(i64))
    result = result_def(ViewType)
    assembly_format = "$view `[` $offset `]` attr-dict `:` type($view) `->` type($result)"
    traits = traits_def(Pure())

    def __init__(self, view: SSAValue, offset: int, type: TensorType):
        super().__init__(operands=[view], properties={"offset": integer(offset)}, result_types=[ViewType(type)])

    @property
    def byte_offset(self) -> int:
        return self.offset.value.data

    def verify_(self) -> None:
        inner, outer = view_bytes(self.result), view_bytes(self.view)
        if self.byte_offset < 0 or self.byte_offset + inner > outer:
            raise VerifyException(f"{inner} bytes from {self.byte_offset} on leave the {outer} bytes of the view")


def _entry() -> type[IRDLOperation]:
    """The entry, which knows the ops here and cannot be known to them at import."""
    from tstorch.dialects.buf.entry import EntryOp

    return EntryOp
