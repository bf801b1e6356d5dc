// RUN: tstorch-opt %s -p convert-kernel-to-loop --print-debuginfo | filecheck %s

// Tests that index maps become indices of one load, and that every op keeps its local index.
// CHECK-LABEL: loop.kernel @transposed
// CHECK:       %[[V:.*]] = loop.load %{{.*}}[%[[T:.*]] mod 3, %[[T]] floordiv 3] : memref<3x4xf32> -> f32 loc("0")
// CHECK-NEXT:  %[[E:.*]] = math.exp %[[V]] : f32 loc("1")
// CHECK-NEXT:  loop.store %[[E]]
flow.kernel @transposed(%x: tensor<3x4xf32>) -> (tensor<4x3xf32>) attributes {
    schedule = #flow.schedule<map, {workgroup = array<i64: 12, 1, 1>}>} {
  %t = prim.transpose %x, permutation = [1, 0] : tensor<3x4xf32> -> tensor<4x3xf32> loc("0")
  %e = prim.exp %t : tensor<4x3xf32> loc("1")
  flow.yield %e : tensor<4x3xf32>
}

// Tests that a pad becomes the number that a masked load gives where it reads nothing.
// CHECK-LABEL: loop.kernel @padded
// CHECK:       loop.load %{{.*}}[%[[I:.*]] - 1] where (%[[I]] - 1 < 6) else 2.000000e+00 : f32 : memref<6xf32> -> f32
flow.kernel @padded(%x: tensor<6xf32>) -> (tensor<8xf32>) attributes {
    schedule = #flow.schedule<map, {workgroup = array<i64: 8, 1, 1>}>} {
  %two = prim.constant dense<2.0> : tensor<f32> loc("0")
  %p = prim.pad %x, %two, low = [1], high = [1], interior = [0] : tensor<6xf32>, tensor<f32> -> tensor<8xf32> loc("1")
  flow.yield %p : tensor<8xf32>
}

// Tests that a contraction multiplies a tile of registers and that its epilogue sees each sum once.
// CHECK-LABEL: loop.kernel @product
// CHECK:       %[[SUMS:.*]] = loop.alloc private : memref<2x4xf32> loc("0")
// CHECK:       loop.for %[[K:.*]] < 16 step 4
// CHECK:       math.fma
// CHECK:       %[[SUM:.*]] = loop.load %[[SUMS]]
// CHECK:       %[[BIAS:.*]] = loop.load
// CHECK:       arith.addf %[[SUM]], %[[BIAS]] : f32 loc("2")
flow.kernel @product(%a: tensor<8x16xf32>, %b: tensor<16x8xf32>, %c: tensor<8xf32>) -> (tensor<8x8xf32>) attributes {
    schedule = #flow.schedule<contraction, {tile = array<i64: 2, 4>, workgroup = array<i64: 2, 4, 1>, k_step = 4 : i64}>} {
  %d = prim.dot_general %a, %b, batch = [] x [], contract = [1] x [0] : tensor<8x16xf32>, tensor<16x8xf32> -> tensor<8x8xf32> loc("0")
  %w = prim.broadcast_in_dim %c, shape = [8, 8], dimensions = [1] : tensor<8xf32> -> tensor<8x8xf32> loc("1")
  %s = prim.add %d, %w : tensor<8x8xf32> loc("2")
  flow.yield %s : tensor<8x8xf32>
}

// Tests that the factors of a block pass through workgroup memory, four neighbours at a time, between two barriers.
// CHECK-LABEL: loop.kernel @staged
// CHECK:       %[[A:.*]] = loop.alloc workgroup : memref<32x16xf32> loc("0")
// CHECK:       %[[B:.*]] = loop.alloc workgroup : memref<16x32xf32> loc("0")
// CHECK:       loop.for %[[K:.*]] < 64 step 16
// CHECK-NEXT:    loop.barrier
// CHECK:         loop.store %{{.*}}, %[[A]]
// CHECK:         loop.store %{{.*}}, %[[B]]
// CHECK:         loop.barrier
// CHECK-NEXT:    loop.for %{{.*}} < 16 step 8
// CHECK:           math.fma
flow.kernel @staged(%a: tensor<64x64xf32>, %b: tensor<64x64xf32>) -> (tensor<64x64xf32>) attributes {
    schedule = #flow.schedule<contraction, {tile = array<i64: 4, 4>, workgroup = array<i64: 8, 8, 1>, k_step = 16 : i64, staged = true}>} {
  %d = prim.dot_general %a, %b, batch = [] x [], contract = [1] x [0] : tensor<64x64xf32>, tensor<64x64xf32> -> tensor<64x64xf32> loc("0")
  flow.yield %d : tensor<64x64xf32>
}

