// RUN: tstorch-opt %s -p 'split-oversized-bindings{limit=2048}' --split-input-file --print-debuginfo | filecheck %s
// RUN: tstorch-opt %s -p 'split-oversized-bindings{limit=2048}' --split-input-file --remarks 2>&1 | filecheck %s --check-prefix=REMARK

// Tests that a weight whose rows are kept is cut into runs of rows, each the weight of a product of its own.
// CHECK-LABEL: func.func @kept
// CHECK:       %[[W0:.*]] = prim.slice %[[W:.*]], start = [0, 0], limit = [8, 64]
// CHECK-NEXT:  %[[P0:.*]] = prim.dot_general %x, %[[W0]]{{.*}} loc("/fc")
// CHECK-NEXT:  %[[W1:.*]] = prim.slice %[[W]], start = [8, 0], limit = [16, 64]
// CHECK-NEXT:  %[[P1:.*]] = prim.dot_general %x, %[[W1]]
// CHECK-NEXT:  prim.concatenate %[[P0]], %[[P1]] dimension = 1 {{.*}} loc("/fc")
func.func @kept(%x: tensor<1x64xf32>) -> tensor<1x16xf32> {
  %w = prim.weight<"m.onnx", "fc", "9f2c"> : tensor<16x64xf32>
  %r = prim.dot_general %x, %w, batch = [] x [], contract = [1] x [1] : tensor<1x64xf32>, tensor<16x64xf32> -> tensor<1x16xf32> loc("/fc")
  func.return %r : tensor<1x16xf32>
}

// -----

// Tests that one whose rows are summed over takes the other factor's part along, and that the parts are added up.
// CHECK-LABEL: func.func @summed
// CHECK:       prim.slice %w, start = [0, 0], limit = [8, 64]
// CHECK-NEXT:  %[[X0:.*]] = prim.slice %x, start = [0, 0], limit = [1, 8]
// CHECK-NEXT:  %[[P0:.*]] = prim.dot_general %[[X0]]
// CHECK:       %[[P1:.*]] = prim.dot_general
// CHECK-NEXT:  prim.add %[[P0]], %[[P1]]
func.func @summed(%x: tensor<1x16xf32>) -> tensor<1x64xf32> {
  %w = prim.weight<"m.onnx", "fc", "9f2c"> : tensor<16x64xf32>
  %r = prim.dot_general %x, %w, batch = [] x [], contract = [1] x [0] : tensor<1x16xf32>, tensor<16x64xf32> -> tensor<1x64xf32> loc("/fc")
  func.return %r : tensor<1x64xf32>
}

// -----

// Tests that a weight on the left is cut too: its rows are the result's first dimension.
// CHECK-LABEL: func.func @left
// CHECK-COUNT-2: prim.dot_general
// CHECK:       prim.concatenate {{.*}} dimension = 0
func.func @left(%x: tensor<64x2xf32>) -> tensor<16x2xf32> {
  %w = prim.weight<"m.onnx", "fc", "9f2c"> : tensor<16x64xf32>
  %r = prim.dot_general %w, %x, batch = [] x [], contract = [1] x [0] : tensor<16x64xf32>, tensor<64x2xf32> -> tensor<16x2xf32> loc("/fc")
  func.return %r : tensor<16x2xf32>
}

// -----

// Tests that a weight that fits stays whole, and an activation of any size.
// CHECK-LABEL: func.func @fits
// CHECK-NOT:   prim.slice
// CHECK:       return
func.func @fits(%x: tensor<1x64xf32>, %y: tensor<16x64xf32>) -> (tensor<1x8xf32>, tensor<1x16xf32>) {
  %w = prim.weight<"m.onnx", "fc", "9f2c"> : tensor<8x64xf32>
  %r = prim.dot_general %x, %w, batch = [] x [], contract = [1] x [1] : tensor<1x64xf32>, tensor<8x64xf32> -> tensor<1x8xf32> loc("/fc")
  %s = prim.dot_general %x, %y, batch = [] x [], contract = [1] x [1] : tensor<1x64xf32>, tensor<16x64xf32> -> tensor<1x16xf32> loc("/mm")
  func.return %r, %s : tensor<1x8xf32>, tensor<1x16xf32>
}

// -----

