// RUN: not tstorch-opt %s -p verify-level{level=prim} 2>&1 | filecheck %s
// RUN: tstorch-opt %s -p verify-level | filecheck %s --check-prefix=SILENT
// RUN: not tstorch-opt %s -p verify-level{level=nowhere} 2>&1 | filecheck %s --check-prefix=NAME

// Tests that all that a level forbids is reported at once, with counts and the node it serves.
// CHECK:      error: the module is not at level prim:
// CHECK-NEXT:   type tensor<?xf32> has a size that is not static (1 times); expected to be removed by --dim
// CHECK-NEXT:   'arith.negf' is illegal (2 times, first at onnx 'neg_1')
// CHECK-NEXT:   'arith.addf' is illegal (1 times, first at onnx 'add')
// CHECK-NOT:  func

// Tests that a module which says no level is not held against one.
// SILENT: func.func @f

// Tests that an unknown level is named with those that exist.
// NAME: error: there is no level 'nowhere' to check; levels are: onnx, prim, flow, loop, wgsl, buf
func.func @f(%x: f32, %t: tensor<?xf32>) -> f32 {
  %a = arith.negf %x : f32 loc("neg_1")
  %b = arith.negf %a : f32 loc("neg_2")
  %c = arith.addf %b, %b : f32 loc("add")
  func.return %c : f32
}
