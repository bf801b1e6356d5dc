// RUN: tstorch-opt %s -p canonicalize,cse --print-ir-after-change 2>&1 | filecheck %s
// RUN: tstorch-opt %s -p cse,dce --print-ir-after=dce 2>&1 | filecheck %s --check-prefix=ONE
// RUN: tstorch-opt %s -p canonicalize,cse --print-ir-before=cse 2>&1 | filecheck %s --check-prefix=BEFORE
// RUN: tstorch-opt %s -p canonicalize,cse --print-ir-before-all 2>&1 | filecheck %s --check-prefix=ALL
// RUN: tstorch-opt %s -p cse -o %t
// RUN: tstorch-opt %t | filecheck %s --check-prefix=FILE
// RUN: tstorch-opt %s --print-op-generic | filecheck %s --check-prefix=GENERIC

// Tests that a pass that changes nothing is named, and one that does shows what it made.
// CHECK:      // IR after canonicalize: unchanged
// CHECK-NEXT: // IR after cse:
// CHECK:      arith.addf %{{.*}}, %{{.*}} : f32 loc("add")

// Tests that only the pass that was named is shown.
// ONE-NOT: IR after cse
// ONE:     // IR after dce:

// Tests that what a pass is about to see is shown, and of which passes.
// BEFORE-NOT:     IR before canonicalize
// BEFORE:         // IR before cse:
// BEFORE-COUNT-2: arith.negf
// BEFORE-NOT:     IR after
// ALL:            // IR before canonicalize:
// ALL:            // IR before cse:

// Tests that -o holds what stdout would.
// FILE: func.func @f

// GENERIC: "func.func"()
func.func @f(%x: f32) -> f32 {
  %a = arith.negf %x : f32
  %b = arith.negf %x : f32
  %c = arith.addf %a, %b : f32 loc("add")
  func.return %c : f32
}
