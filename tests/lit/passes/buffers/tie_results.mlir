// RUN: tstorch-opt %s -p tie-results --split-input-file | filecheck %s

// Tests that a residual sum takes the place of the operand that is used here for the last time, in a kernel of its own.
// CHECK-LABEL: flow.kernel @add_0_over_1
// CHECK-SAME:  tied = array<i64: 1>
// CHECK:       func.func @last_use
// CHECK-NEXT:  %[[A:.*]] = flow.dispatch @exp_0(%x)
// CHECK-NEXT:  flow.dispatch @add_0_over_1(%x, %[[A]]) {{.*}}tied = array<i64: 1>
flow.kernel @exp_0(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = prim.exp %a : tensor<4xf32>
  flow.yield %0 : tensor<4xf32>
}
flow.kernel @add_0(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> {
  %0 = prim.add %a, %b : tensor<4xf32>
  flow.yield %0 : tensor<4xf32>
}
func.func @last_use(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = flow.dispatch @exp_0(%x) {nodes = [loc("/e")], label = "exp", flops = array<i64: 4>} : (tensor<4xf32>) -> tensor<4xf32>
  %1 = flow.dispatch @add_0(%x, %0) {nodes = [loc("/a")], label = "add", flops = array<i64: 4>} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return %1 : tensor<4xf32>
}

// -----

// Tests that an input is never written, nor what is used later or returned.
// CHECK-LABEL: func.func @needed
// CHECK-NOT:   tied
// CHECK:       return
flow.kernel @exp_0(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = prim.exp %a : tensor<4xf32>
  flow.yield %0 : tensor<4xf32>
}
func.func @needed(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %0 = flow.dispatch @exp_0(%x) {nodes = [loc("/a")], label = "exp", flops = array<i64: 4>} : (tensor<4xf32>) -> tensor<4xf32>
  %1 = flow.dispatch @exp_0(%0) {nodes = [loc("/b")], label = "exp", flops = array<i64: 4>} : (tensor<4xf32>) -> tensor<4xf32>
  func.return %0, %1 : tensor<4xf32>, tensor<4xf32>
}

// -----

// Tests that an operand that is read at other elements than are written stays apart from the result.
// CHECK-LABEL: func.func @moved
// CHECK-NOT:   tied
// CHECK:       return
flow.kernel @exp_0(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = prim.exp %a : tensor<4xf32>
  flow.yield %0 : tensor<4xf32>
}
flow.kernel @turn_0(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = prim.reverse %a, dimensions = [0] : tensor<4xf32>
  flow.yield %0 : tensor<4xf32>
}
func.func @moved(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = flow.dispatch @exp_0(%x) {nodes = [loc("/a")], label = "exp", flops = array<i64: 4>} : (tensor<4xf32>) -> tensor<4xf32>
  %1 = flow.dispatch @turn_0(%0) {nodes = [loc("/b")], label = "reverse", flops = array<i64: 0>} : (tensor<4xf32>) -> tensor<4xf32>
  func.return %1 : tensor<4xf32>
}

// -----

// Tests that an updated state is written over the state, and another state's value is not.
// CHECK-LABEL: func.func @step
// CHECK-NEXT:  flow.dispatch @add_0_over_0(%w, %g) {{.*}}tied = array<i64: 0>
// CHECK-NEXT:  flow.dispatch @add_0(%v, %g)
flow.kernel @add_0(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> {
  %0 = prim.add %a, %b : tensor<4xf32>
  flow.yield %0 : tensor<4xf32>
}
func.func @step(%w: tensor<4xf32> {tst.state = "w"}, %v: tensor<4xf32> {tst.state = "v"}, %g: tensor<4xf32>)
    -> (tensor<4xf32> {tst.state = "w"}, tensor<4xf32> {tst.state = "u"}) {
  %0 = flow.dispatch @add_0(%w, %g) {nodes = [loc("/w")], label = "add", flops = array<i64: 4>} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %1 = flow.dispatch @add_0(%v, %g) {nodes = [loc("/v")], label = "add", flops = array<i64: 4>} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return %0, %1 : tensor<4xf32>, tensor<4xf32>
}

// -----

// Tests that an operand that the same kernel reads through a view, too, stays apart from the result.
// CHECK-LABEL: func.func @seen_twice
// CHECK-NOT:   tied
// CHECK:       return
flow.kernel @exp_0(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = prim.exp %a : tensor<4xf32>
  flow.yield %0 : tensor<4xf32>
}
flow.kernel @two_0(%a: tensor<4xf32>, %b: tensor<2x2xf32>) -> tensor<4xf32> {
  %0 = prim.reverse %b, dimensions = [0] : tensor<2x2xf32>
  %1 = prim.reshape %0, shape = [4] : tensor<2x2xf32> -> tensor<4xf32>
  %2 = prim.add %a, %1 : tensor<4xf32>
  flow.yield %2 : tensor<4xf32>
}
func.func @seen_twice(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = flow.dispatch @exp_0(%x) {nodes = [loc("/e")], label = "exp", flops = array<i64: 4>} : (tensor<4xf32>) -> tensor<4xf32>
  %1 = prim.reshape %0, shape = [2, 2] : tensor<4xf32> -> tensor<2x2xf32>
  %2 = flow.dispatch @two_0(%0, %1) {nodes = [loc("/a"), loc("/a"), loc("/a")], label = "add", flops = array<i64: 0, 0, 4>} : (tensor<4xf32>, tensor<2x2xf32>) -> tensor<4xf32>
  func.return %2 : tensor<4xf32>
}
