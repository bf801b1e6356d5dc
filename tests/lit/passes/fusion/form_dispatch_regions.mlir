// RUN: tstorch-opt %s -p form-dispatch-regions --split-input-file --print-debuginfo | filecheck %s
// RUN: tstorch-opt %s -p form-dispatch-regions --split-input-file --remarks 2>&1 | filecheck %s --check-prefix=REMARK

// Tests that an elementwise chain is one kernel, whose ops carry their local index and whose dispatch names the nodes.
// CHECK-LABEL: flow.kernel @exp_0
// CHECK-SAME:  %x: tensor<4xf32>
// CHECK-NEXT:  prim.add {{.*}} loc("0")
// CHECK-NEXT:  prim.exp {{.*}} loc("1")
// CHECK:       func.func @chain
// CHECK-NEXT:  flow.dispatch @exp_0(%x, %y) {nodes = [loc("/add"), loc("/exp")], label = "add + exp",
// CHECK-SAME:  flops = array<i64: 4, 4>} {{.*}} loc(fused["/add", "/exp"])
func.func @chain(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {
  %0 = prim.add %x, %y : tensor<4xf32> loc("/add")
  %1 = prim.exp %0 : tensor<4xf32> loc("/exp")
  func.return %1 : tensor<4xf32>
}

// -----

// Tests that what stays in memory for another kernel is a second result, not a second dispatch.
// CHECK-LABEL: flow.kernel @exp_0
// CHECK:       flow.yield %{{.*}}, %{{.*}} : tensor<4xf32>, tensor<4xf32>
// CHECK:       func.func @two_results
// CHECK-NEXT:  %{{.*}}, %{{.*}} = flow.dispatch
// CHECK-NEXT:  func.return
func.func @two_results(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %0 = prim.neg %x : tensor<4xf32> loc("/neg")
  %1 = prim.exp %0 : tensor<4xf32> loc("/exp")
  func.return %0, %1 : tensor<4xf32>, tensor<4xf32>
}

// -----

// Tests that a softmax, two reductions over the same rows and what is between and behind them, is one kernel.
// REMARK:      remark: passed TST-F010 at "/softmax": one kernel: reduce + sub + exp + div
// CHECK-LABEL: func.func @softmax
// CHECK-NEXT:  flow.dispatch @reduce_0(%x)
// CHECK-NEXT:  func.return
func.func @softmax(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %m = prim.reduce max %x, dimensions = [1] : tensor<2x8xf32> -> tensor<2xf32> loc("/softmax")
  %mb = prim.broadcast_in_dim %m, shape = [2, 8], dimensions = [0] : tensor<2xf32> -> tensor<2x8xf32> loc("/softmax")
  %s = prim.sub %x, %mb : tensor<2x8xf32> loc("/softmax")
  %e = prim.exp %s : tensor<2x8xf32> loc("/softmax")
  %t = prim.reduce add %e, dimensions = [1] : tensor<2x8xf32> -> tensor<2xf32> loc("/softmax")
  %tb = prim.broadcast_in_dim %t, shape = [2, 8], dimensions = [0] : tensor<2xf32> -> tensor<2x8xf32> loc("/softmax")
  %r = prim.div %e, %tb : tensor<2x8xf32> loc("/softmax")
  func.return %r : tensor<2x8xf32>
}

// -----

// Tests that reductions over other rows stay two kernels, and that we say so.
// REMARK:      remark: missed TST-F003 at "/exp", "/rows": {{.*}} prim.reduce reduces other rows
// CHECK-LABEL: func.func @other_rows
// CHECK-COUNT-2: flow.dispatch
func.func @other_rows(%x: tensor<2x8xf32>) -> tensor<2xf32> {
  %m = prim.reduce max %x, dimensions = [0] : tensor<2x8xf32> -> tensor<8xf32> loc("/columns")
  %mb = prim.broadcast_in_dim %m, shape = [2, 8], dimensions = [1] : tensor<8xf32> -> tensor<2x8xf32> loc("/sub")
  %s = prim.sub %x, %mb : tensor<2x8xf32> loc("/sub")
  %e = prim.exp %s : tensor<2x8xf32> loc("/exp")
  %r = prim.reduce add %e, dimensions = [1] : tensor<2x8xf32> -> tensor<2xf32> loc("/rows")
  func.return %r : tensor<2xf32>
}

// -----

// Tests that a matrix product takes in a transpose ahead of it, and bias, residual and activation behind it; the
// residual's kernel stays one of its own, for the product needs it too.
// CHECK-LABEL: flow.kernel @dot_general_0
// CHECK:       prim.transpose
// CHECK:       prim.dot_general
// CHECK:       prim.broadcast_in_dim
// CHECK:       prim.maximum
// CHECK:       func.func @product
// CHECK:       flow.dispatch @exp_0
// CHECK-NEXT:  flow.dispatch @dot_general_0
// CHECK-NEXT:  func.return
func.func @product(%x: tensor<4x4xf32>, %w: tensor<4x4xf32>, %b: tensor<4xf32>) -> tensor<4x4xf32> {
  %e = prim.exp %x : tensor<4x4xf32> loc("/exp")
  %t = prim.transpose %w, permutation = [1, 0] : tensor<4x4xf32> -> tensor<4x4xf32> loc("/t")
  %p = prim.dot_general %e, %t, batch = [] x [], contract = [1] x [0] : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32> loc("/mm")
  %bb = prim.broadcast_in_dim %b, shape = [4, 4], dimensions = [1] : tensor<4xf32> -> tensor<4x4xf32> loc("/bias")
  %a = prim.add %p, %bb : tensor<4x4xf32> loc("/bias")
  %s = prim.add %a, %e : tensor<4x4xf32> loc("/residual")
  %z = prim.constant dense<0.0> : tensor<f32> loc("/relu")
  %zb = prim.broadcast_in_dim %z, shape = [4, 4], dimensions = [] : tensor<f32> -> tensor<4x4xf32> loc("/relu")
  %r = prim.maximum %s, %zb : tensor<4x4xf32> loc("/relu")
  func.return %r : tensor<4x4xf32>
}

// -----

// Tests that an elementwise op ahead of a matrix product is not computed again for each tile, and that we say so.
// REMARK:      remark: missed TST-F005 at "/exp", "/mm": {{.*}} computed again for every tile {{.*}} [bytes = 128]
// CHECK-LABEL: func.func @prologue
// CHECK-COUNT-2: flow.dispatch
func.func @prologue(%x: tensor<4x4xf32>, %w: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %e = prim.exp %x : tensor<4x4xf32> loc("/exp")
  %p = prim.dot_general %e, %w, batch = [] x [], contract = [1] x [0] : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32> loc("/mm")
  func.return %p : tensor<4x4xf32>
}

// -----

// Tests that widening bytes ahead of a matrix product is: it reads less than it makes.
// CHECK-LABEL: func.func @dequantised
// CHECK-COUNT-1: flow.dispatch
// CHECK-NEXT:  func.return
func.func @dequantised(%x: tensor<4x4xf32>, %w: tensor<4x4xui8>) -> tensor<4x4xf32> {
  %f = prim.convert %w to f32 : tensor<4x4xui8> -> tensor<4x4xf32> loc("/dequantise")
  %p = prim.dot_general %x, %f, batch = [] x [], contract = [1] x [0] : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32> loc("/mm")
  func.return %p : tensor<4x4xf32>
}

// -----

// Tests that a value whose first reader is another kernel is not made for a later one too: no kernel keeps both alive.
// REMARK:      remark: missed TST-F001 at "/neg", "/exp": {{.*}} kept for prim.reduce, which comes before
// CHECK-LABEL: func.func @kept
// CHECK-COUNT-3: flow.dispatch
func.func @kept(%x: tensor<4x4xf32>) -> (tensor<4xf32>, tensor<4x4xf32>) {
  %t = prim.dot_general %x, %x, batch = [] x [], contract = [1] x [0] : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32> loc("/mm")
  %n = prim.neg %t : tensor<4x4xf32> loc("/neg")
  %r = prim.reduce add %n, dimensions = [1] : tensor<4x4xf32> -> tensor<4xf32> loc("/sum")
  %e = prim.exp %n : tensor<4x4xf32> loc("/exp")
  func.return %r, %e : tensor<4xf32>, tensor<4x4xf32>
}

// -----

// Tests that a join through which a kernel would wait for itself is refused.
// REMARK:      remark: missed TST-F002 at "/first", "/add"
// CHECK-LABEL: func.func @cycle
// CHECK-COUNT-3: flow.dispatch
func.func @cycle(%x: tensor<4x4xf32>, %w: tensor<4x8xf32>) -> tensor<4x4xf32> {
  %n = prim.dot_general %x, %x, batch = [] x [], contract = [1] x [0] : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32> loc("/first")
  %q = prim.dot_general %n, %w, batch = [] x [], contract = [1] x [0] : tensor<4x4xf32>, tensor<4x8xf32> -> tensor<4x8xf32> loc("/second")
  %s = prim.slice %q, start = [0, 2], limit = [4, 6], stride = [1, 1] : tensor<4x8xf32> -> tensor<4x4xf32> loc("/part")
  %o = prim.add %n, %s : tensor<4x4xf32> loc("/add")
  func.return %o : tensor<4x4xf32>
}

// -----

// Tests that the target's number of bindings is kept: nine arrays are added up by two kernels.
// REMARK:      remark: missed TST-F004 {{.*}} would need 9 bindings, the target has 8
// CHECK-LABEL: func.func @bindings
// CHECK-COUNT-2: flow.dispatch
func.func @bindings(%a: tensor<4xf32>, %b: tensor<4xf32>, %c: tensor<4xf32>, %d: tensor<4xf32>, %e: tensor<4xf32>, %f: tensor<4xf32>, %g: tensor<4xf32>, %h: tensor<4xf32>) -> tensor<4xf32> {
  %0 = prim.add %a, %b : tensor<4xf32> loc("/0")
  %1 = prim.add %0, %c : tensor<4xf32> loc("/1")
  %2 = prim.add %1, %d : tensor<4xf32> loc("/2")
  %3 = prim.add %2, %e : tensor<4xf32> loc("/3")
  %4 = prim.add %3, %f : tensor<4xf32> loc("/4")
  %5 = prim.add %4, %g : tensor<4xf32> loc("/5")
  %6 = prim.add %5, %h : tensor<4xf32> loc("/6")
  func.return %6 : tensor<4xf32>
}

// -----

// Tests that equal bodies are one kernel, each dispatch with its own nodes.
// CHECK-LABEL: func.func @shared
// CHECK-NEXT:  flow.dispatch @dot_general_0({{.*}}nodes = [loc("/a")]
// CHECK-NEXT:  flow.dispatch @dot_general_0({{.*}}nodes = [loc("/b")]
func.func @shared(%x: tensor<4x4xf32>, %w: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %0 = prim.dot_general %x, %w, batch = [] x [], contract = [1] x [0] : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32> loc("/a")
  %1 = prim.dot_general %0, %w, batch = [] x [], contract = [1] x [0] : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32> loc("/b")
  func.return %1 : tensor<4x4xf32>
}

// -----

// Tests that a reshape between kernels is a view of what stands in memory, and that a returned transpose is copied.
// CHECK-LABEL: func.func @views
// CHECK-NEXT:  %[[E:.*]] = flow.dispatch @dot_general_0(%x)
// CHECK-NEXT:  %[[V:.*]] = prim.reshape %[[E]]
// CHECK-NEXT:  %[[S:.*]] = flow.dispatch @reduce_0(%[[V]])
// CHECK-NEXT:  %[[T:.*]] = flow.dispatch @transpose_0(%x)
// CHECK-NEXT:  func.return %[[S]], %[[T]]
func.func @views(%x: tensor<2x8xf32>) -> (tensor<f32>, tensor<8x2xf32>) {
  %e = prim.dot_general %x, %x, batch = [] x [], contract = [1] x [1] : tensor<2x8xf32>, tensor<2x8xf32> -> tensor<2x2xf32> loc("/mm")
  %v = prim.reshape %e, shape = [4] : tensor<2x2xf32> -> tensor<4xf32> loc("/flat")
  %r = prim.reduce add %v, dimensions = [0] : tensor<4xf32> -> tensor<f32> loc("/sum")
  %t = prim.transpose %x, permutation = [1, 0] : tensor<2x8xf32> -> tensor<8x2xf32> loc("/t")
  func.return %r, %t : tensor<f32>, tensor<8x2xf32>
}

// -----

// Tests that a concatenation along the outermost dimension is written by its producers: no dispatch copies anything.
// CHECK-LABEL: func.func @concatenated
// CHECK-NEXT:  %[[A:.*]] = flow.dispatch @exp_0(%x)
// CHECK-NEXT:  %[[B:.*]] = flow.dispatch @neg_0(%x)
// CHECK-NEXT:  %[[C:.*]] = prim.concatenate %[[A]], %[[B]] dimension = 0
// CHECK-NEXT:  flow.dispatch @dot_general_0(%[[C]])
func.func @concatenated(%x: tensor<64x4xf32>) -> tensor<128x128xf32> {
  %a = prim.exp %x : tensor<64x4xf32> loc("/exp")
  %b = prim.neg %x : tensor<64x4xf32> loc("/neg")
  %c = prim.concatenate %a, %b dimension = 0 : tensor<64x4xf32>, tensor<64x4xf32> -> tensor<128x4xf32> loc("/cat")
  %r = prim.dot_general %c, %c, batch = [] x [], contract = [1] x [1] : tensor<128x4xf32>, tensor<128x4xf32> -> tensor<128x128xf32> loc("/mm")
  func.return %r : tensor<128x128xf32>
}

// -----

// Tests that one of two parts that would lie apart is read from both, where a product needs it.
// CHECK-LABEL: func.func @pair
// CHECK-NEXT:  flow.dispatch @dot_general_0(%x, %y)
// CHECK-NEXT:  return
func.func @pair(%x: tensor<4x64xf32>, %y: tensor<4x64xf32>) -> tensor<4x4xf32> {
  %c = prim.concatenate %x, %y dimension = 1 : tensor<4x64xf32>, tensor<4x64xf32> -> tensor<4x128xf32> loc("/cat")
  %r = prim.dot_general %c, %c, batch = [] x [], contract = [1] x [1] : tensor<4x128xf32>, tensor<4x128xf32> -> tensor<4x4xf32> loc("/mm")
  func.return %r : tensor<4x4xf32>
}

// -----

// Tests that one of more parts that would lie apart is a kernel of its own.
// CHECK-LABEL: func.func @interleaved
// CHECK:       flow.dispatch @concatenate_0
// CHECK-NEXT:  flow.dispatch @dot_general_0
func.func @interleaved(%x: tensor<4x64xf32>, %y: tensor<4x64xf32>) -> tensor<4x4xf32> {
  %c = prim.concatenate %x, %y, %x dimension = 1 : tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32> -> tensor<4x192xf32> loc("/cat")
  %r = prim.dot_general %c, %c, batch = [] x [], contract = [1] x [1] : tensor<4x192xf32>, tensor<4x192xf32> -> tensor<4x4xf32> loc("/mm")
  func.return %r : tensor<4x4xf32>
}

// -----

// Tests that a composite stays together under its label, and that more may join it.
// CHECK-LABEL: func.func @composite
// CHECK-NEXT:  flow.dispatch {{.*}}label = "my group + exp"
// CHECK-NEXT:  return
func.func @composite(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = prim.composite "my group" (%x) {
  ^bb0(%a: tensor<4xf32>):
    %n = prim.neg %a : tensor<4xf32> loc("/neg")
    %s = prim.sqrt %n : tensor<4xf32> loc("/sqrt")
    prim.yield %s : tensor<4xf32>
  } : (tensor<4xf32>) -> tensor<4xf32> loc(fused["/neg", "/sqrt"])
  %1 = prim.exp %0 : tensor<4xf32> loc("/exp")
  func.return %1 : tensor<4xf32>
}

// -----

// Tests that a composite that no kernel can hold is fused like other ops, and that we say why.
// REMARK:      remark: missed TST-F008 at "/a", "/b": two products does not become one kernel: {{.*}} loop nest
// CHECK-LABEL: func.func @declined
// CHECK-COUNT-2: flow.dispatch
func.func @declined(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %0 = prim.composite "two products" (%x) {
  ^bb0(%a: tensor<4x4xf32>):
    %p = prim.dot_general %a, %a, batch = [] x [], contract = [1] x [0] : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32> loc("/a")
    %q = prim.dot_general %p, %a, batch = [] x [], contract = [1] x [0] : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32> loc("/b")
    prim.yield %q : tensor<4x4xf32>
  } : (tensor<4x4xf32>) -> tensor<4x4xf32> loc(fused["/a", "/b"])
  func.return %0 : tensor<4x4xf32>
}

// -----

// Tests that truth values are words where they stand in memory.
// CHECK-LABEL: flow.kernel
// CHECK-SAME:  -> tensor<4xui32>
// CHECK:       prim.convert %{{.*}} to ui32 : tensor<4xi1> -> tensor<4xui32>
// CHECK:       flow.kernel
// CHECK:       prim.convert %{{.*}} to i1 : tensor<4xui32> -> tensor<4xi1>
// CHECK:       func.func @truth
func.func @truth(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %m = prim.reduce max %x, dimensions = [1] : tensor<4x4xf32> -> tensor<4xf32> loc("/max")
  %c = prim.is_nan %m : tensor<4xf32> -> tensor<4xi1> loc("/nan")
  %b = prim.broadcast_in_dim %c, shape = [4, 4], dimensions = [1] : tensor<4xi1> -> tensor<4x4xi1> loc("/where")
  %r = prim.select %b, %x, %x : tensor<4x4xi1>, tensor<4x4xf32> loc("/where")
  func.return %r : tensor<4x4xf32>
}

// -----

// Tests that a concatenation of more tensors than a kernel can bind becomes several, and that slices of one tensor count once.
// CHECK-LABEL: func.func @wide
// CHECK:       flow.dispatch {{.*}} -> tensor<2x7xf32>
// CHECK-NEXT:  flow.dispatch {{.*}} -> tensor<2x9xf32>
// CHECK-NEXT:  return
// CHECK-LABEL: func.func @one_source
// CHECK-NEXT:  flow.dispatch
// CHECK-NEXT:  return
func.func @wide(%a: tensor<2x1xf32>, %b: tensor<2x1xf32>, %c: tensor<2x1xf32>, %d: tensor<2x1xf32>, %e: tensor<2x1xf32>, %f: tensor<2x1xf32>, %g: tensor<2x1xf32>, %h: tensor<2x1xf32>, %i: tensor<2x1xf32>) -> tensor<2x9xf32> {
  %r = prim.concatenate %a, %b, %c, %d, %e, %f, %g, %h, %i dimension = 1 : tensor<2x1xf32>, tensor<2x1xf32>, tensor<2x1xf32>, tensor<2x1xf32>, tensor<2x1xf32>, tensor<2x1xf32>, tensor<2x1xf32>, tensor<2x1xf32>, tensor<2x1xf32> -> tensor<2x9xf32> loc("/cat")
  func.return %r : tensor<2x9xf32>
}
func.func @one_source(%x: tensor<2x9xf32>) -> tensor<2x9xf32> {
  %0 = prim.slice %x, start = [0, 8], limit = [2, 9], stride = [1, 1] : tensor<2x9xf32> -> tensor<2x1xf32> loc("/cut")
  %1 = prim.slice %x, start = [0, 7], limit = [2, 8], stride = [1, 1] : tensor<2x9xf32> -> tensor<2x1xf32> loc("/cut")
  %2 = prim.slice %x, start = [0, 6], limit = [2, 7], stride = [1, 1] : tensor<2x9xf32> -> tensor<2x1xf32> loc("/cut")
  %3 = prim.slice %x, start = [0, 5], limit = [2, 6], stride = [1, 1] : tensor<2x9xf32> -> tensor<2x1xf32> loc("/cut")
  %4 = prim.slice %x, start = [0, 4], limit = [2, 5], stride = [1, 1] : tensor<2x9xf32> -> tensor<2x1xf32> loc("/cut")
  %5 = prim.slice %x, start = [0, 3], limit = [2, 4], stride = [1, 1] : tensor<2x9xf32> -> tensor<2x1xf32> loc("/cut")
  %6 = prim.slice %x, start = [0, 2], limit = [2, 3], stride = [1, 1] : tensor<2x9xf32> -> tensor<2x1xf32> loc("/cut")
  %7 = prim.slice %x, start = [0, 1], limit = [2, 2], stride = [1, 1] : tensor<2x9xf32> -> tensor<2x1xf32> loc("/cut")
  %8 = prim.slice %x, start = [0, 0], limit = [2, 1], stride = [1, 1] : tensor<2x9xf32> -> tensor<2x1xf32> loc("/cut")
  %r = prim.concatenate %0, %1, %2, %3, %4, %5, %6, %7, %8 dimension = 1 : tensor<2x1xf32>, tensor<2x1xf32>, tensor<2x1xf32>, tensor<2x1xf32>, tensor<2x1xf32>, tensor<2x1xf32>, tensor<2x1xf32>, tensor<2x1xf32>, tensor<2x1xf32> -> tensor<2x9xf32> loc("/cat")
  func.return %r : tensor<2x9xf32>
}

// -----

// Tests that a sort stands alone, but for positions that are counted in place: what feeds it is read again and again, and
// what follows it is not where its elements are; and that a running sum takes what follows it along.
// CHECK-LABEL: func.func @ordered
// CHECK-NEXT:  %[[X:.*]] = flow.dispatch @exp
// CHECK-NEXT:  %[[S:.*]], %{{.*}} = flow.dispatch @sort{{.*}}(%[[X]])
// CHECK-NEXT:  flow.dispatch @neg{{.*}}(%[[S]])
// CHECK-NEXT:  flow.dispatch @cumulative
// CHECK-NEXT:  return
func.func @ordered(%x: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xi32>, tensor<4x8xf32>) {
  %0 = prim.exp %x : tensor<4x8xf32> loc("/exp")
  %1 = prim.iota dimension = 1 : tensor<4x8xi32> loc("/top")
  %2, %3 = prim.sort %0, %1 dimension = 1, descending = [1], runs = 1 to 8 : tensor<4x8xf32>, tensor<4x8xi32> -> tensor<4x8xf32>, tensor<4x8xi32> loc("/top")
  %4 = prim.neg %2 : tensor<4x8xf32> loc("/neg")
  %5 = prim.cumulative add %x, dimension = 1, exclusive = 0, reverse = 0 : tensor<4x8xf32> -> tensor<4x8xf32> loc("/sum")
  %6 = prim.abs %5 : tensor<4x8xf32> loc("/abs")
  func.return %4, %3, %6 : tensor<4x8xf32>, tensor<4x8xi32>, tensor<4x8xf32>
}

// -----

// Tests that rows which are looked up, and slices, leave the rest of what they read from unread; sums read all.
// CHECK-LABEL: func.func @partly_read
// CHECK:       flow.dispatch @gather{{.*}} unread = 1152 : i64
// CHECK:       flow.dispatch @neg{{.*}} unread = 64 : i64
// CHECK:       flow.dispatch @reduce
// CHECK-NOT:   unread
// CHECK:       return
func.func @partly_read(%table: tensor<100x3xf32>, %ids: tensor<4xi32>, %x: tensor<4x8xf32>) -> (tensor<4x3xf32>, tensor<4x4xf32>, tensor<4xf32>) {
  %0 = prim.gather %table, %ids, offset_dims = [1], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1, slice_sizes = [1, 3] : tensor<100x3xf32>, tensor<4xi32> -> tensor<4x3xf32> loc("/rows")
  %1 = prim.slice %x, start = [0, 2], limit = [4, 6], stride = [1, 1] : tensor<4x8xf32> -> tensor<4x4xf32> loc("/cut")
  %2 = prim.neg %1 : tensor<4x4xf32> loc("/neg")
  %3 = prim.reduce add %x, dimensions = [1] : tensor<4x8xf32> -> tensor<4xf32> loc("/sum")
  func.return %0, %2, %3 : tensor<4x3xf32>, tensor<4x4xf32>, tensor<4xf32>
}
