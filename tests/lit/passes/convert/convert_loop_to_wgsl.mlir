// RUN: tstorch-opt %s -p convert-loop-to-wgsl --print-debuginfo --split-input-file --verify-diagnostics | filecheck %s

// Tests that aligned vectors make arrays of vectors, that a stored binding is read_write, and that the address is
// computed once outside the loop.
// CHECK-LABEL: wgsl.module @scale grid [2, 1, 1] attributes {kind = "map", ops = ["prim.mul"], iterations = 8 : i64} {
// CHECK:       %[[X:.*]] = wgsl.binding @b0 at 0 read : memref<512xvector<4xf32>>
// CHECK:       %[[OUT:.*]] = wgsl.binding @b1 at 1 read_write : memref<512xvector<4xf32>>
// CHECK:       wgsl.function @main workgroup [32, 1, 1] (%wg, %lid) {
// CHECK:         %[[BASE:.*]] = wgsl.let %{{.*}} : ui32
// CHECK:         wgsl.for %[[K:.*]] < 8 {
// CHECK:           wgsl.index [%[[BASE]] + %[[K]] * 64]
// CHECK:           wgsl.load %[[X]][%{{.*}}] : memref<512xvector<4xf32>> loc("0")
// CHECK:           wgsl.store %{{.*}}, %[[OUT]][%{{.*}}] : vector<4xf32>, memref<512xvector<4xf32>> loc("0")
loop.kernel @scale(%x: memref<2048xf32>, %out: memref<2048xf32>) grid [2, 1, 1] workgroup [32, 1, 1] attributes {
    kind = "map", ops = ["prim.mul"]} {
  loop.parallel %g = wg.x, %t = lid.x {
    loop.for %k < 8 {
      %v = loop.load %x[%k * 256 + %g * 128 + %t * 4 + lane] : memref<2048xf32> -> vector<4xf32> loc("0")
      %w = arith.mulf %v, %v : vector<4xf32> loc("0")
      loop.store %w, %out[%k * 256 + %g * 128 + %t * 4 + lane] : vector<4xf32>, memref<2048xf32> loc("0")
    }
  }
}

// -----

// Tests that one scalar access makes the array scalar, that a mask is one unsigned comparison, and that a masked store
// stands in an if.
// CHECK-LABEL: wgsl.module @mixed
// CHECK:       wgsl.binding @b0 at 0 read_write : memref<64xf32>
// CHECK-COUNT-4: wgsl.load
// CHECK:       %[[C:.*]] = wgsl.binary lt %{{.*}}, %{{.*}} : ui32, ui32 -> i1
// CHECK:       wgsl.if %[[C]] {
// CHECK-COUNT-4: wgsl.store
loop.kernel @mixed(%x: memref<64xf32>) grid [1, 1, 1] workgroup [16, 1, 1] {
  loop.parallel %t = lid.x {
    %v = loop.load %x[%t * 4 + lane] : memref<64xf32> -> vector<4xf32>
    loop.store %v, %x[%t * 4 + lane] where (%t < 3) : vector<4xf32>, memref<64xf32>
    %s = loop.load %x[%t] : memref<64xf32> -> f32
  }
}

// -----

// Tests that private memory becomes registers outside the static loop, and that infinity is made at run time.
// CHECK-LABEL: wgsl.module @tile
// CHECK:       wgsl.registers : memref<1xui32>
// CHECK:       wgsl.bitcast %{{.*}} : ui32 -> f32
// CHECK:       %[[R:.*]] = wgsl.registers : memref<2xvector<4xf32>>
// CHECK:       wgsl.static_for %[[I:.*]] < 8 step 4 {
// CHECK:         wgsl.write %{{.*}}, %[[R]][%[[I]]] : vector<4xf32>, memref<2xvector<4xf32>>
// CHECK:       wgsl.read %[[R]][5] : memref<2xvector<4xf32>> -> f32
loop.kernel @tile(%x: memref<8xf32>) grid [1, 1, 1] workgroup [1, 1, 1] {
  loop.parallel {
    %c = arith.constant 0xFF800000 : f32
    %v = loop.splat %c : f32 -> vector<4xf32>
    %tile = loop.alloc private : memref<8xf32>
    loop.for unroll %i < 8 step 4 {
      loop.store %v, %tile[%i + lane] : vector<4xf32>, memref<8xf32>
    }
    %s = loop.load %tile[5] : memref<8xf32> -> f32
    loop.store %s, %x[0] : f32, memref<8xf32>
  }
}

// -----

// Tests that a load whose place is a number once its loop is expanded stays inside, and any other is left alone.
// CHECK-LABEL: wgsl.module @behind
// CHECK:       wgsl.static_for
// CHECK:         %[[P:.*]] = wgsl.index
// CHECK:         %[[LAST:.*]] = wgsl.constant 3 : ui32
// CHECK:         %[[IN:.*]] = wgsl.call min(%[[P]], %[[LAST]])
// CHECK:         wgsl.load %{{.*}}[%[[IN]]]
// CHECK-NOT:   wgsl.call min
loop.kernel @behind(%x: memref<4xf32>, %out: memref<12xf32>) grid [1, 1, 1] workgroup [4, 1, 1] {
  loop.parallel %t = lid.x {
    loop.for unroll %i < 3 {
      %a = loop.load %x[%i * 3 - 1] where (%i * 3 - 1 < 4) else 0.0 : f32 : memref<4xf32> -> f32
      loop.store %a, %out[%i] : f32, memref<12xf32>
    }
    loop.for unroll %j < 3 {
      %b = loop.load %x[%t + %j] where (%t + %j < 4) else 0.0 : f32 : memref<4xf32> -> f32
      loop.store %b, %out[%t * 3 + %j] : f32, memref<12xf32>
    }
  }
}

// -----

// Tests that a workgroup reduction goes through shared memory in two steps, with a barrier behind each store.
// CHECK-LABEL: wgsl.module @sum
// CHECK:       wgsl.workgroup @s0 : memref<64xf32>
// CHECK:       wgsl.workgroup @s1 : memref<8xf32>
// CHECK:       wgsl.store
// CHECK-NEXT:  wgsl.barrier
// CHECK:       wgsl.if
// CHECK:         wgsl.store
// CHECK:       wgsl.barrier
// CHECK:       wgsl.static_for %{{.*}} < 7 {
loop.kernel @sum(%x: memref<64xf32>, %out: memref<1xf32>) grid [1, 1, 1] workgroup [64, 1, 1] {
  loop.parallel %t = lid.x {
    %v = loop.load %x[%t] : memref<64xf32> -> f32
    %s = loop.reduce_workgroup add %v : f32
    loop.store %s, %out[0] where (%t < 1) : f32, memref<1xf32>
  }
}

// -----

// Tests that an op without a WGSL form is named.
// CHECK: kernel @erf: 'math.erf' has no WGSL form; expand it before this pass
loop.kernel @erf(%x: memref<64xf32>) grid [1, 1, 1] workgroup [64, 1, 1] {
  loop.parallel %t = lid.x {
    %v = loop.load %x[%t] : memref<64xf32> -> f32
    %s = math.erf %v : f32
  }
}

// -----

// Tests that packed memory is refused.
// CHECK: kernel @packed: memory of type memref<64xui8> is packed; pack-words has to run before
loop.kernel @packed(%x: memref<64xui8>) grid [1, 1, 1] workgroup [64, 1, 1] {
  loop.parallel %t = lid.x {
    %v = loop.load %x[%t] : memref<64xui8> -> ui32
  }
}
