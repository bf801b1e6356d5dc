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

// -----

// Tests that a small value that two others need is computed for each of them, next to it.
// CHECK-LABEL: func.func @init
// CHECK:       %[[S:.*]] = prim.exp %{{.*}} : tensor<2xf32> loc("/bn")
// CHECK-NEXT:  %[[B:.*]] = prim.broadcast_in_dim %[[S]]
// CHECK-NEXT:  %[[W:.*]] = prim.mul %{{.*}}, %[[B]] : tensor<2x4xf32>
// CHECK:       %[[T:.*]] = prim.exp %{{.*}} : tensor<2xf32> loc("/bn")
// CHECK-NEXT:  %[[C:.*]] = prim.neg %[[T]]
// CHECK-NEXT:  return %[[W]], %[[C]]
// CHECK-LABEL: func.func @shared
func.func @shared(%x: tensor<1x4xf32>) -> tensor<1x2xf32> {
  %w = prim.weight<"m.onnx", "w", "9f2c"> : tensor<2x4xf32>
  %s = prim.weight<"m.onnx", "s", "1a2b"> : tensor<2xf32>
  %e = prim.exp %s : tensor<2xf32> loc("/bn")
  %b = prim.broadcast_in_dim %e, shape = [2, 4], dimensions = [0] : tensor<2xf32> -> tensor<2x4xf32> loc("/bn")
  %f = prim.mul %w, %b : tensor<2x4xf32> loc("/conv")
  %n = prim.neg %e : tensor<2xf32> loc("/bias")
  %r = prim.dot_general %x, %f, batch = [] x [], contract = [1] x [1] : tensor<1x4xf32>, tensor<2x4xf32> -> tensor<1x2xf32> loc("/conv")
  %c = prim.broadcast_in_dim %n, shape = [1, 2], dimensions = [1] : tensor<2xf32> -> tensor<1x2xf32> loc("/bias")
  %y = prim.add %r, %c : tensor<1x2xf32> loc("/bias")
  func.return %y : tensor<1x2xf32>
}

// -----

// Tests that a large value that two others need is computed once.
// CHECK-LABEL: func.func @init
// CHECK:       prim.exp
// CHECK-NOT:   prim.exp
// CHECK-LABEL: func.func @large
func.func @large(%x: tensor<8192xf32>) -> tensor<8192xf32> {
  %w = prim.weight<"m.onnx", "w", "9f2c"> : tensor<8192xf32>
  %e = prim.exp %w : tensor<8192xf32> loc("/e")
  %f = prim.neg %e : tensor<8192xf32> loc("/f")
  %g = prim.abs %e : tensor<8192xf32> loc("/g")
  %r = prim.mul %x, %f : tensor<8192xf32> loc("/r")
  %y = prim.add %r, %g : tensor<8192xf32> loc("/y")
  func.return %y : tensor<8192xf32>
}

// -----

