// RUN: tstorch-opt %s -p legalize-types --split-input-file --verify-diagnostics --print-debuginfo | filecheck %s

// Tests that an int64 input is narrowed under the caller's own type, with the range that the host checks.
// CHECK-LABEL: func.func @main
// CHECK-SAME:  tensor<2xi32> {tst.name = "ids", tst.dtype = "int64", tst.range = array<i64: -536870912, 536870911>}
// CHECK-SAME:  -> (tensor<2xi32> {tst.name = "next", tst.dtype = "int64"})
// CHECK-NEXT:  prim.constant dense<1> : tensor<2xi32>
// CHECK-NEXT:  prim.add %{{.*}}, %{{.*}} : tensor<2xi32>
func.func @main(%i: tensor<2xi64> {tst.name = "ids"}) -> (tensor<2xi64> {tst.name = "next"}) {
  %c = prim.constant dense<1> : tensor<2xi64> loc("/add")
  %0 = prim.add %i, %c : tensor<2xi64> loc("/add")
  func.return %0 : tensor<2xi64>
}

// -----

// Tests that arithmetic whose result may not fit is refused by the node's name.
// CHECK: onnx '/mul': prim.mul computes 64-bit integers from -288230375614840832 to 288230376151711744
func.func @main(%i: tensor<2xi64>) -> tensor<2xi64> {
  %0 = prim.mul %i, %i : tensor<2xi64> loc("/mul")
  func.return %0 : tensor<2xi64>
}

// -----

// Tests that a limit beyond 32 bits still limits nothing, cut off.
// CHECK-LABEL: func.func @main
// CHECK-NEXT:  prim.constant dense<2147483647> : tensor<2xi32>
func.func @main(%i: tensor<2xi64>) -> tensor<2xi64> {
  %c = prim.constant dense<9223372036854775807> : tensor<2xi64> loc("/clip")
  %0 = prim.minimum %i, %c : tensor<2xi64> loc("/clip")
  func.return %0 : tensor<2xi64>
}

// -----

// Tests that counting and converting make 32-bit integers at once.
// CHECK-LABEL: func.func @main
// CHECK-NEXT:  prim.iota dimension = 0 : tensor<3xi32>
// CHECK-NEXT:  prim.convert %x to i32 : tensor<3xf32> -> tensor<3xi32>
func.func @main(%x: tensor<3xf32>) -> tensor<3xi64> {
  %n = prim.iota dimension = 0 : tensor<3xi64> loc("/range")
  %c = prim.convert %x to i64 : tensor<3xf32> -> tensor<3xi64> loc("/cast")
  %m = prim.minimum %n, %c : tensor<3xi64> loc("/min")
  func.return %m : tensor<3xi64>
}

// -----

// Tests that of a stored int64 tensor the lower words are read.
// CHECK-LABEL: func.func @main
// CHECK-NEXT:  %[[W:.*]] = prim.weight<"m.onnx", "p", "9f2c"> : tensor<3x2xi32>
// CHECK-NEXT:  %[[L:.*]] = prim.slice %[[W]], start = [0, 0], limit = [3, 1], stride = [1, 1] {{.*}} loc("/add")
// CHECK-NEXT:  prim.reshape %[[L]], shape = [3] : tensor<3x1xi32> -> tensor<3xi32>
func.func @main(%x: tensor<3xi64>) -> tensor<3xi64> {
  %w = prim.weight<"m.onnx", "p", "9f2c"> : tensor<3xi64>
  %0 = prim.add %x, %w : tensor<3xi64> loc("/add")
  func.return %0 : tensor<3xi64>
}

// -----

// Tests that truth values cross the border as words and stay truth values inside.
// CHECK-LABEL: func.func @main
// CHECK-SAME:  %m: tensor<4xui32> {tst.dtype = "bool"}
// CHECK-SAME:  -> (tensor<4xui32> {tst.dtype = "bool"})
// CHECK-NEXT:  %[[M:.*]] = prim.convert %m to i1 : tensor<4xui32> -> tensor<4xi1> loc("/not")
// CHECK-NEXT:  %[[N:.*]] = prim.not %[[M]] : tensor<4xi1>
// CHECK-NEXT:  prim.convert %[[N]] to ui32 : tensor<4xi1> -> tensor<4xui32> loc("/not")
func.func @main(%m: tensor<4xi1>) -> tensor<4xi1> {
  %0 = prim.not %m : tensor<4xi1> loc("/not")
  func.return %0 : tensor<4xi1>
}

// -----

// Tests that float64 is refused by the node's name.
// CHECK: onnx '/exp': element type float64 has no WebGPU form
func.func @main(%x: tensor<4xf64>) -> tensor<4xf64> {
  %0 = prim.exp %x : tensor<4xf64> loc("/exp")
  func.return %0 : tensor<4xf64>
}

// -----

// Tests that float tensors are left as they are.
// CHECK-LABEL: func.func @main(%x: tensor<4xf32>
// CHECK-NEXT:  prim.exp %x : tensor<4xf32>
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = prim.exp %x : tensor<4xf32> loc("/exp")
  func.return %0 : tensor<4xf32>
}

// -----

