// RUN: tstorch-opt %s -p pack-words --split-input-file | filecheck %s

// Tests that a vector of bytes is one word, and a single byte is cut out of its word.
// CHECK-LABEL: loop.kernel @bytes(%x: memref<26xui32>
// CHECK:       %[[W:.*]] = loop.load %x[%t] : memref<26xui32> -> ui32
// CHECK:       loop.unpack u8 %[[W]] : ui32 -> vector<4xui32>
// CHECK:       %[[C:.*]] = loop.load %x[(%t + 1) floordiv 4] : memref<26xui32> -> ui32
// CHECK:       %[[S:.*]] = loop.index_value [((%t + 1) mod 4) * 8] : ui32
// CHECK:       arith.shrui %[[C]], %[[S]] : ui32
loop.kernel @bytes(%x: memref<101xui8>, %out: memref<128xui32>) grid [1, 1, 1] workgroup [25, 1, 1] {
  loop.parallel %t = lid.x {
    %v = loop.load %x[%t * 4 + lane] : memref<101xui8> -> vector<4xui32>
    loop.store %v, %out[%t * 4 + lane] : vector<4xui32>, memref<128xui32>
    %s = loop.load %x[%t + 1] : memref<101xui8> -> ui32
    loop.store %s, %out[%t] : ui32, memref<128xui32>
  }
}

// -----

// Tests that halves take two words, and that the padding behind the last element may be written, but no word behind it.
// CHECK-LABEL: loop.kernel @halves(%x: memref<128xf32>, %out: memref<51xui32>)
// CHECK:       %[[L:.*]] = loop.pack f16 %{{.*}} word 0 : vector<4xf32>
// CHECK:       loop.store %[[L]], %out[%t * 2] where (%t * 4 < 104) : ui32
// CHECK:       %[[H:.*]] = loop.pack f16 %{{.*}} word 1 : vector<4xf32>
// CHECK:       loop.store %[[H]], %out[%t * 2 + 1] where (%t * 4 < 104, %t * 4 + 2 < 101) : ui32
loop.kernel @halves(%x: memref<128xf32>, %out: memref<101xf16>) grid [1, 1, 1] workgroup [32, 1, 1] {
  loop.parallel %t = lid.x {
    loop.for unroll %i < 4 {
      %v = loop.load %x[%t * 4 + %i] : memref<128xf32> -> f32
      loop.store %v, %out[%t * 4 + %i] where (%t * 4 + %i < 101) : f32, memref<101xf16>
    }
  }
}

// -----

// Tests that words stay as they are.
// CHECK-LABEL: loop.kernel @words(%x: memref<64xi32>)
loop.kernel @words(%x: memref<64xi32>) grid [1, 1, 1] workgroup [64, 1, 1] {
  loop.parallel %t = lid.x {
    %v = loop.load %x[%t] : memref<64xi32> -> i32
  }
}

// -----

// Tests that an element whose word others write too is merged into it, and changes no other bits.
// CHECK-LABEL: loop.kernel @shared(%out: memref<16xui32>)
// CHECK:       %[[P:.*]] = loop.pack u8 %{{.*}} word 0
// CHECK:       %[[S:.*]] = loop.index_value [(%t mod 4) * 8] : ui32
// CHECK:       %[[OWN:.*]] = arith.shli %{{.*}}, %[[S]] : ui32
// CHECK:       %[[KEEP:.*]] = arith.xori %[[OWN]], %{{.*}} : ui32
// CHECK:       %[[BITS:.*]] = arith.andi %[[P]], %[[OWN]] : ui32
// CHECK-NEXT:  loop.merge %[[BITS]] keep %[[KEEP]], %out[%t floordiv 4] where (%t < 60) : memref<16xui32>
loop.kernel @shared(%out: memref<64xui8>) grid [1, 1, 1] workgroup [64, 1, 1] {
  loop.parallel %t = lid.x {
    %v = loop.index_value [%t] : ui32
    loop.store %v, %out[%t] where (%t < 60) : ui32, memref<64xui8>
  }
}

// -----

// Tests that a vector which starts within a word is merged lane by lane.
// CHECK-LABEL: loop.kernel @shifted
// CHECK-COUNT-4: loop.merge
// CHECK-NOT:     loop.store
loop.kernel @shifted(%x: memref<256xf32>, %out: memref<257xf16>) grid [1, 1, 1] workgroup [64, 1, 1] {
  loop.parallel %t = lid.x {
    %v = loop.load %x[%t * 4 + lane] : memref<256xf32> -> vector<4xf32>
    loop.store %v, %out[%t * 4 + 1 + lane] : vector<4xf32>, memref<257xf16>
  }
}
