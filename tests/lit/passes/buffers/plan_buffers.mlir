// RUN: tstorch-opt %s -p plan-buffers --remarks 2>&1 | filecheck %s
// RUN: tstorch-opt %s -p 'plan-buffers{strategy=greedy}' | filecheck %s --check-prefix=GREEDY

// Tests that what is never alive at once shares bytes, that what a dispatch reads and writes lies in different arenas,
// that an input lies among the rest, and that peak and lower bound are reported: bytes padded to 256 and bytes as such.
// CHECK:       remark: analysis TST-B001: entry run: 4 tensors in 2 arenas [arena_peak = 1280] [lower_bound = 1056]
// CHECK:       buf.buffer @weights0 : 16 "weight"
// CHECK-NEXT:  buf.buffer @run.arena0 : {{[0-9]+}} "activation"
// CHECK-NEXT:  buf.buffer @run.arena1 : {{[0-9]+}} "activation"
// CHECK:       buf.view @run.[[IN:arena[01]]][0] "x"
// CHECK-NEXT:  buf.weight @weights0[0]
// CHECK-NEXT:  buf.view @run.[[OUT:arena[01]]][0] "a"
// CHECK-NEXT:  buf.view @run.[[IN]][0] "b"
// CHECK-NEXT:  buf.view @run.[[OUT]][0] "c"

// Tests that the greedy plan obeys the same rules.
// GREEDY:      buf.buffer @run.arena0
// GREEDY:      buf.view @run.[[IN:arena[0-9]]][0] "x"
// GREEDY-NOT:  buf.view @run.[[IN]]{{.*}} "a"
buf.buffer @weights0 : 16 "weight"
buf.buffer @run.0 : 512 "input"
buf.buffer @run.1 : 544 "activation"
buf.buffer @run.2 : 512 "activation"
buf.buffer @run.3 : 256 "output"
buf.entry @run {
  %x = buf.view @run.0[0] "x" : !buf.view<tensor<128xf32>>
  %w = buf.weight @weights0[0] <"m.onnx", "w", "9f2c"> from 0 of tensor<4xf32> : !buf.view<tensor<4xf32>>
  %a = buf.view @run.1[0] "a" : !buf.view<tensor<136xf32>>
  %b = buf.view @run.2[0] "b" : !buf.view<tensor<128xf32>>
  %c = buf.view @run.3[0] "c" : !buf.view<tensor<64xf32>>
  buf.upload "x", %x {dtype = "float32", storage = "f32"} : !buf.view<tensor<128xf32>>
  buf.dispatch @k(read %x : !buf.view<tensor<128xf32>>, read %w : !buf.view<tensor<4xf32>>, write %a : !buf.view<tensor<136xf32>>) grid [1, 1, 1] {id = 0 : i64, label = "k", nodes = [loc("/a")], flops = array<i64: 0>} loc("/a")
  buf.dispatch @k(read %a : !buf.view<tensor<136xf32>>, write %b : !buf.view<tensor<128xf32>>) grid [1, 1, 1] {id = 1 : i64, label = "k", nodes = [loc("/b")], flops = array<i64: 0>} loc("/b")
  buf.dispatch @k(read %b : !buf.view<tensor<128xf32>>, write %c : !buf.view<tensor<64xf32>>) grid [1, 1, 1] {id = 2 : i64, label = "k", nodes = [loc("/c")], flops = array<i64: 0>} loc("/c")
  buf.readback "y", %c {dtype = "float32", storage = "f32"} : !buf.view<tensor<64xf32>>
}
