// RUN: tstorch-opt %s -p round-quotients --print-debuginfo --split-input-file | filecheck %s

// Tests that the divisions behind a rounding are exact, through arithmetic, moves and the extrema of a range.
// CHECK-LABEL: func.func @quantized
// CHECK:         %[[S:.*]] = prim.exact_div %{{.*}}, %{{.*}} : tensor<f32> loc("/scale")
// CHECK:         %[[Q:.*]] = prim.exact_div %x, %{{.*}} : tensor<8xf32> loc("/quotient")
// CHECK:         %[[M:.*]] = prim.add %[[Q]], %{{.*}} : tensor<8xf32>
// CHECK:         prim.round %[[M]]
func.func @quantized(%x: tensor<8xf32>, %zero: tensor<8xf32>, %range: tensor<f32>, %steps: tensor<f32>) -> tensor<8xf32> {
  %scale = prim.div %range, %steps : tensor<f32> loc("/scale")
  %spread = prim.broadcast_in_dim %scale, shape = [8], dimensions = [] : tensor<f32> -> tensor<8xf32>
  %quotient = prim.div %x, %spread : tensor<8xf32> loc("/quotient")
  %moved = prim.add %quotient, %zero : tensor<8xf32>
  %rounded = prim.round %moved : tensor<8xf32>
  func.return %rounded : tensor<8xf32>
}

// -----

// Tests that a conversion to integers and a comparison ask for exact quotients; that sums and exponentials hide them.
// CHECK-LABEL: func.func @steps
// CHECK:         %[[A:.*]] = prim.exact_div %x, %y
// CHECK-NEXT:    prim.convert %[[A]] to i32
// CHECK:         %[[B:.*]] = prim.exact_div %y, %x
// CHECK-NEXT:    prim.compare gt %[[B]], %x
// CHECK:         %[[C:.*]] = prim.div %x, %x
// CHECK-NEXT:    %[[E:.*]] = prim.exp %[[C]]
// CHECK-NEXT:    prim.floor %[[E]]
func.func @steps(%x: tensor<8xf32>, %y: tensor<8xf32>) -> (tensor<8xi32>, tensor<8xi1>, tensor<8xf32>) {
  %0 = prim.div %x, %y : tensor<8xf32>
  %1 = prim.convert %0 to i32 : tensor<8xf32> -> tensor<8xi32>
  %2 = prim.div %y, %x : tensor<8xf32>
  %3 = prim.compare gt %2, %x : tensor<8xf32> -> tensor<8xi1>
  %4 = prim.div %x, %x : tensor<8xf32>
  %5 = prim.exp %4 : tensor<8xf32>
  %6 = prim.floor %5 : tensor<8xf32>
  func.return %1, %3, %6 : tensor<8xi32>, tensor<8xi1>, tensor<8xf32>
}

// -----

// Tests that a quotient of integers, one that nothing rounds, and one that is added before it is compared are left alone.
// CHECK-LABEL: func.func @plain
// CHECK-COUNT-3: prim.div
func.func @plain(%x: tensor<8xf32>, %i: tensor<8xi32>) -> (tensor<8xf32>, tensor<8xi32>, tensor<8xi1>) {
  %0 = prim.div %x, %x : tensor<8xf32>
  %1 = prim.div %i, %i : tensor<8xi32>
  %2 = prim.div %x, %x : tensor<8xf32>
  %3 = prim.add %2, %x : tensor<8xf32>
  %4 = prim.compare gt %3, %x : tensor<8xf32> -> tensor<8xi1>
  func.return %0, %1, %4 : tensor<8xf32>, tensor<8xi32>, tensor<8xi1>
}
