// RUN: tstorch-opt %s | filecheck %s
// RUN: tstorch-opt %s | tstorch-opt | filecheck %s

// Tests the text of what orders rows, runs along them or chooses from them.
// CHECK-LABEL: func.func @order
func.func @order(%x: tensor<2x4xf32>, %i: tensor<2x4xi32>, %b: tensor<1x4x4xf32>, %p: tensor<1x2x4xui32>, %t: tensor<f32>) {
  // CHECK: %{{.*}}, %{{.*}} = prim.sort %{{.*}}, %{{.*}} dimension = 1, descending = [1], runs = 1 to 4 : tensor<2x4xf32>, tensor<2x4xi32> -> tensor<2x4xf32>, tensor<2x4xi32>
  %s, %j = prim.sort %x, %i dimension = 1, descending = [1], runs = 1 to 4 : tensor<2x4xf32>, tensor<2x4xi32> -> tensor<2x4xf32>, tensor<2x4xi32>
  // CHECK: prim.cumulative mul %{{.*}}, dimension = 1, exclusive = 1, reverse = 0 : tensor<2x4xf32> -> tensor<2x4xf32>
  %c = prim.cumulative mul %x, dimension = 1, exclusive = 1, reverse = 0 : tensor<2x4xf32> -> tensor<2x4xf32>
  // CHECK: prim.search_sorted %{{.*}}, %{{.*}} : tensor<2x4xf32>, tensor<2x4xf32> -> tensor<2x4xi32>
  %q = prim.search_sorted %x, %x : tensor<2x4xf32>, tensor<2x4xf32> -> tensor<2x4xi32>
  // CHECK: prim.non_max_suppression %{{.*}}, %{{.*}}, %{{.*}}, most = 3 : tensor<1x4x4xf32>, tensor<1x2x4xui32>, tensor<f32> -> tensor<1x2x3xi32>
  %n = prim.non_max_suppression %b, %p, %t, most = 3 : tensor<1x4x4xf32>, tensor<1x2x4xui32>, tensor<f32> -> tensor<1x2x3xi32>
  func.return
}
