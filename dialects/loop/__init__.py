"""One kernel as a loop nest.

    loop.kernel @gemm(%a: memref<64x512xf32>, %b: memref<512x64xf32>, %out: memref<64x64xf32>)
        grid [2, 8, 1] workgroup [4, 4, 1] attributes {kind = "contraction", ops = ["prim.dot_general"]} {
      loop.parallel %gx = wg.x, %gy = wg.y, %x = lid.x, %y = lid.y {
        %acc = loop.alloc private : memref<2x8xf32>
        loop.for unroll %i < 2 { ... loop.store %zero, %acc[%i, %j] : f32, memref<2x8xf32> ... }
        loop.for %k < 512 {
          loop.for unroll %i < 2 {
            %l = loop.load %a[%gy * 8 + %y * 2 + %i, %k] : memref<64x512xf32> -> f32 loc("0")
            loop.for unroll %j < 8 {
              %r = loop.load %b[%k, %gx * 32 + %x * 8 + %j] : memref<512x64xf32> -> f32 loc("0")
              %c = loop.load %acc[%i, %j] : memref<2x8xf32> -> f32
              %d = math.fma %l, %r, %c : f32
              loop.store %d, %acc[%i, %j] : f32, memref<2x8xf32>
            }
          }
        }
        ...
      }
    }

Index expressions stand where they are used and are combined by `tstorch.dialects.indexing`, which knows the ranges of
all loops. `where (e < bound, ...)` masks an access: each constraint says 0 <= e < bound. Scalar code is xDSL's arith
and math on f32, i32, ui32, i1, and on vectors of 4 once `vectorize-loop` has widened it; what they lack is here.

| structure | kernel, parallel, for, if, alloc, barrier |
| memory    | load, store, merge, index_value, within, to_index |
| scalar    | cast, bitcast, round_half, is_nan, is_inf, select, compare, frem, splat, extract, unpack, pack |
| reduction | reduce_tile, reduce_workgroup |
"""

from xdsl.ir import Dialect

from tstorch.dialects.loop.access import LANE, LANES, index_type
from tstorch.dialects.loop.build import NestBuilder, kernel_builder
from tstorch.dialects.loop.memory import (
    AccessOp,
    Constraint,
    IndexedOp,
    IndexValueOp,
    LoadOp,
    MaskedOp,
    StoreOp,
    ToIndexOp,
    WithinOp,
    accesses,
    read_only_bindings,
    substitute_indices,
)
from tstorch.dialects.loop.reduction import ReduceKind, ReduceKindAttr, ReduceTileOp, ReduceWorkgroupOp
from tstorch.dialects.loop.scalar import (
    BitcastOp,
    CastOp,
    CompareOp,
    Comparison,
    ComparisonAttr,
    ExtractOp,
    FRemOp,
    IsInfOp,
    IsNanOp,
    Packing,
    PackingAttr,
    PackOp,
    RoundHalfOp,
    SelectOp,
    SplatOp,
    UnpackOp,
)
from tstorch.dialects.loop.shared_word import MergeOp
from tstorch.dialects.loop.structure import (
    AllocOp,
    BarrierOp,
    ForOp,
    Id,
    IfOp,
    KernelOp,
    MemorySpace,
    MemorySpaceAttr,
    ParallelOp,
    dim_of,
    is_static_index,
)
from tstorch.dialects.loop.types import element_count, packed_per_word, register_type, scalar_of, ui32, vector_of

__all__ = [
    "LANE",
    "LANES",
    "AccessOp",
    "AllocOp",
    "BarrierOp",
    "BitcastOp",
    "CastOp",
    "CompareOp",
    "Comparison",
    "Constraint",
    "ExtractOp",
    "FRemOp",
    "ForOp",
    "Id",
    "IfOp",
    "IndexValueOp",
    "IndexedOp",
    "IsInfOp",
    "IsNanOp",
    "KernelOp",
    "LoadOp",
    "Loop",
    "MaskedOp",
    "MemorySpace",
    "MergeOp",
    "NestBuilder",
    "PackOp",
    "Packing",
    "ParallelOp",
    "ReduceKind",
    "ReduceTileOp",
    "ReduceWorkgroupOp",
    "RoundHalfOp",
    "SelectOp",
    "SplatOp",
    "StoreOp",
    "ToIndexOp",
    "UnpackOp",
    "WithinOp",
    "accesses",
    "dim_of",
    "element_count",
    "index_type",
    "is_static_index",
    "kernel_builder",
    "packed_per_word",
    "read_only_bindings",
    "register_type",
    "scalar_of",
    "substitute_indices",
    "ui32",
    "vector_of",
]

Loop = Dialect(
    "loop",
    [
        KernelOp,
        ParallelOp,
        ForOp,
        IfOp,
        AllocOp,
        BarrierOp,
        LoadOp,
        StoreOp,
        MergeOp,
        IndexValueOp,
        WithinOp,
        ToIndexOp,
        CastOp,
        BitcastOp,
        RoundHalfOp,
        IsNanOp,
        IsInfOp,
        SelectOp,
        CompareOp,
        FRemOp,
        SplatOp,
        ExtractOp,
        UnpackOp,
        PackOp,
        ReduceTileOp,
        ReduceWorkgroupOp,
    ],
    [MemorySpaceAttr, ReduceKindAttr, PackingAttr, ComparisonAttr],
)
