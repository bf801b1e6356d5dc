// RUN: tstorch-opt %s --split-input-file --verify-diagnostics | filecheck %s

// Tests that the region takes an element of a sequence, not the sequence.
// CHECK: the region takes tensor<4xf32>, tensor<9x4xf32>; a step gives it tensor<4xf32>, tensor<4xf32>
func.func @whole_sequence(%h: tensor<4xf32>, %x: tensor<9x4xf32>) -> tensor<4xf32> {
  %last = prim.scan(%h, %x) states = 1, sequences = 1 {
  ^bb0(%state: tensor<4xf32>, %element: tensor<9x4xf32>):
    prim.yield %state : tensor<4xf32>
  } : (tensor<4xf32>, tensor<9x4xf32>) -> tensor<4xf32>
  func.return %last : tensor<4xf32>
}

// -----

// Tests that a step leaves states of the types that it found.
// CHECK: the region does not yield states of the types that it takes
func.func @other_state(%h: tensor<4xf32>, %x: tensor<9x5xf32>) -> tensor<4xf32> {
  %last = prim.scan(%h, %x) states = 1, sequences = 1 {
  ^bb0(%state: tensor<4xf32>, %element: tensor<5xf32>):
    prim.yield %element : tensor<5xf32>
  } : (tensor<4xf32>, tensor<9x5xf32>) -> tensor<4xf32>
  func.return %last : tensor<4xf32>
}

// -----

// Tests that all sequences have as many steps.
// CHECK: sequences tensor<9x4xf32>, tensor<8x4xf32> are not of one length
func.func @unequal(%h: tensor<4xf32>, %x: tensor<9x4xf32>, %y: tensor<8x4xf32>) -> tensor<4xf32> {
  %last = prim.scan(%h, %x, %y) states = 1, sequences = 2 {
  ^bb0(%state: tensor<4xf32>, %a: tensor<4xf32>, %b: tensor<4xf32>):
    prim.yield %state : tensor<4xf32>
  } : (tensor<4xf32>, tensor<9x4xf32>, tensor<8x4xf32>) -> tensor<4xf32>
  func.return %last : tensor<4xf32>
}

// -----

// Tests that a scan without a state is none: a map has no steps.
// CHECK: 0 states, 1 sequences; expected one or more of each
func.func @stateless(%x: tensor<9x4xf32>) -> tensor<9x4xf32> {
  %all = prim.scan(%x) states = 0, sequences = 1 {
  ^bb0(%element: tensor<4xf32>):
    prim.yield %element : tensor<4xf32>
  } : (tensor<9x4xf32>) -> tensor<9x4xf32>
  func.return %all : tensor<9x4xf32>
}
