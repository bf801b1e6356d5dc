"""The limits that a device is asked for: the target's, WebGPU's defaults for the rest, never all the adapter has.

wgpu-py asks for everything by default, so that a kernel too large for a browser would run here unnoticed.
"""

from collections.abc import Mapping

from tstorch.diagnostics import RunError

# WebGPU's defaults for the limits that no target names (texture and render limits left at zero have no use here).
_REST = {
    "max_bind_groups": 4,
    "max_bindings_per_bind_group": 1000,
    "max_dynamic_storage_buffers_per_pipeline_layout": 4,
    "max_dynamic_uniform_buffers_per_pipeline_layout": 8,
    "max_uniform_buffers_per_shader_stage": 12,
    "max_uniform_buffer_binding_size": 65536,
    "min_uniform_buffer_offset_alignment": 256,
    "max_texture_dimension_1d": 8192,
    "max_texture_dimension_2d": 8192,
    "max_texture_dimension_3d": 2048,
    "max_texture_array_layers": 256,
    "max_sampled_textures_per_shader_stage": 16,
    "max_samplers_per_shader_stage": 16,
    "max_storage_textures_per_shader_stage": 4,
    "max_vertex_buffers": 8,
    "max_vertex_attributes": 16,
    "max_vertex_buffer_array_stride": 2048,
    "max_inter_stage_shader_variables": 16,
    "max_color_attachments": 8,
    "max_color_attachment_bytes_per_sample": 32,
    "max_immediate_size": 0,
}

# The target's names of features, where wgpu's differ.
_FEATURES = {"f16": "shader-f16", "subgroups": "subgroup"}


def limits_to_request(target: Mapping[str, int], adapter: Mapping[str, int]) -> dict[str, int]:
    """A value for each of the adapter's limits. Raises RunError naming each one of the target that it cannot grant."""
    if unknown := sorted(set(target) - set(adapter)):
        raise RunError(f"the target names limits that wgpu does not know: {', '.join(unknown)}")
    if exceeded := [name for name, value in target.items() if _worse(name, adapter[name], value)]:
        listed = "; ".join(f"{name} {target[name]}, the adapter grants {adapter[name]}" for name in sorted(exceeded))
        raise RunError(f"this adapter is smaller than the target: {listed}; choose another --adapter or --target")
    rest = {
        name: _REST[name] if name in _REST and not _worse(name, granted, _REST[name]) else granted
        for name, granted in adapter.items()
    }
    return rest | dict(target)


def features_to_request(target: tuple[str, ...], adapter: tuple[str, ...]) -> list[str]:
    """wgpu's names of the target's features. Raises RunError naming those that the adapter lacks."""
    features = {name: _FEATURES.get(name, name) for name in target}
    if missing := sorted(name for name, feature in features.items() if feature not in adapter):
        raise RunError(f"this adapter lacks {', '.join(missing)}, which the target requires; choose another --target")
    return sorted(features.values())


def _worse(name: str, granted: int, wanted: int) -> bool:
    """Whether `granted` is less than `wanted`; for an alignment, the smaller value is the better one."""
    return granted > wanted if name.startswith("min_") else granted < wanted
