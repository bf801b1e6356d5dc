// RUN: tstorch-opt %s --split-input-file -p cut-segments --print-debuginfo | filecheck %s

// Tests that an If on a computed value becomes a step, each branch a segment of its own that takes what it captures.
// CHECK:         %p = program.run @main.0(%x) : (tensor<2xf32>) -> tensor<i1>
// CHECK-NEXT:    %y = program.if %p : (tensor<i1>) -> tensor<2xf32> then {
// CHECK-NEXT:      program.run @main.1(%x)
// CHECK:         } else {
// CHECK-NEXT:      program.run @main.2(%x)
// CHECK:         } loc("if")
// CHECK-NEXT:    program.output "y", %y
// CHECK:       func.func @main.1
// CHECK-NEXT:    onnx.Exp
// CHECK:       func.func @main.2
// CHECK-NEXT:    onnx.Neg
func.func @main(%x: tensor<2xf32> {tst.name = "x"}) -> (tensor<2xf32> {tst.name = "y"}) {
  %s = onnx.ReduceSum(%x) {opset = 20 : i64, keepdims = 0 : i64} : (tensor<2xf32>) -> tensor<f32> loc("sum")
  %p = onnx.Greater(%s, %s) {opset = 20 : i64} : (tensor<f32>, tensor<f32>) -> tensor<i1> loc("greater")
  %y = onnx.If(%p) else_branch {
    %a = onnx.Neg(%x) {opset = 20 : i64} : (tensor<2xf32>) -> tensor<2xf32> loc("neg")
    onnx.yield %a : tensor<2xf32>
  } then_branch {
    %b = onnx.Exp(%x) {opset = 20 : i64} : (tensor<2xf32>) -> tensor<2xf32> loc("exp")
    onnx.yield %b : tensor<2xf32>
  } {opset = 20 : i64} : (tensor<i1>) -> tensor<2xf32> loc("if")
  func.return %y : tensor<2xf32>
}

// -----

// Tests that a known condition is no cut: the graph stays as it is.
// CHECK-NOT:   program.
// CHECK:       onnx.If
func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {
  %p = onnx.initializer "p" dense<true> : tensor<i1>
  %y = onnx.If(%p) else_branch {
    onnx.yield %x : tensor<2xf32>
  } then_branch {
    %b = onnx.Exp(%x) {opset = 20 : i64} : (tensor<2xf32>) -> tensor<2xf32> loc("exp")
    onnx.yield %b : tensor<2xf32>
  } {opset = 20 : i64} : (tensor<i1>) -> tensor<2xf32> loc("if")
  func.return %y : tensor<2xf32>
}

// -----

// Tests that a loop whose body keeps the shapes of what it carries has one segment of static shapes, and that its
// stacked output is open.
// CHECK:         program.while trips %m : tensor<i64>(%x) : (tensor<2xf32>) -> (tensor<2xf32>, tensor<?x2xf32>) {
// CHECK:           [[A:%.*]] = program.run @main.0(
// CHECK-NEXT:      program.yield
// CHECK:         } loc("loop")
func.func @main(%m: tensor<i64> {tst.name = "m"}, %x: tensor<2xf32> {tst.name = "x"})
    -> (tensor<2xf32> {tst.name = "y"}, tensor<?x2xf32> {tst.name = "all"}) {
  %y, %all = onnx.Loop(%m, _, %x) body {
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %a: tensor<2xf32>):
    %b = onnx.Tanh(%a) {opset = 20 : i64} : (tensor<2xf32>) -> tensor<2xf32> loc("tanh")
    onnx.yield %c, %b, %b : tensor<i1>, tensor<2xf32>, tensor<2xf32>
  } {opset = 20 : i64} : (tensor<i64>, tensor<2xf32>) -> (tensor<2xf32>, tensor<?x2xf32>) loc("loop")
  func.return %y, %all : tensor<2xf32>, tensor<?x2xf32>
}

// -----

// Tests that a loop whose body changes shapes has its body compiled at a run.
// CHECK:         program.while trips %m : tensor<i64>(%x) : (tensor<2xf32>) -> tensor<?xf32> {
// CHECK:           program.specialise @main.{{.*}} : (tensor<?xf32>) ->
func.func @main(%m: tensor<i64> {tst.name = "m"}, %x: tensor<2xf32> {tst.name = "x"})
    -> (tensor<?xf32> {tst.name = "y"}) {
  %y = onnx.Loop(%m, _, %x) body {
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %a: tensor<?xf32>):
    %b = onnx.Concat(%a, %a) {opset = 20 : i64, axis = 0 : i64} : (tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32>
        loc("concat")
    onnx.yield %c, %b : tensor<i1>, tensor<?xf32>
  } {opset = 20 : i64} : (tensor<i64>, tensor<2xf32>) -> tensor<?xf32> loc("loop")
  func.return %y : tensor<?xf32>
}
