// RUN: tstorch-opt %s --split-input-file --verify-diagnostics | filecheck %s

// Tests that two tensors that are alive at once never share bytes.
// CHECK: 'x' and 'z' share bytes of @a while both are alive
buf.buffer @a : 1024 "activation"
buf.buffer @b : 1024 "activation"
buf.buffer @w : 256 "weight"
buf.entry @run {
  %x = buf.view @a[0] "x" : !buf.view<tensor<64xf32>>
  %y = buf.view @b[0] "y" : !buf.view<tensor<64xf32>>
  %z = buf.view @a[0] "z" : !buf.view<tensor<64xf32>>
  buf.upload "x", %x {dtype = "float32", storage = "f32"} : !buf.view<tensor<64xf32>>
  buf.dispatch @k(read %x : !buf.view<tensor<64xf32>>, write %y : !buf.view<tensor<64xf32>>) grid [1, 1, 1] {id = 0 : i64, label = "k", nodes = [], flops = array<i64>}
  buf.dispatch @k(read %y : !buf.view<tensor<64xf32>>, write %z : !buf.view<tensor<64xf32>>) grid [1, 1, 1] {id = 1 : i64, label = "k", nodes = [], flops = array<i64>}
  buf.dispatch @k(read %z : !buf.view<tensor<64xf32>>, read %x : !buf.view<tensor<64xf32>>, write %y : !buf.view<tensor<64xf32>>) grid [1, 1, 1] {id = 2 : i64, label = "k", nodes = [], flops = array<i64>}
}

// -----

// Tests that nothing is read before it is written.
// CHECK: 'y' is read by buf.dispatch before it is written
buf.buffer @a : 1024 "activation"
buf.buffer @b : 1024 "activation"
buf.buffer @w : 256 "weight"
buf.entry @run {
  %x = buf.view @a[0] "x" : !buf.view<tensor<64xf32>>
  %y = buf.view @b[0] "y" : !buf.view<tensor<64xf32>>
  %z = buf.view @a[512] "z" : !buf.view<tensor<64xf32>>
  buf.dispatch @k(read %y : !buf.view<tensor<64xf32>>, write %z : !buf.view<tensor<64xf32>>) grid [1, 1, 1] {id = 0 : i64, label = "k", nodes = [], flops = array<i64>}
}

// -----

// Tests that a whole is not read while only a part of it is written.
// CHECK: 'x' is read by buf.dispatch before it is written
buf.buffer @a : 1024 "activation"
buf.buffer @b : 1024 "activation"
buf.buffer @w : 256 "weight"
buf.entry @run {
  %x = buf.view @a[0] "x" : !buf.view<tensor<64xf32>>
  %z = buf.view @b[0] "z" : !buf.view<tensor<64xf32>>
  %p = buf.subview %x[0] : !buf.view<tensor<64xf32>> -> !buf.view<tensor<8xf32>>
  buf.upload "p", %p {dtype = "float32", storage = "f32"} : !buf.view<tensor<8xf32>>
  buf.dispatch @k(read %x : !buf.view<tensor<64xf32>>, write %z : !buf.view<tensor<64xf32>>) grid [1, 1, 1] {id = 0 : i64, label = "k", nodes = [], flops = array<i64>}
}

// -----

// Tests that a dispatch never reads and writes one buffer.
// CHECK: buf.dispatch reads and writes @a ('x' and 'y')
buf.buffer @a : 1024 "activation"
buf.buffer @b : 1024 "activation"
buf.buffer @w : 256 "weight"
buf.entry @run {
  %x = buf.view @a[0] "x" : !buf.view<tensor<64xf32>>
  %y = buf.view @a[256] "y" : !buf.view<tensor<64xf32>>
  buf.upload "x", %x {dtype = "float32", storage = "f32"} : !buf.view<tensor<64xf32>>
  buf.dispatch @k(read %x : !buf.view<tensor<64xf32>>, write %y : !buf.view<tensor<64xf32>>) grid [1, 1, 1] {id = 0 : i64, label = "k", nodes = [], flops = array<i64>}
}

// -----

// Tests that bytes are bound once where they are written.
// CHECK: buf.dispatch writes bytes that 'x' and 'x' share
buf.buffer @a : 1024 "activation"
buf.buffer @b : 1024 "activation"
buf.buffer @w : 256 "weight"
buf.entry @run {
  %x = buf.view @a[0] "x" : !buf.view<tensor<64xf32>>
  buf.upload "x", %x {dtype = "float32", storage = "f32"} : !buf.view<tensor<64xf32>>
  buf.dispatch @k(inout %x : !buf.view<tensor<64xf32>>, write %x : !buf.view<tensor<64xf32>>) grid [1, 1, 1] {id = 0 : i64, label = "k", nodes = [], flops = array<i64>}
}

