"""One shader module as structured ops; WGSL text is how they are spelled (`tstorch.artifact.wgsl_text`).

    wgsl.module @scale grid [1, 1, 1] attributes {kind = "map", ops = ["prim.mul"]} {
      %b0 = wgsl.binding @b0 at 0 read : memref<64xvector<4xf32>>
      %b1 = wgsl.binding @b1 at 1 read_write : memref<64xvector<4xf32>>
      wgsl.function @main workgroup [64, 1, 1] (%wg, %lid) {
        %0 = wgsl.component %lid at 0 : vector<3xui32> -> ui32
        %1 = wgsl.load %b0[%0] : memref<64xvector<4xf32>> loc("0")
        %2 = wgsl.binary mul %1, %1 : vector<4xf32>, vector<4xf32> -> vector<4xf32> loc("0")
        wgsl.store %2, %b1[%0] : vector<4xf32>, memref<64xvector<4xf32>> loc("0")
      }
    }

An expression is spelled where its result is used; `wgsl.let` gives it a name instead. `wgsl.static_for` is expanded by
the printer, and `wgsl.registers` are variables whose number is then known. No op or attribute holds WGSL text.
"""

from xdsl.ir import Dialect

from tstorch.dialects.wgsl.base import BodyOp, ExpressionOp, StatementOp
from tstorch.dialects.wgsl.expression import (
    BinaryOp,
    BitcastOp,
    Builtin,
    BuiltinAttr,
    CallOp,
    ComponentOp,
    ConstantOp,
    ConvertOp,
    IndexOp,
    Operator,
    OperatorAttr,
    Prefix,
    PrefixAttr,
    UnaryOp,
)
from tstorch.dialects.wgsl.memory import LetOp, LoadOp, MergeOp, ReadOp, RegistersOp, StoreOp, WriteOp
from tstorch.dialects.wgsl.structure import (
    Access,
    AccessAttr,
    BarrierOp,
    BindingOp,
    ForOp,
    FunctionOp,
    IfOp,
    ModuleOp,
    StaticForOp,
    WorkgroupOp,
    is_static,
)

__all__ = [
    "Access",
    "BarrierOp",
    "BinaryOp",
    "BindingOp",
    "BitcastOp",
    "BodyOp",
    "Builtin",
    "CallOp",
    "ComponentOp",
    "ConstantOp",
    "ConvertOp",
    "ExpressionOp",
    "ForOp",
    "FunctionOp",
    "IfOp",
    "IndexOp",
    "LetOp",
    "LoadOp",
    "MergeOp",
    "ModuleOp",
    "Operator",
    "Prefix",
    "ReadOp",
    "RegistersOp",
    "StatementOp",
    "StaticForOp",
    "StoreOp",
    "UnaryOp",
    "Wgsl",
    "WorkgroupOp",
    "WriteOp",
    "is_static",
]

Wgsl = Dialect(
    "wgsl",
    [
        ModuleOp,
        BindingOp,
        WorkgroupOp,
        FunctionOp,
        ForOp,
        StaticForOp,
        IfOp,
        BarrierOp,
        LetOp,
        LoadOp,
        StoreOp,
        MergeOp,
        RegistersOp,
        ReadOp,
        WriteOp,
        ConstantOp,
        BinaryOp,
        UnaryOp,
        CallOp,
        ConvertOp,
        BitcastOp,
        ComponentOp,
        IndexOp,
    ],
    [AccessAttr, OperatorAttr, PrefixAttr, BuiltinAttr],
)
