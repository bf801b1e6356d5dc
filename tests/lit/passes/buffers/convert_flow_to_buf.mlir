// RUN: tstorch-opt %s -p convert-flow-to-buf --split-input-file --print-debuginfo --verify-diagnostics | filecheck %s

// Tests that a reshape is a subview, that the weights of runs share a buffer and those of init go with it, and that ids count on from entry to entry.
// CHECK:       buf.buffer @weights0 : 16 "weight" lifetime "init"
// CHECK-NEXT:  buf.buffer @derived0 : 16 "weight" loc
// CHECK-NEXT:  buf.buffer @weights1 : 272 "weight" loc
// CHECK:       program.entry "init" {
// CHECK-NEXT:    program.run @init
// CHECK:       buf.entry @init
// CHECK-NEXT:  %[[RAW:.*]] = buf.weight @weights0[0] <"m.onnx", "w", "9f2c"> from 0 of tensor<4xf32>
// CHECK-NEXT:  %[[PACKED:.*]] = buf.view @derived0[0] "w.derived"
// CHECK-NEXT:  buf.dispatch @k(read %[[RAW]] {{.*}} write %[[PACKED]] {{.*}} {id = 0
// CHECK:       program.entry "run" {
// CHECK-NEXT:    program.run @run
// CHECK:       buf.entry @run
// CHECK-NEXT:  %[[X:.*]] = buf.view @run.0[0] "x" : !buf.view<tensor<4xf32>>
// CHECK-NEXT:  %[[W:.*]] = buf.derived @derived0[0] "w.derived"
// CHECK-NEXT:  %[[Y:.*]] = buf.view @run.1[0] "/a" : !buf.view<tensor<4xf32>>
// CHECK-NEXT:  %[[V:.*]] = buf.subview %[[Y]][0] : {{.*}} -> !buf.view<tensor<2x2xf32>> loc("/flat")
// CHECK-NEXT:  %[[B:.*]] = buf.weight @weights1[0] <"m.onnx", "b", "1a2b">
// CHECK:       buf.weight @weights1[256] <"m.onnx", "c", "3c4d">
// CHECK:       buf.upload "x", %[[X]]
// CHECK-NEXT:  buf.dispatch @k2(read %[[X]] {{.*}} read %[[W]] {{.*}} write %[[Y]] {{.*}} {id = 1
// CHECK-NEXT:  buf.dispatch @k3(read %[[V]] {{.*}} read %[[B]] {{.*}} {id = 2
// CHECK-NEXT:  buf.readback "y"
wgsl.module @k grid [1, 1, 1] {
  wgsl.function @main workgroup [4, 1, 1] (%wg, %lid) {
  }
}
wgsl.module @k2 grid [1, 1, 1] {
  wgsl.function @main workgroup [4, 1, 1] (%wg, %lid) {
  }
}
wgsl.module @k3 grid [1, 1, 1] {
  wgsl.function @main workgroup [4, 1, 1] (%wg, %lid) {
  }
}
program.entry "init" {
  program.run @init
}
func.func @init() -> (tensor<4xf32> {tst.name = "w.derived"}) {
  %w = prim.weight<"m.onnx", "w", "9f2c"> : tensor<4xf32>
  %0 = flow.dispatch @k(%w) {nodes = [loc("/fold")], label = "mul", flops = array<i64: 4>} : (tensor<4xf32>) -> tensor<4xf32> loc("/fold")
  func.return %0 : tensor<4xf32>
}
program.entry "run" {
  program.run @main
}
func.func @main(%x: tensor<4xf32> {tst.name = "x"}) -> (tensor<2x2xf32> {tst.name = "y"}) {
  %w = prim.derived "w.derived" : tensor<4xf32>
  %0 = flow.dispatch @k2(%x, %w) {nodes = [loc("/a")], label = "add", flops = array<i64: 4>} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("/a")
  %v = prim.reshape %0, shape = [2, 2] : tensor<4xf32> -> tensor<2x2xf32> loc("/flat")
  %b = prim.weight<"m.onnx", "b", "1a2b"> : tensor<4xf32>
  %c = prim.weight<"m.onnx", "c", "3c4d"> : tensor<4xf32>
  %1 = flow.dispatch @k3(%v, %b, %c) {nodes = [loc("/b")], label = "add", flops = array<i64: 4>} : (tensor<2x2xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<2x2xf32> loc("/b")
  func.return %1 : tensor<2x2xf32>
}

// -----

// Tests that the parts of a concatenation are written where they belong.
// CHECK:       buf.entry @run
// CHECK:       %[[C:.*]] = buf.view @run.1[0] "/cat" : !buf.view<tensor<128xf32>>
// CHECK-NEXT:  %[[A:.*]] = buf.subview %[[C]][0]
// CHECK-NEXT:  %[[B:.*]] = buf.subview %[[C]][256]
// CHECK:       buf.dispatch @k(read %{{.*}}, write %[[A]]
// CHECK:       buf.dispatch @k(read %{{.*}}, write %[[B]]
// CHECK:       buf.readback "y", %[[C]]
wgsl.module @k grid [1, 1, 1] {
  wgsl.function @main workgroup [4, 1, 1] (%wg, %lid) {
  }
}
program.entry "run" {
  program.run @main
}
func.func @main(%x: tensor<64xf32> {tst.name = "x"}) -> (tensor<128xf32> {tst.name = "y"}) {
  %a = flow.dispatch @k(%x) {nodes = [loc("/a")], label = "exp", flops = array<i64: 64>} : (tensor<64xf32>) -> tensor<64xf32> loc("/a")
  %b = flow.dispatch @k(%x) {nodes = [loc("/b")], label = "exp", flops = array<i64: 64>} : (tensor<64xf32>) -> tensor<64xf32> loc("/b")
  %c = prim.concatenate %a, %b dimension = 0 : tensor<64xf32>, tensor<64xf32> -> tensor<128xf32> loc("/cat")
  func.return %c : tensor<128xf32>
}

// -----

// Tests that a tied result is its operand, and that a state that is not updated in place is copied at the end.
// CHECK:       buf.entry @step
// CHECK:       %[[W:.*]] = buf.state @state0[0] "w" start #buf.weight_ref<"m.onnx", "w", "9f2c">
// CHECK:       %[[M:.*]] = buf.state @state1[0] "m" start 0.000000e+00 : f32
// CHECK:       buf.dispatch @k(inout %[[W]]
// CHECK-NEXT:  buf.dispatch @k2(read %[[M]] {{.*}} write %[[N:[0-9]+]] :
// CHECK-NEXT:  buf.copy %[[N]] to %[[M]]
wgsl.module @k grid [1, 1, 1] {
  wgsl.function @main workgroup [4, 1, 1] (%wg, %lid) {
  }
}
wgsl.module @k2 grid [1, 1, 1] {
  wgsl.function @main workgroup [4, 1, 1] (%wg, %lid) {
  }
}
program.entry "step" {
  program.run @step
}
func.func @step(%w: tensor<4xf32> {tst.state = "w", tst.start = #buf.weight_ref<"m.onnx", "w", "9f2c">},
    %m: tensor<4xf32> {tst.state = "m", tst.start = 0.0 : f32, tst.category = "optimizer"})
    -> (tensor<4xf32> {tst.state = "w"}, tensor<4xf32> {tst.state = "m"}) {
  %0 = flow.dispatch @k(%w) {nodes = [loc("/w")], label = "sub", flops = array<i64: 4>, tied = array<i64: 0>} : (tensor<4xf32>) -> tensor<4xf32> loc("/w")
  %1 = flow.dispatch @k2(%m) {nodes = [loc("/m")], label = "mul", flops = array<i64: 4>} : (tensor<4xf32>) -> tensor<4xf32> loc("/m")
  func.return %0, %1 : tensor<4xf32>, tensor<4xf32>
}

// -----

// Tests that a tensor beyond one binding is refused by name, with its size and the limit.
// CHECK: weight 'embedding' takes 154389504 bytes; one binding of the target holds 134217728
wgsl.module @k grid [1, 1, 1] {
  wgsl.function @main workgroup [4, 1, 1] (%wg, %lid) {
  }
}
program.entry "run" {
  program.run @main
}
func.func @main() -> (tensor<4xf32> {tst.name = "y"}) {
  %w = prim.weight<"m.onnx", "embedding", "9f2c"> : tensor<50257x768xf32>
  %0 = flow.dispatch @k(%w) {nodes = [loc("/a")], label = "exp", flops = array<i64: 4>} : (tensor<50257x768xf32>) -> tensor<4xf32> loc("/a")
  func.return %0 : tensor<4xf32>
}

// -----

// Tests that a function that no entry runs is refused, with what runs it.
// CHECK: func.func @lost is run by 0 entries; expected one, such as program.entry "run" { program.run @lost }
func.func @lost(%x: tensor<4xf32> {tst.name = "x"}) -> (tensor<4xf32> {tst.name = "y"}) {
  func.return %x : tensor<4xf32>
}
