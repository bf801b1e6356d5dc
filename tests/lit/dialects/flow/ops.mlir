// RUN: tstorch-opt %s --print-debuginfo | filecheck %s
// RUN: tstorch-opt %s --print-op-generic --print-debuginfo | tstorch-opt --print-debuginfo | filecheck %s

// Tests that a kernel prints its schedule and what it writes in place, and that its ops carry their local index.
// CHECK-LABEL: flow.kernel @add_0(%x: tensor<4xf32> {{.*}}, %y: tensor<4xf32> {{.*}}) -> tensor<4xf32> attributes
// CHECK-SAME:  {schedule = #flow.schedule<map, {vector = 4 : i64, workgroup = array<i64: 64, 1, 1>}>, tied = array<i64: 1>}
// CHECK-NEXT:  prim.add %x, %y : tensor<4xf32> loc("0")
// CHECK-NEXT:  flow.yield
flow.kernel @add_0(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xf32> attributes {
    schedule = #flow.schedule<map, {vector = 4 : i64, workgroup = array<i64: 64, 1, 1>}>, tied = array<i64: 1>} {
  %0 = prim.add %x, %y : tensor<4xf32> loc("0")
  flow.yield %0 : tensor<4xf32>
}

// Tests that a dispatch says which nodes, in which role, each local op serves.
// CHECK-LABEL: func.func @main
// CHECK-NEXT:  %{{.*}} = flow.dispatch @add_0(%x, %x) {nodes = [loc(fused["/a", "/b"("backward")])], label = "add",
// CHECK-SAME:  flops = array<i64: 4>, tied = array<i64: 1>} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = flow.dispatch @add_0(%x, %x) {nodes = [loc(fused["/a", "/b"("backward")])], label = "add", flops = array<i64: 4>, tied = array<i64: 1>} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return %0 : tensor<4xf32>
}
