// RUN: tstorch-opt %s -p 'split-reduction{units=132}' --split-input-file --print-debuginfo | filecheck %s
// RUN: tstorch-opt %s -p 'split-reduction{units=132}' --split-input-file --remarks 2>&1 | filecheck %s --check-prefix=REMARK
// RUN: tstorch-opt %s -p split-reduction --split-input-file | filecheck %s --check-prefix=WHOLE

// Tests that a convolution is cut by its input channels, that groups of output channels keep their order, and that the
// parts are added; without known units nothing is.
// CHECK-LABEL: func.func @conv
// CHECK:       %[[W0:.*]] = prim.reshape %w, shape = [3, 3, 32, 16, 512] {{.*}} loc("/conv")
// CHECK-NEXT:  %[[W1:.*]] = prim.transpose %[[W0]], permutation = [0, 1, 3, 2, 4]
// CHECK-NEXT:  %[[W2:.*]] = prim.reshape %[[W1]], shape = [3, 3, 16, 16384]
// CHECK-NEXT:  %[[Y0:.*]] = prim.conv %x, %[[W2]], {{.*}} feature_group_count = 32{{.*}} -> tensor<1x7x7x16384xf32> loc("/conv")
// CHECK-NEXT:  %[[Y1:.*]] = prim.reshape %[[Y0]], shape = [1, 7, 7, 32, 512]
// CHECK-NEXT:  prim.reduce add %[[Y1]], dimensions = [3] {{.*}} loc("/conv")
// WHOLE-LABEL: func.func @conv
// WHOLE-NOT:   prim.reduce
// REMARK:      remark: passed TST-F040 at "/conv": 32 parts: its 25088 results do not fill the device
func.func @conv(%x: tensor<1x7x7x512xf32>, %w: tensor<3x3x512x512xf32>) -> tensor<1x7x7x512xf32> {
  %y = prim.conv %x, %w, layout = "NHWC" x "HWIO" to "NHWC", window_strides = [1, 1], padding_low = [1, 1], padding_high = [1, 1], lhs_dilation = [1, 1], rhs_dilation = [1, 1], feature_group_count = 1, batch_group_count = 1, reverse_window = false : tensor<1x7x7x512xf32>, tensor<3x3x512x512xf32> -> tensor<1x7x7x512xf32> loc("/conv")
  func.return %y : tensor<1x7x7x512xf32>
}

// -----

// Tests that a product is cut along what it sums over.
// CHECK-LABEL: func.func @dot
// CHECK:       %[[X:.*]] = prim.reshape %x, shape = [128, 8, 96]
// CHECK-NEXT:  %[[W:.*]] = prim.reshape %w, shape = [8, 96, 768]
// CHECK-NEXT:  %[[P:.*]] = prim.dot_general %[[X]], %[[W]], batch = [1] x [0], contract = [2] x [1]
// CHECK-NEXT:  prim.reduce add %[[P]], dimensions = [0]
func.func @dot(%x: tensor<128x768xf32>, %w: tensor<768x768xf32>) -> tensor<128x768xf32> {
  %y = prim.dot_general %x, %w, batch = [] x [], contract = [1] x [0] : tensor<128x768xf32>, tensor<768x768xf32> -> tensor<128x768xf32> loc("/fc")
  func.return %y : tensor<128x768xf32>
}

// -----

// Tests that the parts of batches are further batches, behind them.
// CHECK-LABEL: func.func @batches
// CHECK:       %[[X:.*]] = prim.reshape %x, shape = [6, 1500, 3, 500]
// CHECK-NEXT:  %[[W:.*]] = prim.reshape %w, shape = [6, 3, 500, 64]
// CHECK-NEXT:  %[[P:.*]] = prim.dot_general %[[X]], %[[W]], batch = [0, 2] x [0, 1], contract = [3] x [2]
// CHECK-NEXT:  prim.reduce add %[[P]], dimensions = [1] : tensor<6x3x1500x64xf32>
func.func @batches(%x: tensor<6x1500x1500xf32>, %w: tensor<6x1500x64xf32>) -> tensor<6x1500x64xf32> {
  %y = prim.dot_general %x, %w, batch = [0] x [0], contract = [2] x [1] : tensor<6x1500x1500xf32>, tensor<6x1500x64xf32> -> tensor<6x1500x64xf32>
  func.return %y : tensor<6x1500x64xf32>
}

// -----

// Tests that parts of half precision are added as f32, and only their sum is rounded.
// CHECK-LABEL: func.func @halves
// CHECK:       prim.convert %{{.*}} to f32 : tensor<64x4x128xf16>
// CHECK-NEXT:  prim.reshape %w
// CHECK-NEXT:  prim.convert %{{.*}} to f32 : tensor<4x128x64xf16>
// CHECK-NEXT:  prim.dot_general
// CHECK-NEXT:  %[[S:.*]] = prim.reduce add %{{.*}} : tensor<4x64x64xf32>
// CHECK-NEXT:  prim.convert %[[S]] to f16
func.func @halves(%x: tensor<64x512xf16>, %w: tensor<512x64xf16>) -> tensor<64x64xf16> {
  %y = prim.dot_general %x, %w, batch = [] x [], contract = [1] x [0] : tensor<64x512xf16>, tensor<512x64xf16> -> tensor<64x64xf16>
  func.return %y : tensor<64x64xf16>
}

