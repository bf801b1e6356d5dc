// RUN: tstorch-opt %s -p prefetch-tiles --print-debuginfo | filecheck %s
// RUN: tstorch-opt %s -p prefetch-tiles --remarks 2>&1 | filecheck %s --check-prefix=REMARK

// Tests that each round's elements are read during the round before, one register for each, mask and location included.
// CHECK-LABEL: loop.kernel @ahead
// CHECK:       %[[HELD:.*]] = loop.alloc private : memref<2xf32> loc("0")
// CHECK-NEXT:  loop.for unroll %[[I:.*]] < 2 {
// CHECK-NEXT:    %[[V:.*]] = loop.load %x[%[[I]] * 64 + %t] where (%t < 60) : memref<1024xf32> -> f32 loc("0")
// CHECK-NEXT:    loop.store %[[V]], %[[HELD]][%[[I]]]
// CHECK:       loop.for %k < 1024 step 128 {
// CHECK-NEXT:    loop.barrier
// CHECK-NEXT:    loop.for unroll %[[J:.*]] < 2 {
// CHECK-NEXT:      %[[H:.*]] = loop.load %[[HELD]][%[[J]]]
// CHECK-NEXT:      loop.store %[[H]], %tile[%[[J]] * 64 + %t]
// CHECK:         loop.barrier
// CHECK-NEXT:    %[[MORE:.*]] = loop.within (%k + 128 < 1024) : i1
// CHECK-NEXT:    loop.if %[[MORE]] {
// CHECK:           loop.load %x[%k + %{{.*}} * 64 + %t + 128]
// CHECK:         loop.load %tile
loop.kernel @ahead(%x: memref<1024xf32>, %out: memref<64xf32>) grid [1, 1, 1] workgroup [64, 1, 1] {
  loop.parallel %t = lid.x {
    %tile = loop.alloc workgroup : memref<128xf32>
    loop.for %k < 1024 step 128 {
      loop.barrier
      loop.for unroll %i < 2 {
        %v = loop.load %x[%k + %i * 64 + %t] where (%t < 60) : memref<1024xf32> -> f32 loc("0")
        loop.store %v, %tile[%i * 64 + %t] : f32, memref<128xf32> loc("0")
      }
      loop.barrier
      %w = loop.load %tile[63 - %t] : memref<128xf32> -> f32
      loop.store %w, %out[%t] : f32, memref<64xf32>
    }
  }
}

// REMARK: remark: missed TST-V030: a tile is not read ahead: it is not read from a binding alone
// Tests that a tile which is filled from memory that the kernel writes stays where it is.
// CHECK-LABEL: loop.kernel @written
// CHECK-NOT:   loop.alloc private
loop.kernel @written(%x: memref<512xf32>) grid [1, 1, 1] workgroup [64, 1, 1] {
  loop.parallel %t = lid.x {
    %tile = loop.alloc workgroup : memref<64xf32>
    loop.for %k < 512 step 64 {
      loop.barrier
      %v = loop.load %x[%k + %t] : memref<512xf32> -> f32
      loop.store %v, %tile[%t] : f32, memref<64xf32>
      loop.barrier
      %w = loop.load %tile[63 - %t] : memref<64xf32> -> f32
      loop.store %w, %x[%t] : f32, memref<512xf32>
    }
  }
}

// REMARK: remark: missed TST-V030: a tile is not read ahead: the number of rounds is known at run time only
// CHECK-LABEL: loop.kernel @ends_early
// CHECK-NOT:   loop.alloc private
loop.kernel @ends_early(%n: memref<1xi32>, %x: memref<512xf32>, %out: memref<64xf32>) grid [1, 1, 1] workgroup [64, 1, 1] {
  loop.parallel %t = lid.x {
    %tile = loop.alloc workgroup : memref<64xf32>
    %held = loop.load %n[0] : memref<1xi32> -> i32
    %rounds = loop.to_index %held bound 513 : i32
    loop.for %k < 512 until %rounds step 64 {
      loop.barrier
      %v = loop.load %x[%k + %t] : memref<512xf32> -> f32
      loop.store %v, %tile[%t] : f32, memref<64xf32>
      loop.barrier
      %w = loop.load %tile[63 - %t] : memref<64xf32> -> f32
      loop.store %w, %out[%t] : f32, memref<64xf32>
    }
  }
}

// REMARK: remark: missed TST-V030: a tile is not read ahead: more than the tile is written
// CHECK-LABEL: loop.kernel @more
// CHECK-NOT:   loop.alloc private
loop.kernel @more(%x: memref<512xf32>, %out: memref<64xf32>) grid [1, 1, 1] workgroup [64, 1, 1] {
  loop.parallel %t = lid.x {
    %tile = loop.alloc workgroup : memref<64xf32>
    loop.for %k < 512 step 64 {
      loop.barrier
      %v = loop.load %x[%k + %t] : memref<512xf32> -> f32
      loop.store %v, %tile[%t] : f32, memref<64xf32>
      loop.store %v, %out[%t] : f32, memref<64xf32>
      loop.barrier
      %w = loop.load %tile[63 - %t] : memref<64xf32> -> f32
      loop.store %w, %out[%t] : f32, memref<64xf32>
    }
  }
}
