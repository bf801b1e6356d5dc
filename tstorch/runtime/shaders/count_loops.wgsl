// Counts its own iterations, in a way that no compiler can shorten: some drivers end every loop after 65,535.
@group(0) @binding(0) var<storage, read> rounds: array<u32>;
@group(0) @binding(1) var<storage, read_write> counted: array<u32>;

@compute @workgroup_size(1) fn main() {
    var state = rounds[0];
    var count = 0u;
    for (var i = 0u; i < rounds[0]; i++) {
        state = state * 1664525u + 1013904223u;
        count += 1u + ((state >> 8u) & rounds[1]);
    }
    counted[0] = count;
}