// Tests that a weight whose single rows are too large is declined, and that we say so.
// REMARK:      remark: missed TST-F021 at "/fc"
// CHECK-LABEL: func.func @long_rows
// CHECK-NOT:   prim.slice
// CHECK:       return
func.func @long_rows(%x: tensor<1x1024xf32>) -> tensor<1x2xf32> {
  %w = prim.weight<"m.onnx", "fc", "9f2c"> : tensor<2x1024xf32>
  %r = prim.dot_general %x, %w, batch = [] x [], contract = [1] x [1] : tensor<1x1024xf32>, tensor<2x1024xf32> -> tensor<1x2xf32> loc("/fc")
  func.return %r : tensor<1x2xf32>
}

// -----

// Tests that rows looked up in such a weight are looked up in each part, and that the index chooses the part.
// REMARK:      remark: passed TST-F023 at "/wte": 2 look-ups
// CHECK-LABEL: func.func @looked_up
// CHECK:       prim.slice %w, start = [0, 0], limit = [8, 64]
// CHECK-NEXT:  %[[A:.*]] = prim.gather %{{.*}}, %i, {{.*}} loc("/wte")
// CHECK-NEXT:  %[[P:.*]] = prim.slice %w, start = [8, 0], limit = [16, 64]
// CHECK:       %[[I:.*]] = prim.sub %i,
// CHECK-NEXT:  %[[B:.*]] = prim.gather %[[P]], %[[I]],
// CHECK:       prim.compare ge %i,
// CHECK:       prim.select %{{.*}}, %[[B]], %[[A]]
func.func @looked_up(%i: tensor<3xi32>) -> tensor<3x64xf32> {
  %w = prim.weight<"m.onnx", "wte", "9f2c"> : tensor<16x64xf32>
  %r = prim.gather %w, %i, offset_dims = [1], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1, slice_sizes = [1, 64] : tensor<16x64xf32>, tensor<3xi32> -> tensor<3x64xf32> loc("/wte")
  func.return %r : tensor<3x64xf32>
}

// -----

// Tests that a look-up along another dimension is declined, and that we say so.
// REMARK:      remark: missed TST-F022 at "/columns"
// CHECK-LABEL: func.func @columns
// CHECK-NOT:   prim.slice
// CHECK:       return
func.func @columns(%i: tensor<3xi32>) -> tensor<16x3xf32> {
  %w = prim.weight<"m.onnx", "wte", "9f2c"> : tensor<16x64xf32>
  %r = prim.gather %w, %i, offset_dims = [0], collapsed_slice_dims = [1], start_index_map = [1], index_vector_dim = 1, slice_sizes = [16, 1] : tensor<16x64xf32>, tensor<3xi32> -> tensor<16x3xf32> loc("/columns")
  func.return %r : tensor<16x3xf32>
}

// -----

// Tests that the transpose of such a weight is read through, under both names.
// REMARK:      remark: passed TST-F020 at "/t", "/head"
// CHECK-LABEL: func.func @transposed
// CHECK-NOT:   prim.transpose
// CHECK-COUNT-2: prim.dot_general {{.*}} contract = [1] x [1] {{.*}} loc(fused["/t", "/head"])
// CHECK:       prim.concatenate
func.func @transposed(%x: tensor<1x64xf32>) -> tensor<1x16xf32> {
  %w = prim.weight<"m.onnx", "wte", "9f2c"> : tensor<16x64xf32>
  %t = prim.transpose %w, permutation = [1, 0] : tensor<16x64xf32> -> tensor<64x16xf32> loc("/t")
  %r = prim.dot_general %x, %t, batch = [] x [], contract = [1] x [0] : tensor<1x64xf32>, tensor<64x16xf32> -> tensor<1x16xf32> loc("/head")
  func.return %r : tensor<1x16xf32>
}

// -----

// Tests that a transpose is kept where the product's result has its dimensions in that order, and that we say so.
// REMARK:      remark: missed TST-F024 at "/swapped"
// CHECK-LABEL: func.func @swapped
// CHECK:       prim.transpose
func.func @swapped(%x: tensor<1x64xf32>) -> tensor<1x8x2xf32> {
  %w = prim.weight<"m.onnx", "wte", "9f2c"> : tensor<2x8x64xf32>
  %t = prim.transpose %w, permutation = [1, 0, 2] : tensor<2x8x64xf32> -> tensor<8x2x64xf32> loc("/t")
  %r = prim.dot_general %x, %t, batch = [] x [], contract = [1] x [2] : tensor<1x64xf32>, tensor<8x2x64xf32> -> tensor<1x8x2xf32> loc("/swapped")
  func.return %r : tensor<1x8x2xf32>
}
