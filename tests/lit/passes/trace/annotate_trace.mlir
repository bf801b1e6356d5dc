// RUN: tstorch-opt %s --split-input-file --verify-diagnostics -p 'annotate-trace{file="%S/annotate_trace.jsonl"}' | filecheck %s

// Tests that at level flow dispatches and kernels get what was measured, and the ops in a kernel their estimated part.
// CHECK:       prim.exp {{.*}} {trace.measured = {us = "60.000", share = "0.6000", estimate}}
// CHECK-NEXT:  prim.add {{.*}} {trace.measured = {us = "30.000", share = "0.3000", estimate}}
// CHECK:       flow.dispatch @k0({{.*}}trace.measured = {us = "60.000", share = "0.6000", bound = "compute"}
// CHECK-NEXT:  flow.dispatch @k0({{.*}}trace.measured = {us = "30.000", share = "0.3000", bound = "compute"}
// CHECK-NEXT:  flow.dispatch @k1({{.*}}trace.measured = {us = "10.000", share = "0.1000", bound = "memory"}
builtin.module attributes {tst.level = "flow", tst.source = {path = "small.onnx", sha256 = "5eed"}} {
  flow.kernel @k0(%x: tensor<4xf32>) -> (tensor<4xf32>) {
    %0 = prim.exp %x : tensor<4xf32> loc("0")
    %1 = prim.add %0, %x : tensor<4xf32> loc("1")
    flow.yield %1 : tensor<4xf32>
  }
  flow.kernel @k1(%x: tensor<4xf32>) -> (tensor<4xf32>) {
    %0 = prim.neg %x : tensor<4xf32> loc("0")
    flow.yield %0 : tensor<4xf32>
  }
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %a = flow.dispatch @k0(%x) {label = "exp + add", nodes = [loc("exp_1"), loc("add_1")], flops = array<i64: 8, 4>} : (tensor<4xf32>) -> tensor<4xf32>
    %b = flow.dispatch @k0(%a) {label = "exp + add", nodes = [loc("exp_2"), loc("add_2")], flops = array<i64: 8, 4>} : (tensor<4xf32>) -> tensor<4xf32>
    %c = flow.dispatch @k1(%b) {label = "neg", nodes = [loc("neg")], flops = array<i64: 4>} : (tensor<4xf32>) -> tensor<4xf32>
    func.return %c : tensor<4xf32>
  }
}

// -----

// Tests that at level prim a node's time is split over its ops, and that an op that no dispatch serves is left alone.
// CHECK:       prim.exp {{.*}} {trace.measured = {us = "22.500", share = "0.2250", estimate}}
// CHECK-NEXT:  prim.mul {{.*}} {trace.measured = {us = "22.500", share = "0.2250", estimate}}
// CHECK-NEXT:  prim.neg %{{[a-z0-9]+}} : tensor<4xf32>
// CHECK-NEXT:  return
builtin.module attributes {tst.level = "prim", tst.source = {path = "small.onnx", sha256 = "5eed"}} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %a = prim.exp %x : tensor<4xf32> loc("exp_1")
    %b = prim.mul %a, %a : tensor<4xf32> loc("exp_1")
    %c = prim.neg %b : tensor<4xf32> loc("elsewhere")
    func.return %c : tensor<4xf32>
  }
}

// -----

// Tests that IR of another model is refused.
// CHECK: does not belong to this IR: its model is 5eed, the IR's bbbb; measure again with tstorch-run --trace
builtin.module attributes {tst.level = "prim", tst.source = {path = "small.onnx", sha256 = "bbbb"}} {
}

// -----

// Tests that IR that names no model is refused.
// CHECK: the module names no model that it came from (tst.source)
builtin.module {
}

// -----

// Tests that dispatches which the trace does not know are refused: other passes made them.
// CHECK: it has no such dispatch of @k9 (for neg); the passes differ
builtin.module attributes {tst.level = "flow", tst.source = {path = "small.onnx", sha256 = "5eed"}} {
  flow.kernel @k9(%x: tensor<4xf32>) -> (tensor<4xf32>) {
    flow.yield %x : tensor<4xf32>
  }
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %a = flow.dispatch @k9(%x) {label = "neg", nodes = [loc("neg")], flops = array<i64: 4>} : (tensor<4xf32>) -> tensor<4xf32>
    func.return %a : tensor<4xf32>
  }
}

// -----

// Tests that IR with fewer dispatches than the trace is refused.
// CHECK: it has 3 dispatches, the IR 1; the passes differ
builtin.module attributes {tst.level = "flow", tst.source = {path = "small.onnx", sha256 = "5eed"}} {
  flow.kernel @k1(%x: tensor<4xf32>) -> (tensor<4xf32>) {
    %0 = prim.neg %x : tensor<4xf32> loc("0")
    flow.yield %0 : tensor<4xf32>
  }
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %a = flow.dispatch @k1(%x) {label = "neg", nodes = [loc("neg")], flops = array<i64: 4>} : (tensor<4xf32>) -> tensor<4xf32>
    func.return %a : tensor<4xf32>
  }
}

// -----

// Tests that IR which other passes made is refused.
// CHECK: does not belong to this IR: pass canonicalize ran here, none there; compile as the trace's run did
builtin.module attributes {tst.level = "prim", tst.pipeline = ["canonicalize"], tst.source = {path = "small.onnx", sha256 = "5eed"}} {
}
