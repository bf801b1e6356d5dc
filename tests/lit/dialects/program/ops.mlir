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
