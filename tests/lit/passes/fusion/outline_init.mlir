// RUN: tstorch-opt %s -p outline-init --split-input-file --print-debuginfo | filecheck %s

// Tests that a folded batch norm is computed at load, that the raw weight leaves the graph, and that node ids go along.
// CHECK:       program.entry "init" {
// CHECK-NEXT:    program.run @init
// CHECK-NEXT:  }
// CHECK-LABEL: func.func @init
// CHECK-SAME:  -> (tensor<2x4xf32> {tst.name = "w.derived"})
// CHECK-NEXT:  %[[W:.*]] = prim.weight<"m.onnx", "w", "9f2c"> : tensor<2x4xf32>
// CHECK:       %[[R:.*]] = prim.mul %[[W]], %{{.*}} : tensor<2x4xf32> loc(fused["/conv", "/bn"])
// CHECK-NEXT:  return %[[R]]
// CHECK:       func.func @folded
// CHECK-NEXT:  %[[D:.*]] = prim.derived "w.derived" : tensor<2x4xf32>
// CHECK-NEXT:  prim.dot_general %x, %[[D]]
// CHECK-NEXT:  return
func.func @folded(%x: tensor<1x4xf32>) -> tensor<1x2xf32> {
  %w = prim.weight<"m.onnx", "w", "9f2c"> : tensor<2x4xf32>
  %s = prim.weight<"m.onnx", "s", "1a2b"> : tensor<2xf32>
  %b = prim.broadcast_in_dim %s, shape = [2, 4], dimensions = [0] : tensor<2xf32> -> tensor<2x4xf32> loc("/bn")
  %f = prim.mul %w, %b : tensor<2x4xf32> loc(fused["/conv", "/bn"])
  %r = prim.dot_general %x, %f, batch = [] x [], contract = [1] x [1] : tensor<1x4xf32>, tensor<2x4xf32> -> tensor<1x2xf32> loc("/conv")
  func.return %r : tensor<1x2xf32>
}

// -----

// Tests that broadcasting a weight stays in the graph: done at load, it would only take memory.
// CHECK-NOT:   @init
// CHECK-LABEL: func.func @broadcast
// CHECK:       prim.broadcast_in_dim
func.func @broadcast(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %s = prim.weight<"m.onnx", "s", "1a2b"> : tensor<4xf32>
  %b = prim.broadcast_in_dim %s, shape = [2, 4], dimensions = [1] : tensor<4xf32> -> tensor<2x4xf32> loc("/add")
  %r = prim.add %x, %b : tensor<2x4xf32> loc("/add")
  func.return %r : tensor<2x4xf32>
}

// -----

// Tests that a trainable weight is never folded away, and that what mixes with an input stays.
// CHECK-NOT:   @init
// CHECK-LABEL: func.func @trainable_weight
// CHECK:       prim.weight{{.*}} trainable
// CHECK:       prim.exp
func.func @trainable_weight(%x: tensor<4xf32>) -> tensor<4xf32> {
  %w = prim.weight<"m.onnx", "w", "9f2c"> trainable : tensor<4xf32>
  %e = prim.exp %w : tensor<4xf32> loc("/exp")
  %r = prim.add %x, %e : tensor<4xf32> loc("/add")
  func.return %r : tensor<4xf32>
}

// -----

// Tests that a transpose that a product reads through is done at load, under a name of its own where one is taken.
// CHECK-LABEL: func.func @init
// CHECK-SAME:  tst.name = "w.derived"
// CHECK-SAME:  tst.name = "w.derived.2"
// CHECK:       func.func @transposed
// CHECK-NOT:   prim.transpose
func.func @transposed(%x: tensor<1x4xf32>, %y: tensor<4x4xf32>) -> (tensor<1x4xf32>, tensor<4x4xf32>) {
  %w = prim.weight<"m.onnx", "w", "9f2c"> : tensor<4x4xf32>
  %t = prim.transpose %w, permutation = [1, 0] : tensor<4x4xf32> -> tensor<4x4xf32> loc("/t")
  %r = prim.dot_general %x, %t, batch = [] x [], contract = [1] x [0] : tensor<1x4xf32>, tensor<4x4xf32> -> tensor<1x4xf32> loc("/mm")
  %e = prim.exp %w : tensor<4x4xf32> loc("/exp")
  %s = prim.add %y, %e : tensor<4x4xf32> loc("/add")
  func.return %r, %s : tensor<1x4xf32>, tensor<4x4xf32>
}
