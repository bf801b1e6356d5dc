// RUN: tstorch-opt %s -p fold-constants --print-debuginfo | filecheck %s

// Tests that a chain of known values becomes one constant, which carries all their names.
// CHECK-LABEL: func.func @chain
// CHECK-NEXT:  prim.constant dense<[6, 8]> : tensor<2xi64> loc(fused["a", "b", "sum", "twice"])
// CHECK-NEXT:  return
func.func @chain() -> tensor<2xi64> {
  %a = prim.constant dense<[2, 3]> : tensor<2xi64> loc("a")
  %b = prim.constant dense<[1, 1]> : tensor<2xi64> loc("b")
  %c = prim.add %a, %b : tensor<2xi64> loc("sum")
  %d = prim.add %c, %c : tensor<2xi64> loc("twice")
  func.return %d : tensor<2xi64>
}

// Tests that a number stays a number: its broadcast is no constant to store.
// CHECK-LABEL: func.func @broadcast
// CHECK-NEXT:  prim.constant dense<0.0> : tensor<f32>
// CHECK-NEXT:  prim.broadcast_in_dim
func.func @broadcast() -> tensor<2x2xf32> {
  %zero = prim.constant dense<0.0> : tensor<f32>
  %full = prim.broadcast_in_dim %zero, shape = [2, 2], dimensions = [] : tensor<f32> -> tensor<2x2xf32> loc("relu")
  func.return %full : tensor<2x2xf32>
}

// Tests that what weights decide is left to @init.
// CHECK-LABEL: func.func @weights
// CHECK:       prim.rsqrt
func.func @weights() -> tensor<2xf32> {
  %w = prim.weight <"n.onnx", "w", "d"> : tensor<2xf32>
  %r = prim.rsqrt %w : tensor<2xf32> loc("bn")
  func.return %r : tensor<2xf32>
}

// Tests that a result of more than 64 elements is not put into the text.
// CHECK-LABEL: func.func @large
// CHECK:       prim.iota
// CHECK-NEXT:  prim.neg
func.func @large() -> tensor<65xi32> {
  %a = prim.iota dimension = 0 : tensor<65xi32> loc("range")
  %b = prim.neg %a : tensor<65xi32> loc("neg")
  func.return %b : tensor<65xi32>
}
