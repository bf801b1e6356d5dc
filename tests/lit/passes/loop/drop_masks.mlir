// RUN: tstorch-opt %s -p drop-masks | filecheck %s
// RUN: tstorch-opt %s -p drop-masks --remarks 2>&1 | filecheck %s --check-prefix=REMARK

// Tests that what the loops' ranges prove is dropped, also through quotients and remainders.
// CHECK-LABEL: loop.kernel @proven
// CHECK:       loop.load %x[%t floordiv 8, %t mod 8] : memref<8x8xf32> -> f32
// CHECK:       loop.load %x[0, %i + lane] : memref<8x8xf32> -> vector<4xf32>
loop.kernel @proven(%x: memref<8x8xf32>) grid [1, 1, 1] workgroup [64, 1, 1] {
  loop.parallel %t = lid.x {
    %a = loop.load %x[%t floordiv 8, %t mod 8] where (%t floordiv 8 < 8, %t mod 8 < 8) else 1.0 : f32 : memref<8x8xf32> -> f32
    loop.for unroll %i < 8 step 4 {
      %b = loop.load %x[0, %i + lane] where (%i + lane < 8) : memref<8x8xf32> -> vector<4xf32>
    }
  }
}

// REMARK: remark: missed TST-V020: a load keeps its bounds check: padding or a tail
// REMARK: remark: missed TST-V020: a store keeps its bounds check: padding or a tail
// Tests that padding and tails keep their constraints, and only those.
// CHECK-LABEL: loop.kernel @kept
// CHECK:       loop.load %x[%t - 1] where (%t - 1 < 64) else 1.000000e+00 : f32 : memref<64xf32> -> f32
// CHECK:       loop.store %{{.*}}, %x[%t] where (%t < 63) : f32, memref<64xf32>
loop.kernel @kept(%x: memref<64xf32>) grid [1, 1, 1] workgroup [64, 1, 1] {
  loop.parallel %t = lid.x {
    %a = loop.load %x[%t - 1] where (%t - 1 < 64) else 1.0 : f32 : memref<64xf32> -> f32
    loop.store %a, %x[%t] where (%t < 64, %t < 63) : f32, memref<64xf32>
  }
}
