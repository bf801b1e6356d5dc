"""Markers of what may be timed in a host program; how they are timed is the runner's choice."""

from enum import auto

from xdsl.dialects.builtin import IntegerAttr, StringAttr, i64
from xdsl.ir import Dialect
from xdsl.irdl import IRDLOperation, irdl_op_definition, prop_def
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum


class SpanKind(StrEnum):
    """What lies between two edges: one dispatch, or all GPU work of an entry."""

    DISPATCH = auto()
    GPU = auto()


class Edge(StrEnum):
    """Which end of a span a marker is."""

    BEGIN = auto()
    END = auto()


@irdl_op_definition
class SpanOp(IRDLOperation):
    """One end of a span. Spans of kind dispatch carry that dispatch's id."""

    name = "trace.span"
    kind = prop_def(StringAttr)
    edge = prop_def(StringAttr)
    id = prop_def(IntegerAttr.constr(i64))
    assembly_format = "$edge $kind $id attr-dict"

    def __init__(self, kind: SpanKind, edge: Edge, id: int):
        properties = {"kind": StringAttr(str(kind)), "edge": StringAttr(str(edge)), "id": IntegerAttr(id, i64)}
        super().__init__(properties=properties)

    def verify_(self) -> None:
        if self.kind.data not in set(SpanKind):
            raise VerifyException(f"span of kind {self.kind.data!r}; expected one of {', '.join(SpanKind)}")
        if self.edge.data not in set(Edge):
            raise VerifyException(f"edge {self.edge.data!r}; expected one of {', '.join(Edge)}")


Trace = Dialect("trace", [SpanOp])
