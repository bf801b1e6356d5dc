// RUN: tstorch-opt %s -p demote-doubles --split-input-file --verify-diagnostics | filecheck %s

// Tests that what is passed and given keeps its type for the caller, a constant stays finite, and a cast is gone.
// CHECK-LABEL: func.func @demoted(%x: tensor<3xf32> {tst.name = "x", tst.dtype = "float64"}, %y: tensor<3xf32>)
// CHECK-SAME:  -> (tensor<3xf32> {tst.dtype = "float64"})
// CHECK-NEXT:  %[[C:.*]] = prim.constant dense<[0.1, -3.4028235e+38, 0.5]> : tensor<3xf32>
// CHECK-NEXT:  %[[S:.*]] = prim.add %y, %[[C]] : tensor<3xf32>
// CHECK-NEXT:  func.return %[[S]]
func.func @demoted(%x: tensor<3xf64> {tst.name = "x"}, %y: tensor<3xf32>) -> tensor<3xf64> {
  %c = prim.constant dense<[0.1, -1.0e300, 0.5]> : tensor<3xf64> loc("/add")
  %d = prim.convert %y to f64 : tensor<3xf32> -> tensor<3xf64> loc("/cast")
  %0 = prim.add %d, %c : tensor<3xf64> loc("/add")
  func.return %0 : tensor<3xf64>
}

// -----

// Tests that a weight is read as words, of which the device makes float32.
// CHECK-LABEL: func.func @weight
// CHECK:       %[[W:.*]] = prim.weight{{.*}} : tensor<5x2xui32>
// CHECK:       %[[B:.*]] = prim.bitcast %{{.*}} to f32 : tensor<5xui32> -> tensor<5xf32>
// CHECK-NEXT:  prim.neg %[[B]] : tensor<5xf32>
func.func @weight() -> tensor<5xf64> {
  %w = prim.weight <"m.onnx", "w", "9f2c"> : tensor<5xf64>
  %0 = prim.neg %w : tensor<5xf64> loc("/neg")
  func.return %0 : tensor<5xf64>
}

// -----

// Tests that other types are left alone.
// CHECK-LABEL: func.func @single
// CHECK-NEXT:  prim.neg %x : tensor<5xf32>
func.func @single(%x: tensor<5xf32>) -> tensor<5xf32> {
  %0 = prim.neg %x : tensor<5xf32>
  func.return %0 : tensor<5xf32>
}

// -----

// Tests that the bits of a float64 are not made up.
// CHECK:       '/bits': looks at the bits of float64, which --demote-f64 changes
func.func @bits(%x: tensor<5xf64>) -> tensor<5xi64> {
  %0 = prim.bitcast %x to i64 : tensor<5xf64> -> tensor<5xi64> loc("/bits")
  func.return %0 : tensor<5xi64>
}
