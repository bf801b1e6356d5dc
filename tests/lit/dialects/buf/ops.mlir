// RUN: tstorch-opt %s | filecheck %s
// RUN: tstorch-opt %s --print-op-generic | tstorch-opt | filecheck %s

// Tests that buffers, views, weights, states and commands come back from their text.
// CHECK:      buf.buffer @arena0 : 1024 "activation"
// CHECK-NEXT: buf.buffer @init.0 : 64 "scratch" lifetime "init"
buf.buffer @arena0 : 1024 "activation"
buf.buffer @init.0 : 64 "scratch" lifetime "init"
buf.buffer @arena1 : 64 "activation"
buf.buffer @weights0 : 1024 "weight"
buf.buffer @state0 : 512 "optimizer"
// CHECK:      buf.entry @run {
// CHECK-NEXT:   %[[X:.*]] = buf.view @arena0[256] "image" : !buf.view<tensor<16xf32>>
// CHECK-NEXT:   %[[W:.*]] = buf.weight @weights0[0] <"m.onnx", "fc", "9f2c"> from 64 of tensor<32xf32> : !buf.view<tensor<16xf32>>
// CHECK-NEXT:   %[[D:.*]] = buf.derived @weights0[256] "fc.derived" : !buf.view<tensor<16xf32>>
// CHECK-NEXT:   buf.state @state0[0] "m/fc" start 0.000000e+00 : f32 : !buf.view<tensor<16xf32>>
// CHECK-NEXT:   buf.state @state0[256] "fc" start #buf.weight_ref<"m.onnx", "fc", "9f2c"> : !buf.view<tensor<16xf32>>
// CHECK-NEXT:   %[[Y:.*]] = buf.view @arena1[0] "y" : !buf.view<tensor<16xf32>>
// CHECK-NEXT:   %[[Z:.*]] = buf.subview %[[Y]][32] : !buf.view<tensor<16xf32>> -> !buf.view<tensor<8xf32>>
// CHECK-NEXT:   buf.upload "image", %[[X]] {dtype = "int64", storage = "i32<i64", law = {kind = "int", low = 0 : i64, high = 9 : i64}, range = array<i64: 0, 9>}
// CHECK-NEXT:   buf.dispatch @k(read %[[X]] : !buf.view<tensor<16xf32>>, read %[[W]] : !buf.view<tensor<16xf32>>, write %[[Y]] : !buf.view<tensor<16xf32>>) grid [1, 2, 3] {id = 0 : i64, label = "k", nodes = [loc("/k")], flops = array<i64: 16>}
// CHECK-NEXT:   buf.dispatch @k(inout %[[Y]] : !buf.view<tensor<16xf32>>) grid [1, 1, 1]
// CHECK-NEXT:   buf.copy %[[Y]] to %[[X]] : !buf.view<tensor<16xf32>> to !buf.view<tensor<16xf32>>
// CHECK-NEXT:   buf.readback "logits", %[[Z]] {dtype = "float32", storage = "f32"} : !buf.view<tensor<8xf32>>
buf.entry @run {
  %x = buf.view @arena0[256] "image" : !buf.view<tensor<16xf32>>
  %w = buf.weight @weights0[0] <"m.onnx", "fc", "9f2c"> from 64 of tensor<32xf32> : !buf.view<tensor<16xf32>>
  %d = buf.derived @weights0[256] "fc.derived" : !buf.view<tensor<16xf32>>
  %m = buf.state @state0[0] "m/fc" start 0.0 : f32 : !buf.view<tensor<16xf32>>
  %s = buf.state @state0[256] "fc" start #buf.weight_ref<"m.onnx", "fc", "9f2c"> : !buf.view<tensor<16xf32>>
  %y = buf.view @arena1[0] "y" : !buf.view<tensor<16xf32>>
  %z = buf.subview %y[32] : !buf.view<tensor<16xf32>> -> !buf.view<tensor<8xf32>>
  buf.upload "image", %x {dtype = "int64", storage = "i32<i64", law = {kind = "int", low = 0 : i64, high = 9 : i64}, range = array<i64: 0, 9>} : !buf.view<tensor<16xf32>>
  buf.dispatch @k(read %x : !buf.view<tensor<16xf32>>, read %w : !buf.view<tensor<16xf32>>, write %y : !buf.view<tensor<16xf32>>) grid [1, 2, 3] {id = 0 : i64, label = "k", nodes = [loc("/k")], flops = array<i64: 16>}
  buf.dispatch @k(inout %y : !buf.view<tensor<16xf32>>) grid [1, 1, 1] {id = 1 : i64, label = "k", nodes = [loc("/l")], flops = array<i64: 16>}
  buf.copy %y to %x : !buf.view<tensor<16xf32>> to !buf.view<tensor<16xf32>>
  buf.readback "logits", %z {dtype = "float32", storage = "f32"} : !buf.view<tensor<8xf32>>
}
