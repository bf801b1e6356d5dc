// RUN: tstorch-opt %s -p vectorize-loop --print-debuginfo | filecheck %s
// RUN: tstorch-opt %s -p vectorize-loop --remarks 2>&1 | filecheck %s --check-prefix=REMARK

// Tests that the innermost static loop steps by 4: what depends on it is a vector, what does not is repeated once.
// CHECK-LABEL: loop.kernel @widened
// CHECK:       loop.for unroll %i < 8 step 4 {
// CHECK:         loop.load %x[%t * 8 + %i + lane] where (%t * 8 + %i + lane < 500) : memref<512xf32> -> vector<4xf32> loc("0")
// CHECK:         %[[S:.*]] = loop.load %s[0] : memref<1xf32> -> f32
// CHECK:         %[[V:.*]] = loop.splat %[[S]] : f32 -> vector<4xf32>
// CHECK:         arith.mulf %{{.*}}, %[[V]] : vector<4xf32> loc("1")
// CHECK-NOT:     loop.splat
// CHECK:         loop.compare gt %{{.*}}, %[[V]] : vector<4xf32> loc("1")
// CHECK:         loop.select %{{.*}} : vector<4xi1>, vector<4xf32>
// CHECK:         loop.store %{{.*}}, %out[%t * 8 + %i + lane] : vector<4xf32>
loop.kernel @widened(%x: memref<512xf32>, %s: memref<1xf32>, %out: memref<512xf32>) grid [1, 1, 1] workgroup [64, 1, 1] {
  loop.parallel %t = lid.x {
    loop.for unroll %i < 8 {
      %a = loop.load %x[%t * 8 + %i] where (%t * 8 + %i < 500) : memref<512xf32> -> f32 loc("0")
      %b = loop.load %s[0] : memref<1xf32> -> f32 loc("1")
      %c = arith.mulf %a, %b : f32 loc("1")
      %d = arith.cmpf ogt, %c, %b : f32 loc("1")
      %e = loop.select %d, %c, %a : i1, f32 loc("1")
      loop.store %e, %out[%t * 8 + %i] : f32, memref<512xf32> loc("1")
    }
  }
}

// REMARK: remark: missed TST-V003: the steps of an unrolled loop do not store neighbours
// REMARK: remark: missed TST-V005: a step of an unrolled loop reads what another step stores
// REMARK: remark: missed TST-V004: loop.to_index in an unrolled loop has no form for 4 steps at once
// REMARK: remark: missed TST-V002: an unrolled loop takes 6 steps; vectors take a multiple of 4
// Tests that stores which are no neighbours keep the loop scalar.
// CHECK-LABEL: loop.kernel @strided
// CHECK:       loop.for unroll %i < 4 {
// CHECK:         -> f32
loop.kernel @strided(%x: memref<256xf32>, %out: memref<256xf32>) grid [1, 1, 1] workgroup [64, 1, 1] {
  loop.parallel %t = lid.x {
    loop.for unroll %i < 4 {
      %a = loop.load %x[%t * 4 + %i] : memref<256xf32> -> f32
      loop.store %a, %out[%i * 64 + %t] : f32, memref<256xf32>
    }
  }
}

// Tests that a step which reads what another step wrote keeps the loop scalar.
// CHECK-LABEL: loop.kernel @dependent
// CHECK:       loop.for unroll %i < 4 {
loop.kernel @dependent(%x: memref<257xf32>) grid [1, 1, 1] workgroup [64, 1, 1] {
  loop.parallel %t = lid.x {
    loop.for unroll %i < 4 {
      %a = loop.load %x[%t * 4 + %i] : memref<257xf32> -> f32
      loop.store %a, %x[%t * 4 + %i + 1] : f32, memref<257xf32>
    }
  }
}

// Tests that a row which is gathered per step keeps the loop scalar, and so does a loop that is no multiple of 4.
// CHECK-LABEL: loop.kernel @gathered
// CHECK:       loop.for unroll %i < 4 {
// CHECK:       loop.for unroll %j < 6 {
loop.kernel @gathered(%x: memref<64xf32>, %ids: memref<4xi32>, %out: memref<8xf32>) grid [1, 1, 1] workgroup [1, 1, 1] {
  loop.parallel {
    loop.for unroll %i < 4 {
      %n = loop.load %ids[%i] : memref<4xi32> -> i32
      %row = loop.to_index %n bound 64 : i32
      %a = loop.load %x[%row] : memref<64xf32> -> f32
      loop.store %a, %out[%i] : f32, memref<8xf32>
    }
    loop.for unroll %j < 6 {
      %b = loop.load %x[%j] : memref<64xf32> -> f32
      loop.store %b, %out[%j] : f32, memref<8xf32>
    }
  }
}
