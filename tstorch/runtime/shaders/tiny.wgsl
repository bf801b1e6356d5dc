// The least a dispatch can do: each one waits for the one before, as the kernels of a model do.
@group(0) @binding(0) var<storage, read_write> counter: array<u32>;

@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) lane: u32) {
    counter[lane] = counter[lane] + 1u;
}
