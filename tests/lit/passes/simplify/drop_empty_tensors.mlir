// RUN: tstorch-opt %s -p drop-empty-tensors --split-input-file | filecheck %s

// Tests that what has no elements is a constant, what joins it goes without it, and what reads only it is a number.
// CHECK-LABEL: func.func @results
// CHECK-DAG:     %[[E:.*]] = prim.constant dense<[[], []]> : tensor<2x0xf32>
// CHECK-DAG:     %[[J:.*]] = prim.concatenate %x, %x dimension = 1
// CHECK-DAG:     %[[N:.*]] = prim.constant dense<-inf> : tensor<f32>
// CHECK-DAG:     %[[R:.*]] = prim.broadcast_in_dim %[[N]], shape = [2], dimensions = []
// CHECK-DAG:     %[[P:.*]] = prim.broadcast_in_dim %v, shape = [2, 1], dimensions = []
// CHECK:         func.return %[[E]], %[[J]], %[[R]], %[[P]] :
func.func @results(%x: tensor<2x3xf32>, %v: tensor<f32>) -> (tensor<2x0xf32>, tensor<2x6xf32>, tensor<2xf32>, tensor<2x1xf32>) {
  %0 = prim.slice %x, start = [0, 0], limit = [2, 0], stride = [1, 1] : tensor<2x3xf32> -> tensor<2x0xf32>
  %1 = prim.concatenate %x, %0, %x dimension = 1 : tensor<2x3xf32>, tensor<2x0xf32>, tensor<2x3xf32> -> tensor<2x6xf32>
  %2 = prim.reduce max %0, dimensions = [1] : tensor<2x0xf32> -> tensor<2xf32>
  %3 = prim.pad %0, %v, low = [0, 1], high = [0, 0], interior = [0, 0] : tensor<2x0xf32>, tensor<f32> -> tensor<2x1xf32>
  func.return %0, %1, %2, %3 : tensor<2x0xf32>, tensor<2x6xf32>, tensor<2xf32>, tensor<2x1xf32>
}

// -----

// Tests that a product of nothing is 0 and a scatter of no updates is what it scatters into.
// CHECK-LABEL: func.func @nothing
// CHECK:         %[[Z:.*]] = prim.constant dense<0.0> : tensor<f32>
// CHECK-NEXT:    %[[D:.*]] = prim.broadcast_in_dim %[[Z]], shape = [2, 2], dimensions = []
// CHECK-NEXT:    func.return %[[D]], %x
func.func @nothing(%a: tensor<2x0xf32>, %b: tensor<0x2xf32>, %x: tensor<5x3xf32>, %i: tensor<0xi32>, %u: tensor<0x3xf32>) -> (tensor<2x2xf32>, tensor<5x3xf32>) {
  %0 = prim.dot_general %a, %b, batch = [] x [], contract = [1] x [0] : tensor<2x0xf32>, tensor<0x2xf32> -> tensor<2x2xf32>
  %1 = prim.scatter add %x, %i, %u, update_window_dims = [1], inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1 : tensor<5x3xf32>, tensor<0xi32>, tensor<0x3xf32>
  func.return %0, %1 : tensor<2x2xf32>, tensor<5x3xf32>
}

// -----

// Tests that what has elements stays.
// CHECK-LABEL: func.func @full
// CHECK:         prim.concatenate %x, %x
func.func @full(%x: tensor<2x3xf32>) -> tensor<4x3xf32> {
  %0 = prim.concatenate %x, %x dimension = 0 : tensor<2x3xf32>, tensor<2x3xf32> -> tensor<4x3xf32>
  func.return %0 : tensor<4x3xf32>
}
