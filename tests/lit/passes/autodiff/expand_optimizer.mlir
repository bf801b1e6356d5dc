// RUN: tstorch-opt %s -p expand-autodiff{loss="mse"},expand-optimizer{lr=0.01} --print-debuginfo | filecheck %s

// Tests that Adam's moments, the number of steps and the parameter are state, each under one name, and that the update
// stands under the node that first uses the parameter.
// CHECK:       program.entry "step" {
// CHECK-NEXT:    program.run @step
// CHECK-LABEL: func.func @step
// CHECK-SAME:  %w: tensor<2xf32> {tst.state = "w", tst.start = #buf.weight_ref<"m.onnx", "w", "9f2c">
// CHECK-SAME:  %state_optimizer_step: tensor<f32> {tst.state = "optimizer.step", tst.start = 0.000000e+00 : f32
// CHECK-SAME:  {tst.state = "adam.m/w"
// CHECK-SAME:  {tst.state = "adam.v/w"
// CHECK-SAME:  tensor<f32> {tst.name = "loss"}, tensor<f32> {tst.state = "optimizer.step"}, tensor<2xf32> {tst.state = "w"}
// CHECK-NOT:   prim.weight
// CHECK:       prim.mul %w, %x : tensor<2xf32> loc("first")
// CHECK:       %[[N:.*]] = prim.add %state_optimizer_step, %{{.*}} loc("first"("optimizer"))
// CHECK:       prim.expm1
// CHECK:       %[[W:.*]] = prim.sub %w, %{{.*}} loc("first"("optimizer"))
// CHECK:       return %{{.*}}, %[[N]], %[[W]]
program.entry "run" {
  program.run @main
}
func.func @main(%x: tensor<2xf32> {tst.name = "x"}) -> (tensor<2xf32> {tst.name = "y"}) {
  %w = prim.weight <"m.onnx", "w", "9f2c"> trainable : tensor<2xf32>
  %y = prim.mul %w, %x : tensor<2xf32> loc("first")
  %z = prim.add %y, %w : tensor<2xf32> loc("second")
  func.return %z : tensor<2xf32>
}
