// RUN: tstorch-opt %s | filecheck %s
// RUN: tstorch-opt %s --print-op-generic | tstorch-opt | filecheck %s

// Tests that constants keep every bit: signed zeros, infinities, NaN and its payload, numbers that need all digits.
// CHECK-LABEL: func.func @constants
func.func @constants() {
  // CHECK: prim.constant dense<[nan, inf, -inf, -0.0, 0.33333334, 5.0331652e+07]> : tensor<6xf32>
  %a = prim.constant dense<[nan, inf, -inf, -0.0, 0.333333343267, 5.0331651e+07]> : tensor<6xf32>
  // CHECK: prim.constant dense<"0x0100c07f"> : tensor<f32>
  %b = prim.constant dense<"0x0100c07f"> : tensor<f32>
  // CHECK: prim.constant dense<true> : tensor<2x2xi1>
  %c = prim.constant dense<[[true, true], [true, true]]> : tensor<2x2xi1>
  // CHECK: prim.constant dense<[-9223372036854775808, 9223372036854775807]> : tensor<2xi64>
  %d = prim.constant dense<[-9223372036854775808, 9223372036854775807]> : tensor<2xi64>
  // CHECK: prim.iota dimension = 1 : tensor<2x3xi32>
  %i = prim.iota dimension = 1 : tensor<2x3xi32>
  func.return
}

// Tests that a weight is a reference: its file, its key there, the digest of its bytes.
// CHECK-LABEL: func.func @weights
func.func @weights() {
  // CHECK: prim.weight<"resnet18.onnx", "conv1.weight", "7010b6a9"> : tensor<64x3x7x7xf32>
  %w = prim.weight <"resnet18.onnx", "conv1.weight", "7010b6a9"> : tensor<64x3x7x7xf32>
  // CHECK: prim.weight<"mnist.onnx", "fc.bias", "11aa"> trainable : tensor<10xf32>
  %t = prim.weight <"mnist.onnx", "fc.bias", "11aa"> trainable : tensor<10xf32>
  // CHECK: prim.derived "conv1.weight.folded" : tensor<64x3x7x7xf32>
  %d = prim.derived "conv1.weight.folded" : tensor<64x3x7x7xf32>
  func.return
}
