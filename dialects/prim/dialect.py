"""The prim dialect: a closed set of pure tensor primitives with static shapes."""

from __future__ import annotations

from xdsl.dialect_interfaces.constant_materialization import ConstantMaterializationInterface
from xdsl.ir import Attribute, Dialect, Operation

from tstorch.dialects.prim.contraction import ConvOp, DotGeneralOp
from tstorch.dialects.prim.control import CompositeOp, YieldOp
from tstorch.dialects.prim.cumulative import CumulativeOp
from tstorch.dialects.prim.elementwise import ELEMENTWISE_OPS, DirectionAttr, RoundingAttr
from tstorch.dialects.prim.generator import ConstantOp, IotaOp
from tstorch.dialects.prim.indexing import GatherOp, ScatterKindAttr, ScatterOp
from tstorch.dialects.prim.kinds import ReduceKindAttr
from tstorch.dialects.prim.reduction import ArgReduceOp, ReduceOp, ReduceWindowOp
from tstorch.dialects.prim.scan import ScanOp
from tstorch.dialects.prim.search import SearchSortedOp
from tstorch.dialects.prim.shape import (
    BroadcastInDimOp,
    ConcatenateOp,
    PadOp,
    ReshapeOp,
    ReverseOp,
    SliceOp,
    TransposeOp,
)
from tstorch.dialects.prim.sort import SortOp
from tstorch.dialects.prim.suppression import NonMaxSuppressionOp
from tstorch.dialects.prim.values import ValuesAttr
from tstorch.dialects.prim.weight import DerivedOp, WeightOp
from tstorch.dialects.prim.words import DivideWordsOp


class MaterializeConstant(ConstantMaterializationInterface):
    """Makes the prim.constant of numbers that a fold gave."""

    def materialize_constant(self, value: Attribute, type: Attribute) -> Operation | None:
        return ConstantOp(value) if isinstance(value, ValuesAttr) and value.type == type else None


Prim = Dialect(
    "prim",
    [
        *(*ELEMENTWISE_OPS, DivideWordsOp),
        *(ReshapeOp, TransposeOp, BroadcastInDimOp, SliceOp, ReverseOp, PadOp, ConcatenateOp),
        *(ReduceOp, ReduceWindowOp, ArgReduceOp),
        *(DotGeneralOp, ConvOp),
        *(GatherOp, ScatterOp),
        *(SortOp, SearchSortedOp, NonMaxSuppressionOp, CumulativeOp),
        *(ConstantOp, IotaOp),
        *(WeightOp, DerivedOp),
        *(CompositeOp, ScanOp, YieldOp),
    ],
    [DirectionAttr, ReduceKindAttr, RoundingAttr, ScatterKindAttr, ValuesAttr],
    [MaterializeConstant()],
)
