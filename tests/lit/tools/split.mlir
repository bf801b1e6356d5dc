// RUN: tstorch-opt %s --split-input-file --verify-diagnostics -p verify-level{level=prim} | filecheck %s

// Tests that parts are read one by one, and that an error is the result of its part alone.
// CHECK-LABEL: func.func @first
func.func @first() {
  func.return
}

// -----

// CHECK: // -----
// CHECK: the module is not at level prim
// CHECK: 'arith.negf' is illegal
func.func @second(%x: f32) -> f32 {
  %a = arith.negf %x : f32
  func.return %a : f32
}

// -----

// Tests that a parse error counts lines from the top of the file.
// CHECK: // -----
// CHECK: split.mlir:25:
func.func @third(%x: f32) -> f32 {
  %a = arith.no_such_op %x : f32
}