// -----

// Tests that one vector with rows of a matrix becomes a sum along each row.
// CHECK-LABEL: func.func @vector
// CHECK:       %[[X:.*]] = prim.broadcast_in_dim %{{.*}}, shape = [10, 512], dimensions = [1]
// CHECK-NEXT:  %[[P:.*]] = prim.mul %[[X]], %w
// CHECK-NEXT:  %[[S:.*]] = prim.reduce add %[[P]], dimensions = [1]
// CHECK-NEXT:  prim.reshape %[[S]], shape = [1, 10]
func.func @vector(%x: tensor<1x512xf32>, %w: tensor<10x512xf32>) -> tensor<1x10xf32> {
  %y = prim.dot_general %x, %w, batch = [] x [], contract = [1] x [1] : tensor<1x512xf32>, tensor<10x512xf32> -> tensor<1x10xf32> loc("/fc")
  func.return %y : tensor<1x10xf32>
}

// -----

// Tests that what fills the device, odd sums and integers stay whole.
// CHECK-LABEL: func.func @whole
// WHOLE-LABEL: func.func @whole
// CHECK-NOT:   prim.reduce
func.func @whole(%x: tensor<4096x128xf32>, %w: tensor<128x4096xf32>, %a: tensor<64x509xf32>, %b: tensor<509x64xf32>, %h: tensor<64x512xi32>, %i: tensor<512x64xi32>) -> (tensor<4096x4096xf32>, tensor<64x64xf32>, tensor<64x64xi32>) {
  %y = prim.dot_general %x, %w, batch = [] x [], contract = [1] x [0] : tensor<4096x128xf32>, tensor<128x4096xf32> -> tensor<4096x4096xf32>
  %c = prim.dot_general %a, %b, batch = [] x [], contract = [1] x [0] : tensor<64x509xf32>, tensor<509x64xf32> -> tensor<64x64xf32>
  %k = prim.dot_general %h, %i, batch = [] x [], contract = [1] x [0] : tensor<64x512xi32>, tensor<512x64xi32> -> tensor<64x64xi32>
  func.return %y, %c, %k : tensor<4096x4096xf32>, tensor<64x64xf32>, tensor<64x64xi32>
}

// -----

// Tests that what a group or a step holds is left to it.
// CHECK-LABEL: func.func @grouped
// CHECK-NOT:   prim.reduce
func.func @grouped(%x: tensor<128x768xf32>, %w: tensor<768x768xf32>) -> tensor<128x768xf32> {
  %r = prim.composite "dense"(%x, %w) {
  ^bb0(%a: tensor<128x768xf32>, %b: tensor<768x768xf32>):
    %y = prim.dot_general %a, %b, batch = [] x [], contract = [1] x [0] : tensor<128x768xf32>, tensor<768x768xf32> -> tensor<128x768xf32>
    prim.yield %y : tensor<128x768xf32>
  } : (tensor<128x768xf32>, tensor<768x768xf32>) -> tensor<128x768xf32>
  func.return %r : tensor<128x768xf32>
}

// -----

// Tests that the extreme of a whole tensor is that of rows first; a short one, and one with many results, are left alone.
// CHECK-LABEL: func.func @whole
// WHOLE-LABEL: func.func @whole
// CHECK:       %[[R:.*]] = prim.reshape %x, shape = [256, 768]
// CHECK:       %[[M:.*]] = prim.reduce max %[[R]], dimensions = [1] : tensor<256x768xf32> -> tensor<256xf32>
// CHECK:       prim.reduce max %[[M]], dimensions = [0] : tensor<256xf32> -> tensor<f32>
// CHECK:       prim.reduce max %y, dimensions = [0, 1] : tensor<8x9xf32> -> tensor<f32>
// CHECK:       prim.reduce max %x, dimensions = [1] : tensor<64x3072xf32> -> tensor<64xf32>
func.func @whole(%x: tensor<64x3072xf32>, %y: tensor<8x9xf32>) -> (tensor<f32>, tensor<f32>, tensor<64xf32>) {
  %0 = prim.reduce max %x, dimensions = [0, 1] : tensor<64x3072xf32> -> tensor<f32> loc("/largest")
  %1 = prim.reduce max %y, dimensions = [0, 1] : tensor<8x9xf32> -> tensor<f32> loc("/small")
  %2 = prim.reduce max %x, dimensions = [1] : tensor<64x3072xf32> -> tensor<64xf32> loc("/rows")
  func.return %0, %1, %2 : tensor<f32>, tensor<f32>, tensor<64xf32>
}
