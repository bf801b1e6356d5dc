// RUN: tstorch-opt %s -p hoist-vector-loads --print-debuginfo | filecheck %s
// RUN: tstorch-opt %s -p hoist-vector-loads --remarks 2>&1 | filecheck %s --check-prefix=REMARK

// Tests that a run of scalars goes to registers before the loop that uses it, mask and location included.
// CHECK-LABEL: loop.kernel @hoisted
// CHECK:       loop.for %k < 64 step 4 {
// CHECK:         %[[HELD:.*]] = loop.alloc private : memref<4xf32> loc("0")
// CHECK:         loop.for unroll %{{.*}} < 4 step 4 {
// CHECK:           %[[V:.*]] = loop.load %a[%t, %k + lane] where (%t < 60) : memref<64x64xf32> -> vector<4xf32> loc("0")
// CHECK:           loop.store %[[V]], %[[HELD]][lane]
// CHECK:         loop.for unroll %kk < 4 {
// CHECK:           loop.load %[[HELD]][%kk] : memref<4xf32> -> f32 loc("0")
loop.kernel @hoisted(%a: memref<64x64xf32>, %out: memref<64xf32>) grid [1, 1, 1] workgroup [64, 1, 1] {
  loop.parallel %t = lid.x {
    loop.for %k < 64 step 4 {
      loop.for unroll %kk < 4 {
        %v = loop.load %a[%t, %k + %kk] where (%t < 60) : memref<64x64xf32> -> f32 loc("0")
        loop.store %v, %out[%t] : f32, memref<64xf32>
      }
    }
  }
}

// REMARK: remark: missed TST-V011: a run of 4 elements is read one by one; its start is no multiple of 4
// REMARK: remark: missed TST-V010: a run of 6 elements is read one by one; vectors take a multiple of 4
// REMARK: remark: missed TST-V012: a run of 4 elements is read one by one; its start is computed along the way
// Tests that a run which starts anywhere stays, and one of memory that the kernel writes, and one along columns.
// CHECK-LABEL: loop.kernel @kept
// CHECK-NOT:   vector<4xf32>
loop.kernel @kept(%a: memref<64x63xf32>, %out: memref<64x64xf32>) grid [1, 1, 1] workgroup [64, 1, 1] {
  loop.parallel %t = lid.x {
    loop.for unroll %k < 4 {
      %v = loop.load %a[%t, %k] : memref<64x63xf32> -> f32
      %w = loop.load %out[%t, %k] : memref<64x64xf32> -> f32
      %c = loop.load %a[%k, %t] where (%t < 63) : memref<64x63xf32> -> f32
      loop.store %v, %out[%t, 0] : f32, memref<64x64xf32>
    }
  }
}

// Tests that a run of six stays, and one that starts where a value computed in the loop says.
// CHECK-LABEL: loop.kernel @computed
// CHECK-NOT:   vector<4xf32>
loop.kernel @computed(%a: memref<64x64xf32>, %ids: memref<64xi32>, %out: memref<64xf32>) grid [1, 1, 1] workgroup [64, 1, 1] {
  loop.parallel %t = lid.x {
    loop.for unroll %j < 6 {
      %v = loop.load %a[%t, %j] : memref<64x64xf32> -> f32
      loop.store %v, %out[%t] : f32, memref<64xf32>
    }
    loop.for unroll %k < 4 {
      %n = loop.load %ids[%t] : memref<64xi32> -> i32
      %row = loop.to_index %n bound 64 : i32
      %v = loop.load %a[%row, %k] : memref<64x64xf32> -> f32
      loop.store %v, %out[%t] : f32, memref<64xf32>
    }
  }
}
