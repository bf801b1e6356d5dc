// RUN: tstorch-opt %s -p propagate-layout,canonicalize --print-debuginfo | filecheck %s
// RUN: tstorch-opt %s -p propagate-layout --remarks 2>&1 | filecheck %s --check-prefix=REMARK

// Tests that between two convolutions nothing is transposed, and that bias and pooling follow.
// CHECK-LABEL: func.func @chain
// CHECK:       %[[X:.*]] = prim.transpose %{{.*}}, permutation = [0, 2, 3, 1] : tensor<1x4x8x8xf32>
// CHECK:       %[[A:.*]] = prim.conv %[[X]], %{{.*}} loc("conv1")
// CHECK:       %[[B:.*]] = prim.broadcast_in_dim %{{.*}}, shape = [1, 8, 8, 4], dimensions = [3]
// CHECK:       %[[S:.*]] = prim.add %[[A]], %[[B]] : tensor<1x8x8x4xf32> loc("conv1")
// CHECK:       %[[P:.*]] = prim.reduce_window max %[[S]], window = [1, 2, 2, 1]
// CHECK-SAME:  loc("pool")
// CHECK:       %[[C:.*]] = prim.conv %[[P]],
// CHECK:       prim.transpose %[[C]], permutation = [0, 3, 1, 2]
// CHECK-NOT:   prim.transpose
// CHECK:       return
func.func @chain(%x: tensor<1x4x8x8xf32>, %w: tensor<4x4x1x1xf32>, %b: tensor<4xf32>) -> tensor<1x4x4x4xf32> {
  %a = prim.conv %x, %w, layout = "NCHW" x "OIHW" to "NCHW", window_strides = [1, 1], padding_low = [0, 0], padding_high = [0, 0], lhs_dilation = [1, 1], rhs_dilation = [1, 1], feature_group_count = 1, batch_group_count = 1, reverse_window = false : tensor<1x4x8x8xf32>, tensor<4x4x1x1xf32> -> tensor<1x4x8x8xf32> loc("conv1")
  %s = prim.broadcast_in_dim %b, shape = [1, 4, 8, 8], dimensions = [1] : tensor<4xf32> -> tensor<1x4x8x8xf32> loc("conv1")
  %t = prim.add %a, %s : tensor<1x4x8x8xf32> loc("conv1")
  %p = prim.reduce_window max %t, window = [1, 1, 2, 2], strides = [1, 1, 2, 2], padding_low = [0, 0, 0, 0], padding_high = [0, 0, 0, 0], window_dilation = [1, 1, 1, 1], base_dilation = [1, 1, 1, 1] : tensor<1x4x8x8xf32> -> tensor<1x4x4x4xf32> loc("pool")
  %c = prim.conv %p, %w, layout = "NCHW" x "OIHW" to "NCHW", window_strides = [1, 1], padding_low = [0, 0], padding_high = [0, 0], lhs_dilation = [1, 1], rhs_dilation = [1, 1], feature_group_count = 1, batch_group_count = 1, reverse_window = false : tensor<1x4x4x4xf32>, tensor<4x4x1x1xf32> -> tensor<1x4x4x4xf32> loc("conv2")
  func.return %c : tensor<1x4x4x4xf32>
}

// Tests that a mean over the picture needs no transpose at all, and a join happens along the last dimension.
// CHECK-LABEL: func.func @reduced
// CHECK:       %[[J:.*]] = prim.concatenate %{{.*}}, %{{.*}} dimension = 3
// CHECK:       %[[R:.*]] = prim.reduce add %[[J]], dimensions = [1, 2] : tensor<1x8x8x4xf32> -> tensor<1x4xf32>
// CHECK-NEXT:  return %[[R]]
func.func @reduced(%x: tensor<1x8x8x2xf32>) -> tensor<1x4xf32> {
  %t = prim.transpose %x, permutation = [0, 3, 1, 2] : tensor<1x8x8x2xf32> -> tensor<1x2x8x8xf32> loc("t")
  %u = prim.exp %t : tensor<1x2x8x8xf32> loc("u")
  %j = prim.concatenate %t, %u dimension = 1 : tensor<1x2x8x8xf32>, tensor<1x2x8x8xf32> -> tensor<1x4x8x8xf32> loc("j")
  %r = prim.reduce add %j, dimensions = [2, 3] : tensor<1x4x8x8xf32> -> tensor<1x4xf32> loc("r")
  func.return %r : tensor<1x4xf32>
}

