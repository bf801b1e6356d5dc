// Copies memory: four vectors of four words each per invocation, neighbours reading neighbours.
@group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> result: array<vec4<f32>>;

@compute @workgroup_size(64) fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = group.x * 256u + lane;
    result[first] = source[first];
    result[first + 64u] = source[first + 64u];
    result[first + 128u] = source[first + 128u];
    result[first + 192u] = source[first + 192u];
}
