// RUN: tstorch-opt %s -p select-schedule | filecheck %s
// RUN: tstorch-opt %s --target webgpu-default-discrete -p select-schedule | filecheck %s --check-prefix=GPU

// Tests that neighbours share an invocation where rows are whole vectors.
// CHECK-LABEL: flow.kernel @vectors
// CHECK-SAME:  #flow.schedule<map, {vector = 4 : i64, workgroup = array<i64: 64, 1, 1>}>
flow.kernel @vectors(%x: tensor<64x8xf32>) -> tensor<64x8xf32> {
  %0 = prim.exp %x : tensor<64x8xf32>
  flow.yield %0 : tensor<64x8xf32>
}

// Tests that they do not where a vector would cross a row's end.
// CHECK-LABEL: flow.kernel @odd_rows
// CHECK-SAME:  #flow.schedule<map, {vector = 1 : i64, workgroup = array<i64: 64, 1, 1>}>
flow.kernel @odd_rows(%x: tensor<64x7xf32>) -> tensor<64x7xf32> {
  %0 = prim.exp %x : tensor<64x7xf32>
  flow.yield %0 : tensor<64x7xf32>
}

// Tests that a tile's lines divide an image row, its lanes the channels; on a GPU, factors pass through workgroup memory.
// CHECK-LABEL: flow.kernel @convolution
// CHECK-SAME:  #flow.schedule<contraction, {tile = array<i64: 7, 8>, workgroup = array<i64: 8, 4, 1>, k_step = 4 : i64}>
// GPU-LABEL:   flow.kernel @convolution
// GPU-SAME:    #flow.schedule<contraction, {tile = array<i64: 8, 4>, workgroup = array<i64: 16, 8, 1>, k_step = 32 : i64, staged = true}>
flow.kernel @convolution(%x: tensor<1x14x14x64xf32>, %w: tensor<3x3x64x128xf32>) -> tensor<1x14x14x128xf32> {
  %0 = prim.conv %x, %w, layout = "NHWC" x "HWIO" to "NHWC", window_strides = [1, 1], padding_low = [1, 1], padding_high = [1, 1], lhs_dilation = [1, 1], rhs_dilation = [1, 1], feature_group_count = 1, batch_group_count = 1, reverse_window = false : tensor<1x14x14x64xf32>, tensor<3x3x64x128xf32> -> tensor<1x14x14x128xf32>
  flow.yield %0 : tensor<1x14x14x128xf32>
}

// Tests that a depthwise convolution, whose results share nothing, is a window.
// CHECK-LABEL: flow.kernel @depthwise
// CHECK-SAME:  #flow.schedule<window
flow.kernel @depthwise(%x: tensor<1x32x8x8xf32>, %w: tensor<32x1x3x3xf32>) -> tensor<1x32x6x6xf32> {
  %0 = prim.conv %x, %w, layout = "NCHW" x "OIHW" to "NCHW", window_strides = [1, 1], padding_low = [0, 0], padding_high = [0, 0], lhs_dilation = [1, 1], rhs_dilation = [1, 1], feature_group_count = 32, batch_group_count = 1, reverse_window = false : tensor<1x32x8x8xf32>, tensor<32x1x3x3xf32> -> tensor<1x32x6x6xf32>
  flow.yield %0 : tensor<1x32x6x6xf32>
}

// Tests that bytes found row by row are a window's, and that bytes of whole rows are not, where a row has one element.
// CHECK-LABEL: flow.kernel @row_bytes
// CHECK-SAME:  #flow.schedule<window
flow.kernel @row_bytes(%x: tensor<8x2xi8>) -> tensor<8xi8> {
  %0 = prim.reduce max %x, dimensions = [1] : tensor<8x2xi8> -> tensor<8xi8>
  flow.yield %0 : tensor<8xi8>
}
// CHECK-LABEL: flow.kernel @bytes_beside_rows
// CHECK-SAME:  #flow.schedule<row_reduction
flow.kernel @bytes_beside_rows(%x: tensor<2x1xf32>) -> (tensor<2xf32>, tensor<2x1xi8>) {
  %0 = prim.reduce min %x, dimensions = [1] : tensor<2x1xf32> -> tensor<2xf32>
  %1 = prim.convert %x to i8 : tensor<2x1xf32> -> tensor<2x1xi8>
  flow.yield %0, %1 : tensor<2xf32>, tensor<2x1xi8>
}

// Tests that a long row is shared: on a CPU by as many invocations as its vectors have lanes, on a GPU by more.
// CHECK-LABEL: flow.kernel @rows
// CHECK-SAME:  #flow.schedule<row_reduction, {threads = 8 : i64, vector = 1 : i64, workgroup = array<i64: 8, 8, 1>}>
// GPU-LABEL:   flow.kernel @rows
// GPU-SAME:    #flow.schedule<row_reduction, {threads = 64 : i64, vector = 4 : i64, workgroup = array<i64: 64, 2, 1>, held = true}>
flow.kernel @rows(%x: tensor<512x1024xf32>) -> tensor<512xf32> {
  %0 = prim.reduce add %x, dimensions = [1] : tensor<512x1024xf32> -> tensor<512xf32>
  flow.yield %0 : tensor<512xf32>
}

