// RUN: tstorch-opt %s -p expand-autodiff{loss="cross-entropy"} --remarks --print-debuginfo --split-input-file 2>&1 | filecheck %s

// CHECK:       remark: analysis TST-D001 at "softmax"
// CHECK:       remark: analysis TST-D002 at "round": the gradient does not pass prim.round
// CHECK:       remark: analysis TST-D003: the loss does not depend on 'w'

// Tests that cross-entropy steps over the final softmax and says so, and that the gradients of two uses are added.
// CHECK-LABEL: func.func @main
// CHECK-SAME:  %labels: tensor<2xi32> {tst.name = "labels", tst.dtype = "int64"
// CHECK-SAME:  tensor<f32> {tst.name = "loss"}, tensor<2x3xf32> {{.*}}tst.gradient = "w"
// CHECK-NOT:   prim.div {{.*}} loc("softmax")
// CHECK:       prim.log {{.*}} loc("softmax")
// CHECK:       %[[A:.*]] = prim.mul {{.*}} loc("square"("backward"))
// CHECK-NEXT:  %[[B:.*]] = prim.mul {{.*}} loc("square"("backward"))
// CHECK-NEXT:  prim.add %[[A]], %[[B]] : tensor<2x3xf32> loc("square"("backward"))
func.func @main(%x: tensor<2x3xf32> {tst.name = "x"}) -> (tensor<2x3xf32> {tst.name = "y"}) {
  %w = prim.weight <"m.onnx", "w", "9f2c"> trainable : tensor<2x3xf32>
  %y = prim.mul %w, %w : tensor<2x3xf32> loc("square")
  %m = prim.reduce max %y, dimensions = [1] : tensor<2x3xf32> -> tensor<2xf32> loc("softmax")
  %b = prim.broadcast_in_dim %m, shape = [2, 3], dimensions = [0] : tensor<2xf32> -> tensor<2x3xf32> loc("softmax")
  %s = prim.sub %y, %b : tensor<2x3xf32> loc("softmax")
  %e = prim.exp %s : tensor<2x3xf32> loc("softmax")
  %t = prim.reduce add %e, dimensions = [1] : tensor<2x3xf32> -> tensor<2xf32> loc("softmax")
  %u = prim.broadcast_in_dim %t, shape = [2, 3], dimensions = [0] : tensor<2xf32> -> tensor<2x3xf32> loc("softmax")
  %p = prim.div %e, %u : tensor<2x3xf32> loc("softmax")
  func.return %p : tensor<2x3xf32>
}

// -----

// Tests that a quotient that only looks like a softmax (the sum is along the other axis) is kept inside the loss.
// CHECK-LABEL: func.func @main
// CHECK:       prim.div {{.*}} loc("quotient")
// CHECK:       prim.log {{.*}} loc("quotient")
// CHECK-NOT:   TST-D001
func.func @main(%x: tensor<3x3xf32> {tst.name = "x"}) -> (tensor<3x3xf32> {tst.name = "p"}) {
  %w = prim.weight <"m.onnx", "w", "9f2c"> : tensor<3x3xf32>
  %y = prim.mul %x, %w : tensor<3x3xf32>
  %m = prim.reduce max %y, dimensions = [1] : tensor<3x3xf32> -> tensor<3xf32>
  %b = prim.broadcast_in_dim %m, shape = [3, 3], dimensions = [0] : tensor<3xf32> -> tensor<3x3xf32>
  %s = prim.sub %y, %b : tensor<3x3xf32>
  %e = prim.exp %s : tensor<3x3xf32>
  %t = prim.reduce add %e, dimensions = [1] : tensor<3x3xf32> -> tensor<3xf32>
  %u = prim.broadcast_in_dim %t, shape = [3, 3], dimensions = [1] : tensor<3xf32> -> tensor<3x3xf32>
  %p = prim.div %e, %u : tensor<3x3xf32> loc("quotient")
  func.return %p : tensor<3x3xf32>
}

// -----

// Tests that a gradient stops at a step function, that this is said, and that what is left is zero.
// CHECK-LABEL: func.func @main
// CHECK:       prim.constant dense<0.0> : tensor<f32> loc("round"("backward"))
func.func @main(%x: tensor<2x3xf32> {tst.name = "x"}) -> (tensor<2x3xf32> {tst.name = "y"}) {
  %w = prim.weight <"m.onnx", "w", "9f2c"> : tensor<2x3xf32>
  %y = prim.round %w : tensor<2x3xf32> loc("round")
  func.return %y : tensor<2x3xf32>
}