// Tests that an operand in an order of its own keeps the transpose where it is, and that we say so.
// CHECK-LABEL: func.func @kept
// CHECK:       %[[T:.*]] = prim.transpose
// CHECK-NEXT:  prim.add %[[T]],
// REMARK:      remark: missed TST-L001 at "sum"
func.func @kept(%x: tensor<1x8x8x2xf32>, %y: tensor<1x2x8x8xf32>) -> tensor<1x2x8x8xf32> {
  %t = prim.transpose %x, permutation = [0, 3, 1, 2] : tensor<1x8x8x2xf32> -> tensor<1x2x8x8xf32> loc("t")
  %s = prim.add %t, %y : tensor<1x2x8x8xf32> loc("sum")
  func.return %s : tensor<1x2x8x8xf32>
}

// Tests that cutting an image of few channels into patches is a product; with overlap or more channels it is not.
// CHECK-LABEL: func.func @patches
// CHECK:       %[[C:.*]] = prim.reshape %x, shape = [1, 3, 2, 4, 3, 4]
// CHECK-NEXT:  %[[T:.*]] = prim.transpose %[[C]], permutation = [0, 2, 4, 1, 3, 5]
// CHECK-NEXT:  %[[R:.*]] = prim.reshape %[[T]], shape = [6, 48]
// CHECK:       prim.dot_general %[[R]], %{{.*}}, batch = [] x [], contract = [1] x [0] : tensor<6x48xf32>, tensor<48x5xf32> -> tensor<6x5xf32> loc("conv")
// CHECK-LABEL: func.func @overlapping
// CHECK:       prim.conv
// CHECK-LABEL: func.func @channels
// CHECK:       prim.conv
func.func @patches(%x: tensor<1x3x8x12xf32>, %w: tensor<5x3x4x4xf32>) -> tensor<1x5x2x3xf32> {
  %c = prim.conv %x, %w, layout = "NCHW" x "OIHW" to "NCHW", window_strides = [4, 4], padding_low = [0, 0], padding_high = [0, 0], lhs_dilation = [1, 1], rhs_dilation = [1, 1], feature_group_count = 1, batch_group_count = 1, reverse_window = false : tensor<1x3x8x12xf32>, tensor<5x3x4x4xf32> -> tensor<1x5x2x3xf32> loc("conv")
  func.return %c : tensor<1x5x2x3xf32>
}
func.func @overlapping(%x: tensor<1x3x8x12xf32>, %w: tensor<5x3x4x4xf32>) -> tensor<1x5x3x5xf32> {
  %c = prim.conv %x, %w, layout = "NCHW" x "OIHW" to "NCHW", window_strides = [2, 2], padding_low = [0, 0], padding_high = [0, 0], lhs_dilation = [1, 1], rhs_dilation = [1, 1], feature_group_count = 1, batch_group_count = 1, reverse_window = false : tensor<1x3x8x12xf32>, tensor<5x3x4x4xf32> -> tensor<1x5x3x5xf32> loc("conv")
  func.return %c : tensor<1x5x3x5xf32>
}
func.func @channels(%x: tensor<1x8x8x12xf32>, %w: tensor<5x8x4x4xf32>) -> tensor<1x5x2x3xf32> {
  %c = prim.conv %x, %w, layout = "NCHW" x "OIHW" to "NCHW", window_strides = [4, 4], padding_low = [0, 0], padding_high = [0, 0], lhs_dilation = [1, 1], rhs_dilation = [1, 1], feature_group_count = 1, batch_group_count = 1, reverse_window = false : tensor<1x8x8x12xf32>, tensor<5x8x4x4xf32> -> tensor<1x5x2x3xf32> loc("conv")
  func.return %c : tensor<1x5x2x3xf32>
}
