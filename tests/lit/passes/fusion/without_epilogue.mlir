// RUN: tstorch-opt %s -p 'form-dispatch-regions{epilogue=false}' --split-input-file --remarks 2>&1 | filecheck %s

// Tests that without epilogues nothing joins a product from behind, and that we say so.
// CHECK:       remark: missed TST-F009 at "/mm", "/bias": {{.*}} two dispatches: left out (--without epilogue); a rule may outline them
// CHECK-LABEL: func.func @apart
// CHECK-NEXT:  flow.dispatch @dot_general_0
// CHECK-NEXT:  flow.dispatch @exp_0
// CHECK-NEXT:  func.return
func.func @apart(%x: tensor<4x4xf32>, %w: tensor<4x4xf32>, %b: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %p = prim.dot_general %x, %w, batch = [] x [], contract = [1] x [0] : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32> loc("/mm")
  %a = prim.add %p, %b : tensor<4x4xf32> loc("/bias")
  %e = prim.exp %a : tensor<4x4xf32> loc("/exp")
  func.return %e : tensor<4x4xf32>
}

// -----

// Tests that what a rule put behind a product stays there, and grows.
// CHECK-LABEL: func.func @outlined
// CHECK-NEXT:  flow.dispatch @dot_general_0(%x, %w, %b)
// CHECK-SAME:  label = "mine + exp"
// CHECK-NEXT:  func.return
func.func @outlined(%x: tensor<4x4xf32>, %w: tensor<4x4xf32>, %b: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %a = prim.composite "mine"(%x, %w, %b) {
  ^bb0(%0: tensor<4x4xf32>, %1: tensor<4x4xf32>, %2: tensor<4x4xf32>):
    %p = prim.dot_general %0, %1, batch = [] x [], contract = [1] x [0] : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32> loc("/mm")
    %s = prim.add %p, %2 : tensor<4x4xf32> loc("/bias")
    prim.yield %s : tensor<4x4xf32>
  } : (tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %e = prim.exp %a : tensor<4x4xf32> loc("/exp")
  func.return %e : tensor<4x4xf32>
}
