// RUN: tstorch-opt %s --split-input-file --verify-diagnostics | filecheck %s
// RUN: tstorch-opt %s --split-input-file --verify-diagnostics --print-op-generic | filecheck %s --check-prefix=GENERIC

// Tests that a span prints its edge, its kind and its id.
// CHECK:   trace.span "begin" "dispatch" 3
// GENERIC: "trace.span"() <{edge = "begin", kind = "dispatch", id = 3 : i64}>
trace.span "begin" "dispatch" 3

// -----

// Tests that there are no other kinds and edges.
// CHECK: span of kind 'upload'; expected one of dispatch, gpu
trace.span "begin" "upload" 3

// -----

// CHECK: edge 'middle'; expected one of begin, end
trace.span "middle" "gpu" 0