// Tests that the position of the largest element is found in 32 bits, by two reductions that one kernel can hold.
// CHECK-LABEL: func.func @arg_max
// CHECK-SAME:  -> (tensor<4xi32> {tst.dtype = "int64"})
// CHECK:       prim.reduce max %x, dimensions = [1] {{.*}} loc("/argmax")
// CHECK:       prim.is_nan %x
// CHECK:       prim.iota dimension = 1 : tensor<4x8xi32>
// CHECK:       %[[R:.*]] = prim.reduce min %{{.*}}, dimensions = [1] : tensor<4x8xi32> -> tensor<4xi32> loc("/argmax")
// CHECK-NEXT:  return %[[R]]
func.func @arg_max(%x: tensor<4x8xf32>) -> tensor<4xi64> {
  %0 = prim.arg_reduce max %x, dimension = 1 : tensor<4x8xf32> -> tensor<4xi64> loc("/argmax")
  func.return %0 : tensor<4xi64>
}

// -----

// Tests that an input of truth values that nothing uses becomes words without a conversion.
// CHECK-LABEL: func.func @main(%unused: tensor<2xui32> {tst.dtype = "bool"}
// CHECK-NEXT:  prim.exp
func.func @main(%unused: tensor<2xi1>, %x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = prim.exp %x : tensor<4xf32> loc("/exp")
  func.return %0 : tensor<4xf32>
}

// -----

// Tests that unsigned 64-bit integers are narrowed too, and that the host lets no negative word through.
// CHECK-LABEL: func.func @main(%i: tensor<2xi32> {tst.dtype = "uint64", tst.range = array<i64: 0, 536870911>}
// CHECK-SAME:  -> (tensor<2xi32> {tst.dtype = "uint64"})
func.func @main(%i: tensor<2xui64>) -> tensor<2xui64> {
  %0 = prim.add %i, %i : tensor<2xui64> loc("/add")
  func.return %0 : tensor<2xui64>
}

// -----

// Tests that unsigned integers that may fall below 0 are refused: a word would hold another number.
// CHECK: onnx '/sub': prim.sub computes 64-bit integers from -536870911 to 536870911
func.func @main(%i: tensor<2xui64>, %j: tensor<2xui64>) -> tensor<2xui64> {
  %0 = prim.sub %i, %j : tensor<2xui64> loc("/sub")
  func.return %0 : tensor<2xui64>
}

// -----

// Tests that a weight that is read in another form keeps its own node, where it has one.
// CHECK-LABEL: func.func @main
// CHECK:       prim.slice {{.*}} loc("/Constant_1")
// CHECK-NEXT:  prim.reshape {{.*}} loc("/Constant_1")
func.func @main(%x: tensor<9xf32>) -> tensor<4xf32> {
  %i = prim.weight<"m.onnx", "/Constant_1.value", "9f2c"> : tensor<4x1xi64> loc("/Constant_1")
  %0 = prim.gather %x, %i, offset_dims = [], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1, slice_sizes = [1] : tensor<9xf32>, tensor<4x1xi64> -> tensor<4xf32> loc("/look")
  func.return %0 : tensor<4xf32>
}

// -----

// Tests that codes of a stored type are kept as integers, moved as such, and that the caller still says what they are.
// CHECK-LABEL: func.func @main(%x: tensor<2x3xui8> {tst.dtype = "float8_e4m3fn"}
// CHECK-SAME:  -> (tensor<3x2xui16> {tst.dtype = "bfloat16"})
// CHECK-NEXT:  prim.transpose %x, permutation = [1, 0] : tensor<2x3xui8> -> tensor<3x2xui8>
// CHECK-NEXT:  prim.decode %{{.*}} from f8E4M3FN : tensor<3x2xui8> -> tensor<3x2xf32>
// CHECK-NEXT:  prim.encode %{{.*}} to bf16 as ui16, {{.*}} : tensor<3x2xf32> -> tensor<3x2xui16>
func.func @main(%x: tensor<2x3xf8E4M3FN>) -> tensor<3x2xbf16> {
  %0 = prim.transpose %x, permutation = [1, 0] : tensor<2x3xf8E4M3FN> -> tensor<3x2xf8E4M3FN> loc("/turn")
  %1 = prim.decode %0 from f8E4M3FN : tensor<3x2xf8E4M3FN> -> tensor<3x2xf32> loc("/cast")
  %2 = prim.encode %1 to bf16 as bf16, saturate = false, rounding = nearest : tensor<3x2xf32> -> tensor<3x2xbf16> loc("/cast")
  func.return %2 : tensor<3x2xbf16>
}

// -----

// Tests that a weight of four bits an element stays packed, two to a byte, the last byte not full; constants do not.
// CHECK-LABEL: func.func @main
// CHECK:       %[[B:.*]] = prim.weight<"m.onnx", "w", "9f2c"> : tensor<5xui8>
// CHECK:       %[[S:.*]] = prim.constant dense<[0, 4]> : tensor<2xui8>
// CHECK:       prim.broadcast_in_dim %[[B]], shape = [5, 2], dimensions = [0]
// CHECK:       prim.shift_right
// CHECK:       prim.and
// CHECK:       prim.slice {{.*}}, start = [0], limit = [9], stride = [1]
// CHECK-NEXT:  %[[C:.*]] = prim.reshape %{{.*}}, shape = [3, 3]
// CHECK-NOT:   prim.weight
// CHECK:       prim.decode %[[C]] from i4 : tensor<3x3xui8> -> tensor<3x3xi32>
// CHECK:       prim.constant dense<15> : tensor<2xui8>
func.func @main() -> (tensor<3x3xi32>, tensor<2xi4>) {
  %w = prim.weight<"m.onnx", "w", "9f2c"> : tensor<3x3xi4>
  %0 = prim.decode %w from i4 : tensor<3x3xi4> -> tensor<3x3xi32> loc("/cast")
  %c = prim.constant dense<"0x0f0f"> : tensor<2xi4> loc("/fill")
  func.return %0, %c : tensor<3x3xi32>, tensor<2xi4>
}
