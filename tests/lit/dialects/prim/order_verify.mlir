// RUN: tstorch-opt %s --split-input-file --verify-diagnostics | filecheck %s

// Tests that keys are operands.
// CHECK: 2 keys of 1 operands
func.func @keys(%x: tensor<4xf32>) {
  %s = prim.sort %x dimension = 0, descending = [0, 1], runs = 1 to 4 : tensor<4xf32> -> tensor<4xf32>
  func.return
}

// -----

// Tests that runs that are merged are whole runs of those that are given.
// CHECK: prim.sort makes runs of 6 out of runs of 4
func.func @runs(%x: tensor<12xf32>) {
  %s = prim.sort %x dimension = 0, descending = [0], runs = 4 to 6 : tensor<12xf32> -> tensor<12xf32>
  func.return
}

// -----

// Tests that what is moved together has one shape.
// CHECK: tensor<4xf32> and tensor<5xf32> differ in shape; prim.sort moves them together
func.func @shapes(%x: tensor<4xf32>, %y: tensor<5xf32>) {
  %s, %t = prim.sort %x, %y dimension = 0, descending = [0], runs = 1 to 4 : tensor<4xf32>, tensor<5xf32> -> tensor<4xf32>, tensor<5xf32>
  func.return
}

// -----

// Tests that truth values have no order.
// CHECK: i1 has no order
func.func @order(%x: tensor<4xi1>) {
  %s = prim.sort %x dimension = 0, descending = [0], runs = 1 to 4 : tensor<4xi1> -> tensor<4xi1>
  func.return
}

// -----

// Tests that a running sum runs along a dimension that there is.
// CHECK: there is no dimension 1 in tensor<4xf32> to run along
func.func @along(%x: tensor<4xf32>) {
  %s = prim.cumulative add %x, dimension = 1, exclusive = 0, reverse = 0 : tensor<4xf32> -> tensor<4xf32>
  func.return
}

// -----

// Tests that bits are not combined where there are none.
// CHECK: or is not defined on f32
func.func @bits(%x: tensor<4xf32>) {
  %s = prim.cumulative or %x, dimension = 0, exclusive = 0, reverse = 0 : tensor<4xf32> -> tensor<4xf32>
  func.return
}

// -----

// Tests that each row has its own queries.
// CHECK: tensor<2x4xf32> and tensor<3x4xf32> are not of as many rows
func.func @queries(%x: tensor<2x4xf32>, %q: tensor<3x4xf32>) {
  %r = prim.search_sorted %x, %q : tensor<2x4xf32>, tensor<3x4xf32> -> tensor<3x4xi32>
  func.return
}

// -----

// Tests that there is a box for each priority.
// CHECK: tensor<1x5x4xf32> are not the 1 times 4 boxes
func.func @boxes(%b: tensor<1x5x4xf32>, %p: tensor<1x2x4xui32>, %t: tensor<f32>) {
  %n = prim.non_max_suppression %b, %p, %t, most = 3 : tensor<1x5x4xf32>, tensor<1x2x4xui32>, tensor<f32> -> tensor<1x2x3xi32>
  func.return
}
