// RUN: tstorch-opt %s -p 'form-dispatch-regions{apart="/relu"}' --split-input-file --remarks --print-debuginfo 2>&1 | filecheck %s

// Tests that a node that is kept apart has a kernel of its own, that its neighbours fuse without it, and that we say what
// that costs: each of eight elements is written and read again, in one dispatch more. The two that fuse save as much.
// CHECK:       remark: missed TST-F011 at "/exp", "/relu": prim.exp and prim.maximum
// CHECK-SAME:  '/relu' is to have kernels of its own (--no-fuse); leave out --no-fuse [bytes = 64] [dispatches = 1]
// CHECK:       remark: passed TST-F010 at "/add", "/exp": one kernel: add + exp [bytes = 64] [dispatches = 1]
// CHECK-LABEL: func.func @apart
// CHECK-NEXT:  flow.dispatch @exp
// CHECK-NEXT:  flow.dispatch @maximum
// CHECK-NEXT:  return
func.func @apart(%x: tensor<8xf32>, %y: tensor<8xf32>) -> tensor<8xf32> {
  %0 = prim.add %x, %y : tensor<8xf32> loc("/add")
  %1 = prim.exp %0 : tensor<8xf32> loc("/exp")
  %2 = prim.maximum %1, %y : tensor<8xf32> loc("/relu")
  func.return %2 : tensor<8xf32>
}
