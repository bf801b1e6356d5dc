// A fixed amount of arithmetic and next to no memory: how long it takes says at which clock the device runs.
@group(0) @binding(0) var<storage, read> rounds: array<u32>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(256) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var x = f32(id.x);
    for (var i = 0u; i < rounds[0]; i++) {
        x = fma(x, 0.999, 0.1);
    }
    result[id.x % 1024u] = x;
}