// Tests that truth values that weights decide are stored as words.
// CHECK-LABEL: func.func @init
// CHECK-SAME:  -> (tensor<4xui32> {tst.name = "m.derived"})
// CHECK:       %[[W:.*]] = prim.convert %{{.*}} to ui32 : tensor<4xi1> -> tensor<4xui32> loc("/mask")
// CHECK-NEXT:  return %[[W]]
// CHECK-LABEL: func.func @truth
// CHECK-NEXT:  %[[D:.*]] = prim.derived "m.derived" : tensor<4xui32>
// CHECK-NEXT:  %[[T:.*]] = prim.convert %[[D]] to i1 : tensor<4xui32> -> tensor<4xi1> loc("/where")
// CHECK-NEXT:  prim.select %[[T]]
func.func @truth(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {
  %m = prim.weight<"m.onnx", "m", "9f2c"> : tensor<4xi32>
  %z = prim.weight<"m.onnx", "z", "1a2b"> : tensor<4xi32>
  %c = prim.compare lt %m, %z : tensor<4xi32> -> tensor<4xi1> loc("/mask")
  %r = prim.select %c, %x, %y : tensor<4xi1>, tensor<4xf32> loc("/where")
  func.return %r : tensor<4xf32>
}

// -----

// Tests that a conversion to a wider type stays where the weight is read, and one to a narrower type does not.
// CHECK-LABEL: func.func @init
// CHECK-SAME:  -> (tensor<4xf16> {tst.name = "v.derived"})
// CHECK-LABEL: func.func @converted
// CHECK:       prim.weight<"m.onnx", "w", "9f2c"> : tensor<4xf16>
// CHECK:       prim.convert {{.*}} to f32
// CHECK:       prim.derived "v.derived" : tensor<4xf16>
func.func @converted(%x: tensor<4xf32>, %y: tensor<4xf16>) -> (tensor<4xf32>, tensor<4xf16>) {
  %w = prim.weight<"m.onnx", "w", "9f2c"> : tensor<4xf16>
  %wide = prim.convert %w to f32 : tensor<4xf16> -> tensor<4xf32> loc("/cast")
  %r = prim.add %x, %wide : tensor<4xf32> loc("/add")
  %v = prim.weight<"m.onnx", "v", "1a2b"> : tensor<4xf32>
  %narrow = prim.convert %v to f16 : tensor<4xf32> -> tensor<4xf16> loc("/narrow")
  %s = prim.mul %y, %narrow : tensor<4xf16> loc("/mul")
  func.return %r, %s : tensor<4xf32>, tensor<4xf16>
}

// -----

// Tests that weights of four bits stay packed: unpacked at load they would take eight times the memory.
// CHECK-NOT:   @init
// CHECK-LABEL: func.func @packed
// CHECK:       prim.shift_right
func.func @packed(%x: tensor<1x16xf32>) -> tensor<1x4xf32> {
  %w = prim.weight<"m.onnx", "w", "9f2c"> : tensor<4x8xui8>
  %u = prim.convert %w to ui32 : tensor<4x8xui8> -> tensor<4x8xui32> loc("/mm")
  %b = prim.broadcast_in_dim %u, shape = [4, 8, 2], dimensions = [0, 1] : tensor<4x8xui32> -> tensor<4x8x2xui32> loc("/mm")
  %i = prim.iota dimension = 2 : tensor<4x8x2xui32> loc("/mm")
  %c = prim.constant dense<4> : tensor<ui32> loc("/mm")
  %four = prim.broadcast_in_dim %c, shape = [4, 8, 2], dimensions = [] : tensor<ui32> -> tensor<4x8x2xui32> loc("/mm")
  %s = prim.mul %i, %four : tensor<4x8x2xui32> loc("/mm")
  %h = prim.shift_right %b, %s : tensor<4x8x2xui32> loc("/mm")
  %f = prim.convert %h to f32 : tensor<4x8x2xui32> -> tensor<4x8x2xf32> loc("/mm")
  %m = prim.reshape %f, shape = [4, 16] : tensor<4x8x2xf32> -> tensor<4x16xf32> loc("/mm")
  %r = prim.dot_general %x, %m, batch = [] x [], contract = [1] x [1] : tensor<1x16xf32>, tensor<4x16xf32> -> tensor<1x4xf32> loc("/mm")
  func.return %r : tensor<1x4xf32>
}

// -----

// Tests that what is derived from a derived tensor is computed without it: the two may share a buffer.
// CHECK-LABEL: func.func @init
// CHECK-COUNT-2: prim.dot_general
// CHECK:       prim.exp
// CHECK-LABEL: func.func @again
func.func @again(%x: tensor<80x80xf32>) -> (tensor<80x80xf32>, tensor<80x80xf32>) {
  %w = prim.weight<"m.onnx", "w", "9f2c"> : tensor<80x80xf32>
  %a = prim.dot_general %w, %w, batch = [] x [], contract = [1] x [0] : tensor<80x80xf32>, tensor<80x80xf32> -> tensor<80x80xf32> loc("/square")
  %b = prim.exp %a : tensor<80x80xf32> loc("/exp")
  %r = prim.add %x, %a : tensor<80x80xf32> loc("/add")
  %s = prim.add %x, %b : tensor<80x80xf32> loc("/sum")
  func.return %r, %s : tensor<80x80xf32>, tensor<80x80xf32>
}
