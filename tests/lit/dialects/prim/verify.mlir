// RUN: tstorch-opt %s --split-input-file --verify-diagnostics | filecheck %s

// Tests that a result has the inferred type.
// CHECK: prim.reshape gives tensor<3x2xf32>, not tensor<6xf32>
func.func @wrong_result(%x: tensor<2x3xf32>) -> tensor<6xf32> {
  %r = prim.reshape %x, shape = [3, 2] : tensor<2x3xf32> -> tensor<6xf32>
  func.return %r : tensor<6xf32>
}

// -----

// Tests that an element type without the function is refused.
// CHECK: prim.exp is not defined on i64
func.func @wrong_domain(%x: tensor<2xi64>) -> tensor<2xi64> {
  %r = prim.exp %x : tensor<2xi64>
  func.return %r : tensor<2xi64>
}

// -----

// Tests that a composite's region takes the operands as they are.
// CHECK: the region's arguments are not of the operands' types
func.func @wrong_region(%a: tensor<4xf32>) -> tensor<4xf32> {
  %r = prim.composite "id" (%a) {
  ^bb0(%x: tensor<5xf32>):
    prim.yield %x : tensor<5xf32>
  } : (tensor<4xf32>) -> tensor<4xf32>
  func.return %r : tensor<4xf32>
}

// -----

// Tests that element types without numbers are refused.
// CHECK: no tensor of a primitive element type
func.func @wrong_element(%x: tensor<2xindex>) -> tensor<2xindex> {
  %r = prim.add %x, %x : tensor<2xindex>
  func.return %r : tensor<2xindex>
}
