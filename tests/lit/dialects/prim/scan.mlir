// RUN: tstorch-opt %s | filecheck %s
// RUN: tstorch-opt %s --print-op-generic | tstorch-opt | filecheck %s

// Tests that a scan prints its operands, how many are states and sequences, its direction and its region.
// CHECK-LABEL: func.func @scan
func.func @scan(%h: tensor<2x4xf32>, %x: tensor<9x2x4xf32>, %w: tensor<2x4xf32>) -> (tensor<2x4xf32>, tensor<9x2x4xf32>) {
  // CHECK:      %[[LAST:.*]], %[[ALL:.*]] = prim.scan(%{{.*}}, %{{.*}}, %{{.*}}) states = 1, sequences = 1 backwards batched {
  // CHECK-NEXT: ^{{.*}}(%[[STATE:.*]]: tensor<2x4xf32>, %[[ELEMENT:.*]]: tensor<2x4xf32>, %[[SHARED:.*]]: tensor<2x4xf32>):
  // CHECK-NEXT:   %[[P:.*]] = prim.mul %[[STATE]], %[[SHARED]]
  // CHECK-NEXT:   %[[S:.*]] = prim.add %[[P]], %[[ELEMENT]]
  // CHECK-NEXT:   prim.yield %[[S]], %[[P]]
  %last, %all = prim.scan(%h, %x, %w) states = 1, sequences = 1 backwards batched {
  ^bb0(%state: tensor<2x4xf32>, %element: tensor<2x4xf32>, %shared: tensor<2x4xf32>):
    %p = prim.mul %state, %shared : tensor<2x4xf32>
    %s = prim.add %p, %element : tensor<2x4xf32>
    prim.yield %s, %p : tensor<2x4xf32>, tensor<2x4xf32>
  } : (tensor<2x4xf32>, tensor<9x2x4xf32>, tensor<2x4xf32>) -> (tensor<2x4xf32>, tensor<9x2x4xf32>)
  // CHECK: func.return %[[LAST]], %[[ALL]]
  func.return %last, %all : tensor<2x4xf32>, tensor<9x2x4xf32>
}
