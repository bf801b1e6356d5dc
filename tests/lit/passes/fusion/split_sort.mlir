// RUN: tstorch-opt %s -p 'split-sort{memory=128}' --split-input-file --print-debuginfo | filecheck %s
// RUN: tstorch-opt %s -p 'split-sort{memory=128}' --split-input-file --remarks 2>&1 | filecheck %s --check-prefix=REMARK

// Tests that a row longer than what the memory holds is sorted in runs, which are merged in pairs.
// CHECK-LABEL: func.func @long
// CHECK:       %[[A:.*]] = prim.sort %x dimension = 0, descending = [1], runs = 1 to 16 {{.*}} loc("/s")
// CHECK-NEXT:  %[[B:.*]] = prim.sort %[[A]] dimension = 0, descending = [1], runs = 16 to 32 {{.*}} loc("/s")
// CHECK-NEXT:  %[[C:.*]] = prim.sort %[[B]] dimension = 0, descending = [1], runs = 32 to 64 {{.*}} loc("/s")
// CHECK-NEXT:  return %[[C]]
// REMARK:      remark: passed TST-F030 at "/s": 3 dispatches: runs of 16 of 40 elements
func.func @long(%x: tensor<40xf32>) -> tensor<40xf32> {
  %r = prim.sort %x dimension = 0, descending = [1], runs = 1 to 40 : tensor<40xf32> -> tensor<40xf32> loc("/s")
  func.return %r : tensor<40xf32>
}

// -----

// Tests that each key takes a word of the memory for every element, and that what is only moved takes none.
// CHECK-LABEL: func.func @keys
// CHECK:       prim.sort {{.*}} dimension = 0, descending = [0, 1], runs = 1 to 8
// CHECK-NEXT:  prim.sort {{.*}} dimension = 0, descending = [0, 1], runs = 8 to 16
// CHECK-NEXT:  return
func.func @keys(%x: tensor<16xf32>, %y: tensor<16xi32>, %z: tensor<16xi32>) -> tensor<16xi32> {
  %a, %b, %c = prim.sort %x, %y, %z dimension = 0, descending = [0, 1], runs = 1 to 16 : tensor<16xf32>, tensor<16xi32>, tensor<16xi32> -> tensor<16xf32>, tensor<16xi32>, tensor<16xi32> loc("/s")
  func.return %c : tensor<16xi32>
}

// -----

// Tests that a row which fits is left alone, and so is a merge of two runs.
// CHECK-LABEL: func.func @short
// CHECK:       prim.sort {{.*}} runs = 1 to 16
// CHECK-NEXT:  prim.sort {{.*}} runs = 8 to 16
// CHECK-NEXT:  return
func.func @short(%x: tensor<2x16xf32>) -> (tensor<2x16xf32>, tensor<2x16xf32>) {
  %a = prim.sort %x dimension = 1, descending = [0], runs = 1 to 16 : tensor<2x16xf32> -> tensor<2x16xf32> loc("/s")
  %b = prim.sort %x dimension = 1, descending = [0], runs = 8 to 16 : tensor<2x16xf32> -> tensor<2x16xf32> loc("/t")
  func.return %a, %b : tensor<2x16xf32>, tensor<2x16xf32>
}

// -----

// Tests that of a long row only the first few elements of each run go on where no more are used, filled up with what
// comes last.
// CHECK-LABEL: func.func @few
// CHECK:       %[[LAST:.*]] = prim.constant dense<-inf> : tensor<f32>
// CHECK:       %[[X:.*]] = prim.pad %x, %[[LAST]], low = [0], high = [8]
// CHECK:       %[[A:.*]], %[[P:.*]] = prim.sort %[[X]], %{{.*}} dimension = 0, descending = [1], runs = 1 to 16 : tensor<48xf32>
// CHECK:       prim.slice {{.*}} tensor<3x16xf32> -> tensor<3x4xf32>
// CHECK:       %[[B:.*]], %{{.*}} = prim.sort {{.*}} runs = 1 to 12 : tensor<12xf32>
// CHECK:       prim.slice %[[B]], start = [0], limit = [3]
// REMARK:      remark: passed TST-F031 at "/s": of 40 elements in runs of 16 only the first 4 go on
func.func @few(%x: tensor<40xf32>, %i: tensor<40xi32>) -> (tensor<3xf32>, tensor<3xi32>) {
  %s, %p = prim.sort %x, %i dimension = 0, descending = [1], runs = 1 to 40 : tensor<40xf32>, tensor<40xi32> -> tensor<40xf32>, tensor<40xi32> loc("/s")
  %a = prim.slice %s, start = [0], limit = [3], stride = [1] : tensor<40xf32> -> tensor<3xf32> loc("/s")
  %b = prim.slice %p, start = [0], limit = [3], stride = [1] : tensor<40xi32> -> tensor<3xi32> loc("/s")
  func.return %a, %b : tensor<3xf32>, tensor<3xi32>
}

// -----

// Tests that all of a row is merged where a user takes more than half of a run, or not the first.
// CHECK-LABEL: func.func @many
// CHECK-COUNT-2: prim.sort {{.*}} runs = 1 to 16
// CHECK-NOT:   prim.pad
func.func @many(%x: tensor<32xf32>) -> (tensor<9xf32>, tensor<2xf32>) {
  %s = prim.sort %x dimension = 0, descending = [0], runs = 1 to 32 : tensor<32xf32> -> tensor<32xf32> loc("/s")
  %a = prim.slice %s, start = [0], limit = [9], stride = [1] : tensor<32xf32> -> tensor<9xf32> loc("/s")
  %t = prim.sort %x dimension = 0, descending = [1], runs = 1 to 32 : tensor<32xf32> -> tensor<32xf32> loc("/t")
  %b = prim.slice %t, start = [30], limit = [32], stride = [1] : tensor<32xf32> -> tensor<2xf32> loc("/t")
  func.return %a, %b : tensor<9xf32>, tensor<2xf32>
}
