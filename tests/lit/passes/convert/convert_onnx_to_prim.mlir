// RUN: tstorch-opt %s -p convert-onnx-to-prim --split-input-file --print-debuginfo --verify-diagnostics | filecheck %s

// Tests that a broadcast becomes an op of its own, under the node's name.
builtin.module attributes {onnx.opset = {ai.onnx = 20 : i64}} {
  // CHECK-LABEL: func.func @broadcast
  func.func @broadcast(%x: tensor<2x3xf32>, %b: tensor<3xf32>) -> tensor<2x3xf32> {
    // CHECK: %[[B:.*]] = prim.broadcast_in_dim %b, shape = [2, 3], dimensions = [1] {{.*}} loc("bias/Add")
    // CHECK-NEXT: prim.add %x, %[[B]] : tensor<2x3xf32> loc("bias/Add")
    %y = onnx.Add(%x, %b) : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32> loc("bias/Add")
    func.return %y : tensor<2x3xf32>
  }
}

// -----

// Tests that what only a shape is computed with is folded here, and that the function's types become known.
// CHECK: tst.elided = {concat = "folded: what it computes is known at compile time", first = {{.*}}, last = {{.*}}, shape = "folded{{.*}}"}
builtin.module attributes {onnx.opset = {ai.onnx = 20 : i64}} {
  // CHECK-LABEL: func.func @shapes(%x: tensor<2x3x4xf32> {{.*}}) -> tensor<2x12xf32>
  func.func @shapes(%x: tensor<2x3x4xf32>) -> !onnx.any {
    %zero = onnx.initializer "zero" dense<0> : tensor<1xi64>
    %rest = onnx.initializer "rest" dense<-1> : tensor<1xi64>
    %s = onnx.Shape(%x) : (tensor<2x3x4xf32>) -> !onnx.any loc("shape")
    %b = onnx.Gather(%s, %zero) : (!onnx.any, tensor<1xi64>) -> !onnx.any loc("first")
    %n = onnx.Concat(%b, %rest) {axis = 0 : i64} : (!onnx.any, tensor<1xi64>) -> !onnx.any loc("concat")
    // CHECK-NEXT: prim.reshape %x, shape = [2, 12] : tensor<2x3x4xf32> -> tensor<2x12xf32> loc("reshape")
    %y = onnx.Reshape(%x, %n) : (tensor<2x3x4xf32>, !onnx.any) -> !onnx.any loc("reshape")
    // CHECK-NEXT: return
    %z = onnx.Identity(%y) : (!onnx.any) -> !onnx.any loc("last")
    func.return %z : !onnx.any
  }
}

// -----

