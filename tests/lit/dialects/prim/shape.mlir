// RUN: tstorch-opt %s | filecheck %s
// RUN: tstorch-opt %s --print-op-generic | tstorch-opt | filecheck %s

// Tests that what moves elements prints its lists as numbers.
// CHECK-LABEL: func.func @moves
func.func @moves(%x: tensor<2x3xf32>, %v: tensor<f32>) -> tensor<4x8xf32> {
  // CHECK: prim.transpose %{{.*}}, permutation = [1, 0] : tensor<2x3xf32> -> tensor<3x2xf32>
  %t = prim.transpose %x, permutation = [1, 0] : tensor<2x3xf32> -> tensor<3x2xf32>
  // CHECK: prim.reshape %{{.*}}, shape = [2, 3] : tensor<3x2xf32> -> tensor<2x3xf32>
  %r = prim.reshape %t, shape = [2, 3] : tensor<3x2xf32> -> tensor<2x3xf32>
  // CHECK: prim.reverse %{{.*}}, dimensions = [1] : tensor<2x3xf32>
  %b = prim.reverse %r, dimensions = [1] : tensor<2x3xf32>
  // CHECK: prim.slice %{{.*}}, start = [0, 1], limit = [2, 3], stride = [1, 1] : tensor<2x3xf32> -> tensor<2x2xf32>
  %s = prim.slice %b, start = [0, 1], limit = [2, 3], stride = [1, 1] : tensor<2x3xf32> -> tensor<2x2xf32>
  // CHECK: prim.pad %{{.*}}, %{{.*}}, low = [1, 0], high = [0, -1], interior = [1, 2] : tensor<2x2xf32>, tensor<f32> -> tensor<4x3xf32>
  %p = prim.pad %s, %v, low = [1, 0], high = [0, -1], interior = [1, 2] : tensor<2x2xf32>, tensor<f32> -> tensor<4x3xf32>
  // CHECK: prim.broadcast_in_dim %{{.*}}, shape = [4, 5], dimensions = [] : tensor<f32> -> tensor<4x5xf32>
  %w = prim.broadcast_in_dim %v, shape = [4, 5], dimensions = [] : tensor<f32> -> tensor<4x5xf32>
  // CHECK: prim.concatenate %{{.*}}, %{{.*}} dimension = 1 : tensor<4x3xf32>, tensor<4x5xf32> -> tensor<4x8xf32>
  %c = prim.concatenate %p, %w dimension = 1 : tensor<4x3xf32>, tensor<4x5xf32> -> tensor<4x8xf32>
  func.return %c : tensor<4x8xf32>
}
