// RUN: tstorch-opt %s --compile-to=wgsl -t wgsl-text | filecheck %s
// RUN: not tstorch-opt %s -t wgsl-text 2>&1 | filecheck %s --check-prefix=NONE

// Tests that a kernel goes from primitives to the text of a shader.
// CHECK:      // kernel exp_0
// CHECK:      @group(0) @binding(0) var<storage, read>
// CHECK:      @compute @workgroup_size
// CHECK:      exp(

// Tests that a module without kernels is told what to do.
// NONE: error: the module holds no wgsl.module to print; compile it to wgsl first: --compile-to=wgsl
builtin.module attributes {tst.level = "prim"} {
  func.func @main(%x: tensor<4xf32> {tst.name = "x"}) -> (tensor<4xf32> {tst.name = "y"}) {
    %y = prim.exp %x : tensor<4xf32> loc("exp")
    func.return %y : tensor<4xf32>
  }
}
