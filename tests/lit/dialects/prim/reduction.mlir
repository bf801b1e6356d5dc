// RUN: tstorch-opt %s | filecheck %s
// RUN: tstorch-opt %s --print-op-generic | tstorch-opt | filecheck %s

// Tests that the kind of a reduction stands in front.
// CHECK-LABEL: func.func @kinds
func.func @kinds(%x: tensor<1x2x4x4xf32>) -> (tensor<1x2xf32>, tensor<1x2x2x2xf32>, tensor<1x4x4xi64>) {
  // CHECK: prim.reduce add %{{.*}}, dimensions = [2, 3] : tensor<1x2x4x4xf32> -> tensor<1x2xf32>
  %s = prim.reduce add %x, dimensions = [2, 3] : tensor<1x2x4x4xf32> -> tensor<1x2xf32>
  // CHECK: prim.reduce_window max %{{.*}}, window = [1, 1, 2, 2], strides = [1, 1, 2, 2]
  %p = prim.reduce_window max %x, window = [1, 1, 2, 2], strides = [1, 1, 2, 2], padding_low = [0, 0, 0, 0], padding_high = [0, 0, 0, 0], window_dilation = [1, 1, 1, 1], base_dilation = [1, 1, 1, 1] : tensor<1x2x4x4xf32> -> tensor<1x2x2x2xf32>
  // CHECK: prim.arg_reduce max %{{.*}}, dimension = 1 : tensor<1x2x4x4xf32> -> tensor<1x4x4xi64>
  %a = prim.arg_reduce max %x, dimension = 1 : tensor<1x2x4x4xf32> -> tensor<1x4x4xi64>
  func.return %s, %p, %a : tensor<1x2xf32>, tensor<1x2x2x2xf32>, tensor<1x4x4xi64>
}
