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
// CHECK: entry "run" holds arith.constant; expected steps of a program alone
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

// Tests that a run among other steps has values.
// CHECK: program.run @main gives nothing; without values it must be the entry's only step
program.entry "run" {
  %x = program.input "x" : tensor<4xf32>
  program.run @main
}
func.func @main() {
  func.return
}

// -----

// Tests that a step gives a segment what it takes.
// CHECK: @main takes 2 values and gives 1; the step has 1 and 1
program.entry "run" {
  %x = program.input "x" : tensor<4xf32>
  %y = program.run @main(%x) : (tensor<4xf32>) -> tensor<4xf32>
  program.output "y", %y : tensor<4xf32>
}
func.func @main(%x: tensor<4xf32>, %z: tensor<4xf32>) -> tensor<4xf32> {
  func.return %x : tensor<4xf32>
}

// -----

// Tests that only what must wait for its shapes is compiled at a run.
// CHECK: @main is a func.func; expected a program.segment
program.entry "run" {
  %x = program.input "x" : tensor<4xf32>
  %y = program.specialise @main(%x) : (tensor<4xf32>) -> tensor<4xf32>
  program.output "y", %y : tensor<4xf32>
}
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  func.return %x : tensor<4xf32>
}

// -----

// Tests that known inputs are inputs.
// CHECK: known inputs [1] of 1
program.entry "run" {
  %x = program.input "x" : tensor<4xf32>
  %y = program.specialise @s(%x) known [1] : (tensor<4xf32>) -> tensor<?xf32>
  program.output "y", %y : tensor<?xf32>
}
program.segment @s {
  func.func @main(%x: tensor<4xf32>) -> tensor<?xf32> {
    %y = "test.op"(%x) : (tensor<4xf32>) -> tensor<?xf32>
    func.return %y : tensor<?xf32>
  }
}

// -----

// Tests that both bodies of an if yield its results.
// CHECK: a body ends in something else than a program.yield of 1 values
program.entry "run" {
  %c = program.input "c" : tensor<i1>
  %y = program.if %c : (tensor<i1>) -> tensor<i1> then {
    program.yield %c : tensor<i1>
  } else {
    program.yield
  }
  program.output "y", %y : tensor<i1>
}

// -----

// Tests that a loop's body takes the number of the iteration, a truth value and what is carried.
// CHECK: the body takes 2 values; expected 3
program.entry "run" {
  %c = program.input "c" : tensor<i1>
  %y = program.while going %c : tensor<i1> (%c) : (tensor<i1>) -> tensor<i1> {
  ^bb0(%i: tensor<i64>, %g: tensor<i1>):
    program.yield %g, %g : tensor<i1>, tensor<i1>
  }
  program.output "y", %y : tensor<i1>
}

// -----

// Tests that what goes from segment to segment are tensors.
// CHECK: a value between segments is a tensor, not i32
program.entry "run" {
  %c = program.input "c" : i32
  program.output "c", %c : i32
}
