// RUN: tstorch-opt %s --split-input-file --verify-diagnostics | filecheck %s

// Tests that names are not words of WGSL.
// CHECK: name 'target' is reserved or no name in WGSL
wgsl.module @k grid [1, 1, 1] {
  %x = wgsl.binding @target at 0 read : memref<64xf32>
  wgsl.function @main workgroup [1, 1, 1] (%wg, %lid) {
  }
}

// -----

// Tests that no name begins with two underscores.
// CHECK: name '__x' is reserved or no name in WGSL
wgsl.module @k grid [1, 1, 1] {
  %x = wgsl.workgroup @__x : memref<64xf32>
  wgsl.function @main workgroup [1, 1, 1] (%wg, %lid) {
  }
}

// -----

// Tests that names are unique.
// CHECK: module @k: names b0, b0, main; expected each once
wgsl.module @k grid [1, 1, 1] {
  %x = wgsl.binding @b0 at 0 read : memref<64xf32>
  %y = wgsl.binding @b0 at 1 read : memref<64xf32>
  wgsl.function @main workgroup [1, 1, 1] (%wg, %lid) {
  }
}

// -----

// Tests that bindings are numbered from 0.
// CHECK: module @k: bindings are numbered [1]; expected 0, 1, ...
wgsl.module @k grid [1, 1, 1] {
  %x = wgsl.binding @b0 at 1 read : memref<64xf32>
  wgsl.function @main workgroup [1, 1, 1] (%wg, %lid) {
  }
}

// -----

// Tests that workgroups stay within the target's invocations.
// CHECK: kernel @k: 512 invocations in a workgroup; the target allows 256
wgsl.module @k grid [1, 1, 1] {
  wgsl.function @main workgroup [32, 16, 1] (%wg, %lid) {
  }
}

// -----

// Tests that a target may allow more, and that an axis has a limit of its own.
// CHECK: kernel @k: 128 invocations of a workgroup along z; the target allows 64
wgsl.module @k grid [1, 1, 1] attributes {limits = {max_compute_invocations_per_workgroup = 1024 : i64}} {
  wgsl.function @main workgroup [4, 1, 128] (%wg, %lid) {
  }
}

// -----

// Tests that workgroup memory fits the target.
// CHECK: kernel @k: 16400 bytes of workgroup memory; the target allows 16384
wgsl.module @k grid [1, 1, 1] {
  %x = wgsl.workgroup @w0 : memref<1025xvector<4xf32>>
  wgsl.function @main workgroup [1, 1, 1] (%wg, %lid) {
  }
}

// -----

// Tests that the grid fits the target.
// CHECK: kernel @k: 70000 workgroups along one axis; the target allows 65535
wgsl.module @k grid [70000, 1, 1] {
  wgsl.function @main workgroup [1, 1, 1] (%wg, %lid) {
  }
}

// -----

// Tests that the number of bindings fits the target.
// CHECK: kernel @k: 2 bindings; the target allows 1
wgsl.module @k grid [1, 1, 1] attributes {limits = {max_storage_buffers_per_shader_stage = 1 : i64}} {
  %x = wgsl.binding @b0 at 0 read : memref<64xf32>
  %y = wgsl.binding @b1 at 1 read : memref<64xf32>
  wgsl.function @main workgroup [1, 1, 1] (%wg, %lid) {
  }
}

// -----

// Tests that a barrier stands in uniform control flow: not in an if.
// CHECK: a barrier inside wgsl.if: control flow is not uniform
wgsl.module @k grid [1, 1, 1] {
  wgsl.function @main workgroup [1, 1, 1] (%wg, %lid) {
    %c = wgsl.constant true
    wgsl.if %c {
      wgsl.barrier
    }
  }
}

// -----

// Tests that a barrier stands in uniform control flow: not in a loop with a run-time end.
// CHECK: a barrier inside a loop with a run-time end
wgsl.module @k grid [1, 1, 1] {
  wgsl.function @main workgroup [1, 1, 1] (%wg, %lid) {
    %n = wgsl.constant 7 : ui32
    wgsl.for %i < 9 until %n {
      wgsl.barrier
    }
  }
}

// -----

// Tests that registers are chosen by static loops.
// CHECK: registers are chosen by the indices of static loops only
wgsl.module @k grid [1, 1, 1] {
  wgsl.function @main workgroup [1, 1, 1] (%wg, %lid) {
    %r = wgsl.registers : memref<4xf32>
    wgsl.for %i < 4 {
      %v = wgsl.read %r[%i] : memref<4xf32> -> f32
    }
  }
}

// -----

// Tests that a binding which is only read is not written.
// CHECK: a store to binding b0, which is only read
wgsl.module @k grid [1, 1, 1] {
  %x = wgsl.binding @b0 at 0 read : memref<64xf32>
  wgsl.function @main workgroup [1, 1, 1] (%wg, %lid) {
    %i = wgsl.constant 7 : ui32
    %v = wgsl.constant 1.0 : f32
    wgsl.store %v, %x[%i] : f32, memref<64xf32>
  }
}

// -----

// Tests that no literal is infinite.
// CHECK: inf has no WGSL literal
wgsl.module @k grid [1, 1, 1] {
  wgsl.function @main workgroup [1, 1, 1] (%wg, %lid) {
    %v = wgsl.constant 0x7F800000 : f32
  }
}

// -----

// Tests that conditions stand in no buffer.
// CHECK: bool has no place in a buffer
wgsl.module @k grid [1, 1, 1] {
  %x = wgsl.binding @b0 at 0 read : memref<64xi1>
  wgsl.function @main workgroup [1, 1, 1] (%wg, %lid) {
  }
}

// -----

// Tests that values have WGSL types.
// CHECK: a value of type f64, which WGSL has not
wgsl.module @k grid [1, 1, 1] {
  wgsl.function @main workgroup [1, 1, 1] (%wg, %lid) {
    %v = wgsl.constant 1.0 : f64
  }
}

// -----

// Tests that bits are merged only into words that are said to be shared.
// CHECK: a merge into b0, whose words are not shared
wgsl.module @k grid [1, 1, 1] {
  %x = wgsl.binding @b0 at 0 read_write : memref<4xui32>
  wgsl.function @main workgroup [1, 1, 1] (%wg, %lid) {
    %v = wgsl.constant 1 : ui32
    wgsl.merge %v keep %v, %x[%v] : memref<4xui32>
  }
}

// -----

// Tests that only words which are written are shared.
// CHECK: shared words are ui32 and written; got ui32, read
wgsl.module @k grid [1, 1, 1] {
  %x = wgsl.binding @b0 at 0 read shared : memref<4xui32>
  wgsl.function @main workgroup [1, 1, 1] (%wg, %lid) {
  }
}
