// RUN: tstorch-opt %s | filecheck %s
// RUN: tstorch-opt %s --print-op-generic | tstorch-opt | filecheck %s

// Tests that batch and contracted dimensions print in pairs, and layouts by their letters.
// CHECK-LABEL: func.func @products
func.func @products(%a: tensor<2x3x4xf32>, %b: tensor<2x4x5xf32>, %x: tensor<1x4x4x2xf32>, %w: tensor<3x2x3x3xf32>) -> (tensor<2x3x5xf32>, tensor<1x3x2x2xf32>) {
  // CHECK: prim.dot_general %{{.*}}, %{{.*}}, batch = [0] x [0], contract = [2] x [1] : tensor<2x3x4xf32>, tensor<2x4x5xf32> -> tensor<2x3x5xf32>
  %d = prim.dot_general %a, %b, batch = [0] x [0], contract = [2] x [1] : tensor<2x3x4xf32>, tensor<2x4x5xf32> -> tensor<2x3x5xf32>
  // CHECK: prim.conv %{{.*}}, %{{.*}}, layout = "NHWC" x "OIHW" to "NCHW", window_strides = [1, 1]
  %c = prim.conv %x, %w, layout = "NHWC" x "OIHW" to "NCHW", window_strides = [1, 1], padding_low = [0, 0], padding_high = [0, 0], lhs_dilation = [1, 1], rhs_dilation = [1, 1], feature_group_count = 1, batch_group_count = 1, reverse_window = false : tensor<1x4x4x2xf32>, tensor<3x2x3x3xf32> -> tensor<1x3x2x2xf32>
  func.return %d, %c : tensor<2x3x5xf32>, tensor<1x3x2x2xf32>
}
