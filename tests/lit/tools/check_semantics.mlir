// RUN: tstorch-opt %s -p legalize-types --check-semantics | filecheck %s

// Tests that 64-bit integers which become pairs of words are compared as the numbers that they are.
// CHECK-LABEL: func.func @main(%i: tensor<3x2xui32>
// CHECK:       return %{{.*}}, %{{.*}} : tensor<3x2xui32>, tensor<3xf32>
func.func @main(%i: tensor<3xi64> {tst.name = "i"}) -> (tensor<3xi64> {tst.name = "o"}, tensor<3xf32> {tst.name = "f"}) {
  %0 = prim.add %i, %i : tensor<3xi64> loc("/add")
  %1 = prim.mul %0, %0 : tensor<3xi64> loc("/mul")
  %2 = prim.convert %1 to f32 : tensor<3xi64> -> tensor<3xf32> loc("/cast")
  func.return %1, %2 : tensor<3xi64>, tensor<3xf32>
}
