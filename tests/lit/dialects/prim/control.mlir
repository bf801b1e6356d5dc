// RUN: tstorch-opt %s | filecheck %s
// RUN: tstorch-opt %s --print-op-generic | tstorch-opt | filecheck %s

// Tests that a composite prints its label, its operands and the region that defines it.
// CHECK-LABEL: func.func @composite
func.func @composite(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK:      %[[R:.*]] = prim.composite "gelu"(%{{.*}}, %{{.*}}) {
  // CHECK-NEXT: ^{{.*}}(%[[X:.*]]: tensor<4xf32>, %[[Y:.*]]: tensor<4xf32>):
  // CHECK-NEXT:   %[[E:.*]] = prim.erf %[[X]] : tensor<4xf32>
  // CHECK-NEXT:   %[[M:.*]] = prim.mul %[[E]], %[[Y]] : tensor<4xf32>
  // CHECK-NEXT:   prim.yield %[[M]] : tensor<4xf32>
  // CHECK-NEXT: } : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %r = prim.composite "gelu" (%a, %b) {
  ^bb0(%x: tensor<4xf32>, %y: tensor<4xf32>):
    %e = prim.erf %x : tensor<4xf32>
    %m = prim.mul %e, %y : tensor<4xf32>
    prim.yield %m : tensor<4xf32>
  } : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  // CHECK: func.return %[[R]]
  func.return %r : tensor<4xf32>
}
