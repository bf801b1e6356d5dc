// RUN: tstorch-opt %s --split-input-file --verify-diagnostics | filecheck %s

// Tests that a dispatch names a kernel that exists.
// CHECK: no kernel @missing
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = flow.dispatch @missing(%x) {nodes = [], label = "k", flops = array<i64>} : (tensor<4xf32>) -> tensor<4xf32>
  func.return %0 : tensor<4xf32>
}

// -----

// Tests that a dispatch passes what its kernel takes.
// CHECK: operand types differ from those of @exp_0
flow.kernel @exp_0(%x: tensor<8xf32>) -> tensor<8xf32> {
  %0 = prim.exp %x : tensor<8xf32>
  flow.yield %0 : tensor<8xf32>
}
func.func @main(%x: tensor<4xf32>) -> tensor<8xf32> {
  %0 = flow.dispatch @exp_0(%x) {nodes = [loc("/e")], label = "k", flops = array<i64: 4>} : (tensor<4xf32>) -> tensor<8xf32>
  func.return %0 : tensor<8xf32>
}

// -----

// Tests that a result is written in place only over an operand of its own type.
// CHECK: result 0 is tied to operand 0 of another type
flow.kernel @sum(%x: tensor<8xf32>) -> tensor<f32> attributes {tied = array<i64: 0>} {
  %0 = prim.reduce add %x, dimensions = [0] : tensor<8xf32> -> tensor<f32>
  flow.yield %0 : tensor<f32>
}

// -----

// Tests that every local op has its nodes and its flops.
// CHECK: nodes of 1 local ops, flops of 2
flow.kernel @exp_0(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = prim.exp %x : tensor<4xf32>
  flow.yield %0 : tensor<4xf32>
}
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = flow.dispatch @exp_0(%x) {nodes = [loc("/e")], label = "k", flops = array<i64: 4, 4>} : (tensor<4xf32>) -> tensor<4xf32>
  func.return %0 : tensor<4xf32>
}

// -----

// Tests that the kind of a schedule is one that there is a loop nest for.
// CHECK: unknown kernel kind 'spiral'
flow.kernel @exp_0(%x: tensor<4xf32>) -> tensor<4xf32> attributes {schedule = #flow.schedule<spiral, {}>} {
  %0 = prim.exp %x : tensor<4xf32>
  flow.yield %0 : tensor<4xf32>
}
