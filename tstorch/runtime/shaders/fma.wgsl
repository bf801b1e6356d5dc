// Arithmetic alone: eight independent vectors of four, 32 fused operations each in a round, 256 in all.
@group(0) @binding(0) var<storage, read> rounds: array<u32>;
@group(0) @binding(1) var<storage, read_write> result: array<vec4<f32>>;

fn eight(v: vec4<f32>, m: vec4<f32>, x: vec4<f32>) -> vec4<f32> {
    return fma(fma(fma(fma(fma(fma(fma(fma(v, m, x), m, x), m, x), m, x), m, x), m, x), m, x), m, x);
}

@compute @workgroup_size(256) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let x = vec4<f32>(f32(id.x) * 1e-6, 0.25, 0.5, 0.75);
    let m = vec4<f32>(0.999);
    var a = x;
    var b = x + 1.0;
    var c = x + 2.0;
    var d = x + 3.0;
    var e = x + 4.0;
    var f = x + 5.0;
    var g = x + 6.0;
    var h = x + 7.0;
    for (var i = 0u; i < rounds[0]; i++) {
        a = eight(a, m, x);
        b = eight(b, m, x);
        c = eight(c, m, x);
        d = eight(d, m, x);
        e = eight(e, m, x);
        f = eight(f, m, x);
        g = eight(g, m, x);
        h = eight(h, m, x);
    }
    result[id.x % 1024u] = a + b + c + d + e + f + g + h;
}