// Tests that batch norm's factor is computed from weights alone, so that it can move to @init.
builtin.module attributes {onnx.opset = {ai.onnx = 15 : i64}} {
  // CHECK-LABEL: func.func @batch_norm
  func.func @batch_norm(%x: tensor<1x2x4xf32>) -> !onnx.any {
    // CHECK: %[[S:.*]] = prim.weight<"n.onnx", "s", "d">
    %s = onnx.initializer <"n.onnx", "s", "d"> : tensor<2xf32>
    %b = onnx.initializer <"n.onnx", "b", "d"> : tensor<2xf32>
    %m = onnx.initializer <"n.onnx", "m", "d"> : tensor<2xf32>
    %v = onnx.initializer <"n.onnx", "v", "d"> : tensor<2xf32>
    // CHECK: %[[R:.*]] = prim.rsqrt %{{.*}} : tensor<2xf32>
    // CHECK-NEXT: prim.mul %[[S]], %[[R]] : tensor<2xf32>
    %y = onnx.BatchNormalization(%x, %s, %b, %m, %v) : (tensor<1x2x4xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> !onnx.any loc("bn")
    func.return %y : !onnx.any
  }
}

// -----

// Tests that softmax normalised all trailing axes up to opset 12, one axis since 13.
builtin.module attributes {onnx.opset = {ai.onnx = 11 : i64}} {
  // CHECK-LABEL: func.func @softmax
  func.func @softmax(%x: tensor<2x3x4xf32>) -> (!onnx.any, !onnx.any) {
    // CHECK: prim.reduce max %x, dimensions = [1, 2]
    %y = onnx.Softmax(%x) {axis = 1 : i64} : (tensor<2x3x4xf32>) -> !onnx.any loc("old")
    // CHECK: prim.reduce max %x, dimensions = [1] :
    %z = onnx.Softmax(%x) {axis = 1 : i64, opset = 13 : i64} : (tensor<2x3x4xf32>) -> !onnx.any loc("new")
    func.return %y, %z : !onnx.any, !onnx.any
  }
}

// -----

// Tests that an operator without a rule takes the definition that ONNX gives, under the one node's name.
builtin.module attributes {onnx.opset = {ai.onnx = 20 : i64}} {
  // CHECK-LABEL: func.func @defined
  func.func @defined(%x: tensor<1x1x4x4xf32>, %size: tensor<2x2xf32>) -> !onnx.any {
    %n = onnx.initializer "n" dense<[2, 2]> : tensor<2xi64>
    // CHECK-NOT: onnx
    // CHECK: loc("crop")
    %y = onnx.CenterCropPad(%x, %n) {axes = array<i64: 2, 3>} : (tensor<1x1x4x4xf32>, tensor<2xi64>) -> !onnx.any loc("crop")
    func.return %y : !onnx.any
  }
}

// -----

// Tests that all unsupported operators are listed at once, with what they take and why they have no form.
// CHECK: 2 operators of the model cannot be compiled:
// CHECK-NEXT: RandomNormalLike (opset 20) of tensor<4xf32>: 2 nodes: 'a', 'b'; its results are drawn at random
// CHECK-NEXT: RandomUniformLike (opset 20) of tensor<4xf32>: 1 node: 'c'; its results are drawn at random
builtin.module attributes {onnx.opset = {ai.onnx = 20 : i64}} {
  func.func @unsupported(%x: tensor<4xf32>) -> !onnx.any {
    %a = onnx.RandomNormalLike(%x) : (tensor<4xf32>) -> !onnx.any loc("a")
    %c = onnx.RandomUniformLike(%x) : (tensor<4xf32>) -> !onnx.any loc("c")
    %b = onnx.RandomNormalLike(%x) : (tensor<4xf32>) -> !onnx.any loc("b")
    func.return %b : !onnx.any
  }
}

// -----

// Tests that a shape which depends on data is refused by the node's name.
// CHECK: onnx 'to' (Reshape, opset 20): input 1 decides shapes and depends on data
builtin.module attributes {onnx.opset = {ai.onnx = 20 : i64}} {
  func.func @dynamic(%x: tensor<4xf32>, %n: tensor<2xi64>) -> !onnx.any {
    %y = onnx.Reshape(%x, %n) : (tensor<4xf32>, tensor<2xi64>) -> !onnx.any loc("to")
    func.return %y : !onnx.any
  }
}

// -----

// Tests that a stated type that lies is refused.
// CHECK: onnx 'sum' (Add, opset 20): output 0 is tensor<4xf32>, the file states tensor<5xf32>; one of them is wrong
builtin.module attributes {onnx.opset = {ai.onnx = 20 : i64}} {
  func.func @lie(%x: tensor<4xf32>) -> tensor<5xf32> {
    %y = onnx.Add(%x, %x) : (tensor<4xf32>, tensor<4xf32>) -> tensor<5xf32> loc("sum")
    func.return %y : tensor<5xf32>
  }
}

// -----

// Tests that operands of other element types are refused by the node's name.
// CHECK: onnx 'mixed' (Add, opset 20): operands differ
builtin.module attributes {onnx.opset = {ai.onnx = 20 : i64}} {
  func.func @mixed(%x: tensor<4xf32>, %y: tensor<4xi32>) -> !onnx.any {
    %z = onnx.Add(%x, %y) : (tensor<4xf32>, tensor<4xi32>) -> !onnx.any loc("mixed")
    func.return %z : !onnx.any
  }
}

// -----

// Tests that a branch whose condition is known stands in the place of its node, and that the other may hold anything.
// CHECK-LABEL: func.func @taken
// CHECK-NEXT:  %[[Y:.*]] = prim.exp %x : tensor<4xf32> loc("choose/then_branch/a")
// CHECK-NEXT:  func.return %[[Y]]
builtin.module attributes {onnx.opset = {ai.onnx = 20 : i64}} {
  func.func @taken(%x: tensor<4xf32>) -> !onnx.any {
    %true = onnx.initializer "true" dense<true> : tensor<i1>
    %y = onnx.If(%true) else_branch {
      %b = onnx.RandomNormalLike(%x) : (tensor<4xf32>) -> !onnx.any loc("choose/else_branch/b")
      onnx.yield %b : !onnx.any
    } then_branch {
      %a = onnx.Exp(%x) : (tensor<4xf32>) -> !onnx.any loc("choose/then_branch/a")
      onnx.yield %a : !onnx.any
    } : (tensor<i1>) -> !onnx.any loc("choose")
    func.return %y : !onnx.any
  }
}

// -----

// Tests that a loop of known length is a copy of its body for each iteration, all under the names of the body's nodes.
// CHECK-LABEL: func.func @twice
// CHECK-NEXT:  %[[A:.*]] = prim.exp %x : tensor<4xf32> loc("again/body/e")
// CHECK-NEXT:  %[[B:.*]] = prim.exp %[[A]] : tensor<4xf32> loc("again/body/e")
// CHECK-NEXT:  func.return %[[B]]
builtin.module attributes {onnx.opset = {ai.onnx = 20 : i64}} {
  func.func @twice(%x: tensor<4xf32>) -> !onnx.any {
    %two = onnx.initializer "two" dense<2> : tensor<i64>
    %y = onnx.Loop(%two, _, %x) body {
    ^bb0(%step: tensor<i64>, %going: tensor<i1>, %state: !onnx.any):
      %e = onnx.Exp(%state) : (!onnx.any) -> !onnx.any loc("again/body/e")
      onnx.yield %going, %e : tensor<i1>, !onnx.any
    } : (tensor<i64>, tensor<4xf32>) -> !onnx.any loc("again")
    func.return %y : !onnx.any
  }
}

// -----

// Tests that a loop whose length depends on data is refused by the node's name.
// CHECK: onnx 'again' (Loop, opset 20): input 0 decides how often the body runs and depends on data
builtin.module attributes {onnx.opset = {ai.onnx = 20 : i64}} {
  func.func @open(%n: tensor<i64>, %x: tensor<4xf32>) -> !onnx.any {
    %y = onnx.Loop(%n, _, %x) body {
    ^bb0(%step: tensor<i64>, %going: tensor<i1>, %state: !onnx.any):
      onnx.yield %going, %state : tensor<i1>, !onnx.any
    } : (tensor<i64>, tensor<4xf32>) -> !onnx.any loc("again")
    func.return %y : !onnx.any
  }
}
