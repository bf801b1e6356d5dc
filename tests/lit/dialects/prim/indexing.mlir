// RUN: tstorch-opt %s | filecheck %s
// RUN: tstorch-opt %s --print-op-generic | tstorch-opt | filecheck %s

// Tests that gather and scatter print the dimensions they go by.
// CHECK-LABEL: func.func @rows
func.func @rows(%table: tensor<5x3xf32>, %ids: tensor<4xi32>) -> tensor<5x3xf32> {
  // CHECK: %[[G:.*]] = prim.gather %{{.*}}, %{{.*}}, offset_dims = [1], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1, slice_sizes = [1, 3] : tensor<5x3xf32>, tensor<4xi32> -> tensor<4x3xf32>
  %g = prim.gather %table, %ids, offset_dims = [1], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1, slice_sizes = [1, 3] : tensor<5x3xf32>, tensor<4xi32> -> tensor<4x3xf32>
  // CHECK: prim.scatter add %{{.*}}, %{{.*}}, %[[G]], update_window_dims = [1], inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1 : tensor<5x3xf32>, tensor<4xi32>, tensor<4x3xf32>
  %s = prim.scatter add %table, %ids, %g, update_window_dims = [1], inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1 : tensor<5x3xf32>, tensor<4xi32>, tensor<4x3xf32>
  func.return %s : tensor<5x3xf32>
}
