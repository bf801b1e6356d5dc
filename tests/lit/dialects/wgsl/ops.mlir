// RUN: tstorch-opt %s --print-debuginfo | tstorch-opt --print-debuginfo | filecheck %s
// RUN: tstorch-opt %s --print-op-generic --print-debuginfo | tstorch-opt --print-debuginfo | filecheck %s

// Tests that a module, its arrays, loops, registers and expressions round-trip.
// CHECK-LABEL: wgsl.module @k grid [2, 1, 1] attributes {kind = "map", ops = ["prim.exp"], iterations = 8 : i64,
// CHECK-SAME:  limits = {max_compute_invocations_per_workgroup = 512 : i64}, note = "kept"} {
wgsl.module @k grid [2, 1, 1] attributes {kind = "map", ops = ["prim.exp"], iterations = 8 : i64,
    limits = {max_compute_invocations_per_workgroup = 512 : i64}, note = "kept"} {
  // CHECK: %x = wgsl.binding @b0 at 0 read : memref<64xf32>
  %x = wgsl.binding @b0 at 0 read : memref<64xf32>
  // CHECK: %out = wgsl.binding @b1 at 1 read_write : memref<16xvector<4xf32>>
  %out = wgsl.binding @b1 at 1 read_write : memref<16xvector<4xf32>>
  // CHECK: %shared = wgsl.workgroup @w0 : memref<64xf32>
  %shared = wgsl.workgroup @w0 : memref<64xf32>
  // CHECK: wgsl.function @main workgroup [64, 1, 1] (%wg, %lid) {
  wgsl.function @main workgroup [64, 1, 1] (%wg, %lid) {
    // CHECK: %t = wgsl.component %lid at 0 : vector<3xui32> -> ui32
    %t = wgsl.component %lid at 0 : vector<3xui32> -> ui32
    // CHECK: %r = wgsl.registers : memref<2xvector<4xf32>>
    %r = wgsl.registers : memref<2xvector<4xf32>>
    // CHECK: wgsl.for %k < 8 step 2 {
    wgsl.for %k < 8 step 2 {
      // CHECK: wgsl.static_for %i < 8 step 4 {
      wgsl.static_for %i < 8 step 4 {
        // CHECK: %a = wgsl.index [%t * 2 + %k + %i floordiv 4]
        %a = wgsl.index [%t * 2 + %k + %i floordiv 4]
        // CHECK: %b = wgsl.load %x[%a] : memref<64xf32> loc("0")
        %b = wgsl.load %x[%a] : memref<64xf32> loc("0")
        // CHECK: %c = wgsl.convert %b : (f32) -> vector<4xf32>
        %c = wgsl.convert %b : (f32) -> vector<4xf32>
        // CHECK: %d = wgsl.read %r[%i] : memref<2xvector<4xf32>> -> vector<4xf32>
        %d = wgsl.read %r[%i] : memref<2xvector<4xf32>> -> vector<4xf32>
        // CHECK: %e = wgsl.call max(%c, %d) : (vector<4xf32>, vector<4xf32>) -> vector<4xf32>
        %e = wgsl.call max(%c, %d) : (vector<4xf32>, vector<4xf32>) -> vector<4xf32>
        // CHECK: wgsl.write %e, %r[%i] : vector<4xf32>, memref<2xvector<4xf32>>
        wgsl.write %e, %r[%i] : vector<4xf32>, memref<2xvector<4xf32>>
      }
    }
    // CHECK: wgsl.barrier
    wgsl.barrier
    // CHECK: %n = wgsl.constant 7 : ui32
    %n = wgsl.constant 7 : ui32
    // CHECK: wgsl.for %j < 9 until %n {
    wgsl.for %j < 9 until %n {
    }
    // CHECK: %f = wgsl.binary lt %t, %n : ui32, ui32 -> i1
    %f = wgsl.binary lt %t, %n : ui32, ui32 -> i1
    // CHECK: wgsl.if %f {
    wgsl.if %f {
      %g = wgsl.read %r[5] : memref<2xvector<4xf32>> -> f32
      // CHECK: %h = wgsl.unary negate %g : f32
      %h = wgsl.unary negate %g : f32
      // CHECK: wgsl.let %h : f32
      %m = wgsl.let %h : f32
      // CHECK: wgsl.bitcast %m : f32 -> ui32
      %u = wgsl.bitcast %m : f32 -> ui32
      %v = wgsl.convert %m : (f32) -> vector<4xf32>
      // CHECK: wgsl.store %v, %out[%t] : vector<4xf32>, memref<16xvector<4xf32>> loc(fused["0", "1"])
      wgsl.store %v, %out[%t] : vector<4xf32>, memref<16xvector<4xf32>> loc(fused["0", "1"])
    }
  }
}

// Tests that shared words and a merge into them round-trip.
// CHECK-LABEL: wgsl.module @merged
wgsl.module @merged grid [1, 1, 1] {
  // CHECK: %x = wgsl.binding @b0 at 0 read_write shared : memref<4xui32>
  %x = wgsl.binding @b0 at 0 read_write shared : memref<4xui32>
  wgsl.function @main workgroup [1, 1, 1] (%wg, %lid) {
    %v = wgsl.constant 1 : ui32
    // CHECK: wgsl.merge %v keep %v, %x[%v] : memref<4xui32>
    wgsl.merge %v keep %v, %x[%v] : memref<4xui32>
  }
}