// Tests that factors beyond the end of a sum are 0, and that all loops over steps are one.
// CHECK-LABEL: loop.kernel @tail
// CHECK:       loop.for %[[K:.*]] < 96 step 16
// CHECK:         loop.load %{{.*}} where (((%[[K]] floordiv 16) mod 3) * 16 + {{.*}} < 40)
flow.kernel @tail(%a: tensor<64x2x40xf32>, %b: tensor<2x40x64xf32>) -> (tensor<64x64xf32>) attributes {
    schedule = #flow.schedule<contraction, {tile = array<i64: 4, 4>, workgroup = array<i64: 8, 8, 1>, k_step = 16 : i64, staged = true}>} {
  %d = prim.dot_general %a, %b, batch = [] x [], contract = [1, 2] x [0, 1] : tensor<64x2x40xf32>, tensor<2x40x64xf32> -> tensor<64x64xf32> loc("0")
  flow.yield %d : tensor<64x64xf32>
}

// Tests that a row which is held is read once, and computed once for each of its reductions.
// CHECK-LABEL: loop.kernel @held
// CHECK:       %[[X:.*]] = loop.alloc private : memref<2x4xf32> loc("0")
// CHECK:       loop.load %{{.*}} : memref<4x64xf32> -> f32
// CHECK:       %[[MAX:.*]] = loop.reduce_workgroup max
// CHECK:       %[[E:.*]] = loop.alloc private : memref<2x4xf32> loc("4")
// CHECK-NOT:   memref<4x64xf32> -> f32
// CHECK:       %[[V:.*]] = loop.load %[[X]]
// CHECK:       arith.subf %[[V]], %[[MAX]]
// CHECK:       math.exp
// CHECK:       %[[SUM:.*]] = loop.reduce_workgroup add
// CHECK-NOT:   math.exp
// CHECK:       %[[H:.*]] = loop.load %[[E]]
// CHECK:       %[[SCALED:.*]] = arith.mulf %[[H]], %[[SCALE:.*]] : f32
// CHECK:       %[[BY:.*]] = arith.mulf %[[SUM]], %[[SCALE]] : f32
// CHECK:       arith.divf %[[SCALED]], %[[BY]]
flow.kernel @held(%x: tensor<4x64xf32>) -> (tensor<4x64xf32>) attributes {
    schedule = #flow.schedule<row_reduction, {threads = 8 : i64, vector = 4 : i64, workgroup = array<i64: 8, 2, 1>, held = true}>} {
  %m = prim.reduce max %x, dimensions = [1] : tensor<4x64xf32> -> tensor<4xf32> loc("0")
  %b = prim.broadcast_in_dim %m, shape = [4, 64], dimensions = [0] : tensor<4xf32> -> tensor<4x64xf32> loc("1")
  %d = prim.sub %x, %b : tensor<4x64xf32> loc("2")
  %e = prim.exp %d : tensor<4x64xf32> loc("3")
  %s = prim.reduce add %e, dimensions = [1] : tensor<4x64xf32> -> tensor<4xf32> loc("4")
  %c = prim.broadcast_in_dim %s, shape = [4, 64], dimensions = [0] : tensor<4xf32> -> tensor<4x64xf32> loc("5")
  %q = prim.div %e, %c : tensor<4x64xf32> loc("6")
  flow.yield %q : tensor<4x64xf32>
}

