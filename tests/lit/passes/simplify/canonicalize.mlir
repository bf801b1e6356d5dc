// RUN: tstorch-opt %s -p canonicalize --print-debuginfo | filecheck %s

// Tests that an op that gives back its operand goes, with the reason under its name.
// CHECK:       tst.elided = {{[{].*}}add = "folded: it gives back a value it was given"
// CHECK-LABEL: func.func @identity
// CHECK-NEXT:  return %x
func.func @identity(%x: i32) -> i32 {
  %zero = arith.constant 0 : i32
  %a = arith.addi %x, %zero : i32 loc("add")
  func.return %a : i32
}

// Tests that a constant carries the names of the ops that it was folded from.
// CHECK-LABEL: func.func @constant
// CHECK-NEXT:  arith.constant 5 : i32 loc(fused["two", "three", "sum"])
func.func @constant() -> i32 {
  %two = arith.constant 2 : i32 loc("two")
  %three = arith.constant 3 : i32 loc("three")
  %sum = arith.addi %two, %three : i32 loc("sum")
  func.return %sum : i32
}

// Tests that an addition of what is no zero stays.
// CHECK-LABEL: func.func @kept
// CHECK:       arith.addi
func.func @kept(%x: i32) -> i32 {
  %one = arith.constant 1 : i32
  %a = arith.addi %x, %one : i32 loc("add_2")
  func.return %a : i32
}

// Tests that moves merge into one and those that move nothing go.
// CHECK-LABEL: func.func @moves
// CHECK-NEXT:  return %x
func.func @moves(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
  %a = prim.transpose %x, permutation = [1, 0] : tensor<2x3xf32> -> tensor<3x2xf32> loc("t1")
  %b = prim.transpose %a, permutation = [1, 0] : tensor<3x2xf32> -> tensor<2x3xf32> loc("t2")
  %c = prim.reshape %b, shape = [6] : tensor<2x3xf32> -> tensor<6xf32> loc("r1")
  %d = prim.reshape %c, shape = [2, 3] : tensor<6xf32> -> tensor<2x3xf32> loc("r2")
  func.return %d : tensor<2x3xf32>
}

// Tests that a transpose between two reshapes stays, and so does a broadcast along another dimension of equal size.
// CHECK-LABEL: func.func @moves_that_move
// CHECK:       prim.reshape
// CHECK:       prim.transpose
// CHECK:       prim.reshape
// CHECK:       prim.broadcast_in_dim
func.func @moves_that_move(%x: tensor<2x2xf32>) -> tensor<2x2xf32> {
  %a = prim.reshape %x, shape = [4, 1] : tensor<2x2xf32> -> tensor<4x1xf32> loc("r3")
  %b = prim.transpose %a, permutation = [1, 0] : tensor<4x1xf32> -> tensor<1x4xf32> loc("t3")
  %c = prim.reshape %b, shape = [2, 2] : tensor<1x4xf32> -> tensor<2x2xf32> loc("r4")
  %d = prim.broadcast_in_dim %c, shape = [2, 2], dimensions = [1, 0] : tensor<2x2xf32> -> tensor<2x2xf32> loc("b1")
  func.return %d : tensor<2x2xf32>
}

// Tests that vectors that spread alike are combined before they spread, past a reshape that only adds ones.
// CHECK-LABEL: func.func @vectors
// CHECK-NEXT:  %[[V:.*]] = prim.mul %a, %b : tensor<3xf32>
// CHECK-NEXT:  prim.broadcast_in_dim %[[V]], shape = [2, 3, 4], dimensions = [1]
func.func @vectors(%a: tensor<3xf32>, %b: tensor<3xf32>) -> tensor<2x3x4xf32> {
  %c = prim.reshape %a, shape = [1, 3, 1] : tensor<3xf32> -> tensor<1x3x1xf32> loc("r5")
  %d = prim.broadcast_in_dim %c, shape = [2, 3, 4], dimensions = [0, 1, 2] : tensor<1x3x1xf32> -> tensor<2x3x4xf32> loc("b2")
  %e = prim.broadcast_in_dim %b, shape = [2, 3, 4], dimensions = [1] : tensor<3xf32> -> tensor<2x3x4xf32> loc("b3")
  %f = prim.mul %d, %e : tensor<2x3x4xf32> loc("mul")
  func.return %f : tensor<2x3x4xf32>
}

// Tests that a float times 1 goes and that a float plus 0 stays, for it makes 0 of -0.
// CHECK-LABEL: func.func @neutral
// CHECK-NOT:   prim.mul
// CHECK:       prim.add
func.func @neutral(%x: tensor<f32>) -> tensor<f32> {
  %zero = prim.constant dense<0.0> : tensor<f32>
  %one = prim.constant dense<1.0> : tensor<f32>
  %a = prim.mul %one, %x : tensor<f32> loc("mul_2")
  %b = prim.add %a, %zero : tensor<f32> loc("add_3")
  func.return %b : tensor<f32>
}
