// RUN: tstorch-opt %s --split-input-file --verify-diagnostics | filecheck %s

// Tests that private memory is indexed by unrolled loops only.
// CHECK: private memory is indexed by a value that is known only at run time
loop.kernel @k(%x: memref<4xf32>) grid [1, 1, 1] workgroup [1, 1, 1] {
  loop.parallel {
    %tile = loop.alloc private : memref<4xf32>
    loop.for %k < 4 {
      %v = loop.load %tile[%k] : memref<4xf32> -> f32
    }
  }
}

// -----

// Tests that a kernel holds no tensors.
// CHECK: 'arith.constant' has a value of type tensor<2xf32>; loop kernels hold no tensors
loop.kernel @k(%x: memref<4xf32>) grid [1, 1, 1] workgroup [1, 1, 1] {
  loop.parallel {
    %c = arith.constant dense<1.0> : tensor<2xf32>
  }
}

// -----

// Tests that the shape of a binding is static.
// CHECK: kernel @k: binding 0 has type memref<?xf32>; expected a memref of static shape
loop.kernel @k(%x: memref<?xf32>) grid [1, 1, 1] workgroup [1, 1, 1] {
  loop.parallel {
  }
}

// -----

// Tests that no memory holds f64.
// CHECK: kernel @k: binding 0 has element type f64
loop.kernel @k(%x: memref<4xf64>) grid [1, 1, 1] workgroup [1, 1, 1] {
  loop.parallel {
  }
}

// -----

// Tests that an id of several values is bound.
// CHECK: kernel @k runs 8 along lid.x, but loop.parallel does not bind it
loop.kernel @k(%x: memref<4xf32>) grid [1, 1, 1] workgroup [8, 1, 1] {
  loop.parallel {
  }
}

// -----

// Tests that an id is one of the six.
// CHECK: unknown id 'lid.w'
loop.kernel @k(%x: memref<4xf32>) grid [1, 1, 1] workgroup [1, 1, 1] {
  loop.parallel %t = lid.w {
  }
}

// -----

// Tests that a loop runs at least once.
// CHECK: extent 0 and step 1: expected both from 1
loop.kernel @k(%x: memref<4xf32>) grid [1, 1, 1] workgroup [1, 1, 1] {
  loop.parallel {
    loop.for %k < 0 {
    }
  }
}

// -----

// Tests that there are as many indices as dimensions.
// CHECK: 1 indices into memref<4x4xf32>
loop.kernel @k(%x: memref<4x4xf32>) grid [1, 1, 1] workgroup [1, 1, 1] {
  loop.parallel {
    %v = loop.load %x[0] : memref<4x4xf32> -> f32
  }
}

// -----

// Tests that a vector runs along the lane.
// CHECK: an access of type vector<4xf32> does not use the lane
loop.kernel @k(%x: memref<4xf32>) grid [1, 1, 1] workgroup [1, 1, 1] {
  loop.parallel {
    %v = loop.load %x[0] : memref<4xf32> -> vector<4xf32>
  }
}

// -----

// Tests that a scalar does not.
// CHECK: an access of type f32 uses the lane
loop.kernel @k(%x: memref<4xf32>) grid [1, 1, 1] workgroup [1, 1, 1] {
  loop.parallel {
    %v = loop.load %x[lane] : memref<4xf32> -> f32
  }
}

// -----

// Tests that narrow elements are widened by a load.
// CHECK: a value of type i8 from memref<4xi8>; expected i32
loop.kernel @k(%x: memref<4xi8>) grid [1, 1, 1] workgroup [1, 1, 1] {
  loop.parallel {
    %v = loop.load %x[0] : memref<4xi8> -> i8
  }
}

// -----

// Tests that `else` needs a mask.
// CHECK: `else` without a mask
loop.kernel @k(%x: memref<4xf32>) grid [1, 1, 1] workgroup [1, 1, 1] {
  loop.parallel {
    %v = loop.load %x[0] else 1.0 : f32 : memref<4xf32> -> f32
  }
}

// -----

// Tests that all invocations reach a barrier.
// CHECK: 'loop.barrier' inside loop.if: not all invocations would reach it
loop.kernel @k(%x: memref<4xf32>) grid [1, 1, 1] workgroup [2, 1, 1] {
  loop.parallel %t = lid.x {
    %c = loop.within (%t < 1) : i1
    loop.if %c {
      loop.barrier
    }
  }
}

// -----

// Tests that a reduction over the workgroup starts at lid.x.
// CHECK: over [lid.y]; expected the first of lid.x, lid.y, lid.z
loop.kernel @k(%x: memref<4xf32>) grid [1, 1, 1] workgroup [2, 1, 1] {
  loop.parallel %t = lid.x {
    %v = loop.load %x[%t] : memref<4xf32> -> f32
    %s = loop.reduce_workgroup add %v over [lid.y] : f32
  }
}

// -----

// Tests that workgroup memory stands outside loops.
// CHECK: workgroup memory is allocated in loop.parallel itself
loop.kernel @k(%x: memref<4xf32>) grid [1, 1, 1] workgroup [1, 1, 1] {
  loop.parallel {
    loop.for %k < 4 {
      %m = loop.alloc workgroup : memref<4xf32>
    }
  }
}
