// RUN: tstorch-opt %s --split-input-file --verify-diagnostics | filecheck %s

// Tests that a node is held against what onnx.defs says of its operator at its opset.

// CHECK: no opset of domain ai.onnx; state it: onnx.opset = {ai.onnx = 20 : i64}
func.func @no_opset(%x: tensor<2xf32>) -> !onnx.any {
  %y = onnx.Relu(%x) : (tensor<2xf32>) -> !onnx.any
  func.return %y : !onnx.any
}

// -----

// CHECK: onnx.defs knows no Gelu at opset 19 of ''
builtin.module attributes {onnx.opset = {ai.onnx = 19 : i64}} {
  func.func @too_old(%x: tensor<2xf32>) -> !onnx.any {
    %y = onnx.Gelu(%x) : (tensor<2xf32>) -> !onnx.any
    func.return %y : !onnx.any
  }
}

// -----

// CHECK: Operation onnx.Frobnicate is not registered
builtin.module attributes {onnx.opset = {ai.onnx = 20 : i64}} {
  func.func @unknown(%x: tensor<2xf32>) -> !onnx.any {
    %y = onnx.Frobnicate(%x) : (tensor<2xf32>) -> !onnx.any
    func.return %y : !onnx.any
  }
}

// -----

// CHECK: Gemm (opset 20): 1 inputs; expected 2 to 3
builtin.module attributes {onnx.opset = {ai.onnx = 20 : i64}} {
  func.func @too_few(%x: tensor<2x2xf32>) -> !onnx.any {
    %y = onnx.Gemm(%x) : (tensor<2x2xf32>) -> !onnx.any
    func.return %y : !onnx.any
  }
}

// -----

// CHECK: Gemm (opset 20): input A is absent and not optional
builtin.module attributes {onnx.opset = {ai.onnx = 20 : i64}} {
  func.func @absent(%x: tensor<2x2xf32>) -> !onnx.any {
    %y = onnx.Gemm(_, %x) : (tensor<2x2xf32>) -> !onnx.any
    func.return %y : !onnx.any
  }
}

// -----

// CHECK: Relu (opset 20): unknown attribute slope; expected one of none
builtin.module attributes {onnx.opset = {ai.onnx = 20 : i64}} {
  func.func @unknown_attribute(%x: tensor<2xf32>) -> !onnx.any {
    %y = onnx.Relu(%x) {slope = 1.0 : f32} : (tensor<2xf32>) -> !onnx.any
    func.return %y : !onnx.any
  }
}

// -----

// CHECK: Concat (opset 20): attribute axis is missing
builtin.module attributes {onnx.opset = {ai.onnx = 20 : i64}} {
  func.func @missing(%x: tensor<2xf32>) -> !onnx.any {
    %y = onnx.Concat(%x) : (tensor<2xf32>) -> !onnx.any
    func.return %y : !onnx.any
  }
}

// -----

// CHECK: Concat (opset 20): attribute axis is "0"; expected INT
builtin.module attributes {onnx.opset = {ai.onnx = 20 : i64}} {
  func.func @kind(%x: tensor<2xf32>) -> !onnx.any {
    %y = onnx.Concat(%x) {axis = "0"} : (tensor<2xf32>) -> !onnx.any
    func.return %y : !onnx.any
  }
}

// -----

// CHECK: Upsample (opset 10): deprecated at this opset
builtin.module attributes {onnx.opset = {ai.onnx = 10 : i64}} {
  func.func @deprecated(%x: tensor<1x1x2x2xf32>, %s: tensor<4xf32>) -> !onnx.any {
    %y = onnx.Upsample(%x, %s) : (tensor<1x1x2x2xf32>, tensor<4xf32>) -> !onnx.any
    func.return %y : !onnx.any
  }
}
