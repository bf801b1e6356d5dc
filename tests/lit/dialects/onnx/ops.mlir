// RUN: tstorch-opt %s --print-debuginfo | filecheck %s
// RUN: tstorch-opt %s --print-op-generic --print-debuginfo | tstorch-opt --print-debuginfo | filecheck %s

// Tests that nodes stand under ONNX's names, with their domain, and come back from pretty and generic text.
builtin.module attributes {onnx.opset = {ai.onnx = 20 : i64, ai.onnx.ml = 3 : i64}} {
  // CHECK-LABEL: func.func @main
  func.func @main(%x: tensor<1x3x8x8xf32>, %c: tensor<i1>) -> !onnx.any {
    // CHECK: onnx.initializer <"net.onnx", "conv.weight", "9f86d0"> : tensor<8x3x3x3xf32>
    %w = onnx.initializer <"net.onnx", "conv.weight", "9f86d0"> : tensor<8x3x3x3xf32>
    // CHECK: onnx.initializer "high" dense<6.0> : tensor<f32>
    %high = onnx.initializer "high" dense<6.0> : tensor<f32>
    // CHECK: onnx.Conv(%x, %w) {strides = array<i64: 2, 2>, auto_pad = "SAME_UPPER"} : {{.*}} loc("/conv1/Conv")
    %y = onnx.Conv(%x, %w) {strides = array<i64: 2, 2>, auto_pad = "SAME_UPPER"} : (tensor<1x3x8x8xf32>, tensor<8x3x3x3xf32>) -> !onnx.any loc("/conv1/Conv")
    // Absent optional operands keep their place.
    // CHECK: onnx.Clip(%{{.*}}, _, %{{.*}}) : (!onnx.any, tensor<f32>) -> !onnx.any
    %z = onnx.Clip(%y, _, %high) : (!onnx.any, tensor<f32>) -> !onnx.any loc("clip")
    // CHECK: onnx.If(%c) else_branch {
    // CHECK-NEXT: onnx.yield %{{.*}} : !onnx.any
    // CHECK: } then_branch {
    // CHECK-NEXT: onnx.Relu
    %q = onnx.If(%c) else_branch {
      onnx.yield %z : !onnx.any
    } then_branch {
      %r = onnx.Relu(%z) : (!onnx.any) -> !onnx.any loc("if/then_branch/relu")
      onnx.yield %r : !onnx.any
    } : (tensor<i1>) -> !onnx.any loc("if")
    // Another domain, another opset than the module's, and a note that a pass left.
    // CHECK: onnx.ai.onnx.ml.Scaler(%{{.*}}) {opset = 1 : i64, scale = array<f32: 5.000000e-01>, trace.measured = {us = 3 : i64}}
    %s = onnx.ai.onnx.ml.Scaler(%q) {opset = 1 : i64, scale = array<f32: 0.5>, trace.measured = {us = 3 : i64}} : (!onnx.any) -> !onnx.any loc("scaler")
    // CHECK: onnx.Constant() {value = #onnx.tensor<#onnx.weight<"net.onnx", "@7.value", "ab12">, tensor<100xf32>>}
    %t = onnx.Constant() {value = #onnx.tensor<#onnx.weight<"net.onnx", "@7.value", "ab12">, tensor<100xf32>>} : () -> tensor<100xf32> loc("table")
    func.return %s : !onnx.any
  }
}