// Tests that a row's reductions are finished before what follows them, over all invocations of the row.
// CHECK-LABEL: loop.kernel @softmax
// CHECK:       %[[MAX:.*]] = loop.reduce_workgroup max
// CHECK:       math.exp
// CHECK:       loop.within
// CHECK:       %[[SUM:.*]] = loop.reduce_workgroup add
// CHECK:       arith.subf %{{.*}}, %[[MAX]]
// CHECK:       %[[BY:.*]] = arith.mulf %[[SUM]], %{{.*}} : f32 loc("6")
// CHECK:       arith.divf %{{.*}}, %[[BY]] : f32 loc("6")
flow.kernel @softmax(%x: tensor<4x10xf32>) -> (tensor<4x10xf32>) attributes {
    schedule = #flow.schedule<row_reduction, {threads = 8 : i64, workgroup = array<i64: 8, 2, 1>}>} {
  %m = prim.reduce max %x, dimensions = [1] : tensor<4x10xf32> -> tensor<4xf32> loc("0")
  %b = prim.broadcast_in_dim %m, shape = [4, 10], dimensions = [0] : tensor<4xf32> -> tensor<4x10xf32> loc("1")
  %d = prim.sub %x, %b : tensor<4x10xf32> loc("2")
  %e = prim.exp %d : tensor<4x10xf32> loc("3")
  %s = prim.reduce add %e, dimensions = [1] : tensor<4x10xf32> -> tensor<4xf32> loc("4")
  %c = prim.broadcast_in_dim %s, shape = [4, 10], dimensions = [0] : tensor<4xf32> -> tensor<4x10xf32> loc("5")
  %q = prim.div %e, %c : tensor<4x10xf32> loc("6")
  flow.yield %q : tensor<4x10xf32>
}

// Tests that a window starts from the number that changes nothing, and reads it in the padding.
// CHECK-LABEL: loop.kernel @pool
// CHECK:       loop.for %{{.*}} < 3
// CHECK:       loop.load %{{.*}} where (%{{.*}} < 6) else 0xff800000 : f32
// CHECK:       arith.maximumf
flow.kernel @pool(%x: tensor<6xf32>) -> (tensor<3xf32>) attributes {
    schedule = #flow.schedule<window, {workgroup = array<i64: 4, 1, 1>}>} {
  %p = prim.reduce_window max %x, window = [3], strides = [2], padding_low = [1], padding_high = [0], window_dilation = [1], base_dilation = [1] : tensor<6xf32> -> tensor<3xf32> loc("0")
  flow.yield %p : tensor<3xf32>
}

// Tests that a sort moves keys and positions only, between barriers, and reads each result where its position says.
// CHECK-LABEL: loop.kernel @sort
// CHECK:       %[[KEYS:.*]] = loop.alloc workgroup : memref<32xui32>
// CHECK:       %[[PLACES:.*]] = loop.alloc workgroup : memref<32xui32>
// CHECK:       loop.barrier
// CHECK:       loop.for %{{.*}} < 10 {
// CHECK:       loop.barrier
// CHECK:       %[[PLACE:.*]] = loop.load %[[PLACES]]
// CHECK:       %[[AT:.*]] = loop.to_index %[[PLACE]] bound 16
// CHECK:       loop.load %{{.*}}[%{{.*}}, %[[AT]]]
// CHECK:       loop.index_value [%[[AT]]] : i32
flow.kernel @sort(%x: tensor<4x12xf32>) -> (tensor<4x12xf32>, tensor<4x12xi32>) attributes {
    schedule = #flow.schedule<sort, {together = 2 : i64, workgroup = array<i64: 16, 1, 1>}>} {
  %i = prim.iota dimension = 1 : tensor<4x12xi32> loc("0")
  %s, %p = prim.sort %x, %i dimension = 1, descending = [0], runs = 1 to 12 : tensor<4x12xf32>, tensor<4x12xi32> -> tensor<4x12xf32>, tensor<4x12xi32> loc("1")
  flow.yield %s, %p : tensor<4x12xf32>, tensor<4x12xi32>
}

// Tests that two runs are merged by bisection, without memory to share.
// CHECK-LABEL: loop.kernel @merge
// CHECK-NOT:   workgroup :
// CHECK:       loop.for %{{.*}} < 3 {
// CHECK:       loop.store
flow.kernel @merge(%x: tensor<12xi32>) -> (tensor<12xi32>) attributes {
    schedule = #flow.schedule<sort, {workgroup = array<i64: 8, 1, 1>}>} {
  %s = prim.sort %x dimension = 0, descending = [0], runs = 4 to 8 : tensor<12xi32> -> tensor<12xi32> loc("0")
  flow.yield %s : tensor<12xi32>
}

