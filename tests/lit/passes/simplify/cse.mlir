// RUN: tstorch-opt %s -p cse --print-debuginfo | filecheck %s

// Tests that two equal ops become one, which serves the nodes of both.
// CHECK-LABEL: func.func @merged
// CHECK:       %[[A:.*]] = arith.negf %{{.*}} : f32 loc(fused["neg_1", "neg_2"])
// CHECK-NEXT:  arith.addf %[[A]], %[[A]]
func.func @merged(%x: f32) -> f32 {
  %a = arith.negf %x : f32 loc("neg_1")
  %b = arith.negf %x : f32 loc("neg_2")
  %c = arith.addf %a, %b : f32 loc("add")
  func.return %c : f32
}

// Tests that ops of other operands, other properties or with effects stay apart.
// CHECK-LABEL: func.func @kept
// CHECK-COUNT-2: arith.cmpf
// CHECK-COUNT-2: func.call
func.func @kept(%x: f32, %y: f32) -> (i1, i1, f32, f32) {
  %a = arith.cmpf olt, %x, %y : f32
  %b = arith.cmpf ole, %x, %y : f32
  %c = func.call @merged(%x) : (f32) -> f32
  %d = func.call @merged(%x) : (f32) -> f32
  func.return %a, %b, %c, %d : i1, i1, f32, f32
}

// Tests that constants of different nodes stay apart, for each kernel computes its own, and that their users still merge.
// CHECK-LABEL: func.func @numbered
// CHECK:       %[[Z:.*]] = prim.constant dense<0.0> : tensor<f32> loc("relu_1")
// CHECK-NEXT:  prim.constant dense<0.0> : tensor<f32> loc("relu_2")
// CHECK-NEXT:  %[[R:.*]] = prim.maximum %{{.*}}, %[[Z]] : tensor<f32> loc(fused["relu_1", "relu_2"])
// CHECK-NEXT:  prim.add %[[R]], %[[R]]
func.func @numbered(%x: tensor<f32>) -> tensor<f32> {
  %a = prim.constant dense<0.0> : tensor<f32> loc("relu_1")
  %b = prim.constant dense<0.0> : tensor<f32> loc("relu_2")
  %c = prim.maximum %x, %a : tensor<f32> loc("relu_1")
  %d = prim.maximum %x, %b : tensor<f32> loc("relu_2")
  %e = prim.add %c, %d : tensor<f32> loc("add_2")
  func.return %e : tensor<f32>
}
