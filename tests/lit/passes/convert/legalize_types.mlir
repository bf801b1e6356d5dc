// RUN: tstorch-opt %s -p legalize-types --split-input-file --verify-diagnostics --print-debuginfo | filecheck %s

// Tests that an int64 input which only says where to look is a word, which the host checks under the caller's own type.
// CHECK-LABEL: func.func @places
// CHECK-SAME:  tensor<2xi32> {tst.name = "ids", tst.dtype = "int64", tst.range = array<i64: -536870912, 536870911>}
// CHECK-NEXT:  prim.constant dense<1> : tensor<2xi32>
// CHECK-NEXT:  prim.add %{{.*}}, %{{.*}} : tensor<2xi32>
func.func @places(%x: tensor<9xf32>, %i: tensor<2xi64> {tst.name = "ids"}) -> tensor<2xf32> {
  %c = prim.constant dense<1> : tensor<2xi64> loc("/add")
  %0 = prim.add %i, %c : tensor<2xi64> loc("/add")
  %1 = prim.gather %x, %0, offset_dims = [], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1, slice_sizes = [1] : tensor<9xf32>, tensor<2xi64> -> tensor<2xf32> loc("/look")
  func.return %1 : tensor<2xf32>
}

// -----

// Tests that any other int64 input is a pair of words, which nobody has to check, and that a sum carries.
// CHECK-LABEL: func.func @pairs
// CHECK-SAME:  %i: tensor<3x2xui32> {tst.name = "i", tst.dtype = "int64"}
// CHECK-SAME:  -> (tensor<3x2xui32> {tst.dtype = "int64"})
// CHECK:       %[[L:.*]] = prim.reshape %{{.*}}, shape = [3] {{.*}} loc("/add")
// CHECK:       %[[H:.*]] = prim.reshape %{{.*}}, shape = [3]
// CHECK:       %[[S:.*]] = prim.add %[[L]], %[[L]] : tensor<3xui32> loc("/add")
// CHECK:       prim.compare lt %[[S]], %[[L]] : tensor<3xui32> -> tensor<3xi1> loc("/add")
// CHECK:       prim.concatenate %{{.*}}, %{{.*}} dimension = 1 : tensor<3x1xui32>, tensor<3x1xui32> -> tensor<3x2xui32>
func.func @pairs(%i: tensor<3xi64> {tst.name = "i"}) -> tensor<3xi64> {
  %0 = prim.add %i, %i : tensor<3xi64> loc("/add")
  func.return %0 : tensor<3xi64>
}

// -----

// Tests that a place computed through what leaves 32 bits goes through pairs and is a word again.
// CHECK-LABEL: func.func @hash
// CHECK-SAME:  %i: tensor<2xi32>
// CHECK:       prim.divide_words
// CHECK:       prim.gather %x, %{{.*}} : tensor<9xf32>, tensor<2xi32> -> tensor<2xf32> loc("/look")
func.func @hash(%x: tensor<9xf32>, %i: tensor<2xi64>) -> tensor<2xf32> {
  %c = prim.constant dense<9> : tensor<2xi64> loc("/mod")
  %0 = prim.mul %i, %i : tensor<2xi64> loc("/mul")
  %1 = prim.rem %0, %c : tensor<2xi64> loc("/mod")
  %2 = prim.gather %x, %1, offset_dims = [], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1, slice_sizes = [1] : tensor<9xf32>, tensor<2xi64> -> tensor<2xf32> loc("/look")
  func.return %2 : tensor<2xf32>
}

// -----

// Tests that a limit beyond 32 bits still limits nothing, cut off.
// CHECK-LABEL: func.func @limit
// CHECK:       prim.constant dense<2147483647> : tensor<i32>
// CHECK-NOT:   ui32
func.func @limit(%i: tensor<2xi32>) -> tensor<2xi64> {
  %n = prim.convert %i to i64 : tensor<2xi32> -> tensor<2xi64> loc("/cast")
  %c = prim.constant dense<9223372036854775807> : tensor<i64> loc("/clip")
  %b = prim.broadcast_in_dim %c, shape = [2], dimensions = [] : tensor<i64> -> tensor<2xi64> loc("/clip")
  %0 = prim.minimum %n, %b : tensor<2xi64> loc("/clip")
  func.return %0 : tensor<2xi64>
}

// -----

// Tests that counting makes 32-bit integers at once, and that floats do where they say where to look.
// CHECK-LABEL: func.func @counted
// CHECK:       prim.iota dimension = 0 : tensor<3xi32>
// CHECK:       prim.convert %x to i32 : tensor<3xf32> -> tensor<3xi32>
// CHECK-NOT:   ui32
func.func @counted(%x: tensor<3xf32>) -> (tensor<3xi64>, tensor<3xf32>) {
  %n = prim.iota dimension = 0 : tensor<3xi64> loc("/range")
  %c = prim.convert %x to i64 : tensor<3xf32> -> tensor<3xi64> loc("/cast")
  %1 = prim.gather %x, %c, offset_dims = [], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1, slice_sizes = [1] : tensor<3xf32>, tensor<3xi64> -> tensor<3xf32> loc("/look")
  func.return %n, %1 : tensor<3xi64>, tensor<3xf32>
}

// -----

