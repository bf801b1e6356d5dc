// RUN: tstorch-opt %s -p strip-measured | filecheck %s
// RUN: tstorch-opt %s --strip-measured | filecheck %s

// Tests that what was measured goes from ops of every kind, also inside others, and that their own attributes stay.
// CHECK-LABEL: func.func @main
// CHECK:       prim.exp %{{[a-z0-9]+}} : tensor<4xf32>
// CHECK-NEXT:  prim.neg %{{[a-z0-9]+}} {mine = "kept"} : tensor<4xf32>
// CHECK-NOT:   trace.measured
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %a = prim.exp %x {trace.measured = {us = "10.000", share = "0.1000", bound = "memory"}} : tensor<4xf32>
  %b = prim.neg %a {mine = "kept", trace.measured = {us = "< 1", estimate}} : tensor<4xf32>
  func.return %b : tensor<4xf32>
}
