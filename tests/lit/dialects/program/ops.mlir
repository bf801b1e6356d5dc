// RUN: tstorch-opt %s --split-input-file | filecheck %s
// RUN: tstorch-opt %s --split-input-file --print-op-generic | filecheck %s --check-prefix=GENERIC

// Tests that an entry prints its name and the segment that it runs.
// CHECK:        program.entry "init" {
// CHECK-NEXT:     program.run @init
// CHECK-NEXT:   }
// CHECK:        program.entry "run" {
// CHECK-NEXT:     program.run @main
// CHECK-NEXT:   }
// GENERIC:      "program.entry"() <{entry_name = "init"}> ({
// GENERIC-NEXT:   "program.run"() <{segment = @init}> : () -> ()
// GENERIC-NEXT: }) : () -> ()
program.entry "init" {
  program.run @init
}
func.func @init() {
  func.return
}
program.entry "run" {
  program.run @main
}
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  func.return %x : tensor<4xf32>
}

// -----

// Tests that from level buf on the segment is a host program.
// CHECK:        program.entry "run" {
// CHECK-NEXT:     program.run @run
// CHECK:        buf.entry @run {
program.entry "run" {
  program.run @run
}
buf.buffer @b : 16 "input"
buf.entry @run {
  %x = buf.view @b[0] "x" : !buf.view<tensor<4xf32>>
}

// -----

// Tests that steps print what they take, what they give, and what they look at.
// CHECK:       %x = program.input "x" law {kind = "ones"} : tensor<4xf32>
// CHECK-NEXT:  %k = program.constant dense<[3, 4]> : tensor<2xi64>
// CHECK-NEXT:  %p, %n, %c = program.run @main.0(%x) : (tensor<4xf32>) -> (tensor<12xf32>, tensor<i64>, tensor<i1>)
// CHECK-NEXT:  %t = program.take %p, %n along 0 : (tensor<12xf32>, tensor<i64>) -> tensor<?xf32>
// CHECK-NEXT:  %y = program.if %c : (tensor<i1>) -> tensor<12xf32> then {
// CHECK-NEXT:    program.yield %p : tensor<12xf32>
// CHECK-NEXT:  } else {
// CHECK-NEXT:    %q = program.specialise @main.1(%t, %k) known [1] : (tensor<?xf32>, tensor<2xi64>) -> tensor<12xf32>
// CHECK-NEXT:    program.yield %q : tensor<12xf32>
// CHECK-NEXT:  }
// CHECK-NEXT:  %z = program.while trips %n : tensor<i64> going %c : tensor<i1>(%y) : (tensor<12xf32>) -> tensor<12xf32> {
// CHECK-NEXT:  ^bb0(%i: tensor<i64>, %g: tensor<i1>, %a: tensor<12xf32>):
// CHECK-NEXT:    program.yield %g, %a : tensor<i1>, tensor<12xf32>
// CHECK-NEXT:  }
// CHECK-NEXT:  program.output "z", %z : tensor<12xf32>
// CHECK:       program.segment @main.1 {
// CHECK-NEXT:    func.func @main(
// GENERIC:     "program.take"(%p, %n) <{axis = 0 : i64}> : (tensor<12xf32>, tensor<i64>) -> tensor<?xf32>
program.entry "run" {
  %x = program.input "x" law {kind = "ones"} : tensor<4xf32>
  %k = program.constant dense<[3, 4]> : tensor<2xi64>
  %p, %n, %c = program.run @main.0(%x) : (tensor<4xf32>) -> (tensor<12xf32>, tensor<i64>, tensor<i1>)
  %t = program.take %p, %n along 0 : (tensor<12xf32>, tensor<i64>) -> tensor<?xf32>
  %y = program.if %c : (tensor<i1>) -> tensor<12xf32> then {
    program.yield %p : tensor<12xf32>
  } else {
    %q = program.specialise @main.1(%t, %k) known [1] : (tensor<?xf32>, tensor<2xi64>) -> tensor<12xf32>
    program.yield %q : tensor<12xf32>
  }
  %z = program.while trips %n : tensor<i64> going %c : tensor<i1> (%y) : (tensor<12xf32>) -> tensor<12xf32> {
  ^bb0(%i: tensor<i64>, %g: tensor<i1>, %a: tensor<12xf32>):
    program.yield %g, %a : tensor<i1>, tensor<12xf32>
  }
  program.output "z", %z : tensor<12xf32>
}
func.func @main.0(%x: tensor<4xf32>) -> (tensor<12xf32>, tensor<i64>, tensor<i1>) {
  %a, %b, %c = "test.op"() : () -> (tensor<12xf32>, tensor<i64>, tensor<i1>)
  func.return %a, %b, %c : tensor<12xf32>, tensor<i64>, tensor<i1>
}
program.segment @main.1 {
  func.func @main(%t: tensor<?xf32>, %k: tensor<2xi64>) -> tensor<12xf32> {
    %a = "test.op"() : () -> tensor<12xf32>
    func.return %a : tensor<12xf32>
  }
}