// Tests that a few elements of many rows are held by one invocation, and that a row too long for registers is read again.
// GPU-LABEL:   flow.kernel @short_rows
// GPU-SAME:    #flow.schedule<row_reduction, {threads = 1 : i64, vector = 1 : i64, workgroup = array<i64: 1, 8, 1>, held = true}>
flow.kernel @short_rows(%x: tensor<24x2048xf32>) -> tensor<2048xf32> {
  %0 = prim.reduce add %x, dimensions = [0] : tensor<24x2048xf32> -> tensor<2048xf32>
  flow.yield %0 : tensor<2048xf32>
}
// GPU-LABEL:   flow.kernel @long_rows
// GPU-SAME:    #flow.schedule<row_reduction, {threads = 64 : i64, vector = 1 : i64, workgroup = array<i64: 64, 4, 1>}>
flow.kernel @long_rows(%x: tensor<512x10000xf32>) -> tensor<512xf32> {
  %0 = prim.reduce add %x, dimensions = [1] : tensor<512x10000xf32> -> tensor<512xf32>
  flow.yield %0 : tensor<512xf32>
}

// Tests that a sum which rounds do not divide is staged with a tail, unless the tail would be most of it.
// GPU-LABEL:   flow.kernel @tail
// GPU-SAME:    k_step = 16 : i64, staged = true
flow.kernel @tail(%x: tensor<64x77xf32>, %w: tensor<77x64xf32>) -> tensor<64x64xf32> {
  %0 = prim.dot_general %x, %w, batch = [] x [], contract = [1] x [0] : tensor<64x77xf32>, tensor<77x64xf32> -> tensor<64x64xf32>
  flow.yield %0 : tensor<64x64xf32>
}
// GPU-LABEL:   flow.kernel @mostly_tail
// GPU-NOT:     staged
// GPU:         flow.yield
flow.kernel @mostly_tail(%x: tensor<64x18xf32>, %w: tensor<18x64xf32>) -> tensor<64x64xf32> {
  %0 = prim.dot_general %x, %w, batch = [] x [], contract = [1] x [0] : tensor<64x18xf32>, tensor<18x64xf32> -> tensor<64x64xf32>
  flow.yield %0 : tensor<64x64xf32>
}

// Tests that short rows are sorted side by side, and that a merge has an invocation for each element.
// CHECK-LABEL: flow.kernel @sort
// CHECK-SAME:  #flow.schedule<sort, {together = 8 : i64, workgroup = array<i64: 64, 1, 1>}>
// GPU-LABEL:   flow.kernel @sort
// GPU-SAME:    #flow.schedule<sort, {together = 32 : i64, workgroup = array<i64: 256, 1, 1>}>
flow.kernel @sort(%x: tensor<100x10xf32>) -> tensor<100x10xf32> {
  %0 = prim.sort %x dimension = 1, descending = [0], runs = 1 to 10 : tensor<100x10xf32> -> tensor<100x10xf32>
  flow.yield %0 : tensor<100x10xf32>
}
// CHECK-LABEL: flow.kernel @merge
// CHECK-SAME:  #flow.schedule<sort, {workgroup = array<i64: 64, 1, 1>}>
flow.kernel @merge(%x: tensor<100x10xf32>) -> tensor<100x10xf32> {
  %0 = prim.sort %x dimension = 1, descending = [0], runs = 4 to 8 : tensor<100x10xf32> -> tensor<100x10xf32>
  flow.yield %0 : tensor<100x10xf32>
}

// Tests that a long row is shared out for a running sum, unless there are rows enough.
// CHECK-LABEL: flow.kernel @running
// CHECK-SAME:  #flow.schedule<scan, {threads = 64 : i64, workgroup = array<i64: 64, 1, 1>}>
flow.kernel @running(%x: tensor<2x1024xf32>) -> tensor<2x1024xf32> {
  %0 = prim.cumulative add %x, dimension = 1, exclusive = 0, reverse = 0 : tensor<2x1024xf32> -> tensor<2x1024xf32>
  flow.yield %0 : tensor<2x1024xf32>
}
// CHECK-LABEL: flow.kernel @many
// CHECK-SAME:  #flow.schedule<scan, {threads = 1 : i64, workgroup = array<i64: 64, 1, 1>}>
flow.kernel @many(%x: tensor<5000x1024xf32>) -> tensor<5000x1024xf32> {
  %0 = prim.cumulative add %x, dimension = 1, exclusive = 0, reverse = 0 : tensor<5000x1024xf32> -> tensor<5000x1024xf32>
  flow.yield %0 : tensor<5000x1024xf32>
}

// Tests that a schedule given in text stays.
// CHECK-LABEL: flow.kernel @given
// CHECK-SAME:  #flow.schedule<map, {vector = 2 : i64}>
flow.kernel @given(%x: tensor<64xf32>) -> tensor<64xf32> attributes {schedule = #flow.schedule<map, {vector = 2 : i64}>} {
  %0 = prim.exp %x : tensor<64xf32>
  flow.yield %0 : tensor<64xf32>
}
