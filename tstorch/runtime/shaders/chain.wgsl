// Loads that wait for each other: where the next one reads is what the one before has found.
@group(0) @binding(0) var<storage, read> rounds: array<u32>;
@group(0) @binding(1) var<storage, read_write> result: array<u32>;

@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) lane: u32) {
    var at = lane;
    for (var i = 0u; i < rounds[0]; i++) {
        at = (result[at] + at + 64u) % 4096u;
    }
    result[lane] = select(0u, 1u, at == 4096u);
}
