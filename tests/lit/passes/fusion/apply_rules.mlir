// RUN: tstorch-opt %s --rules %S/rules/relu_of_sum.rules --remarks --print-debuginfo 2>&1 | filecheck %s
// RUN: tstorch-opt %s -p 'apply-rules{file="%S/rules/relu_of_sum.rules" only=replace}' | filecheck %s --check-prefix=ONLY
// RUN: not tstorch-opt %s --rules %S/rules/syntax.rules 2>&1 | filecheck %s --check-prefix=SYNTAX
// RUN: not tstorch-opt %s --rules %S/rules/wrong.rules --check-semantics 2>&1 | filecheck %s --check-prefix=WRONG
// RUN: tstorch-opt %s --rules %S/rules/relu_of_sum.rules --check-semantics | filecheck %s --check-prefix=RIGHT

// CHECK: remark: passed rule:relu_of_sum at "sum", "relu": outlined as sum + relu
// CHECK: remark: missed rule:relu_of_sum at "relu_2": 's' (prim.add) has other users

// Tests that the ops of a rule become one group, which takes in the small bias and the constant.
// CHECK-LABEL: func.func @fires
// CHECK:       prim.composite "sum + relu"(%b, %x) {
// CHECK:         prim.add %{{.*}}, %{{.*}} : tensor<2x3xf32> loc("sum")
// CHECK:         prim.maximum %{{.*}}, %{{.*}} : tensor<2x3xf32> loc("relu")
// CHECK:       } : (tensor<3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32> loc(fused["sum", "relu"])

// Tests that an op with another user stays outside, and that we say so.
// CHECK-LABEL: func.func @declines
// CHECK-NOT:   prim.composite

// Tests that rules of the other kind are left out.
// ONLY-NOT: prim.composite

// Tests that a syntax error is told with its place and what was expected.
// SYNTAX:      error: {{.*}}syntax.rules:2:28: found 'zero'; expected ')', ','
// SYNTAX-NEXT:   match r = prim.maximum(s zero)

// Tests that a rule that changes values is caught, and that a right one passes.
// WRONG: error: pass apply-rules changes values: '0' of @fires differs by
// RIGHT: prim.composite
func.func @fires(%x: tensor<2x3xf32>, %b: tensor<3xf32>) -> tensor<2x3xf32> {
  %z = prim.constant dense<0.0> : tensor<f32>
  %zeros = prim.broadcast_in_dim %z, shape = [2, 3], dimensions = [] : tensor<f32> -> tensor<2x3xf32>
  %bias = prim.broadcast_in_dim %b, shape = [2, 3], dimensions = [1] : tensor<3xf32> -> tensor<2x3xf32>
  %s = prim.add %x, %bias : tensor<2x3xf32> loc("sum")
  %r = prim.maximum %s, %zeros : tensor<2x3xf32> loc("relu")
  func.return %r : tensor<2x3xf32>
}

func.func @declines(%x: tensor<2x3xf32>, %b: tensor<3xf32>) -> (tensor<2x3xf32>, tensor<2x3xf32>) {
  %z = prim.constant dense<0.0> : tensor<f32>
  %zeros = prim.broadcast_in_dim %z, shape = [2, 3], dimensions = [] : tensor<f32> -> tensor<2x3xf32>
  %bias = prim.broadcast_in_dim %b, shape = [2, 3], dimensions = [1] : tensor<3xf32> -> tensor<2x3xf32>
  %s = prim.add %x, %bias : tensor<2x3xf32> loc("sum_2")
  %r = prim.maximum %s, %zeros : tensor<2x3xf32> loc("relu_2")
  func.return %r, %s : tensor<2x3xf32>, tensor<2x3xf32>
}