// -----

// Tests that nothing is copied within one buffer.
// CHECK: buf.copy reads and writes @a ('x' and 'y')
buf.buffer @a : 1024 "activation"
buf.buffer @b : 1024 "activation"
buf.buffer @w : 256 "weight"
buf.entry @run {
  %x = buf.view @a[0] "x" : !buf.view<tensor<64xf32>>
  %y = buf.view @a[256] "y" : !buf.view<tensor<64xf32>>
  buf.upload "x", %x {dtype = "float32", storage = "f32"} : !buf.view<tensor<64xf32>>
  buf.copy %x to %y : !buf.view<tensor<64xf32>> to !buf.view<tensor<64xf32>>
}

// -----

// Tests that views start where bindings may.
// CHECK: 'x' starts at byte 64; bindings start at multiples of 256
buf.buffer @a : 1024 "activation"
buf.buffer @b : 1024 "activation"
buf.buffer @w : 256 "weight"
buf.entry @run {
  %x = buf.view @a[64] "x" : !buf.view<tensor<64xf32>>
}

// -----

// Tests that views end where their buffer does.
// CHECK: 'x' takes bytes 1024 to 1280 of @a, which has 1024
buf.buffer @a : 1024 "activation"
buf.buffer @b : 1024 "activation"
buf.buffer @w : 256 "weight"
buf.entry @run {
  %x = buf.view @a[1024] "x" : !buf.view<tensor<64xf32>>
}

// -----

// Tests that views lie in a buffer that exists.
// CHECK: 'x' lies in @missing, which does not exist
buf.buffer @a : 1024 "activation"
buf.buffer @b : 1024 "activation"
buf.buffer @w : 256 "weight"
buf.entry @run {
  %x = buf.view @missing[0] "x" : !buf.view<tensor<64xf32>>
}

// -----

// Tests that weights are never written.
// CHECK: is a weight, and buf.upload writes it
buf.buffer @a : 1024 "activation"
buf.buffer @b : 1024 "activation"
buf.buffer @w : 256 "weight"
buf.entry @run {
  %w = buf.weight @w[0] <"m.onnx", "w", "9f2c"> from 0 of tensor<64xf32> : !buf.view<tensor<64xf32>>
  buf.upload "w", %w {dtype = "float32", storage = "f32"} : !buf.view<tensor<64xf32>>
}

// -----

// Tests that a subview stays within its view.
// CHECK: 256 bytes from 64 on leave the 256 bytes of the view
buf.buffer @a : 1024 "activation"
buf.buffer @b : 1024 "activation"
buf.buffer @w : 256 "weight"
buf.entry @run {
  %x = buf.view @a[0] "x" : !buf.view<tensor<64xf32>>
  %p = buf.subview %x[64] : !buf.view<tensor<64xf32>> -> !buf.view<tensor<64xf32>>
}

// -----

// Tests that a plan without these mistakes passes: dead bytes are used again, an updated tensor is one binding.
// CHECK: buf.entry @run
buf.buffer @a : 1024 "activation"
buf.buffer @b : 1024 "activation"
buf.buffer @w : 256 "weight"
buf.entry @run {
  %x = buf.view @a[0] "x" : !buf.view<tensor<64xf32>>
  %y = buf.view @b[0] "y" : !buf.view<tensor<64xf32>>
  %z = buf.view @a[0] "z" : !buf.view<tensor<64xf32>>
  buf.upload "x", %x {dtype = "float32", storage = "f32"} : !buf.view<tensor<64xf32>>
  buf.dispatch @k(read %x : !buf.view<tensor<64xf32>>, write %y : !buf.view<tensor<64xf32>>) grid [1, 1, 1] {id = 0 : i64, label = "k", nodes = [], flops = array<i64>}
  buf.dispatch @k(read %y : !buf.view<tensor<64xf32>>, write %z : !buf.view<tensor<64xf32>>) grid [1, 1, 1] {id = 1 : i64, label = "k", nodes = [], flops = array<i64>}
  buf.dispatch @k(inout %z : !buf.view<tensor<64xf32>>) grid [1, 1, 1] {id = 2 : i64, label = "k", nodes = [], flops = array<i64>}
}
