// RUN: tstorch-opt %s -p instrument-dispatches | filecheck %s

// Tests that each dispatch stands between two markers of its id, and the copies too inside the span of all GPU work.
// CHECK-LABEL: buf.entry @run
// CHECK:       buf.upload
// CHECK-NEXT:  trace.span "begin" "gpu" 0
// CHECK-NEXT:  trace.span "begin" "dispatch" 7
// CHECK-NEXT:  buf.dispatch
// CHECK-NEXT:  trace.span "end" "dispatch" 7
// CHECK-NEXT:  buf.copy
// CHECK-NEXT:  trace.span "end" "gpu" 0
// CHECK-NEXT:  buf.readback
buf.buffer @a : 16 "input"
buf.buffer @b : 16 "activation"
buf.buffer @c : 16 "output"
buf.entry @run {
  %x = buf.view @a[0] "x" : !buf.view<tensor<4xf32>>
  %y = buf.view @b[0] "y" : !buf.view<tensor<4xf32>>
  %z = buf.view @c[0] "z" : !buf.view<tensor<4xf32>>
  buf.upload "x", %x {dtype = "float32", storage = "f32"} : !buf.view<tensor<4xf32>>
  buf.dispatch @k(read %x : !buf.view<tensor<4xf32>>, write %y : !buf.view<tensor<4xf32>>) grid [1, 1, 1] {id = 7 : i64, label = "k", nodes = [loc("/k")], flops = array<i64: 4>} loc("/k")
  buf.copy %y to %z : !buf.view<tensor<4xf32>> to !buf.view<tensor<4xf32>>
  buf.readback "z", %z {dtype = "float32", storage = "f32"} : !buf.view<tensor<4xf32>>
}

// Tests that an entry that gives the GPU nothing to do has nothing to mark.
// CHECK-LABEL: buf.entry @step
// CHECK-NOT:   trace.span
buf.entry @step {
  %x = buf.view @a[0] "x" : !buf.view<tensor<4xf32>>
  buf.upload "x", %x {dtype = "float32", storage = "f32"} : !buf.view<tensor<4xf32>>
  buf.readback "z", %x {dtype = "float32", storage = "f32"} : !buf.view<tensor<4xf32>>
}
