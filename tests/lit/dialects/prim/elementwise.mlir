// RUN: tstorch-opt %s | filecheck %s
// RUN: tstorch-opt %s --print-op-generic | tstorch-opt | filecheck %s

// Tests that one type is enough for an op that keeps it.
// CHECK-LABEL: func.func @one_type
func.func @one_type(%x: tensor<2x3xf32>, %y: tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: %[[S:.*]] = prim.add %{{.*}}, %{{.*}} : tensor<2x3xf32>
  %s = prim.add %x, %y : tensor<2x3xf32>
  // CHECK: prim.erf %[[S]] : tensor<2x3xf32>
  %e = prim.erf %s : tensor<2x3xf32>
  func.return %e : tensor<2x3xf32>
}

// Tests that an op that changes the element type says to which.
// CHECK-LABEL: func.func @two_types
func.func @two_types(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xi32> {
  // CHECK: prim.compare lt %{{.*}}, %{{.*}} : tensor<4xf32> -> tensor<4xi1>
  %c = prim.compare lt %x, %y : tensor<4xf32> -> tensor<4xi1>
  // CHECK: prim.is_inf %{{.*}}, detect_negative = true, detect_positive = false : tensor<4xf32> -> tensor<4xi1>
  %i = prim.is_inf %x, detect_negative = true, detect_positive = false : tensor<4xf32> -> tensor<4xi1>
  %b = prim.and %c, %i : tensor<4xi1>
  // CHECK: prim.select %{{.*}}, %{{.*}}, %{{.*}} : tensor<4xi1>, tensor<4xf32>
  %s = prim.select %b, %x, %y : tensor<4xi1>, tensor<4xf32>
  // CHECK: prim.convert %{{.*}} to i32 : tensor<4xf32> -> tensor<4xi32>
  %n = prim.convert %s to i32 : tensor<4xf32> -> tensor<4xi32>
  func.return %n : tensor<4xi32>
}
