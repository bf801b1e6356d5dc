// RUN: tstorch-opt %s -p dce --print-debuginfo | filecheck %s

// Tests that a dead chain falls in one sweep and that its nodes are listed with the reason.
// CHECK:       tst.elided = {add = "dead: no output needs it", neg = "dead: no output needs it"}
// CHECK-LABEL: func.func @dead
// CHECK-NEXT:  return
func.func @dead(%x: f32) -> f32 {
  %a = arith.negf %x : f32 loc("neg")
  %b = arith.addf %a, %x : f32 loc("add")
  func.return %x : f32
}

// Tests that what is used stays, and so does a call, which may do more than its result.
// CHECK-LABEL: func.func @kept
// CHECK:       arith.negf
// CHECK:       func.call @dead
func.func @kept(%x: f32) -> f32 {
  %a = arith.negf %x : f32 loc("neg_2")
  %b = func.call @dead(%x) : (f32) -> f32 loc("call")
  func.return %a : f32
}
