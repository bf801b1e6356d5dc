// RUN: tstorch-opt %s --split-input-file --verify-diagnostics | filecheck %s

// Tests that a segment exists.
// CHECK: no segment @main
program.entry "run" {
  program.run @main
}

// -----

// Tests that a kernel is no segment.
// CHECK: @k is a flow.kernel; expected a func.func or a buf.entry
program.entry "run" {
  program.run @k
}
flow.kernel @k(%a: tensor<4xf32>) -> tensor<4xf32> {
  flow.yield %a : tensor<4xf32>
}

// -----

// Tests that an entry runs something.
// CHECK: Region 'body' at position 0 expected a single block
program.entry "run" {
}

// -----

// Tests that an entry holds nothing else.
// CHECK: entry "run" holds program.run, arith.constant; expected one program.run
program.entry "run" {
  program.run @main
  %x = arith.constant 1.0 : f32
}
func.func @main() {
  func.return
}

// -----

// Tests that the names of entries are different.
// CHECK: there are two entries "run"; the runtime asks for them by name
program.entry "run" {
  program.run @main
}
program.entry "run" {
  program.run @main
}
func.func @main() {
  func.return
}

// -----

// Tests that a run stands in an entry.
// CHECK: 'program.run' expects parent op 'program.entry'
program.run @main
func.func @main() {
  func.return
}
