// RUN: tstorch-opt %s --print-debuginfo | tstorch-opt --print-debuginfo | filecheck %s
// RUN: tstorch-opt %s --print-op-generic --print-debuginfo | tstorch-opt --print-debuginfo | filecheck %s

// Tests that structure round-trips: ids, serial and static loops, conditions, memory.
// CHECK-LABEL: loop.kernel @structure(%x: memref<64x4xf32>, %n: memref<1xi32>) grid [2, 1, 1] workgroup [32, 1, 1]
// CHECK-SAME:  attributes {kind = "map", ops = ["prim.exp"], iterations = 40 : i64, note = "kept"}
loop.kernel @structure(%x: memref<64x4xf32>, %n: memref<1xi32>) grid [2, 1, 1] workgroup [32, 1, 1] attributes {
    kind = "map", ops = ["prim.exp"], iterations = 40 : i64, note = "kept"} {
  // CHECK: loop.parallel %group = wg.x, %lane = lid.x {
  loop.parallel %group = wg.x, %lane = lid.x {
    // CHECK: %tile = loop.alloc private : memref<2x4xf32>
    %tile = loop.alloc private : memref<2x4xf32>
    // CHECK: %shared = loop.alloc workgroup zero : memref<32xf32>
    %shared = loop.alloc workgroup zero : memref<32xf32>
    // CHECK: loop.for %k < 40 step 4 {
    loop.for %k < 40 step 4 {
      // CHECK: loop.for unroll %i < 4 {
      loop.for unroll %i < 4 {
        %v = loop.load %x[%group * 32 + %lane, %i] : memref<64x4xf32> -> f32
        loop.store %v, %tile[0, %i] : f32, memref<2x4xf32>
      }
      // CHECK: loop.barrier
      loop.barrier
    }
    %count = loop.load %n[0] : memref<1xi32> -> i32
    // CHECK: %end = loop.to_index %count bound 100 : i32
    %end = loop.to_index %count bound 100 : i32
    // CHECK: loop.for %j < 100 until %end step 2 {
    loop.for %j < 100 until %end step 2 {
      // CHECK: %c = loop.within (%j - 4 < 8, %lane < 30) : i1
      %c = loop.within (%j - 4 < 8, %lane < 30) : i1
      // CHECK: loop.if %c {
      loop.if %c {
        %d = loop.load %shared[%lane] : memref<32xf32> -> f32
        loop.store %d, %x[%end, 0] : f32, memref<64x4xf32>
      }
    }
  }
}

// Tests that index expressions keep quotients, remainders, negative terms and the lane, and that masks keep `else`.
// CHECK-LABEL: loop.kernel @access
loop.kernel @access(%x: memref<8x8xf32>, %q: memref<64xui8>) grid [1, 1, 1] workgroup [64, 1, 1] {
  loop.parallel %t = lid.x {
    // CHECK: loop.load %x[%t floordiv 8, %t mod 8] : memref<8x8xf32> -> f32
    %a = loop.load %x[%t floordiv 8, %t mod 8] : memref<8x8xf32> -> f32
    // CHECK: loop.load %x[(%t * 2 + 1) floordiv 16, %t * -2 + 7]
    // CHECK-SAME: where (%t * -2 + 7 < 8) else 1.000000e+00 : f32 : memref<8x8xf32> -> f32
    %b = loop.load %x[(%t * 2 + 1) floordiv 16, %t * -2 + 7] where (%t * -2 + 7 < 8) else 1.0 : f32 : memref<8x8xf32> -> f32
    // CHECK: loop.load %x[0, %t * 4 + lane] where (%t * 4 + lane < 8) : memref<8x8xf32> -> vector<4xf32>
    %c = loop.load %x[0, %t * 4 + lane] where (%t * 4 + lane < 8) : memref<8x8xf32> -> vector<4xf32>
    // CHECK: loop.load %q[%t] : memref<64xui8> -> ui32
    %d = loop.load %q[%t] : memref<64xui8> -> ui32
    // CHECK: loop.store %c, %x[0, %t * 4 + lane] where (%t < 2) : vector<4xf32>, memref<8x8xf32> loc("0")
    loop.store %c, %x[0, %t * 4 + lane] where (%t < 2) : vector<4xf32>, memref<8x8xf32> loc("0")
    // CHECK: loop.index_value [%t * 3 + lane] : vector<4xi32>
    %e = loop.index_value [%t * 3 + lane] : vector<4xi32>
  }
}

// Tests that scalar ops and reductions round-trip.
// CHECK-LABEL: loop.kernel @scalar
loop.kernel @scalar(%x: memref<64xf32>) grid [1, 1, 1] workgroup [64, 1, 1] {
  loop.parallel %t = lid.x {
    %a = loop.load %x[%t] : memref<64xf32> -> f32
    // CHECK: loop.cast %a : f32 -> i32
    %b = loop.cast %a : f32 -> i32
    // CHECK: loop.bitcast %a : f32 -> ui32
    %c = loop.bitcast %a : f32 -> ui32
    // CHECK: loop.round_half %a : f32
    %rounded = loop.round_half %a : f32
    // CHECK: loop.is_nan %a : f32 -> i1
    %d = loop.is_nan %a : f32 -> i1
    // CHECK: loop.is_inf %a : f32 -> i1
    %e = loop.is_inf %a : f32 -> i1
    // CHECK: loop.select %d, %a, %a : i1, f32
    %f = loop.select %d, %a, %a : i1, f32
    // CHECK: loop.frem %a, %f : f32
    %g = loop.frem %a, %f : f32
    // CHECK: loop.splat %a : f32 -> vector<4xf32>
    %h = loop.splat %a : f32 -> vector<4xf32>
    // CHECK: loop.extract %h lane 3 : vector<4xf32> -> f32
    %i = loop.extract %h lane 3 : vector<4xf32> -> f32
    // CHECK: loop.unpack f16 %c, %c : ui32, ui32 -> vector<4xf32>
    %j = loop.unpack f16 %c, %c : ui32, ui32 -> vector<4xf32>
    // CHECK: loop.pack bf16 %j word 1 : vector<4xf32>
    %k = loop.pack bf16 %j word 1 : vector<4xf32>
    %acc = loop.alloc private : memref<2x4xf32>
    // CHECK: loop.reduce_tile max %acc[1] : memref<2x4xf32> -> f32
    %l = loop.reduce_tile max %acc[1] : memref<2x4xf32> -> f32
    // CHECK: loop.reduce_workgroup add %l over [lid.x] : f32
    %m = loop.reduce_workgroup add %l over [lid.x] : f32
    // CHECK: loop.reduce_workgroup min %m : f32
    %n = loop.reduce_workgroup min %m : f32
  }
}

// Tests that a merge of bits into a word round-trips.
// CHECK-LABEL: loop.kernel @merged
loop.kernel @merged(%x: memref<4xui32>) grid [1, 1, 1] workgroup [8, 1, 1] {
  loop.parallel %t = lid.x {
    %v = loop.index_value [%t] : ui32
    // CHECK: loop.merge %v keep %v, %x[%t floordiv 2] where (%t < 7) : memref<4xui32> loc("0")
    loop.merge %v keep %v, %x[%t floordiv 2] where (%t < 7) : memref<4xui32> loc("0")
  }
}
