// RUN: tstorch-opt %s -p bound-trip-counts{limit=100} --split-input-file --verify-diagnostics | filecheck %s

// Tests that the most frequent loop is split, that what does not divide it follows, and that the count is noted.
// CHECK-LABEL: loop.kernel @split
// CHECK-SAME:  iterations = 66 : i64
// CHECK:       loop.for %y < 3 {
// CHECK:         loop.for %[[K:.*]] < 80 step 4 {
// CHECK:           loop.for unroll %[[I:.*]] < 4 step 2 {
// CHECK:             loop.load %x[%[[K]] + %[[I]] + %y] : memref<100xf32> -> f32
// CHECK:         loop.for %{{.*}} < 2 step 2 {
// CHECK:           loop.load %x[%y + 80] : memref<100xf32> -> f32
loop.kernel @split(%x: memref<100xf32>, %out: memref<1xf32>) grid [1, 1, 1] workgroup [1, 1, 1] {
  loop.parallel {
    loop.for %y < 3 {
      loop.for %k < 82 step 2 {
        %v = loop.load %x[%k + %y] : memref<100xf32> -> f32
        loop.store %v, %out[0] : f32, memref<1xf32>
      }
    }
  }
}

// -----

// Tests that few iterations are left alone; unrolled loops do not count, what they repeat does.
// CHECK-LABEL: loop.kernel @kept
// CHECK-SAME:  iterations = 100 : i64
// CHECK:       loop.for unroll %y < 4 {
// CHECK:         loop.for %k < 25 {
loop.kernel @kept(%x: memref<100xf32>, %out: memref<1xf32>) grid [1, 1, 1] workgroup [1, 1, 1] {
  loop.parallel {
    loop.for unroll %y < 4 {
      loop.for %k < 25 {
        %v = loop.load %x[%k] : memref<100xf32> -> f32
        loop.store %v, %out[0] : f32, memref<1xf32>
      }
    }
  }
}

// -----

// Tests that a kernel which would need too many copies of a body is named.
// CHECK: kernel @endless: an invocation runs {{[0-9]+}} loop iterations; expected at most 100
loop.kernel @endless(%x: memref<1xf32>, %out: memref<1xf32>) grid [1, 1, 1] workgroup [1, 1, 1] {
  loop.parallel {
    loop.for %k < 1000000 {
      %v = loop.load %x[0] : memref<1xf32> -> f32
      loop.store %v, %out[0] : f32, memref<1xf32>
    }
  }
}
