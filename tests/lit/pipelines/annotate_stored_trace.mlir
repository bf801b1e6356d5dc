// RUN: tstorch-opt %S/../../data/tiny.onnx --no-plugins --compile-to=flow -p 'annotate-trace{file="%S/../../data/tiny.trace"}' | filecheck %s --check-prefix=FLOW
// RUN: tstorch-opt %S/../../data/tiny.onnx --no-plugins --compile-to=buf -p 'annotate-trace{file="%S/../../data/tiny.trace"}' | filecheck %s --check-prefix=BUF
// RUN: tstorch-opt %S/../../data/tiny.onnx --no-plugins --compile-to=onnx -p 'annotate-trace{file="%S/../../data/tiny.trace"}' | filecheck %s --check-prefix=ONNX
// RUN: tstorch-opt %S/../../data/tiny.onnx --no-plugins --compile-to=prim -p 'annotate-trace{file="%S/../../data/tiny.trace"}' | filecheck %s --check-prefix=PRIM
// RUN: tstorch-opt %S/../../data/tiny.onnx --no-plugins --compile-to=loop -p 'annotate-trace{file="%S/../../data/tiny.trace"}' | filecheck %s --check-prefix=LOOP
// RUN: tstorch-opt %S/../../data/tiny.onnx --no-plugins --compile-to=wgsl -p 'annotate-trace{file="%S/../../data/tiny.trace"}' | filecheck %s --check-prefix=WGSL
// RUN: tstorch-opt %S/../../data/tiny.onnx --no-plugins --compile-to=wgsl -p 'annotate-trace{file="%S/../../data/tiny.trace"}' --strip-measured | filecheck %s --check-prefix=BARE
// RUN: not tstorch-opt %S/../../data/tiny.onnx --no-plugins --compile-to=flow --dim batch=3 -p 'annotate-trace{file="%S/../../data/tiny.trace"}' 2>&1 | filecheck %s --check-prefix=DIMS
// RUN: not tstorch-opt %S/../../data/tiny.onnx --no-plugins --compile-to=flow --without epilogue -p 'annotate-trace{file="%S/../../data/tiny.trace"}' 2>&1 | filecheck %s --check-prefix=PASSES

// Tests that the microseconds of a stored run stand on each dispatch, on its kernel, and in part on the ops inside.
// FLOW:      flow.kernel @dot_general_0({{.*}}trace.measured = {us = "[[US:[0-9.]+]]", share = "[[SHARE:[0-9.]+]]", bound = "{{memory|compute}}"}
// FLOW:        prim.dot_general {{.*}}{trace.measured = {us = "{{[0-9.]+}}", share = "{{[0-9.]+}}", estimate}}
// FLOW:      flow.dispatch @dot_general_0({{.*}}trace.measured = {us = "[[US]]", share = "[[SHARE]]"{{.*}} loc(fused["fc1", "relu"])
// FLOW-NEXT: flow.dispatch @dot_general_1({{.*}}trace.measured = {us = "{{[0-9.]+}}"{{.*}} loc("fc2")
// FLOW-NEXT: flow.dispatch @reduce_0({{.*}}trace.measured = {us = "{{[0-9.]+}}"{{.*}} loc("softmax")

// Tests that they stand on the host program's dispatches, by their ids.
// BUF-COUNT-3: buf.dispatch {{.*}}trace.measured = {us = "{{[0-9.]+}}"

// Tests that they stand on the user's own nodes, as estimates where several were fused.
// ONNX:      onnx.Gemm({{.*}}trace.measured = {us = "{{[0-9.]+}}", share = "{{[0-9.]+}}", estimate}{{.*}}loc("fc1")
// ONNX-NEXT: onnx.Relu({{.*}}trace.measured = {us = "{{.*}}", share = "{{[0-9.]+}}", estimate}{{.*}}loc("relu")

// Tests that they stand on primitives, loop nests and shaders too: on every level; and that they can be taken off.
// PRIM:     prim.dot_general {{.*}}trace.measured = {us = "{{.*}}", share = "{{[0-9.]+}}", estimate}
// LOOP:     loop.kernel {{.*}}trace.measured = {us = "{{[0-9.]+}}"
// WGSL:     wgsl.module {{.*}}trace.measured = {us = "{{[0-9.]+}}"
// BARE-NOT: trace.measured
// BARE:     wgsl.module

// Tests that a trace of other dims, or of other passes, is refused.
// DIMS:   does not belong to this IR: its dims is {'batch': 2}, the IR's {'batch': 3}
// PASSES: does not belong to this IR