// Tests that of a stored int64 tensor of places the lower words are read, and of any other both.
// CHECK-LABEL: func.func @stored
// CHECK:       %[[W:.*]] = prim.weight<"m.onnx", "p", "9f2c"> : tensor<3x2xi32>
// CHECK-NEXT:  %[[L:.*]] = prim.slice %[[W]], start = [0, 0], limit = [3, 1], stride = [1, 1] {{.*}} loc("/look")
// CHECK-NEXT:  prim.reshape %[[L]], shape = [3] : tensor<3x1xi32> -> tensor<3xi32>
// CHECK:       %[[V:.*]] = prim.weight<"m.onnx", "q", "9f2d"> : tensor<3x2xui32>
// CHECK:       return %{{.*}}, %[[V]] : tensor<3xf32>, tensor<3x2xui32>
func.func @stored(%x: tensor<3xf32>) -> (tensor<3xf32>, tensor<3xi64>) {
  %w = prim.weight<"m.onnx", "p", "9f2c"> : tensor<3xi64>
  %v = prim.weight<"m.onnx", "q", "9f2d"> : tensor<3xi64>
  %0 = prim.gather %x, %w, offset_dims = [], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1, slice_sizes = [1] : tensor<3xf32>, tensor<3xi64> -> tensor<3xf32> loc("/look")
  func.return %0, %v : tensor<3xf32>, tensor<3xi64>
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

// Tests that unsigned places are words too, and that the host lets no negative one through.
// CHECK-LABEL: func.func @unsigned
// CHECK-SAME:  %i: tensor<2xi32> {tst.dtype = "uint64", tst.range = array<i64: 0, 536870911>}
func.func @unsigned(%x: tensor<9xf32>, %i: tensor<2xui64>) -> tensor<2xf32> {
  %0 = prim.gather %x, %i, offset_dims = [], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1, slice_sizes = [1] : tensor<9xf32>, tensor<2xui64> -> tensor<2xf32> loc("/look")
  func.return %0 : tensor<2xf32>
}

// -----

// Tests that the state of a scan, which each step changes, is not taken for what it starts from.
// CHECK: onnx '/doubled': prim.scan has no form on 64-bit integers whose values may not fit 32 bits
func.func @doubled(%x: tensor<40x1xf32>) -> tensor<1xi64> {
  %c = prim.constant dense<1> : tensor<1xi64> loc("/one")
  %0, %1 = prim.scan(%c, %x) states = 1, sequences = 1 {
  ^body(%state: tensor<1xi64>, %element: tensor<1xf32>):
    %s = prim.add %state, %state : tensor<1xi64>
    prim.yield %s, %element : tensor<1xi64>, tensor<1xf32>
  } : (tensor<1xi64>, tensor<40x1xf32>) -> (tensor<1xi64>, tensor<40x1xf32>) loc("/doubled")
  func.return %0 : tensor<1xi64>
}

// -----

// Tests that what pairs have no form for is refused by the node's name where its values may not fit a word.
// CHECK: onnx '/pool': prim.reduce_window has no form on 64-bit integers whose values may not fit 32 bits
func.func @pool(%i: tensor<4xi64>) -> tensor<3xi64> {
  %0 = prim.reduce_window max %i, window = [2], strides = [1], padding_low = [0], padding_high = [0], window_dilation = [1], base_dilation = [1] : tensor<4xi64> -> tensor<3xi64> loc("/pool")
  func.return %0 : tensor<3xi64>
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

// -----

// Tests that an input that says in which of two tables to look, and where, is a place: a word, which the host checks.
// CHECK-LABEL: func.func @main(%i: tensor<2xi32>
// CHECK:       prim.compare lt %i,
func.func @main(%i: tensor<2xi64>, %x: tensor<9xf32>, %y: tensor<9xf32>) -> tensor<2xf32> {
  %nine = prim.constant dense<9> : tensor<2xi64> loc("/look")
  %low = prim.gather %x, %i, offset_dims = [], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1, slice_sizes = [1] : tensor<9xf32>, tensor<2xi64> -> tensor<2xf32> loc("/look")
  %j = prim.sub %i, %nine : tensor<2xi64> loc("/look")
  %high = prim.gather %y, %j, offset_dims = [], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1, slice_sizes = [1] : tensor<9xf32>, tensor<2xi64> -> tensor<2xf32> loc("/look")
  %is_low = prim.compare lt %i, %nine : tensor<2xi64> -> tensor<2xi1> loc("/look")
  %0 = prim.select %is_low, %low, %high : tensor<2xi1>, tensor<2xf32> loc("/look")
  func.return %0 : tensor<2xf32>
}

// -----

// Tests that an input that chooses between values that are computed is no place: it keeps its 64 bits.
// CHECK-LABEL: func.func @main(%i: tensor<2x2xui32>
func.func @main(%i: tensor<2xi64>, %x: tensor<2xf32>, %y: tensor<2xf32>) -> tensor<2xf32> {
  %nine = prim.constant dense<9> : tensor<2xi64> loc("/choose")
  %is_low = prim.compare lt %i, %nine : tensor<2xi64> -> tensor<2xi1> loc("/choose")
  %0 = prim.select %is_low, %x, %y : tensor<2xi1>, tensor<2xf32> loc("/choose")
  func.return %0 : tensor<2xf32>
}
