// RUN: tstorch-opt %s | filecheck %s
// RUN: tstorch-opt %s --print-op-generic | tstorch-opt | filecheck %s

// Tests that codes are read and made under their format's name, as elements of it or as plain integers.
// CHECK-LABEL: func.func @codes
func.func @codes(%x: tensor<4xf8E4M3FN>) -> tensor<4xui8> {
  // CHECK: %[[N:.*]] = prim.decode %{{.*}} from f8E4M3FN : tensor<4xf8E4M3FN> -> tensor<4xf32>
  %n = prim.decode %x from f8E4M3FN : tensor<4xf8E4M3FN> -> tensor<4xf32>
  // CHECK: prim.encode %[[N]] to f8E8M0FNU as ui8, saturate = true, rounding = up : tensor<4xf32> -> tensor<4xui8>
  %c = prim.encode %n to f8E8M0FNU as ui8, saturate = true, rounding = up : tensor<4xf32> -> tensor<4xui8>
  func.return %c : tensor<4xui8>
}

// Tests that integers of a format are words, and that constants of codes lose no bit.
// CHECK-LABEL: func.func @integers
func.func @integers() -> tensor<2xi4> {
  // CHECK: %[[C:.*]] = prim.constant dense<"0x0f07"> : tensor<2xi4>
  %c = prim.constant dense<"0x0f07"> : tensor<2xi4>
  // CHECK: prim.decode %[[C]] from i4 : tensor<2xi4> -> tensor<2xi32>
  %n = prim.decode %c from i4 : tensor<2xi4> -> tensor<2xi32>
  %e = prim.encode %n to i4 as i4, saturate = false, rounding = nearest : tensor<2xi32> -> tensor<2xi4>
  func.return %e : tensor<2xi4>
}
