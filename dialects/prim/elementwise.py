"""All elementwise primitives, gathered from the files that hold them."""

from tstorch.dialects.prim.base import ElementwiseOp
from tstorch.dialects.prim.binary import (
    AddOp,
    AndOp,
    Atan2Op,
    BinaryOp,
    DivOp,
    ExactDivOp,
    MaximumOp,
    MinimumOp,
    MulOp,
    OrOp,
    PowOp,
    RemOp,
    ShiftLeftOp,
    ShiftRightOp,
    SubOp,
    XorOp,
)
from tstorch.dialects.prim.selection import BitcastOp, CompareOp, ConvertOp, Direction, DirectionAttr, SelectOp
from tstorch.dialects.prim.stored_ops import DecodeOp, EncodeOp, Rounding, RoundingAttr
from tstorch.dialects.prim.transcendental import (
    AcoshOp,
    AcosOp,
    AsinhOp,
    AsinOp,
    AtanhOp,
    AtanOp,
    CoshOp,
    CosOp,
    ErfOp,
    Expm1Op,
    ExpOp,
    Log1pOp,
    LogisticOp,
    LogOp,
    SinhOp,
    SinOp,
    TanhOp,
    TanOp,
)
from tstorch.dialects.prim.unary import (
    AbsOp,
    CeilOp,
    FloorOp,
    IsInfOp,
    IsNanOp,
    NegOp,
    NotOp,
    RoundOp,
    RsqrtOp,
    SignOp,
    SqrtOp,
    TruncOp,
    UnaryOp,
)

UNARY_OPS = (
    NegOp, AbsOp, SignOp, ExpOp, LogOp, Log1pOp, Expm1Op, SqrtOp, RsqrtOp, TanhOp, LogisticOp, SinOp, CosOp, TanOp,
    AsinOp, AcosOp, AtanOp, SinhOp, CoshOp, AsinhOp, AcoshOp, AtanhOp, ErfOp, FloorOp, CeilOp, RoundOp, TruncOp,
    NotOp, IsNanOp, IsInfOp,
)  # fmt: skip
BINARY_OPS = (
    AddOp, SubOp, MulOp, DivOp, ExactDivOp, RemOp, PowOp, MaximumOp, MinimumOp, AndOp, OrOp, XorOp, ShiftLeftOp,
    ShiftRightOp, Atan2Op,
)  # fmt: skip
ELEMENTWISE_OPS = (*UNARY_OPS, *BINARY_OPS, CompareOp, SelectOp, ConvertOp, BitcastOp, DecodeOp, EncodeOp)

__all__ = [
    "BINARY_OPS", "ELEMENTWISE_OPS", "UNARY_OPS",
    "AbsOp", "AcosOp", "AcoshOp", "AddOp", "AndOp", "AsinOp", "AsinhOp", "Atan2Op", "AtanOp", "AtanhOp", "BinaryOp",
    "BitcastOp", "CeilOp", "CompareOp", "ConvertOp", "CosOp", "CoshOp", "DecodeOp", "Direction", "DirectionAttr",
    "DivOp", "ElementwiseOp", "EncodeOp", "ErfOp", "ExactDivOp", "ExpOp", "Expm1Op", "FloorOp", "IsInfOp", "IsNanOp",
    "Log1pOp", "LogOp", "LogisticOp", "MaximumOp", "MinimumOp", "MulOp", "NegOp", "NotOp", "OrOp", "PowOp", "RemOp",
    "RoundOp", "Rounding", "RoundingAttr", "RsqrtOp", "SelectOp", "ShiftLeftOp", "ShiftRightOp", "SignOp", "SinOp",
    "SinhOp", "SqrtOp", "SubOp", "TanOp", "TanhOp", "TruncOp", "UnaryOp", "XorOp",
]  # fmt: skip
