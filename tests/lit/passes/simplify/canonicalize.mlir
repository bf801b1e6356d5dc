// RUN: tstorch-opt %s -p canonicalize --print-debuginfo | filecheck %s

// Tests that an op that gives back its operand goes, with the reason under its name.
// CHECK:       tst.elided = {add = "folded: it gives back a value it was given"}
// CHECK-LABEL: func.func @identity
// CHECK-NEXT:  return %x
func.func @identity(%x: i32) -> i32 {
  %zero = arith.constant 0 : i32
  %a = arith.addi %x, %zero : i32 loc("add")
  func.return %a : i32
}

// Tests that a constant carries the names of the ops that it was folded from.
// CHECK-LABEL: func.func @constant
// CHECK-NEXT:  arith.constant 5 : i32 loc(fused["two", "three", "sum"])
func.func @constant() -> i32 {
  %two = arith.constant 2 : i32 loc("two")
  %three = arith.constant 3 : i32 loc("three")
  %sum = arith.addi %two, %three : i32 loc("sum")
  func.return %sum : i32
}

// Tests that an addition of what is no zero stays.
// CHECK-LABEL: func.func @kept
// CHECK:       arith.addi
func.func @kept(%x: i32) -> i32 {
  %one = arith.constant 1 : i32
  %a = arith.addi %x, %one : i32 loc("add_2")
  func.return %a : i32
}