// Tests that the invocations that share a row pass on what their stretches add up to, before they run over them.
// CHECK-LABEL: loop.kernel @running
// CHECK:       %[[PARTS:.*]] = loop.alloc workgroup : memref<4xf32>
// CHECK:       loop.for %{{.*}} < 3 {
// CHECK:       loop.store %{{.*}}, %[[PARTS]]
// CHECK:       loop.barrier
// CHECK:       loop.for %{{.*}} < 3 {
// CHECK:       loop.load %[[PARTS]]
// CHECK:       loop.for %{{.*}} < 3 {
// CHECK:       math.exp {{.*}} loc("1")
flow.kernel @running(%x: tensor<2x12xf32>) -> (tensor<2x12xf32>) attributes {
    schedule = #flow.schedule<scan, {threads = 4 : i64, workgroup = array<i64: 4, 1, 1>}>} {
  %s = prim.cumulative add %x, dimension = 1, exclusive = 0, reverse = 0 : tensor<2x12xf32> -> tensor<2x12xf32> loc("0")
  %e = prim.exp %s : tensor<2x12xf32> loc("1")
  flow.yield %e : tensor<2x12xf32>
}

// Tests that boxes are chosen one after the other, by all invocations of a workgroup together.
// CHECK-LABEL: loop.kernel @boxes
// CHECK:       loop.for %{{.*}} < 3 {
// CHECK:       loop.if
// CHECK:       %[[TOP:.*]] = loop.reduce_workgroup max
// CHECK:       loop.reduce_workgroup min
flow.kernel @boxes(%b: tensor<2x40x4xf32>, %p: tensor<2x1x40xui32>, %t: tensor<f32>) -> (tensor<2x1x3xi32>) attributes {
    schedule = #flow.schedule<sort, {workgroup = array<i64: 8, 1, 1>}>} {
  %c = prim.non_max_suppression %b, %p, %t, most = 3 : tensor<2x40x4xf32>, tensor<2x1x40xui32>, tensor<f32> -> tensor<2x1x3xi32> loc("0")
  flow.yield %c : tensor<2x1x3xi32>
}

// Tests that a scan keeps its state in workgroup memory, reads it in all sums of a step, and renews it between barriers.
// CHECK-LABEL: loop.kernel @scan
// CHECK:       loop.parallel %[[N:.*]] = wg.x, %[[T:.*]] = lid.x
// CHECK:       %[[STATE:.*]] = loop.alloc workgroup : memref<4xf32>
// CHECK:       loop.barrier
// CHECK:       loop.for %[[STEP:.*]] < 9
// CHECK:       loop.for unroll %[[K:.*]] < 4
// CHECK:       loop.load %[[STATE]][%[[K]]]
// CHECK:       loop.load %{{.*}}[%[[STEP]] * -1 + 8, %[[N]], %[[T]]]
// CHECK:       loop.store %{{.*}}, %{{.*}}[%[[STEP]] * -1 + 8, %[[N]], %[[T]]] : f32, memref<9x3x4xf32>
// CHECK:       loop.barrier
// CHECK:       loop.store %{{.*}}, %[[STATE]][%[[T]]]
// CHECK:       loop.barrier
flow.kernel @scan(%h: tensor<3x4xf32>, %x: tensor<9x3x4xf32>, %w: tensor<4x4xf32>) -> (tensor<9x3x4xf32>) attributes {
    schedule = #flow.schedule<recurrence, {workgroup = array<i64: 4, 1, 1>}>} {
  %last, %all = prim.scan(%h, %x, %w) states = 1, sequences = 1 backwards batched {
  ^bb0(%state: tensor<3x4xf32>, %element: tensor<3x4xf32>, %weights: tensor<4x4xf32>):
    %p = prim.dot_general %state, %weights, batch = [] x [], contract = [1] x [0] : tensor<3x4xf32>, tensor<4x4xf32> -> tensor<3x4xf32> loc("0")
    %s = prim.add %p, %element : tensor<3x4xf32> loc("0")
    prim.yield %s, %s : tensor<3x4xf32>, tensor<3x4xf32>
  } : (tensor<3x4xf32>, tensor<9x3x4xf32>, tensor<4x4xf32>) -> (tensor<3x4xf32>, tensor<9x3x4xf32>) loc("0")
  flow.yield %all : tensor<9x3x4xf32>
}
